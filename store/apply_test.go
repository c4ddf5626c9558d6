package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

var now = time.UnixMilli(1_800_000_000_000)

// bound returns a binding as it stands in a store.
func bound(key, callID string, cseq uint32, left time.Duration) store.Binding {
	return store.Binding{
		AOR: "a@x", Key: key, CallID: callID, CSeq: cseq,
		Created: now.Add(-time.Minute), Updated: now.Add(-time.Minute), Expires: now.Add(left),
	}
}

// asked returns a binding as a REGISTER asks for it.
func asked(key string, left time.Duration) store.Binding {
	return store.Binding{Key: key, Expires: now.Add(left)}
}

func describe(bindings []store.Binding) string {
	s := ""
	for _, b := range bindings {
		s += fmt.Sprintf("%s/%s/%d ", b.Key, b.CallID, b.CSeq)
	}
	return s
}

func TestApply(t *testing.T) {
	current := []store.Binding{
		bound("a", "A", 5, time.Hour),
		bound("dead", "D", 9, 0),
		bound("b", "B", 5, time.Hour),
	}
	const unchanged = "a/A/5 b/B/5 "
	tests := []struct {
		name                      string
		callID                    string
		cseq                      uint32
		all                       bool
		limit                     int
		asked                     []store.Binding
		err                       error
		added, refreshed, removed int
		left                      string
	}{
		{name: "query", callID: "A", cseq: 1, left: unchanged},
		{name: "add", callID: "N", asked: []store.Binding{asked("n", time.Hour)}, added: 1, left: unchanged + "n/N/0 "},
		{name: "refresh", callID: "A", cseq: 6, asked: []store.Binding{asked("a", time.Hour)}, refreshed: 1, left: "a/A/6 b/B/5 "},
		{name: "remove", callID: "A", cseq: 6, asked: []store.Binding{asked("a", 0)}, removed: 1, left: "b/B/5 "},
		{name: "remove what is not there", callID: "A", cseq: 1, asked: []store.Binding{asked("n", 0)}, left: unchanged},
		{name: "remove what has expired", callID: "D", cseq: 1, asked: []store.Binding{asked("dead", 0)}, left: unchanged},
		{name: "add what has expired", callID: "D", cseq: 1, asked: []store.Binding{asked("dead", time.Hour)}, added: 1, left: unchanged + "dead/D/1 "},
		{name: "equal CSeq", callID: "A", cseq: 5, asked: []store.Binding{asked("a", time.Hour)}, err: store.ErrOrder},
		{name: "lower CSeq", callID: "A", cseq: 4, asked: []store.Binding{asked("a", 0)}, err: store.ErrOrder},
		{name: "lower CSeq, other binding", callID: "A", cseq: 4, asked: []store.Binding{asked("b", time.Hour)}, refreshed: 1, left: "a/A/5 b/A/4 "},
		{name: "one of two late", callID: "A", cseq: 5, asked: []store.Binding{asked("b", 0), asked("a", 0)}, err: store.ErrOrder},
		{name: "all", callID: "N", all: true, removed: 2},
		{name: "all, late", callID: "B", cseq: 5, all: true, err: store.ErrOrder},
		{name: "all, what has expired has no order", callID: "D", cseq: 1, all: true, removed: 2},
		{name: "at the limit", callID: "N", limit: 3, asked: []store.Binding{asked("n", time.Hour)}, added: 1, left: unchanged + "n/N/0 "},
		{name: "above the limit", callID: "N", limit: 2, asked: []store.Binding{asked("n", time.Hour)}, err: store.ErrTooManyContacts},
		{name: "refresh above the limit", callID: "N", limit: 1, asked: []store.Binding{asked("a", time.Hour)}, refreshed: 1, left: "a/N/0 b/B/5 "},
		{name: "lifetime below what is kept", callID: "N", asked: []store.Binding{asked("a", time.Microsecond)}, removed: 1, left: "b/B/5 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(current)
			r, err := store.Apply(current, nil, store.Update{
				AOR: "a@x", Now: now, CallID: tt.callID, CSeq: tt.cseq,
				RemoveAll: tt.all, Bindings: tt.asked, MaxContacts: tt.limit,
			})
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if got := describe(r.Bindings); got != tt.left {
				t.Errorf("left %q, want %q", got, tt.left)
			}
			if r.Added != tt.added || r.Refreshed != tt.refreshed || r.Removed != tt.removed {
				t.Errorf("added %d, refreshed %d, removed %d, want %d, %d, %d",
					r.Added, r.Refreshed, r.Removed, tt.added, tt.refreshed, tt.removed)
			}
			if !slices.Equal(current, before) {
				t.Error("the current bindings were modified")
			}
		})
	}
}

// A plain refresh, the most frequent of all, allocates the new set and nothing else.
func TestApplyRefreshAllocates(t *testing.T) {
	current := []store.Binding{bound("a", "A", 5, time.Hour)}
	u := store.Update{AOR: "a@x", Now: now, CallID: "A", CSeq: 6, Bindings: []store.Binding{asked("a", time.Hour)}}
	if n := testing.AllocsPerRun(100, func() { _, _ = store.Apply(current, nil, u) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestDiff(t *testing.T) {
	a, b, c := bound("a", "A", 1, time.Hour), bound("b", "B", 1, time.Hour), bound("c", "C", 1, time.Hour)
	touched := a
	touched.CSeq, touched.Updated, touched.Expires = 2, now, now.Add(2*time.Hour)
	moved := a
	moved.Flow = sip.Flow{Transport: sip.WS, ID: 7}
	again := a
	again.Created = now
	tests := []struct {
		name                           string
		old, next                      []store.Binding
		deleted, inserted, updated, to string
	}{
		{name: "nothing"},
		{name: "the same", old: []store.Binding{a, b}, next: []store.Binding{a, b}},
		{name: "added", old: []store.Binding{a}, next: []store.Binding{a, b, c}, inserted: "b/B/1 c/C/1 "},
		{name: "removed", old: []store.Binding{a, b}, next: []store.Binding{b}, deleted: "a/A/1 "},
		{name: "refreshed", old: []store.Binding{a, b}, next: []store.Binding{touched, b}, to: "a/A/2 "},
		{name: "moved", old: []store.Binding{a}, next: []store.Binding{moved}, updated: "a/A/1 "},
		{name: "came again", old: []store.Binding{a, b}, next: []store.Binding{b, again}, deleted: "a/A/1 ", inserted: "a/A/1 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := store.Diff(tt.old, tt.next)
			got := [...]string{describe(c.Delete), describe(c.Insert), describe(c.Update), describe(c.Touch)}
			if want := [...]string{tt.deleted, tt.inserted, tt.updated, tt.to}; got != want {
				t.Errorf("delete, insert, update, touch %q, want %q", got, want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "anything", true},
		{"*", "", true},
		{"a", "a", true},
		{"a", "ab", false},
		{"a*", "ab", true},
		{"*b", "ab", true},
		{"a*b", "ab", true},
		{"a*b", "a", false},
		{"aa*aa", "aaa", false},
		{"*ab*ab", "abab", true},
		{"*ab*ab", "ab", false},
		{"a**b", "axb", true},
		{"a?", "ab", false},
	}
	for _, tt := range tests {
		if got := store.Match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("Match(%q, %q) = %t, want %t", tt.pattern, tt.s, got, tt.want)
		}
	}
}
