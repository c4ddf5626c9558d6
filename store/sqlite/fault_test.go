package sqlite_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sipway/sipway/migrations"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/sqlite"
)

func update(aor string, cseq uint32, bindings ...store.Binding) store.Update {
	return store.Update{AOR: aor, Now: epoch, CallID: "c", CSeq: cseq, Bindings: bindings}
}

// TestFailureAndRecovery: while the database can't be written, every write of a batch is
// refused and none is half done; look-ups go on; when it can again, so do the writes.
func TestFailureAndRecovery(t *testing.T) {
	on := func(query string) func(*testing.T, *sqlite.Store, *sql.Conn) error {
		return func(t *testing.T, s *sqlite.Store, _ *sql.Conn) error { return s.OnWriter(t.Context(), query) }
	}
	tests := []struct {
		name          string
		fail, recover func(t *testing.T, s *sqlite.Store, other *sql.Conn) error
		says          string
	}{
		{"disk full", on("PRAGMA max_page_count = 1"), on("PRAGMA max_page_count = 1000000"), "the disk is full"},
		{"locked", func(t *testing.T, s *sqlite.Store, other *sql.Conn) error {
			if err := s.OnWriter(t.Context(), "PRAGMA busy_timeout = 10"); err != nil {
				return err
			}
			_, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE")
			return err
		}, func(t *testing.T, _ *sqlite.Store, other *sql.Conn) error {
			_, err := other.ExecContext(t.Context(), "ROLLBACK")
			return err
		}, "another process keeps the file locked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sipway.db")
			s := openFile(t, path, sqlite.Config{})
			defer s.Close()
			other := connect(t, path)
			if _, err := s.Register(t.Context(), update("a@x", 1, binding("k"))); err != nil {
				t.Fatal(err)
			}
			if err := tt.fail(t, s, other); err != nil {
				t.Fatal(err)
			}
			large := binding("k")
			large.UserAgent = strings.Repeat("x", 10_000) // needs a new page
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					_, err := s.Register(t.Context(), update(fmt.Sprintf("u%d@x", i), 1, large))
					if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), tt.says) {
						t.Errorf("error %v, want ErrUnavailable with %q", err, tt.says)
					}
				})
			}
			wg.Wait()
			if n, err := s.Count(t.Context(), store.Query{Now: epoch}); n != 1 || err != nil {
				t.Errorf("Count = %d, %v, want 1", n, err)
			}
			for aor, want := range map[string]int{"a@x": 1, "u1@x": 0} {
				got, err := s.Lookup(t.Context(), aor, epoch)
				if err != nil || len(got) != want {
					t.Errorf("Lookup(%s): %d bindings, %v, want %d", aor, len(got), err, want)
				}
			}
			if err := tt.recover(t, s, other); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Register(t.Context(), update("u1@x", 1, large)); err != nil {
				t.Errorf("after recovery: %v", err)
			}
		})
	}
}

// A connection that can't begin transactions any more is replaced.
func TestReconnect(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "sipway.db"), sqlite.Config{})
	defer s.Close()
	if err := s.OnWriter(t.Context(), "PRAGMA query_only = 1"); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(3) {
		if _, err := s.Register(t.Context(), update("a@x", i+1, binding("k"))); err != nil {
			t.Error(err)
		}
	}
}

// connect opens the file beside the store.
func connect(t *testing.T, path string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// A write that is refused by its own terms does no harm to those that share its transaction.
func TestRefusedInABatch(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "sipway.db"), sqlite.Config{})
	defer s.Close()
	if _, err := s.Register(t.Context(), update("late@x", 9, binding("k"))); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			_, err := s.Register(t.Context(), update(fmt.Sprintf("u%d@x", i), 1, binding("k")))
			if err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			_, err := s.Register(t.Context(), update("late@x", 3, binding("new"), binding("k")))
			if !errors.Is(err, store.ErrOrder) {
				t.Errorf("error %v, want %v", err, store.ErrOrder)
			}
		})
	}
	wg.Wait()
	if n, err := s.Count(t.Context(), store.Query{Now: epoch}); n != 201 || err != nil {
		t.Errorf("Count = %d, %v, want 201", n, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, path string)
		says string
	}{
		{"no database", func(t *testing.T, path string) {
			write(t, path, bytes.Repeat([]byte("user,domain,password\n"), 500))
		}, "the file is not a database"},
		{"another program's", func(t *testing.T, path string) {
			execute(t, path, `CREATE TABLE orders (id INTEGER)`)
		}, "the database of another program"},
		{"another program's, by its mark", func(t *testing.T, path string) {
			execute(t, path, `PRAGMA application_id = 7`)
		}, "the database of another program"},
		{"newer", func(t *testing.T, path string) {
			newFile(t, path, 0)
			execute(t, path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
		}, "newer than this program: it has version 99999"},
		{"damaged", func(t *testing.T, path string) {
			newFile(t, path, 0)
			damage(t, path, 100) // the schema
		}, "the file is damaged"},
		{"a directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "unable to open database file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sipway.db")
			tt.make(t, path)
			before, _ := os.ReadFile(path) // a directory has no content
			s, err := sqlite.Open(t.Context(), path, sqlite.Config{})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q, want one with %q and the path", err, tt.says)
			}
			if newer := tt.name == "newer"; errors.Is(err, migrations.ErrNewer) != newer {
				t.Errorf("ErrNewer is %t in %v", !newer, err)
			}
		})
	}
}

// Damage behind the schema shows when the rows are read.
func TestDamagedRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sipway.db")
	newFile(t, path, 500)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	damage(t, path, info.Size()/2)
	s := openFile(t, path, sqlite.Config{})
	defer s.Close()
	var failed error
	for i := 0; i < 500 && failed == nil; i++ {
		_, failed = s.Lookup(t.Context(), fmt.Sprintf("u%d@x", i), epoch)
	}
	if !errors.Is(failed, store.ErrUnavailable) || !strings.Contains(failed.Error(), "the file is damaged") {
		t.Errorf("error %v, want ErrUnavailable that tells of damage", failed)
	}
}

// newFile makes a database with n bindings.
func newFile(t *testing.T, path string, n int) {
	t.Helper()
	s := openFile(t, path, sqlite.Config{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := s.Register(t.Context(), update(fmt.Sprintf("u%d@x", i), 1, binding("k"))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// damage overwrites the file from an offset to its end.
func damage(t *testing.T, path string, from int64) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < int64(len(content)); i++ {
		content[i] = 0xa5
	}
	write(t, path, content)
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// execute runs a statement as another program would.
func execute(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}
