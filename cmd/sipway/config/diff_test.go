package config

import (
	"slices"
	"testing"
	"time"
)

func TestDiff(t *testing.T) {
	a, b := Default(), Default()
	if keys := Diff(a, b); len(keys) > 0 {
		t.Errorf("%q", keys)
	}
	b.Domains = []Domain{"a.test", "b.test"}
	b.Registrar.MinExpires = time.Second
	b.Drain.Spread = time.Second
	if keys := Diff(a, b); !slices.Equal(keys, []string{"domains", "registrar.min_expires", "drain.spread"}) {
		t.Errorf("%q", keys)
	}
	next := a.With(b, func(key string) bool { return key != "domains" })
	if keys := Diff(next, b); !slices.Equal(keys, []string{"domains"}) || a.Drain.Spread != 5*time.Second {
		t.Errorf("%q, %v", keys, a.Drain)
	}
}
