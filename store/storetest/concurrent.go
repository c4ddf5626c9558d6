package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipway/sipway/store"
)

// testCached: a hit is what the method that may wait would have said.
func testCached(t *testing.T, s store.Store) {
	check := func(what, want string) {
		t.Helper()
		wantKeys(t, what+", Lookup", lookup(t, s, alice, t0), want)
		// Whatever a look-up has just found is in memory, "nothing" included.
		bindings, ok := s.CachedLookup(alice, t0)
		if !ok {
			t.Errorf("%s: not cached", what)
		}
		wantKeys(t, what+", CachedLookup", bindings, want)
	}
	check("before", "")
	add(t, s, alice, "a", "b")
	check("added", "a/1 b/1")
	if n := testing.AllocsPerRun(100, func() { s.CachedLookup(alice, t0) }); n != 0 {
		t.Errorf("CachedLookup allocates %v times", n)
	}
	if n, err := s.RemoveFlow(t.Context(), "n1", 1, 1, []string{alice}); len(n) != 2 || err != nil {
		t.Errorf("RemoveFlow = %v, %v", n, err)
	}
	check("removed", "")

	wantNoUser(t, s, "alice", "example.test")
	if _, exists, ok := s.CachedUser("alice", "example.test"); exists || !ok {
		t.Errorf("CachedUser of nobody: exists %t, ok %t", exists, ok)
	}
	wantErr(t, "PutUsers", s.PutUsers(t.Context(), []store.User{user("alice")}, store.Add), nil)
	wantUser(t, s, user("alice"))
	if u, exists, ok := s.CachedUser("alice", "example.test"); u != user("alice") || !exists || !ok {
		t.Errorf("CachedUser = %v, exists %t, ok %t", u, exists, ok)
	}
	if n := testing.AllocsPerRun(100, func() { s.CachedUser("alice", "example.test") }); n != 0 {
		t.Errorf("CachedUser allocates %v times", n)
	}
}

// calls are all methods that take a context.
func calls(s store.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Register": func(ctx context.Context) error {
			_, err := s.Register(ctx, update(alice, "A", 1, contact("a")))
			return err
		},
		"Lookup":     func(ctx context.Context) error { _, err := s.Lookup(ctx, alice, t0); return err },
		"RemoveFlow": func(ctx context.Context) error { _, err := s.RemoveFlow(ctx, "n1", 1, 1, []string{alice}); return err },
		"List":       func(ctx context.Context) error { _, err := s.List(ctx, store.Query{Now: t0}); return err },
		"Count":      func(ctx context.Context) error { _, err := s.Count(ctx, store.Query{Now: t0}); return err },
		"Sweep":      func(ctx context.Context) error { _, err := s.Sweep(ctx, t0, 10); return err },
		"User":       func(ctx context.Context) error { _, err := s.User(ctx, "alice", "example.test"); return err },
		"PutUsers":   func(ctx context.Context) error { return s.PutUsers(ctx, []store.User{user("alice")}, store.Upsert) },
		"ImportUsers": func(ctx context.Context) error {
			_, err := s.ImportUsers(ctx, sequence(2, nil), store.Upsert, nil)
			return err
		},
		"DeleteUser": func(ctx context.Context) error { return s.DeleteUser(ctx, "alice", "example.test") },
		"ListUsers":  func(ctx context.Context) error { _, err := s.ListUsers(ctx, store.UserID{}, 10); return err },
		"Heartbeat":  func(ctx context.Context) error { return s.Heartbeat(ctx, store.Lease{Node: "n1", Until: t0}) },
		"Nodes":      func(ctx context.Context) error { _, err := s.Nodes(ctx); return err },
		"Secret":     func(ctx context.Context) error { _, err := s.Secret(ctx, "x"); return err },
	}
}

// testContexts: what is called with a context that has ended does nothing and says so.
func testContexts(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(s) {
		err := call(ctx)
		wantErr(t, name, err, context.Canceled)
		if errors.Is(err, store.ErrUncertain) {
			t.Errorf("%s: %v, though it was not begun", name, err)
		}
	}
	wantCount(t, s, t0, 0)
	wantNoUser(t, s, "alice", "example.test")
}

func testClose(t *testing.T, s store.Store) {
	add(t, s, alice, "a")
	wantErr(t, "Close", s.Close(), nil)
	for name, call := range calls(s) {
		wantErr(t, name+" after Close", call(t.Context()), store.ErrUnavailable)
	}
}

// testConcurrentOneAOR: writers of one AOR get into no order but an order: of the same
// request sent by all, exactly one is accepted.
func testConcurrentOneAOR(t *testing.T, s store.Store) {
	const writers, rounds = 8, 25
	var accepted atomic.Int32
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				own := contact(fmt.Sprint("own", w))
				if _, err := s.Register(t.Context(), update(alice, fmt.Sprint("own", w), uint32(i+1), own)); err != nil {
					t.Errorf("own binding: %v", err)
				}
				switch _, err := s.Register(t.Context(), update(alice, "shared", uint32(i+1), contact("shared"))); {
				case err == nil:
					accepted.Add(1)
				case !errors.Is(err, store.ErrOrder):
					t.Errorf("shared binding: %v", err)
				}
			}
		})
	}
	wg.Wait()
	// Each CSeq was accepted at most once, and the highest was.
	if n := accepted.Load(); n < 1 || n > rounds {
		t.Errorf("%d updates of one Call-ID accepted, at most %d have different CSeqs", n, rounds)
	}
	got := lookup(t, s, alice, t0)
	if len(got) != writers+1 {
		t.Errorf("%d bindings, want %d", len(got), writers+1)
	}
	for _, b := range got {
		if b.CSeq != rounds {
			t.Errorf("%s has CSeq %d, want %d", b.Key, b.CSeq, rounds)
		}
	}
}

// testReadYourWrites: once Register has returned, no look-up, from memory or not, says
// anything older, however many others read the same AOR at the same time.
func testReadYourWrites(t *testing.T, s store.Store) {
	const writers, rounds = 4, 40
	ctx, cancel := context.WithCancel(t.Context())
	var readers, wg sync.WaitGroup
	for w := range writers {
		aor := fmt.Sprintf("u%d@example.test", w)
		var latest atomic.Uint32
		see := func(bindings []store.Binding, floor uint32) {
			if len(bindings) != 1 && floor > 0 {
				t.Errorf("%d bindings after CSeq %d", len(bindings), floor)
			} else if floor > 0 && bindings[0].CSeq < floor {
				t.Errorf("CSeq %d after %d was acknowledged", bindings[0].CSeq, floor)
			}
		}
		readers.Go(func() {
			for ; ctx.Err() == nil; runtime.Gosched() {
				floor := latest.Load()
				bindings, err := s.Lookup(t.Context(), aor, t0)
				if err != nil {
					t.Error(err)
				}
				see(bindings, floor)
				floor = latest.Load()
				if bindings, ok := s.CachedLookup(aor, t0); ok {
					see(bindings, floor)
				}
			}
		})
		wg.Go(func() {
			for i := range rounds {
				cseq := uint32(i + 1)
				if _, err := s.Register(t.Context(), update(aor, "A", cseq, contact("a"))); err != nil {
					t.Error(err)
				}
				latest.Store(cseq)
				// Others in between, so that a small cache forgets.
				if _, err := s.Register(t.Context(), update(fmt.Sprintf("x%d-%d@example.test", w, i), "A", 1, contact("a"))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	readers.Wait()
}

// testLateClose: a page reloads again and again; each time the close of its old connection
// races with the REGISTER over the new one. However it ends, the new binding is there.
func testLateClose(t *testing.T, s store.Store) {
	const rounds = 100
	for i := range uint64(rounds) {
		b := contact("page")
		b.Flow = flow(i + 2)
		b.Expires = t0.Add(time.Hour)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.RemoveFlow(t.Context(), "n1", 1, i+1, []string{alice}); err != nil {
				t.Error(err)
			}
		})
		if _, err := s.Register(t.Context(), update(alice, fmt.Sprint("load", i), 1, b)); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if got := lookup(t, s, alice, t0); len(got) != 1 || got[0].Flow.ID != i+2 {
			t.Fatalf("round %d: %+v", i, got)
		}
	}
}
