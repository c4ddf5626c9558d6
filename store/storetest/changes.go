package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

var eventNames = map[store.Event]string{
	store.Added: "added", store.Refreshed: "refreshed", store.Unregistered: "unregistered", store.Replaced: "replaced",
	store.Dropped: "dropped", store.Expired: "expired", store.FlowClosed: "flow closed", store.NodeGone: "node gone",
	store.Removed: "removed",
}

// testChanges: the result of an update says what has become of every binding, and why.
func testChanges(t *testing.T, s store.Store) {
	at := func(offset time.Duration, u store.Update) store.Update {
		u.Now = t0.Add(offset)
		for i := range u.Bindings {
			if u.Bindings[i].Live(t0) {
				u.Bindings[i].Expires = u.Now.Add(10 * time.Minute)
			}
		}
		return u
	}
	limited := func(n int, u store.Update) store.Update { u.MaxContacts, u.DropOldest = n, true; return u }
	replacing := func(u store.Update, keys ...string) store.Update { u.Replace = keys; return u }
	byOperator := func(u store.Update) store.Update { u.Operator = true; return u }
	steps := []struct {
		name    string
		u       store.Update
		changes []string
		left    string
	}{
		{"two added", update(alice, "A", 1, contact("a"), contact("b")), []string{"added a", "added b"}, "a/1 b/1"},
		{"one refreshed", at(time.Second, update(alice, "A", 2, contact("a"))), []string{"refreshed a"}, "a/2 b/1"},
		{"a third", at(2*time.Second, update(alice, "C", 1, contact("c"))), []string{"added c"}, "a/2 b/1 c/1"},
		{"the least recently refreshed is dropped", at(3*time.Second, limited(3, update(alice, "D", 1, contact("d")))),
			[]string{"dropped b", "added d"}, "a/2 c/1 d/1"},
		{"a refresh at the limit drops nothing", at(4*time.Second, limited(3, update(alice, "C", 2, contact("c")))),
			[]string{"refreshed c"}, "a/2 c/2 d/1"},
		{"two dropped for two", at(5*time.Second, limited(3, update(alice, "E", 1, contact("e"), contact("f")))),
			[]string{"dropped a", "dropped d", "added e", "added f"}, "c/2 e/1 f/1"},
		{"a ghost replaced, whatever its CSeq", at(6*time.Second, replacing(update(alice, "E", 1, contact("g")), "f", "nothing")),
			[]string{"replaced f", "added g"}, "c/2 e/1 g/1"},
		{"replaced by itself", at(7*time.Second, replacing(update(alice, "E", 1, contact("g")), "g")),
			[]string{"refreshed g"}, "c/2 e/1 g/1"},
		{"unregistered", at(8*time.Second, update(alice, "C", 3, gone("c"))), []string{"unregistered c"}, "e/1 g/1"},
		{"a query", at(9*time.Second, update(alice, "C", 3)), nil, "e/1 g/1"},
		{"what had expired is told by the next", at(time.Hour, update(alice, "H", 1, contact("h"))),
			[]string{"expired e", "expired g", "added h"}, "h/1"},
		{"removed by the operator", at(time.Hour, byOperator(update(alice, "O", 1, gone("h"), gone("nothing")))), []string{"removed h"}, ""},
		{"another", at(time.Hour, update(alice, "H", 2, contact("h"))), []string{"added h"}, "h/2"},
		{"all", store.Update{AOR: alice, Now: t0.Add(time.Hour), CallID: "x", RemoveAll: true}, []string{"unregistered h"}, ""},
	}
	for _, st := range steps {
		r := register(t, s, st.u)
		var got []string
		for event, b := range r.Changes() {
			got = append(got, fmt.Sprint(eventNames[event], " ", b.Key))
		}
		slices.Sort(got)
		slices.Sort(st.changes)
		if !slices.Equal(got, st.changes) {
			t.Errorf("%s: %q, want %q", st.name, got, st.changes)
		}
		wantKeys(t, st.name, r.Bindings, st.left)
		wantKeys(t, st.name+", then Lookup", lookup(t, s, alice, st.u.Now), st.left)
	}

	// More new contacts than there may be at all.
	_, err := s.Register(t.Context(), limited(2, update(bob, "A", 1, contact("a"), contact("b"), contact("c"))))
	wantErr(t, "three of two", err, store.ErrTooManyContacts)
	wantKeys(t, "three of two", lookup(t, s, bob, t0), "")
}

// testLeases: what hangs on the connections of a node that is no more does not exist.
func testLeases(t *testing.T, s store.Store) {
	on := func(key, node string, epoch int64, regID int) store.Binding {
		b := contact(key)
		b.Node, b.Epoch, b.RegID = node, epoch, regID
		return b
	}
	lease := func(node string, epoch int64, until time.Duration) {
		t.Helper()
		wantErr(t, "Heartbeat", s.Heartbeat(t.Context(), store.Lease{Node: node, Epoch: epoch, Until: t0.Add(until)}), nil)
	}
	tcp, outbound, udp := on("tcp", "n1", 1, 0), on("outbound", "n1", 1, 1), on("udp", "n1", 1, 1)
	tcp.Flow.Transport, outbound.Flow.Transport, udp.Flow.ID = sip.TCP, sip.TCP, 0
	register(t, s, update(alice, "A", 1, on("ws", "n1", 1, 0), tcp, outbound, udp, on("other", "n2", 1, 0), on("later", "n1", 2, 0)))
	const all = "ws/1 tcp/1 outbound/1 udp/1 other/1 later/1"
	check := func(what string, now time.Duration, want string) {
		t.Helper()
		at := t0.Add(now)
		wantKeys(t, what, lookup(t, s, alice, at), want)
		if got, ok := s.CachedLookup(alice, at); ok {
			wantKeys(t, what+", CachedLookup", got, want)
		}
		page, err := s.List(t.Context(), store.Query{Now: at})
		if err != nil {
			t.Error(err)
		}
		byKey := slices.Clone(lookup(t, s, alice, at))
		slices.SortFunc(byKey, func(a, b store.Binding) int { return strings.Compare(a.Key, b.Key) })
		if !slices.Equal(page, byKey) {
			t.Errorf("%s: List has %q, want %q", what, keys(page), keys(byKey))
		}
		wantCount(t, s, at, len(page))
	}
	check("no leases", 0, all)
	lease("n1", 1, 10*time.Second)
	lease("n3", 1, 10*time.Second)
	check("alive", 9*time.Second, all)
	check("the lease ran out", 10*time.Second, "tcp/1 udp/1 other/1 later/1")
	lease("n1", 1, 20*time.Second)
	check("extended", 10*time.Second, all)
	lease("n1", 2, 20*time.Second)
	check("a new epoch", 0, "tcp/1 udp/1 other/1 later/1")

	// The next update finds them gone.
	r := register(t, s, update(alice, "B", 1, contact("new")))
	gone := 0
	for event := range r.Changes() {
		if event == store.NodeGone {
			gone++
		}
	}
	if gone != 2 || r.Removed != 0 {
		t.Errorf("%d bindings of a gone node, removed %d, want 2, 0", gone, r.Removed)
	}
	nodes, err := s.Nodes(t.Context())
	if err != nil || len(nodes) != 2 || nodes[0].Node != "n1" || nodes[0].Epoch != 2 ||
		!nodes[0].Until.Equal(time.UnixMilli(t0.Add(20*time.Second).UnixMilli())) || nodes[1].Node != "n3" {
		t.Errorf("Nodes: %+v, %v", nodes, err)
	}
}
