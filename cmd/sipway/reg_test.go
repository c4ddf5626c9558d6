package main

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipway/sipway/admin"
)

// lab is a running server for a.test that believes everybody, and command lines that ask it.
type lab struct {
	*cli
	*running
	admin        string // host:port
	udp, tcp, ws string
	stopped      bool
}

// stop ends the server in good order.
func (l *lab) stop() {
	l.t.Helper()
	l.signals <- syscall.SIGTERM
	l.ended()
}

func (l *lab) ended() {
	l.t.Helper()
	l.stopped = true
	if code := l.end(); code != exitOK {
		l.t.Errorf("the server's exit code is %d\n%s", code, &l.log)
	}
}

func newLab(t *testing.T, args ...string) *lab {
	t.Helper()
	c := newCLI(t)
	return c.lab(args...)
}

// lab starts a server in the directory of the command lines.
func (c *cli) lab(args ...string) *lab {
	c.t.Helper()
	t := c.t
	if c.env["SIPWAY_AUTH_MODE"] == "" {
		c.env["SIPWAY_AUTH_MODE"] = "none"
	}
	c.env["SIPWAY_STORE"] = "memory:"
	c.env["SIPWAY_DOMAINS"] = "a.test"
	args = append([]string{"--listen", "udp://127.0.0.1:0,tcp://127.0.0.1:0,ws://127.0.0.1:0/"}, args...)
	l := &lab{cli: c, running: c.serve(args...)}
	l.admin = l.await(t, `listening transport=admin addr=(\S+)`)[1]
	l.udp = l.await(t, `listening transport=udp addr=(\S+)`)[1]
	l.tcp = l.await(t, `listening transport=tcp addr=(\S+)`)[1]
	l.ws = l.await(t, `listening transport=ws addr=(\S+)`)[1]
	l.await(t, `msg=ready`)
	t.Cleanup(func() {
		if !l.stopped { // but the test's context has ended, and the server with it
			l.ended()
		}
	})
	return l
}

// The commands ask the server, whose store nobody else sees, over its Unix socket.
func TestRegistrationsOfServer(t *testing.T) {
	l := newLab(t)
	desk, soft := dial(t, "udp", l.udp, "alice"), dial(t, "tcp", l.tcp, "alice")
	desk.register(600)
	soft.register(600)
	dial(t, "tcp", l.tcp, "bob").register(600)

	if out := l.expect(exitOK, "ADDRESS", "", "reg", "list"); strings.Count(out, "\n") != 4 || !strings.Contains(out, "tcp "+soft.conn.LocalAddr().String()) {
		t.Errorf("\n%s", out)
	}
	l.expect(exitOK, "2\n", "", "reg", "list", "--count", "--aor", "alice@*")
	l.expect(exitOK, `{"count":3}`, "", "reg", "list", "--count", "--json", "--limit", "1")
	var shown []admin.Registration
	for line := range strings.Lines(l.expect(exitOK, "", "", "reg", "show", "alice", "--json")) {
		var r admin.Registration
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		shown = append(shown, r)
	}
	if len(shown) != 2 || shown[1].Contact != soft.contact() || shown[1].State == nil || !shown[1].State.Reachable || shown[1].Flow == 0 {
		t.Errorf("%+v", shown)
	}
	l.expect(exitOK, "open", "", "reg", "show", "alice")

	l.expect(exitNotFound, "alice@a.test has no contact sip:x", "", "reg", "rm", "alice", "sip:x")
	l.expect(exitOK, desk.contact()+" removed\n", "", "reg", "rm", "alice", desk.contact())
	l.expect(exitOK, soft.contact()+" removed, connection from "+soft.conn.LocalAddr().String()+" closed\n", "", "reg", "rm", "alice", "--kick")
	soft.closed()
	l.expect(exitNotFound, "alice@a.test is not registered", "", "reg", "show", "alice")
	desk.register(600)
	l.expect(exitOK, "over UDP there is no connection to close", "", "reg", "rm", "alice", "--kick")
	l.expect(exitOK, `"kicked":true`, "", "reg", "rm", "bob", "--kick", "--json")
}

// Users of a server whose store nobody else sees.
func TestUsersOfServer(t *testing.T) {
	l := newLab(t)
	l.expect(exitOK, "alice@a.test added", "secret\n", "user", "add", "alice")
	l.expect(exitExists, "exists already", "secret\n", "user", "add", "alice")
	l.expect(exitOK, "password of alice@a.test changed", "other\n", "user", "passwd", "alice", "--admin", "unix:admin.sock")
	l.expect(exitOK, "2 users imported", "bob,a.test,x\ncarol,A.test,x\n", "user", "import", "-")
	l.expect(exitFailure, "nothing imported: import: standard input:2: expects user,domain,password", "dave,a.test,x\nerin\n", "user", "import", "-")
	if out := l.expect(exitOK, "", "", "user", "list", "--json"); strings.Count(out, "\n") != 3 || !strings.Contains(out, `"carol@a.test"`) {
		t.Error(out)
	}
	l.expect(exitOK, "carol@a.test removed", "", "user", "rm", "carol")
	l.expect(exitNotFound, "there is no user carol@a.test", "", "user", "show", "carol")
}

// Where the commands look, and what they say when nobody is there.
func TestWhichServer(t *testing.T) {
	c := newCLI(t)
	c.expect(exitUnavailable, "no server answers at unix:admin.sock", "", "reg", "list", "--admin", "unix:admin.sock")
	c.expect(exitUnavailable, "there is no store at sipway.db", "", "reg", "list")
	c.expect(exitUsage, "--admin and --store", "", "reg", "list", "--admin", "unix:admin.sock", "--store", "sqlite:x.db")
	c.expect(exitUsage, "needs admin_token", "", "reg", "list", "--admin", "192.0.2.1:80")
	c.env["SIPWAY_STORE"] = "memory:"
	c.expect(exitUnavailable, "no server answers at unix:admin.sock", "", "reg", "list")
	c.expect(exitUnavailable, "no server answers at unix:admin.sock", "", "user", "list")

	// A listener that is no server of ours.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n"))
			conn.Close()
		}
	}()
	c.expect(exitFailure, "", "", "reg", "list", "--admin", ln.Addr().String())
}

// Beside a server that does not run, the store itself is asked.
func TestRemoveOffline(t *testing.T) {
	c := newCLI(t)
	c.expect(exitOK, "alice@localhost added", "x\n", "user", "add", "alice")
	c.register("alice@localhost", 2, time.Now())
	c.expect(exitUnavailable, "only a running server can close connections", "", "reg", "rm", "alice", "--kick")
	c.expect(exitOK, "sip:c1@192.0.2.1;x=<a&b> removed\n", "", "reg", "rm", "alice", "key1")
	c.expect(exitOK, "1\n", "", "reg", "list", "--count", "--store", "sqlite:sipway.db")
	c.expect(exitOK, "removed", "", "reg", "rm", "alice")
	c.expect(exitNotFound, "alice@localhost is not registered", "", "reg", "rm", "alice")
}

// A ping goes to the user that each contact names, over its own flow, and says who answers.
func TestPing(t *testing.T) {
	l := newLab(t)
	desk, soft, silent := dial(t, "udp", l.udp, "alice"), dial(t, "tcp", l.tcp, "alice"), dial(t, "tcp", l.tcp, "bob")
	for _, p := range []*phone{desk, soft, silent} {
		p.register(600)
	}
	answers := make(chan string, 2)
	for p, status := range map[*phone]int{desk: 200, soft: 486} {
		go func() {
			m, err := p.read()
			if err != nil {
				answers <- err.Error()
				return
			}
			p.answer(m, status, "")
			answers <- string(m.Method()) + " " + m.RequestURI()
		}()
	}
	out := l.expect(exitOK, "200 OK", "", "reg", "ping", "alice@a.test")
	if lines := strings.Split(out, "\n"); len(lines) != 4 || !strings.Contains(lines[2], "486 Busy Here") || !strings.Contains(lines[2], " ms ") {
		t.Errorf("\n%s", out)
	}
	got := []string{<-answers, <-answers}
	slices.Sort(got)
	want := []string{"OPTIONS " + desk.contact(), "OPTIONS " + soft.contact()}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}

	code, out, note := l.run("", "reg", "ping", "bob", "--timeout", "50ms", "--json")
	if code != exitFailure || !strings.Contains(out, `"error":"no answer"`) || !strings.Contains(note, "not all contacts answered") {
		t.Errorf("%d %s%s", code, out, note)
	}
	l.expect(exitNotFound, "carol@a.test is not registered", "", "reg", "ping", "carol")
	l.expect(exitUsage, "timeout: expects a duration up to", "", "reg", "ping", "bob", "--timeout", "10m")
}
