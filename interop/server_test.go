package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// domain is the one that the server under test owns.
const domain = "example.test"

// password returns the password of a test user: each has another one.
func password(user string) string { return "secret-" + user }

// settings are what a test's server differs in. The zero value is a server
// with digest authentication and a SQLite store.
type settings struct {
	domains []string // besides domain
	trusted bool     // requests from loopback are not challenged
	open    bool     // authentication mode none
	memory  bool     // the memory store instead of SQLite
	dsn     string   // another store instead of SQLite
	md5     bool     // challenges for MD5 only, not for SHA-256 and MD5
	users   []string // besides the named ones: name@domain
	secure  bool     // browsers connect over wss, and there is tls
	peers   bool     // with secure: who theIdentity vouches for is believed
	listen  []string // further listeners
	more    string   // lines of the configuration besides these
	weak    string   // a user,domain,password line besides them
}

// namedUsers exist on every server.
var namedUsers = []string{"alice", "bob", "carol", "dave", "erin", "nobody"}

// A server is one sipway, its process replaceable by restart.
type server struct {
	*process
	udp, tcp, ws, admin string // host:port
	tls, wss            string // "" where there is none
	dir                 string
	dsn                 string // of the store, where it is not SQLite
}

// startServer starts a sipway on free ports of loopback and waits until it is
// ready. When the test ends it is ended, and its log must not show a data race
// or a panic.
func startServer(t *testing.T, with settings) *server {
	t.Helper()
	s := &server{
		dir: t.TempDir(), dsn: with.dsn,
		udp: freePort(t), tcp: freePort(t),
		ws: freePort(t), admin: freePort(t),
	}
	if with.secure {
		s.tls, s.wss = freePort(t), freePort(t)
	}
	s.writeUsers(t, with)
	s.writeConfig(t, with)
	s.start(t)
	return s
}

func (s *server) writeUsers(t *testing.T, with settings) {
	t.Helper()
	var lines strings.Builder
	for _, name := range namedUsers {
		fmt.Fprintf(&lines, "%s,%s,%s\n", name, domain, password(name))
	}
	for _, user := range with.users {
		name, of, _ := strings.Cut(user, "@")
		fmt.Fprintf(&lines, "%s,%s,%s\n", name, of, password(name))
	}
	if with.weak != "" {
		lines.WriteString(with.weak + "\n")
	}
	s.writeFile(t, "users.csv", lines.String())
}

func (s *server) writeConfig(t *testing.T, with settings) {
	t.Helper()
	store := s.store()
	if with.memory {
		store = "memory:"
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, "domains: [%s]\n", strings.Join(append([]string{domain}, with.domains...), ", "))
	listen := append([]string{"udp://" + s.udp, "tcp://" + s.tcp, "ws://" + s.ws + "/"}, with.listen...)
	if with.secure {
		listen = append(listen, "tls://"+s.tls, "wss://"+s.wss+"/")
		id, err := theIdentity()
		if err != nil {
			t.Fatal(err)
		}
		s.writeFile(t, "server.pem", string(id.pem))
		authorities := ""
		if with.peers {
			authorities = ", roots: server.pem, client_ca: server.pem"
		}
		fmt.Fprintf(&conf, "tls: {cert: server.pem, key: server.pem%s}\n", authorities)
	}
	fmt.Fprintf(&conf, "listen: [\"%s\"]\n", strings.Join(listen, `", "`))
	fmt.Fprintf(&conf, "store: %q\nadmin: %q\n", store, s.admin)
	fmt.Fprintf(&conf, "users_file: %q\n", filepath.Join(s.dir, "users.csv"))
	if with.open {
		conf.WriteString("auth: {mode: none}\n")
	}
	if with.md5 {
		conf.WriteString("auth: {mode: digest, algorithms: [MD5]}\n")
	}
	if with.trusted {
		conf.WriteString("trusted: [127.0.0.1]\n")
	}
	conf.WriteString(with.more)
	s.writeFile(t, "sipway.yaml", conf.String())
}

func (s *server) writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// store is the DSN of the server's store.
func (s *server) store() string {
	if s.dsn != "" {
		return s.dsn
	}
	return "sqlite:" + filepath.Join(s.dir, "sipway.db")
}

// start runs the binary on what startServer wrote; the ports are the same each
// time.
func (s *server) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(binary, "serve", "--config", filepath.Join(s.dir, "sipway.yaml"))
	cmd.Dir = s.dir
	p := startProcess(t, "sipway", cmd)
	s.process = p
	// Runs before startProcess's clean-up, which only catches what is left.
	t.Cleanup(func() {
		if err := p.terminate(); err != nil {
			t.Error(err)
		}
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
			if strings.Contains(p.output.String(), bad) {
				t.Errorf("the server's log has %q", bad)
			}
		}
	})
	s.awaitReady(t)
}

// awaitReady asks /readyz until it says yes. There is nothing to wait on but
// the answer itself: before the listener is there, not even a connection can
// be had.
func (s *server) awaitReady(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := s.get(ctx, "/readyz")
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-s.done:
			t.Fatalf("sipway ended at start: %v", s.err)
		case <-ctx.Done():
			t.Fatalf("sipway is not ready: %v", err)
		}
	}
}

// get returns the answer of the admin address.
func (s *server) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, res.Status, bytes.TrimSpace(body))
	}
	return body, err
}
