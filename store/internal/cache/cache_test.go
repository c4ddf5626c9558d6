package cache_test

import (
	"fmt"
	"hash/maphash"
	"strings"
	"testing"

	"github.com/sipway/sipway/store/internal/cache"
)

// newCache returns a cache for that many of the tests' entries.
func newCache(size int) *cache.Cache[string, int] {
	return cache.New(cache.Config[string, int]{
		Bytes: int64(size) * 1000, Hash: maphash.String, Clone: strings.Clone,
		Weigh: func(string, int) int { return 840 }, // 1000 with the overhead
	})
}

func want(t *testing.T, c *cache.Cache[string, int], key string, value int, exists, known bool) {
	t.Helper()
	v, e, k := c.Get(key)
	if v != value || e != exists || k != known {
		t.Errorf("Get(%q) = %d, %t, %t, want %d, %t, %t", key, v, e, k, value, exists, known)
	}
}

// Each case is a read of the database that overlaps something; Fill stores or does not.
func TestFillNeverSetsBack(t *testing.T) {
	tests := []struct {
		name    string
		between func(c *cache.Cache[string, int])
		stored  bool
		value   int
		exists  bool
		known   bool
	}{
		{"nothing between", func(*cache.Cache[string, int]) {}, true, 1, true, true},
		{"a write", func(c *cache.Cache[string, int]) { c.Set("k", 2, true) }, false, 2, true, true},
		{"a removal", func(c *cache.Cache[string, int]) { c.Set("k", 0, false) }, false, 0, false, true},
		{"a write of unknown outcome", func(c *cache.Cache[string, int]) { c.Drop("k") }, false, 0, false, false},
		{"a flush", func(c *cache.Cache[string, int]) { c.Flush() }, false, 0, false, false},
		{"a write that was evicted since", func(c *cache.Cache[string, int]) {
			c.Set("k", 2, true)
			for i := range 10_000 {
				c.Set(fmt.Sprint("other", i), i, true)
			}
		}, false, 0, false, false},
		{"a write to another key", func(c *cache.Cache[string, int]) { c.Set("l", 2, true) }, true, 1, true, true},
		{"a later read under way", func(c *cache.Cache[string, int]) { c.Begin("k") }, false, 0, false, false},
		{"a later read that was stored", func(c *cache.Cache[string, int]) {
			c.Fill("k", c.Begin("k"), 2, true)
		}, false, 2, true, true},
		{"a later read that failed", func(c *cache.Cache[string, int]) {
			c.Abandon("k", c.Begin("k"))
		}, false, 0, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(64)
			ticket := c.Begin("k")
			tt.between(c)
			if got := c.Fill("k", ticket, 1, true); got != tt.stored {
				t.Errorf("Fill = %t, want %t", got, tt.stored)
			}
			want(t, c, "k", tt.value, tt.exists, tt.known)
		})
	}
}

func TestAbsentKeysDriveOutNoValue(t *testing.T) {
	c := newCache(640)
	c.Set("somebody", 1, true)
	for i := range 100_000 {
		c.Set(fmt.Sprint("invented", i), 0, false)
	}
	want(t, c, "somebody", 1, true, true)
	want(t, c, "invented99999", 0, false, true)
	want(t, c, "invented0", 0, false, false)
}

func TestBounded(t *testing.T) {
	c := newCache(640)
	for i := range 10_000 {
		c.Set(fmt.Sprint(i), i, true)
	}
	kept := 0
	for i := range 10_000 {
		if _, exists, _ := c.Get(fmt.Sprint(i)); exists {
			kept++
		}
	}
	if kept > 640 || kept < 320 {
		t.Errorf("a cache for 640 values kept %d", kept)
	}
	if st := c.Stats(); st.Bytes > 640_000 || st.Entries != kept || st.Evictions != uint64(10_000-kept) || st.Hits != uint64(kept) || st.Misses != uint64(10_000-kept) {
		t.Errorf("%+v, %d kept", st, kept)
	}
	// What is replaced or removed does not count any more.
	for i := range 10_000 {
		c.Set(fmt.Sprint(i), i, false)
	}
	c.Flush()
	if st := c.Stats(); st.Bytes != 0 || st.Entries != 0 || st.Absent != 0 {
		t.Errorf("%+v after a flush", st)
	}
}

// An entry is believed for a bounded time, whether it is used or not.
func TestAge(t *testing.T) {
	c := newCache(640)
	c.Set("old", 1, true)
	c.Set("absent", 0, false)
	c.Set("refreshed", 1, true)
	for range cache.MaxAge {
		c.Age()
		want(t, c, "old", 1, true, true)
	}
	c.Set("refreshed", 2, true)
	c.Age()
	want(t, c, "old", 0, false, false)
	want(t, c, "absent", 0, false, false)
	want(t, c, "refreshed", 2, true, true)
}

func TestHitAllocatesNothing(t *testing.T) {
	c := newCache(64)
	c.Set("k", 1, true)
	if n := testing.AllocsPerRun(100, func() { c.Get("k"); c.Get("unknown") }); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
}
