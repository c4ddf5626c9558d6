package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// testRegister is the life of one AOR; each step is seen by the next.
func testRegister(t *testing.T, s store.Store) {
	steps := []struct {
		name                      string
		u                         store.Update
		added, refreshed, removed int
		left                      string
	}{
		{"query of nothing", update(alice, "q", 1), 0, 0, 0, ""},
		{"removal of nothing", update(alice, "q", 1, gone("a")), 0, 0, 0, ""},
		{"first", update(alice, "A", 1, contact("a")), 1, 0, 0, "a/1"},
		{"two more", update(alice, "B", 7, contact("c"), contact("b")), 2, 0, 0, "a/1 c/7 b/7"},
		{"a refresh keeps its place", update(alice, "A", 2, contact("a")), 0, 1, 0, "a/2 c/7 b/7"},
		{"one removed, one refreshed, one added", update(alice, "B", 8, gone("c"), contact("b"), contact("d")), 1, 1, 1, "a/2 b/8 d/8"},
		{"query", update(alice, "A", 1), 0, 0, 0, "a/2 b/8 d/8"},
		{"another Call-ID needs no higher CSeq", update(alice, "new", 1, contact("a")), 0, 1, 0, "a/1 b/8 d/8"},
		{"another Call-ID removes", update(alice, "new", 1, gone("b")), 0, 0, 1, "a/1 d/8"},
		{"what was removed comes last", update(alice, "new", 2, contact("b")), 1, 0, 0, "a/1 d/8 b/2"},
		{"of two of a key the last counts", update(alice, "new", 3, contact("e"), gone("e"), gone("b"), contact("b")), 0, 1, 0, "a/1 d/8 b/3"},
		{"all removed", store.Update{AOR: alice, Now: t0, CallID: "other", CSeq: 1, RemoveAll: true}, 0, 0, 3, ""},
		{"all of nothing removed", store.Update{AOR: alice, Now: t0, CallID: "other", CSeq: 1, RemoveAll: true}, 0, 0, 0, ""},
		{"again", update(alice, "A", 3, contact("a")), 1, 0, 0, "a/3"},
	}
	add(t, s, bob, "a", "b")
	for _, st := range steps {
		r := register(t, s, st.u)
		if r.Added != st.added || r.Refreshed != st.refreshed || r.Removed != st.removed {
			t.Errorf("%s: added %d, refreshed %d, removed %d, want %d, %d, %d",
				st.name, r.Added, r.Refreshed, r.Removed, st.added, st.refreshed, st.removed)
		}
		wantKeys(t, st.name, r.Bindings, st.left)
		wantKeys(t, st.name+", then Lookup", lookup(t, s, alice, t0), st.left)
	}
	wantKeys(t, "another AOR", lookup(t, s, bob, t0), "a/1 b/1")
}

// testFields stores one binding with every field in use, and refreshes it.
func testFields(t *testing.T, s store.Store) {
	full := store.Binding{
		Key: "urn:uuid:1;2", Contact: `sip:x9@k3f.invalid;transport=ws;p="a'b"`, Params: ";+sip.instance=\"<urn:uuid:1>\";q=0.5",
		Path: "<sip:edge.example.test;lr>, <sip:\x00ü@[2001:db8::1]>", Q: 500, Methods: `"INVITE,BYE"`, Instance: "<urn:uuid:1>", RegID: 2,
		UserAgent: "JsSIP 3", Flow: flow(1<<63 + 5), Node: "n1", Epoch: -7, Expires: t0.Add(time.Hour),
	}
	got := register(t, s, update(alice, "c1", 1<<32-1, full)).Bindings[0]
	want := full
	want.AOR, want.CallID, want.CSeq = alice, "c1", 1<<32-1
	want.Created = time.UnixMilli(t0.UnixMilli())
	want.Updated = want.Created
	want.Expires = time.UnixMilli(full.Expires.UnixMilli())
	if got != want {
		t.Errorf("Register:\n got %+v\nwant %+v", got, want)
	}
	list := func() store.Binding {
		page, err := s.List(t.Context(), store.Query{Now: t0})
		if err != nil || len(page) != 1 {
			t.Fatalf("List: %d bindings, %v", len(page), err)
		}
		return page[0]
	}
	if got := list(); got != want {
		t.Errorf("List:\n got %+v\nwant %+v", got, want)
	}

	// Every field but Key and Created may change with a refresh, and the zero values are
	// values too.
	u := update(alice, "c2", 0, store.Binding{Key: full.Key, Flow: sip.Flow{Transport: sip.UDP}, Expires: full.Expires})
	u.Now = t0.Add(time.Minute)
	register(t, s, u)
	want = store.Binding{
		AOR: alice, Key: full.Key, CallID: "c2", Flow: sip.Flow{Transport: sip.UDP},
		Created: want.Created, Updated: time.UnixMilli(u.Now.UnixMilli()), Expires: want.Expires,
	}
	if got := lookup(t, s, alice, t0)[0]; got != want {
		t.Errorf("Lookup after a refresh:\n got %+v\nwant %+v", got, want)
	}
	if got := list(); got != want {
		t.Errorf("List after a refresh:\n got %+v\nwant %+v", got, want)
	}
}

// testRefused holds updates that fail to "all or nothing" (RFC 3261 §10.3 step 7).
func testRefused(t *testing.T, s store.Store) {
	register(t, s, update(alice, "A", 5, contact("a")))
	register(t, s, update(alice, "B", 5, contact("b")))
	limited := func(u store.Update, n int) store.Update { u.MaxContacts = n; return u }
	all := func(callID string, cseq uint32) store.Update {
		return store.Update{AOR: alice, Now: t0, CallID: callID, CSeq: cseq, RemoveAll: true}
	}
	tests := []struct {
		name string
		u    store.Update
		err  error
	}{
		{"repetition", update(alice, "A", 5, contact("a")), store.ErrOrder},
		{"late", update(alice, "A", 4, contact("a")), store.ErrOrder},
		{"late removal", update(alice, "A", 5, gone("a")), store.ErrOrder},
		{"late removal of all", all("A", 5), store.ErrOrder},
		{"the last of several", update(alice, "A", 5, contact("n"), gone("b"), contact("a")), store.ErrOrder},
		{"the first of several", update(alice, "A", 5, contact("a"), contact("n")), store.ErrOrder},
		{"hidden by a later one of its key", update(alice, "A", 5, contact("a"), gone("a")), store.ErrOrder},
		{"one too many", limited(update(alice, "N", 1, contact("n")), 2), store.ErrTooManyContacts},
		{"two too many", limited(update(alice, "N", 1, contact("n"), contact("m"), gone("a")), 2), store.ErrTooManyContacts},
	}
	for _, tt := range tests {
		_, err := s.Register(t.Context(), tt.u)
		wantErr(t, tt.name, err, tt.err)
		wantKeys(t, tt.name, lookup(t, s, alice, t0), "a/5 b/5")
	}
	wantCount(t, s, t0, 2)

	// What the limit leaves possible.
	r := register(t, s, limited(update(alice, "N", 1, gone("a"), contact("n")), 2))
	wantKeys(t, "replaced at the limit", r.Bindings, "b/5 n/1")
	r = register(t, s, limited(update(alice, "N", 2, contact("n")), 1))
	wantKeys(t, "refreshed above the limit", r.Bindings, "b/5 n/2")
	r = register(t, s, limited(update(alice, "N", 3, gone("n")), 1))
	wantKeys(t, "removed above the limit", r.Bindings, "b/5")
}

// testRebinds: the same key over another flow is a refresh that moves it there.
func testRebinds(t *testing.T, s store.Store) {
	add(t, s, alice, "a", "b")
	moved := contact("a")
	moved.Flow, moved.Epoch, moved.Contact = flow(2), 2, "sip:other@192.0.2.9"
	r := register(t, s, update(alice, "reloaded", 1, moved))
	if r.Added != 0 || r.Refreshed != 1 {
		t.Errorf("added %d, refreshed %d, want 0, 1", r.Added, r.Refreshed)
	}
	got := lookup(t, s, alice, t0)
	wantKeys(t, "rebound", got, "a/1 b/1")
	if b := got[0]; b.Flow != flow(2) || b.Epoch != 2 || b.Contact != moved.Contact {
		t.Errorf("the binding has %v, epoch %d, %s", b.Flow, b.Epoch, b.Contact)
	}
	wantCount(t, s, t0, 2)
}

// testCopies: the store keeps no part of the caller's strings, which may be views of a
// message, nor of its slice.
func testCopies(t *testing.T, s store.Store) {
	message := []byte("key contact agent call")
	view := func(from, to int) string { return unsafe.String(&message[from], to-from) }
	b := contact(view(0, 3))
	b.Contact, b.UserAgent = view(4, 11), view(12, 17)
	u := update(alice, view(18, 22), 1, b)
	register(t, s, u)
	copy(message, bytes.Repeat([]byte{'x'}, len(message)))
	u.Bindings[0].Key = "other"
	got := lookup(t, s, alice, t0)
	if len(got) != 1 || got[0].Key != "key" || got[0].Contact != "contact" || got[0].UserAgent != "agent" || got[0].CallID != "call" {
		t.Errorf("stored %+v", got)
	}
}

// testExpiry: from its Expires on a binding does not exist, swept or not.
func testExpiry(t *testing.T, s store.Store) {
	short, long := contact("short"), contact("long")
	short.Expires = t0.Add(time.Minute)
	register(t, s, update(alice, "A", 5, short, long, contact("third")))
	end := time.UnixMilli(short.Expires.UnixMilli())

	wantKeys(t, "just before", lookup(t, s, alice, end.Add(-time.Nanosecond)), "short/5 long/5 third/5")
	wantKeys(t, "at the end", lookup(t, s, alice, end), "long/5 third/5")
	wantCount(t, s, end.Add(-time.Millisecond), 3)
	wantCount(t, s, end, 2)
	page, err := s.List(t.Context(), store.Query{Now: end})
	wantErr(t, "List", err, nil)
	wantKeys(t, "List", page, "long/5 third/5")

	// Whatever its CSeq was: it is added, not refreshed, and comes last.
	again := contact("short")
	again.Expires = end.Add(time.Hour)
	u := update(alice, "A", 6, again)
	u.Now, u.MaxContacts = end, 3
	r := register(t, s, u)
	if r.Added != 1 || r.Refreshed != 0 || r.Removed != 0 {
		t.Errorf("added %d, refreshed %d, removed %d, want 1, 0, 0", r.Added, r.Refreshed, r.Removed)
	}
	wantKeys(t, "bound again", lookup(t, s, alice, end), "long/5 third/5 short/6")

	u = update(alice, "A", 1, contact("short"))
	u.Now = end.Add(2 * time.Hour)
	u.Bindings[0].Expires = u.Now.Add(time.Hour)
	wantKeys(t, "expired, so that no order holds", register(t, s, u).Bindings, "short/1")
	wantKeys(t, "no trace of what expired", lookup(t, s, alice, t0), "short/1")
}

func testRemoveFlow(t *testing.T, s store.Store) {
	on := func(key, node string, epoch int64, id uint64) store.Binding {
		b := contact(key)
		b.Node, b.Epoch, b.Flow = node, epoch, flow(id)
		return b
	}
	register(t, s, update(alice, "A", 1, on("a", "n1", 1, 7), on("b", "n1", 1, 7), on("other flow", "n1", 1, 8),
		on("other epoch", "n1", 2, 7), on("other node", "n2", 1, 7), on("udp", "n1", 1, 0)))
	register(t, s, update(bob, "B", 1, on("a", "n1", 1, 7)))
	add(t, s, "carol@example.test", "a")

	remove := func(id uint64, want int, aors ...string) {
		t.Helper()
		gone, err := s.RemoveFlow(t.Context(), "n1", 1, id, aors)
		if len(gone) != want || err != nil {
			t.Errorf("RemoveFlow(%d, %q) = %v, %v, want %d", id, aors, gone, err, want)
		}
		for _, b := range gone {
			if !b.Over("n1", 1, id) || !slices.Contains(aors, b.AOR) {
				t.Errorf("RemoveFlow(%d, %q) removed %+v", id, aors, b)
			}
		}
	}
	const rest = "other flow/1 other epoch/1 other node/1 udp/1"
	remove(9, 0, alice, bob)
	remove(7, 0)
	remove(7, 0, "nobody@example.test")
	remove(7, 2, alice)
	wantKeys(t, "alice", lookup(t, s, alice, t0), rest)
	wantKeys(t, "bob, not named", lookup(t, s, bob, t0), "a/1")
	remove(7, 1, alice, bob, bob)
	wantKeys(t, "bob", lookup(t, s, bob, t0), "")
	remove(0, 0, alice)
	wantKeys(t, "flow 0 is none", lookup(t, s, alice, t0), rest)

	// A re-REGISTER on a new connection can't be undone by the old one's late close.
	register(t, s, update(alice, "A2", 1, on("other flow", "n1", 1, 11)))
	remove(8, 0, alice)
	wantKeys(t, "rebound", lookup(t, s, alice, t0), "other flow/1 other epoch/1 other node/1 udp/1")
	wantCount(t, s, t0, 5)
}

func testSweep(t *testing.T, s store.Store) {
	const n = 120
	for i := range n {
		b, stays := contact("b"), contact("stays")
		b.Expires = t0.Add(time.Duration(1+i) * time.Second)
		register(t, s, update(fmt.Sprintf("u%03d@example.test", i), "A", 1, b))
		if i%2 == 0 {
			register(t, s, update(fmt.Sprintf("u%03d@example.test", i), "B", 1, stays))
		}
	}
	sweep := func(now time.Time, limit, want int) {
		t.Helper()
		swept, err := s.Sweep(t.Context(), now, limit)
		if len(swept) != want || err != nil {
			t.Errorf("Sweep(+%v, %d) = %d, %v, want %d", now.Sub(t0), limit, len(swept), err, want)
		}
		for _, b := range swept {
			if b.Live(now) || b.Contact == "" {
				t.Errorf("Sweep(+%v) deleted %+v", now.Sub(t0), b)
			}
		}
	}
	sweep(t0, 1000, 0)
	sweep(t0.Add(100*time.Second), 30, 30)
	sweep(t0.Add(100*time.Second), 30, 30)
	sweep(t0.Add(100*time.Second), 0, 0)
	sweep(t0.Add(100*time.Second), 1000, 40)
	sweep(t0.Add(100*time.Second), 1000, 0)
	// At t0 a swept binding would still be live: it is gone and not just hidden.
	wantCount(t, s, t0, n/2+20)
	wantKeys(t, "swept", lookup(t, s, "u001@example.test", t0), "")
	wantKeys(t, "swept, one stays", lookup(t, s, "u002@example.test", t0), "stays/1")
	wantKeys(t, "not due", lookup(t, s, "u110@example.test", t0), "b/1 stays/1")
}
