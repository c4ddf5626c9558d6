package postgres_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/postgres"
	"github.com/sipway/sipway/store/postgres/pgtest"
)

// twoNodes opens two stores on one database.
func twoNodes(t *testing.T) (a, b *postgres.Store) {
	t.Helper()
	dsn := pgtest.Database(t)
	a, b = openStore(t, dsn, postgres.Config{}), openStore(t, dsn, postgres.Config{})
	t.Cleanup(func() {
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	return a, b
}

// A node hears what others add and remove, and who watches is told. It hears of no mere
// refresh.
func TestOthersAreHeard(t *testing.T) {
	a, b := twoNodes(t)
	cached := func(keys ...string) func() bool {
		return func() bool {
			got, err := b.Lookup(t.Context(), "u@x", epoch)
			return err == nil && slices.EqualFunc(got, keys, func(b store.Binding, key string) bool { return b.Key == key })
		}
	}
	heard := make(chan []string, 100)
	stop := b.Watch(func(aors []string) { heard <- aors })
	defer stop()
	if !cached()() {
		t.Fatal("somebody is bound")
	}
	register(t, a, update("u@x", 1, binding("k")))
	eventually(t, "addition", cached("k"))
	if aors := <-heard; !slices.Equal(aors, []string{"u@x"}) {
		t.Errorf("heard of %q", aors)
	}
	moved := binding("k")
	moved.Node, moved.Flow.ID = "n2", 9
	register(t, a, update("u@x", 2, moved))
	eventually(t, "move", func() bool {
		got, err := b.Lookup(t.Context(), "u@x", epoch)
		return err == nil && len(got) == 1 && got[0].Node == "n2"
	})
	<-heard

	register(t, a, update("u@x", 3, moved)) // a refresh
	register(t, a, update("u@x", 4, binding("l"), moved))
	eventually(t, "second binding", cached("k", "l"))
	if aors := <-heard; !slices.Equal(aors, []string{"u@x"}) || len(heard) > 0 {
		t.Errorf("heard of %q and %d times more", aors, len(heard))
	}
	if _, err := a.RemoveFlow(t.Context(), "n2", 1, 9, []string{"u@x"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "removal", cached("l"))

	alice := store.User{Name: "alice", Domain: "x", HA1: store.HA1{MD5: "old"}}
	if _, err := b.User(t.Context(), "alice", "x"); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	for _, secret := range []string{"old", "new"} {
		alice.HA1.MD5 = secret
		if err := a.PutUsers(t.Context(), []store.User{alice}, store.Upsert); err != nil {
			t.Fatal(err)
		}
		eventually(t, "user with secret "+secret, func() bool {
			u, err := b.User(t.Context(), "alice", "x")
			return err == nil && u == alice
		})
	}
	imported := func(yield func(store.User, error) bool) {
		yield(store.User{Name: "alice", Domain: "x", HA1: store.HA1{MD5: "third"}}, nil)
	}
	if _, err := a.ImportUsers(t.Context(), imported, store.Upsert, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "imported user", func() bool {
		u, err := b.User(t.Context(), "alice", "x")
		return err == nil && u.HA1.MD5 == "third"
	})
}

// A binding that was refreshed at another node exists, though in memory it has expired.
func TestRefreshedElsewhere(t *testing.T) {
	a, b := twoNodes(t)
	register(t, a, update("u@x", 1, binding("k")))
	eventually(t, "binding", func() bool {
		got, err := b.Lookup(t.Context(), "u@x", epoch)
		return err == nil && len(got) == 1
	})
	later := binding("k")
	later.Expires = epoch.Add(3 * time.Hour)
	register(t, a, update("u@x", 2, later))
	got, err := b.Lookup(t.Context(), "u@x", epoch.Add(2*time.Hour))
	if err != nil || len(got) != 1 || got[0].CSeq != 2 {
		t.Errorf("after the first expiry: %+v, %v", got, err)
	}
	// Now that it is known, it is known without the database.
	if _, ok := b.CachedLookup("u@x", epoch.Add(2*time.Hour)); !ok {
		t.Error("not cached")
	}
}

// What hangs on a node whose lease has ended is void at every other, with no row touched.
func TestLeaseOfAnotherNode(t *testing.T) {
	a, b := twoNodes(t)
	lease := store.Lease{Node: "n1", Epoch: 1, Until: epoch.Add(10 * time.Second)}
	if err := a.Heartbeat(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	register(t, a, update("u@x", 1, binding("k")))
	at := func(now time.Time, want int) func() bool {
		return func() bool {
			got, err := b.Lookup(t.Context(), "u@x", now)
			return err == nil && len(got) == want
		}
	}
	eventually(t, "binding", at(epoch, 1))
	eventually(t, "end of the lease", at(epoch.Add(10*time.Second), 0))
	lease.Epoch = 2
	if err := a.Heartbeat(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next epoch", at(epoch, 0))
}

// Two nodes write the same AORs: whatever is in their memory, each REGISTER is applied to
// what is in the database, and none locks another out.
func TestTwoWriters(t *testing.T) {
	a, b := twoNodes(t)
	const aors, rounds = 8, 60
	var accepted [aors][rounds + 1]atomic.Int32
	var wg sync.WaitGroup
	for n, s := range []*postgres.Store{a, b} {
		for i := range aors {
			wg.Go(func() {
				aor := fmt.Sprintf("u%d@x", i)
				for cseq := uint32(1); cseq <= rounds; cseq++ {
					// The same request at both nodes: it is accepted once.
					_, err := s.Register(t.Context(), update(aor, cseq, binding("shared")))
					switch {
					case err == nil:
						accepted[i][cseq].Add(1)
					case !errors.Is(err, store.ErrOrder):
						t.Errorf("node %d: %v", n, err)
					}
					// And one of its own, which comes and goes.
					own := binding(fmt.Sprint("own", n))
					if cseq%3 == 0 {
						own.Expires = epoch
					}
					u := update(aor, cseq, own)
					u.CallID = own.Key
					if _, err := s.Register(t.Context(), u); err != nil {
						t.Errorf("node %d, own binding: %v", n, err)
					}
				}
			})
		}
	}
	wg.Wait()
	for i := range aors {
		for cseq := 1; cseq <= rounds; cseq++ {
			if n := accepted[i][cseq].Load(); n > 1 {
				t.Errorf("u%d: CSeq %d was accepted %d times", i, cseq, n)
			}
		}
		for n, s := range []*postgres.Store{a, b} {
			eventually(t, fmt.Sprintf("u%d at node %d", i, n), func() bool {
				got, err := s.Lookup(t.Context(), fmt.Sprintf("u%d@x", i), epoch)
				return err == nil && len(got) == 1 && got[0].Key == "shared" && got[0].CSeq == rounds
			})
		}
	}
}

// A refresh of what another node has changed in the meantime is not done on what memory
// has, even if nobody was heard yet.
func TestRefreshOfWhatChanged(t *testing.T) {
	a, b := twoNodes(t)
	for i := range 50 {
		aor := fmt.Sprintf("u%d@x", i)
		register(t, a, update(aor, 1, binding("k")))
		all := store.Update{AOR: aor, Now: epoch, CallID: "other", CSeq: 1, RemoveAll: true}
		if r := register(t, b, all); r.Removed != 1 {
			t.Fatalf("removed %d", r.Removed)
		}
		if r := register(t, a, update(aor, 2, binding("k"))); r.Added != 1 || r.Refreshed != 0 {
			t.Errorf("%s: added %d, refreshed %d, want an addition", aor, r.Added, r.Refreshed)
		}
	}
}

// Of two nodes that sweep, each expired binding is told to one.
func TestTwoSweepers(t *testing.T) {
	a, b := twoNodes(t)
	const n = 600
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { register(t, a, update(fmt.Sprintf("u%d@x", i), 1, binding("k"))) })
	}
	wg.Wait()
	var swept atomic.Int64
	for _, s := range []store.Store{a, b, a, b} {
		wg.Go(func() {
			for {
				gone, err := s.Sweep(t.Context(), epoch.Add(2*time.Hour), 100)
				if err != nil {
					t.Error(err)
				}
				if swept.Add(int64(len(gone))); len(gone) == 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	if swept.Load() != n {
		t.Errorf("%d were swept, want %d", swept.Load(), n)
	}
}

// Nodes that start at the same time make the tables together.
func TestOpenTogether(t *testing.T) {
	dsn := pgtest.Database(t)
	secrets := make([][]byte, 5)
	var wg sync.WaitGroup
	for i := range secrets {
		wg.Go(func() {
			s, err := postgres.Open(t.Context(), dsn, postgres.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if secrets[i], err = s.Secret(t.Context(), "nonce"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, secret := range secrets[1:] {
		if !bytes.Equal(secret, secrets[0]) {
			t.Error("they have different secrets")
		}
	}
}
