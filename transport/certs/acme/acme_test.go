package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipway/sipway/transport/certs/acme/acmetest"
	"github.com/sipway/sipway/transport/dnstest"
)

// patience bounds every wait of these tests; it is only reached by a failure.
const patience = 30 * time.Second

func port(addr net.Addr) int { return addr.(*net.TCPAddr).Port }

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return port(ln.Addr())
}

// log collects lines and tells of them.
type log struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{}
}

func newLog() *log { return &log{grown: make(chan struct{}, 1)} }

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	select {
	case l.grown <- struct{}{}:
	default:
	}
	return len(b), nil
}

// await waits until the text is there n times.
func (l *log) await(t *testing.T, text string, n int) {
	t.Helper()
	limit := time.After(patience)
	for {
		l.mu.Lock()
		all := l.text.String()
		l.mu.Unlock()
		if strings.Count(all, text) >= n {
			return
		}
		select {
		case <-l.grown:
		case <-limit:
			t.Fatalf("not %d times %q in:\n%s", n, text, all)
		}
	}
}

// serveTLS is a server with the manager's certificates. It shakes hands until the test ends.
func serveTLS(t *testing.T, ln net.Listener, m *Manager) {
	t.Helper()
	cfg := &tls.Config{GetCertificate: m.Get, GetConfigForClient: m.Challenge}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				if secure := tls.Server(c, cfg); secure.Handshake() == nil {
					secure.Read(make([]byte, 1))
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
}

func ends(c *tls.Conn) time.Time { return c.ConnectionState().PeerCertificates[0].NotAfter }

// A certificate is got by either proof and used, for the name and for who asks for none; one
// that ends soon is renewed, and who is connected stays so; what is stored is for us alone.
func TestIssueAndRenew(t *testing.T) {
	for _, proof := range []string{"TLS-ALPN-01", "HTTP-01"} {
		t.Run(proof, func(t *testing.T) {
			names := dnstest.Start(t)
			names.Set(t, "sip.example.test 60 IN A 127.0.0.1")
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			httpPort, dir, out := freePort(t), filepath.Join(t.TempDir(), "acme"), newLog()
			ca := acmetest.Start(t, names, httpPort, port(ln.Addr()), 6*time.Second)
			cfg := Config{
				Domains: []string{"sip.example.test"}, CA: ca.URL, Roots: ca.Roots, Storage: dir,
				Check: 200 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(out, nil)),
			}
			if proof == "HTTP-01" {
				cfg.HTTP = fmt.Sprintf("127.0.0.1:%d", httpPort)
			} else {
				cfg.TLSPort = port(ln.Addr())
			}
			m, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			serveTLS(t, ln, m)
			dial := func(name string) (*tls.Conn, error) {
				return tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: ca.Issued, ServerName: name, InsecureSkipVerify: name == ""})
			}
			if c, err := dial("sip.example.test"); err == nil {
				c.Close()
				t.Fatal("a certificate before there is one")
			}
			if _, _, ok := m.Expires(); ok {
				t.Error("none ends")
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := m.Run(ctx); err != nil {
				t.Fatal(err)
			}
			out.await(t, "certificate obtained", 1)
			var first *tls.Conn
			for deadline := time.Now().Add(patience); first == nil && time.Now().Before(deadline); {
				first, err = dial("sip.example.test")
			}
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			if c, err := dial(""); err != nil {
				t.Errorf("who asks for no name: %v", err)
			} else {
				c.Close()
			}
			out.await(t, "certificate obtained", 2)
			was := ends(first)
			for deadline := time.Now().Add(patience); ; { // it is told of a moment before it is used
				second, err := dial("sip.example.test")
				if err == nil {
					second.Close()
					if ends(second).After(was) {
						break
					}
				}
				if time.Now().After(deadline) { // an error may be that the old one has just ended
					t.Fatalf("the certificate still ends at %v: %v", was, err)
				}
			}
			if at, name, ok := m.Expires(); !ok || name != "sip.example.test" || !at.After(was) {
				t.Errorf("ends %v %s %v", at, name, ok)
			}
			if _, err := first.Write([]byte("x")); err != nil {
				t.Errorf("the first connection: %v", err)
			}
			filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if info, _ := os.Stat(path); info != nil && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s has mode %v", path, info.Mode())
				}
				return err
			})
		})
	}
}

// An authority that is down is said to be, and asked again.
func TestRetry(t *testing.T) {
	names := dnstest.Start(t)
	names.Set(t, "sip.example.test 60 IN A 127.0.0.1")
	out := newLog()
	ca := acmetest.Start(t, names, freePort(t), freePort(t), time.Hour)
	ca.Down(true)
	m, err := New(Config{
		Domains: []string{"sip.example.test"}, CA: ca.URL, Roots: ca.Roots, Storage: t.TempDir(),
		HTTP: fmt.Sprintf("127.0.0.1:%d", freePort(t)), Logger: slog.New(slog.NewTextHandler(out, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := m.Run(ctx); err != nil {
		t.Fatal(err)
	}
	out.await(t, "no certificate obtained, it is tried again", 1)
	out.await(t, "503", 1)
	out.await(t, "retrying", 1)
}

func TestHas(t *testing.T) {
	m := &Manager{cfg: Config{Domains: []string{"sip.example.test", "b.test"}}}
	for name, want := range map[string]bool{"sip.example.test": true, "B.test": true, "example.test": false, "": false} {
		if got := m.Has(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
