package sqlite_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/sqlite"
)

// eventually waits for what another connection's commit must bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(5 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within 5 s", what)
		}
	}
}

// Two stores on one file are to SQLite what two processes are.
func TestOtherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sipway.db")
	server, cli := openFile(t, path, sqlite.Config{}), openFile(t, path, sqlite.Config{})
	defer server.Close()
	defer cli.Close()
	alice := store.User{Name: "alice", Domain: "x", HA1: store.HA1{MD5: "old"}}

	_, err := server.User(t.Context(), "alice", "x")
	if !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("error %v, want %v", err, store.ErrNotFound)
	}
	for _, secret := range []string{"old", "new"} {
		alice.HA1.MD5 = secret
		if err := cli.PutUsers(t.Context(), []store.User{alice}, store.Upsert); err != nil {
			t.Fatal(err)
		}
		eventually(t, "user with secret "+secret, func() bool {
			u, err := server.User(t.Context(), "alice", "x")
			return err == nil && u == alice
		})
	}

	if _, err := server.Register(t.Context(), update("a@x", 1, binding("k"))); err != nil {
		t.Fatal(err)
	}
	if r, err := cli.Register(t.Context(), update("a@x", 2, binding("other"))); err != nil || len(r.Bindings) != 2 {
		t.Fatalf("the second process registers: %d bindings, %v", len(r.Bindings), err)
	}
	// A write looks at once: it must not be applied to what the cache has.
	if r, err := server.Register(t.Context(), update("a@x", 3, binding("third"))); err != nil || len(r.Bindings) != 3 {
		t.Fatalf("the first process registers: %d bindings, %v", len(r.Bindings), err)
	}
	heard := make(chan struct{}, 100)
	stop := server.Watch(func(aors []string) {
		if aors == nil {
			heard <- struct{}{}
		}
	})
	defer stop()
	all := store.Update{AOR: "a@x", Now: epoch, CallID: "admin", RemoveAll: true}
	if r, err := cli.Register(t.Context(), all); err != nil || r.Removed != 3 {
		t.Fatalf("removed %d, %v, want 3", r.Removed, err)
	}
	eventually(t, "removal of the bindings", func() bool {
		got, err := server.Lookup(t.Context(), "a@x", epoch)
		return err == nil && len(got) == 0
	})
	select {
	case <-heard:
	case <-time.After(5 * time.Second):
		t.Error("the watcher has not heard of it within 5 s")
	}
	if err := cli.Heartbeat(t.Context(), store.Lease{Node: "n", Epoch: 7, Until: epoch}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "lease", func() bool {
		nodes, err := server.Nodes(t.Context())
		return err == nil && len(nodes) == 1 && nodes[0].Epoch == 7
	})
}

// Processes that start at the same time make the file together.
func TestOpenTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sipway.db")
	secrets := make([][]byte, 6)
	var wg sync.WaitGroup
	for i := range secrets {
		wg.Go(func() {
			s, err := sqlite.Open(t.Context(), path, sqlite.Config{})
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

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sipway.db")
	s := openFile(t, path, sqlite.Config{})
	want, err := s.Register(t.Context(), update("a@x", 1, binding("k"), binding("l")))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.Secret(t.Context(), "nonce")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openFile(t, path, sqlite.Config{})
	defer s.Close()
	got, err := s.Lookup(t.Context(), "a@x", epoch)
	if err != nil || len(got) != 2 || got[0] != want.Bindings[0] || got[1] != want.Bindings[1] {
		t.Errorf("after a restart: %+v, %v, want %+v", got, err, want.Bindings)
	}
	if again, err := s.Secret(t.Context(), "nonce"); err != nil || !bytes.Equal(again, secret) {
		t.Errorf("the secret is another one after a restart (%v)", err)
	}
}

// The file holds what lets one register as any user.
func TestFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sipway.db")
	s := openFile(t, path, sqlite.Config{})
	defer s.Close()
	if _, err := s.Register(t.Context(), update("a@x", 1, binding("k"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(name), mode)
		}
	}
}

// A store that is closed has left no connection behind: the last one takes the files beside
// the database away.
func TestCloseLeavesOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sipway.db")
	newFile(t, path, 100)
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("%v, %v, want the database alone", files, err)
	}
}

// A look-up misses the cache and is slow: what it reads is from before a REGISTER that is
// acknowledged in the meantime. It must not put that into the cache.
func TestSlowReadSetsNothingBack(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "sipway.db"), sqlite.Config{})
	defer s.Close()
	alice := store.User{Name: "alice", Domain: "x", HA1: store.HA1{MD5: "old"}}
	if _, err := s.Register(t.Context(), update("a@x", 1, binding("k"))); err != nil {
		t.Fatal(err)
	}
	if err := s.PutUsers(t.Context(), []store.User{alice}, store.Add); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}

	// The only connection for reading sees the database as it is now.
	s.Readers().SetMaxOpenConns(1)
	conn, err := s.Readers().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN; SELECT count(*) FROM binding"); err != nil {
		t.Fatal(err)
	}
	var reads sync.WaitGroup
	reads.Go(func() {
		if got, err := s.Lookup(t.Context(), "a@x", epoch); err != nil || len(got) != 1 || got[0].CSeq != 1 {
			t.Errorf("the slow look-up: %+v, %v, want CSeq 1", got, err)
		}
	})
	reads.Go(func() {
		if u, err := s.User(t.Context(), "alice", "x"); err != nil || u.HA1.MD5 != "old" {
			t.Errorf("the slow look-up: %+v, %v, want the old secret", u, err)
		}
	})
	eventually(t, "look-ups waiting for the connection", func() bool { return s.Readers().Stats().WaitCount == 2 })
	if _, err := s.Register(t.Context(), update("a@x", 2, binding("k"))); err != nil {
		t.Fatal(err)
	}
	alice.HA1.MD5 = "new"
	if err := s.PutUsers(t.Context(), []store.User{alice}, store.Upsert); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil { // hands it to the look-ups
		t.Fatal(err)
	}
	reads.Wait()

	if got, ok := s.CachedLookup("a@x", epoch); !ok || len(got) != 1 || got[0].CSeq != 2 {
		t.Errorf("cached: %+v, %t, want CSeq 2", got, ok)
	}
	if u, _, ok := s.CachedUser("alice", "x"); !ok || u != alice {
		t.Errorf("cached: %+v, %t, want %+v", u, ok, alice)
	}
}
