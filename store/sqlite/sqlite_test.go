package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/sqlite"
	"github.com/sipway/sipway/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, opener(sqlite.Config{}))
}

// A cache of one entry per shard forgets all the time, so most reads race with writes.
func TestContractTinyCache(t *testing.T) {
	storetest.Run(t, opener(sqlite.Config{CacheBytes: 1}))
}

func opener(cfg sqlite.Config) func(*testing.T) store.Store {
	return func(t *testing.T) store.Store {
		return openFile(t, filepath.Join(t.TempDir(), "sipway.db"), cfg)
	}
}

func openFile(t testing.TB, path string, cfg sqlite.Config) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
