// Package storetest is the contract of package store as tests. Every implementation runs
// all of it.
package storetest

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// Run tests an implementation. open returns a new, empty store; Run closes it.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := []struct {
		name string
		test func(t *testing.T, s store.Store)
	}{
		{"Register", testRegister},
		{"RegisterKeepsEveryField", testFields},
		{"RegisterRefused", testRefused},
		{"RegisterRebinds", testRebinds},
		{"RegisterCopies", testCopies},
		{"Expiry", testExpiry},
		{"RemoveFlow", testRemoveFlow},
		{"Sweep", testSweep},
		{"List", testList},
		{"ListPages", testListPages},
		{"ListFilters", testListFilters},
		{"ListSorted", testListSorted},
		{"Leases", testLeases},
		{"Changes", testChanges},
		{"Users", testUsers},
		{"ListUsers", testListUsers},
		{"ImportUsers", testImport},
		{"ImportUsersRefused", testImportRefused},
		{"Secret", testSecret},
		{"Cached", testCached},
		{"Contexts", testContexts},
		{"Close", testClose},
		{"ConcurrentOneAOR", testConcurrentOneAOR},
		{"ConcurrentReadYourWrites", testReadYourWrites},
		{"ConcurrentLateClose", testLateClose},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			tt.test(t, s)
		})
	}
}

// t0 is the time of most tests, with more digits than a store keeps.
var t0 = time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.UTC)

const alice, bob = "alice@example.test", "bob@example.test"

// contact returns a binding as the registrar would hand it in, bound for 10 minutes.
func contact(key string) store.Binding {
	return store.Binding{
		Key:       key,
		Contact:   "sip:" + key + "@192.0.2.1:5062;ob",
		Params:    ";+sip.ice;audio",
		Q:         1000,
		UserAgent: "test",
		Flow:      flow(1),
		Node:      "n1",
		Epoch:     1,
		Expires:   t0.Add(10 * time.Minute),
	}
}

func flow(id uint64) sip.Flow {
	return sip.Flow{
		Transport: sip.WS,
		Local:     netip.MustParseAddrPort("192.0.2.254:8080"),
		Remote:    netip.MustParseAddrPort("[2001:db8::7]:40001"),
		ID:        id,
	}
}

// gone returns a binding that asks for the removal of key.
func gone(key string) store.Binding {
	b := contact(key)
	b.Expires = t0
	return b
}

func update(aor, callID string, cseq uint32, bindings ...store.Binding) store.Update {
	return store.Update{AOR: aor, Now: t0, CallID: callID, CSeq: cseq, Bindings: bindings}
}

// register does an update that must succeed.
func register(t *testing.T, s store.Store, u store.Update) store.Result {
	t.Helper()
	r, err := s.Register(t.Context(), u)
	if err != nil {
		t.Fatalf("Register(%s, %s %d): %v", u.AOR, u.CallID, u.CSeq, err)
	}
	return r
}

// add binds contacts to an AOR with a Call-ID of its own.
func add(t *testing.T, s store.Store, aor string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		register(t, s, update(aor, "call-"+key, 1, contact(key)))
	}
}

func lookup(t *testing.T, s store.Store, aor string, now time.Time) []store.Binding {
	t.Helper()
	bindings, err := s.Lookup(t.Context(), aor, now)
	if err != nil {
		t.Fatalf("Lookup(%s): %v", aor, err)
	}
	return bindings
}

// keys describes a set: the keys with their CSeq, in order.
func keys(bindings []store.Binding) string {
	s := ""
	for _, b := range bindings {
		s += fmt.Sprintf("%s/%d ", b.Key, b.CSeq)
	}
	return s
}

func wantKeys(t *testing.T, what string, got []store.Binding, want string) {
	t.Helper()
	if want != "" {
		want += " "
	}
	if keys(got) != want {
		t.Errorf("%s: %q, want %q", what, keys(got), want)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

func wantCount(t *testing.T, s store.Store, now time.Time, want int) {
	t.Helper()
	if n, err := s.Count(t.Context(), store.Query{Now: now}); n != want || err != nil {
		t.Errorf("Count = %d, %v, want %d", n, err, want)
	}
}
