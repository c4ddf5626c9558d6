package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipway/sipway/store/postgres/pgtest"
)

// A 200 to REGISTER is a promise: the server is killed in the middle of 500
// registrations, and every one that it acknowledged is in the store, at once
// and after a restart.
func TestKillLosesNoAcknowledgedRegistration(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { killLosesNone(t, settings{trusted: true}) })
	t.Run("postgres", func(t *testing.T) {
		for range 3 {
			killLosesNone(t, settings{trusted: true, dsn: pgtest.Database(t)})
		}
	})
}

func killLosesNone(t *testing.T, with settings) {
	t.Helper()
	const (
		phones  = 500
		workers = 16 // so many REGISTERs are under way at any time
		enough  = phones / 2
	)
	for i := range phones {
		with.users = append(with.users, fmt.Sprintf("k%d@%s", i, domain))
	}
	s := startServer(t, with)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var (
		next  atomic.Int64
		mu    sync.Mutex
		acked []string
		wg    sync.WaitGroup
	)
	half := make(chan struct{})
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= phones {
					return
				}
				user := fmt.Sprintf("k%d", n)
				if !registerOnce(ctx, s.udp, user) {
					continue
				}
				mu.Lock()
				acked = append(acked, user+"@"+domain)
				if len(acked) == enough {
					close(half)
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-half:
	case <-time.After(patience):
		t.Fatalf("half of %d registrations took longer than %v", phones, patience)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.done
	cancel()
	wg.Wait()
	t.Logf("%d of %d registrations were acknowledged before the kill", len(acked), phones)
	if len(acked) == phones {
		t.Fatal("the kill came too late to be in the middle")
	}

	missing(t, acked, s.registrations(t))
	s.start(t)
	missing(t, acked, s.registrations(t))
}

func missing(t *testing.T, acked, listed []string) {
	t.Helper()
	for _, aor := range acked {
		if !slices.Contains(listed, aor) {
			t.Errorf("%s was acknowledged and is lost", aor)
		}
	}
}

// registrations are the addresses-of-record that have a binding in the store,
// as the command line tells them.
func (s *server) registrations(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var problems bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "reg", "list", "--store", s.store(), "--json")
	cmd.Stderr = &problems
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("sipway reg list: %v\n%s", err, problems.Bytes())
	}
	var aors []string
	lines := json.NewDecoder(bytes.NewReader(text))
	for {
		var binding struct {
			AOR string `json:"aor"`
		}
		if err := lines.Decode(&binding); errors.Is(err, io.EOF) {
			return aors
		} else if err != nil {
			t.Fatalf("sipway reg list --json: %v", err)
		}
		aors = append(aors, binding.AOR)
	}
}

// registerOnce sends one REGISTER over UDP, repeated as a phone would, and
// reports whether it was answered with 200.
func registerOnce(ctx context.Context, server, user string) bool {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return false
	}
	defer conn.Close()
	// Ends the read below when the test has seen enough.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	request := fmt.Appendf(nil, "REGISTER sip:%[1]s SIP/2.0\r\n"+
		"Via: SIP/2.0/UDP %[2]s;branch=z9hG4bK-%[3]s;rport\r\n"+
		"Max-Forwards: 70\r\n"+
		"From: <sip:%[3]s@%[1]s>;tag=%[3]s\r\n"+
		"To: <sip:%[3]s@%[1]s>\r\n"+
		"Call-ID: kill-%[3]s\r\n"+
		"CSeq: 1 REGISTER\r\n"+
		"Contact: <sip:%[3]s@%[2]s>;expires=600\r\n"+
		"Content-Length: 0\r\n\r\n", domain, conn.LocalAddr(), user)
	answer := make([]byte, 4096)
	for ctx.Err() == nil {
		if _, err := conn.Write(request); err != nil {
			return false
		}
		conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)) // T1
		n, err := conn.Read(answer)
		if err == nil {
			return bytes.HasPrefix(answer[:n], []byte("SIP/2.0 200 "))
		}
		if !isTimeout(err) {
			return false
		}
	}
	return false
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
