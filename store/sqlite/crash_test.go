package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/sqlite"
)

// crashFile and crashRound, set in the environment, make the test binary the victim of
// TestKill instead of running tests.
const (
	crashFile  = "SIPWAY_TEST_CRASH_FILE"
	crashRound = "SIPWAY_TEST_CRASH_ROUND"
	crashUsers = 64
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		if err := victim(path, os.Getenv(crashRound)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // its end is to be killed
	}
	os.Exit(m.Run())
}

// victim has users that register, refresh and unregister until the process is killed. It
// writes a line for each request that was acknowledged.
func victim(path, round string) error {
	s, err := sqlite.Open(context.Background(), path, sqlite.Config{})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for u := range crashUsers {
		go func() {
			aor := crashAOR(round, u)
			for cseq := uint32(1); ; cseq++ {
				if _, err := s.Register(context.Background(), crashUpdate(aor, cseq)); err != nil {
					failed <- err
					return
				}
				// One system call a line: it is in the pipe before the next request.
				if _, err := fmt.Fprintln(os.Stdout, aor, cseq); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

func crashAOR(round string, user int) string { return fmt.Sprintf("u%d@round%s.test", user, round) }

// bound says whether the user is registered after the request of that CSeq: of three in a
// row the first adds, the second refreshes, the third removes.
func bound(cseq uint32) bool { return cseq%3 != 0 }

func crashUpdate(aor string, cseq uint32) store.Update {
	b := binding("phone")
	if !bound(cseq) {
		b.Expires = epoch
	}
	return store.Update{AOR: aor, Now: epoch, CallID: "c", CSeq: cseq, Bindings: []store.Binding{b}}
}

var epoch = time.UnixMilli(1_800_000_000_000)

func binding(key string) store.Binding {
	return store.Binding{Key: key, Contact: "sip:" + key + "@192.0.2.1", Expires: epoch.Add(time.Hour)}
}

// TestKill kills a process in the middle of concurrent REGISTERs, several times over the
// same file. Of each user the last acknowledged request has been done, or the one after it
// whose acknowledgement did not get out; nothing else.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sipway.db")
	acked := make(map[string]uint32) // CSeq by AOR, of all rounds
	for round := range 4 {
		kill(t, path, round, acked)
		check(t, path, acked)
	}
}

// kill runs a victim until it has had 300 requests more in each round than in the one
// before, and records what it acknowledged.
func kill(t *testing.T, path string, round int, acked map[string]uint32) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashFile+"="+path, fmt.Sprint(crashRound, "=", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, last := 0, 300*(round+1)
	for in := bufio.NewScanner(out); in.Scan(); lines++ {
		if lines == last {
			if err := cmd.Process.Kill(); err != nil { // SIGKILL
				t.Fatal(err)
			}
		}
		// What is in the pipe after the kill was acknowledged too.
		var aor string
		var cseq uint32
		if _, err := fmt.Sscan(in.Text(), &aor, &cseq); err != nil {
			t.Fatalf("line %q: %v", in.Text(), err)
		}
		acked[aor] = cseq
	}
	if err := cmd.Wait(); err == nil || lines < last {
		t.Fatalf("the victim ended by itself (%v) after %d requests", err, lines)
	}
}

func check(t *testing.T, path string, acked map[string]uint32) {
	t.Helper()
	s := openFile(t, path, sqlite.Config{})
	wrong := 0
	for aor, cseq := range acked {
		got, err := s.Lookup(t.Context(), aor, epoch)
		if err != nil {
			t.Fatal(err)
		}
		if !is(got, cseq) && !is(got, cseq+1) {
			wrong++
			t.Errorf("%s acknowledged CSeq %d, but has %+v", aor, cseq, got)
		}
	}
	t.Logf("%d users with acknowledged requests, %d wrong", len(acked), wrong)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// is reports whether the bindings are the state after the request of that CSeq.
func is(got []store.Binding, cseq uint32) bool {
	if !bound(cseq) {
		return len(got) == 0
	}
	return len(got) == 1 && got[0].CSeq == cseq
}
