package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

// call has a phone send an INVITE.
func (p *phone) call(user string) {
	p.t.Helper()
	p.send("INVITE", "sip:"+user+"@a.test", "<sip:"+user+"@a.test>", "Contact: <"+p.contact()+">\r\n", "")
}

// expect receives a response with that status.
func (p *phone) expect(status int) *sip.Message {
	p.t.Helper()
	m := p.receive()
	if m.Status() != status {
		p.t.Fatalf("%s: %s, want %d", p.user, m.Bytes(), status)
	}
	return m
}

// closedWith waits until the server closes the WebSocket and returns the code.
func (p *phone) closedWith() websocket.StatusCode {
	_, err := p.read()
	return websocket.CloseStatus(err)
}

// A server that is asked to end takes no new calls, lets browsers go, and finishes the call that is
// being set up, over the connections that it needs.
func TestDrain(t *testing.T) {
	l := newLab(t, "--admin", "127.0.0.1:0")
	alice, page, bob, carol := dialWS(t, l.ws, "alice"), dialWS(t, l.ws, "page"), dial(t, "udp", l.udp, "bob"), dial(t, "udp", l.udp, "carol")
	for _, p := range []*phone{alice, page, bob, carol} {
		p.register(600)
	}
	bob.call("alice")
	invite := alice.receive()
	alice.answer(invite, 180, "")
	bob.expect(180)

	l.signals <- syscall.SIGTERM
	l.await(t, "waiting for calls that are being set up.*calls=1")
	if code, body := get(t, "http://"+l.admin+"/readyz"); code != http.StatusServiceUnavailable || string(body) != "draining\n" {
		t.Errorf("%d %s", code, body)
	}
	if code := page.closedWith(); code != websocket.StatusServiceRestart {
		t.Errorf("an idle page's connection is closed with %d", code)
	}
	if conn, err := net.Dial("tcp", l.ws); err == nil {
		conn.Close()
		t.Error("new connections are accepted")
	}
	carol.call("bob")
	if m := carol.expect(503); !m.Has(sip.HRetryAfter) {
		t.Errorf("%s", m.Bytes())
	}
	carol.register(600) // is still done

	alice.answer(invite, 200, "Contact: <"+alice.contact()+">")
	ok := bob.expect(200)
	var route []string
	for r := range ok.Values(sip.HRecordRoute) {
		route = append([]string{r}, route...)
	}
	bob.send("ACK", alice.contact(), "<sip:alice@a.test>;tag="+ok.ToTag(), "Route: "+strings.Join(route, ", ")+"\r\n", "")
	if m := alice.receive(); m.Method() != sip.ACK {
		t.Errorf("%s", m.Bytes())
	}
	if code := alice.closedWith(); code != websocket.StatusServiceRestart {
		t.Errorf("closed with %d", code)
	}
	l.ended()
}

// Many browsers are not sent away in the same moment.
func TestDrainSpread(t *testing.T) {
	c := newCLI(t)
	c.env["SIPWAY_DRAIN_SPREAD"] = "400ms"
	l := c.lab()
	const n = 100
	times := make(chan time.Time, n)
	for i := range n {
		p := dialWS(t, l.ws, fmt.Sprintf("u%d", i))
		p.register(600)
		go func() {
			if code := p.closedWith(); code != websocket.StatusServiceRestart {
				t.Errorf("closed with %d", code)
			}
			times <- time.Now()
		}()
	}
	l.stop()
	first := <-times
	last := first
	for range n - 1 {
		last = <-times
	}
	if took := last.Sub(first); took < 150*time.Millisecond {
		t.Errorf("all are closed within %v", took)
	}
}

// A call that nobody answers does not hold up the end for ever, and a second signal not at all.
func TestDrainEnds(t *testing.T) {
	for _, tc := range []struct {
		timeout string
		second  bool
		code    int
		want    string
	}{
		{"1s", false, exitOK, "calls are broken off.*calls=1"},
		{"1h", true, exitFailure, ""},
	} {
		c := newCLI(t)
		c.env["SIPWAY_DRAIN_TIMEOUT"], c.env["SIPWAY_DRAIN_SPREAD"] = tc.timeout, "0s"
		l := c.lab()
		alice, bob := dialWS(t, l.ws, "alice"), dial(t, "udp", l.udp, "bob")
		alice.register(600)
		bob.call("alice")
		alice.receive()
		l.signals <- syscall.SIGTERM
		l.await(t, "waiting for calls")
		if tc.second {
			l.signals <- os.Interrupt
		}
		if tc.want != "" {
			l.await(t, tc.want)
		}
		l.stopped = true
		if code := l.end(); code != tc.code {
			t.Errorf("%s: exit code %d\n%s", tc.timeout, code, &l.log)
		}
	}
}
