package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sipway/sipway/store"
)

func testList(t *testing.T, s store.Store) {
	add(t, s, "bob@example.test", "b", "a")
	add(t, s, "alice@example.test", "z")
	add(t, s, "alice@example.com", "k")
	add(t, s, "Alice@example.test", "k")
	add(t, s, "al[i]?ce_%@example.test", "k")
	add(t, s, "\xff\xff@example.test", "k")
	tests := []struct {
		pattern string
		want    []string
	}{
		{"", []string{
			"Alice@example.test k", "al[i]?ce_%@example.test k", "alice@example.com k", "alice@example.test z",
			"bob@example.test a", "bob@example.test b", "\xff\xff@example.test k",
		}},
		{"alice@example.test", []string{"alice@example.test z"}},
		{"alice*", []string{"alice@example.com k", "alice@example.test z"}},
		{"al*", []string{"al[i]?ce_%@example.test k", "alice@example.com k", "alice@example.test z"}},
		{"al[i]?ce_%*", []string{"al[i]?ce_%@example.test k"}},
		{"*.com", []string{"alice@example.com k"}},
		{"*i*@*.test", []string{"Alice@example.test k", "al[i]?ce_%@example.test k", "alice@example.test z"}},
		{"bob@example.tes", nil},
		{"a_ice*", nil},
		{"al?ce*", nil},
		{"zoe*", nil},
	}
	for _, tt := range tests {
		page, err := s.List(t.Context(), store.Query{Pattern: tt.pattern, Now: t0})
		if err != nil {
			t.Errorf("List(%q): %v", tt.pattern, err)
		}
		var got []string
		for _, b := range page {
			got = append(got, b.AOR+" "+b.Key)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("List(%q) = %q, want %q", tt.pattern, got, tt.want)
		}
	}
}

// testListPages walks in pages of all sizes, with bindings that have expired between, and
// while rows come and go.
func testListPages(t *testing.T, s store.Store) {
	const aors = 300
	want := 0
	var wg sync.WaitGroup
	for i := range aors {
		// Inserted out of order; 7 is prime to 300.
		aor := fmt.Sprintf("u%03d@example.test", i*7%aors)
		u := update(aor, "A", 1)
		for j := range i % 4 {
			b := contact(fmt.Sprint("k", j))
			if i%5 == 0 {
				b.Expires = t0.Add(time.Second)
			} else {
				want++
			}
			u.Bindings = append(u.Bindings, b)
		}
		wg.Go(func() {
			if _, err := s.Register(t.Context(), u); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	now := t0.Add(time.Minute)
	walk := func(limit int, between func()) (all []store.Cursor) {
		t.Helper()
		q := store.Query{Pattern: "u*", Limit: limit, Now: now}
		for {
			page, err := s.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for i := range page {
				all = append(all, store.ByAOR.Cursor(&page[i]))
			}
			if len(page) < limit {
				return all
			}
			q.After = store.ByAOR.Cursor(&page[len(page)-1])
			between()
		}
	}
	for _, limit := range []int{1, 2, 3, 7, 100, 1000} {
		all := walk(limit, func() {})
		if len(all) != want || !slices.IsSortedFunc(all, store.ByAOR.Compare) || len(slices.Compact(all)) != want {
			t.Errorf("pages of %d: %d bindings, sorted %t, want %d", limit, len(all), slices.IsSortedFunc(all, store.ByAOR.Compare), want)
		}
	}
	next := 0
	all := walk(10, func() {
		next++
		add(t, s, fmt.Sprintf("a%03d@example.test", next), "k")
		register(t, s, store.Update{AOR: fmt.Sprintf("u%03d@example.test", next%10), Now: t0, CallID: "R", RemoveAll: true})
	})
	if len(all) != len(slices.Compact(slices.Clone(all))) || !slices.IsSortedFunc(all, store.ByAOR.Compare) {
		t.Error("a walk beside writes sees a binding twice")
	}
}
