package postgres_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/postgres"
	"github.com/sipway/sipway/store/postgres/pgtest"
)

// full is a way to have no room for the database.
type full struct {
	name         string
	options      pgtest.Options
	fill, unfill func(t *testing.T, c *pgtest.Cluster)
}

// TestDiskFull: while there is no room, who can't be written is refused and nothing is half
// done; look-ups go on; with room again, so do the writes.
func TestDiskFull(t *testing.T) {
	for _, way := range waysToFill(t) {
		t.Run(way.name, func(t *testing.T) {
			c := pgtest.Start(t, way.options)
			dsn := newDatabase(t, c)
			s := openStore(t, dsn, postgres.Config{})
			defer s.Close()
			register(t, s, update("callee@x", 1, binding("page")))
			for round := range 2 {
				way.fill(t, c)
				acked := fillUp(t, s, round)
				rings(t, s, "callee@x")
				way.unfill(t, c)
				eventually(t, "a registration", func() bool {
					_, err := s.Register(t.Context(), update(fmt.Sprintf("after%d@x", round), 1, binding("page")))
					return err == nil || errors.Is(err, store.ErrOrder)
				})
				fresh := openStore(t, dsn, postgres.Config{})
				for _, aor := range acked {
					if got, err := fresh.Lookup(t.Context(), aor, epoch); err != nil || len(got) != 1 {
						t.Errorf("%s was acknowledged: %d bindings, %v", aor, len(got), err)
					}
				}
				if err := fresh.Close(); err != nil {
					t.Error(err)
				}
				t.Logf("%d were acknowledged until it was full", len(acked))
			}
		})
	}
}

// fillUp registers users until the database refuses, and returns those that it took.
func fillUp(t *testing.T, s store.Store, round int) (acked []string) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	refusals := 0
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				aor := fmt.Sprintf("full%d-%d-%d@x", round, w, i)
				b := binding("page")
				b.UserAgent = large(i)
				_, err := s.Register(t.Context(), update(aor, 1, b))
				mu.Lock()
				switch {
				case err == nil:
					acked = append(acked, aor)
				case errors.Is(err, store.ErrUnavailable):
					refusals++
				default:
					t.Errorf("%s: %v, want ErrUnavailable", aor, err)
				}
				enough := refusals >= 100 || len(acked) > 100_000
				mu.Unlock()
				if enough {
					return
				}
				if err != nil { // as a client that was told to wait
					pause := time.NewTimer(5 * time.Millisecond)
					<-pause.C
				}
			}
		})
	}
	wg.Wait()
	if refusals < 100 {
		t.Fatalf("the disk is not full after %d registrations", len(acked))
	}
	return acked
}

// large returns a text that can't be compressed.
func large(seed int) string {
	text := make([]byte, 1500)
	x := uint32(seed)*2654435761 + 1
	for i := range text {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		text[i] = byte(x)
	}
	return string(text)
}

// waysToFill are a limit for the size of the server's files, which every user can set, and
// for root a file system that is small and then full.
func waysToFill(t *testing.T) []full {
	ways := []full{{
		name: "file size limit",
		// Its log of transactions has files below the limit.
		options: pgtest.Options{InitArgs: []string{"--wal-segsize=1"}, Settings: []string{"min_wal_size = 2MB"}},
		fill: func(t *testing.T, c *pgtest.Cluster) {
			if err := c.LimitFileSize(3 << 20); err != nil {
				t.Fatal(err)
			}
		},
		unfill: func(t *testing.T, c *pgtest.Cluster) {
			if err := c.LimitFileSize(1 << 40); err != nil {
				t.Fatal(err)
			}
		},
	}}
	if os.Geteuid() != 0 {
		return ways
	}
	dir, err := os.MkdirTemp("", "sipway-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=120m"); err != nil {
		os.Remove(dir)
		t.Logf("no file system of its own: %v", err) // a container's root may not
		return ways
	}
	t.Cleanup(func() {
		if err := errors.Join(syscall.Unmount(dir, 0), os.Remove(dir)); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	return append(ways, full{
		name:    "small file system",
		options: pgtest.Options{Dir: filepath.Join(dir, "cluster"), InitArgs: []string{"--wal-segsize=1"}, Settings: []string{"max_wal_size = 32MB", "min_wal_size = 24MB"}},
		fill: func(t *testing.T, _ *pgtest.Cluster) {
			var st syscall.Statfs_t
			if err := syscall.Statfs(dir, &st); err != nil {
				t.Fatal(err)
			}
			free := int(st.Bavail) * int(st.Bsize)
			if err := os.WriteFile(ballast, []byte(strings.Repeat("x", max(0, free-(8<<20)))), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		unfill: func(t *testing.T, c *pgtest.Cluster) {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			// Without room for its log of transactions the server ends itself.
			if !c.Running() {
				t.Log("the server had ended")
				if err := c.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		},
	})
}
