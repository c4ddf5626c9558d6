package memory_test

import (
	"testing"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
	"github.com/sipway/sipway/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return memory.New() })
}
