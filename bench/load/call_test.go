//go:build linux

package load

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pipe returns a conn and reads what is sent on it.
func pipe(t *testing.T) (*conn, func() string) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return &conn{fd: fds[0], transport: UDP}, func() string {
		t.Helper()
		b := make([]byte, 64<<10)
		n, err := unix.Read(fds[1], b)
		if err != nil {
			t.Fatalf("nothing was sent: %v", err)
		}
		return string(b[:n])
	}
}

// wireCall is a call whose proxy is the test.
type wireCall struct {
	*testing.T
	call           *call
	caller, callee func() string
}

func newWireCall(t *testing.T) *wireCall {
	l := &Load{run: "0123abcd", target: Target{Domain: "example.test", Password: "secret"}, out: make([]byte, headroom, 64<<10)}
	w := &wireCall{T: t}
	var agents [2]*agent
	var sent [2]func() string
	for i := range agents {
		a := &agent{load: l, transport: UDP, user: userName(UDP, i == 1, 0), index: i}
		a.conn, sent[i] = pipe(t)
		a.identify(l.target)
		agents[i] = a
	}
	w.caller, w.callee = sent[0], sent[1]
	w.call = l.newCall(3, agents[0], agents[1], false)
	return w
}

func (w *wireCall) receive(from *agent, text string) (bool, error) {
	var m message
	if err := m.scan([]byte(text)); err != nil {
		return false, err
	}
	return w.call.receive(from.conn, &m)
}

const (
	proxyVia   = "Via: SIP/2.0/UDP proxy;branch=z9hG4bKp\r\n"
	proxyRoute = "Record-Route: <sip:proxy;lr;r2=on>\r\nRecord-Route: <sip:proxy;transport=ws;lr;r2=on>\r\n"
)

// forward is what a record-routing proxy does to a request.
func forward(w *wireCall, request string) string {
	line, rest, _ := strings.Cut(request, "\r\n")
	method, _, _ := strings.Cut(line, " ")
	extra := proxyVia
	if method == "INVITE" {
		extra += proxyRoute
	}
	rest = strings.Replace(rest, "Max-Forwards: 70", "Max-Forwards: 69", 1)
	var kept []string
	for header := range strings.SplitAfterSeq(rest, "\r\n") {
		if !strings.HasPrefix(header, "Route:") {
			kept = append(kept, header)
		}
	}
	return method + " " + w.call.callee.contact + " SIP/2.0\r\n" + extra + strings.Join(kept, "")
}

// back is what a proxy does to a response.
func back(response string) string { return strings.Replace(response, proxyVia, "", 1) }

func trying(request string) string {
	_, head, _ := strings.Cut(request, "\r\n")
	head, _, _ = strings.Cut(head, "\r\n\r\n")
	var kept []string
	for header := range strings.SplitSeq(head, "\r\n") {
		switch name, _, _ := strings.Cut(header, ":"); name {
		case "Via", "From", "To", "Call-ID", "CSeq":
			kept = append(kept, header)
		}
	}
	return "SIP/2.0 100 Trying\r\n" + strings.Join(kept, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
}

// steps are the messages of a call as they reach an agent, by name. alter may
// change one on its way; the first error ends the call.
func (w *wireCall) steps(alter func(name, text string) string) (done bool, err error) {
	c := w.call
	if err := c.start(7); err != nil {
		w.Fatal(err)
	}
	invite := w.caller()
	var request string
	for _, step := range []struct {
		name string
		to   *agent
		text func() string
	}{
		{"100", c.caller, func() string { return trying(invite) }},
		{"INVITE", c.callee, func() string { return forward(w, invite) }},
		{"180", c.caller, func() string { return back(w.callee()) }},
		{"200", c.caller, func() string { return back(w.callee()) }},
		{"ACK", c.callee, func() string { request = w.caller(); return forward(w, request) }},
		{"BYE", c.callee, func() string { request = w.caller(); return forward(w, request) }},
		{"200 BYE", c.caller, func() string { return back(w.callee()) }},
	} {
		done, err = w.receive(step.to, alter(step.name, step.text()))
		if err != nil {
			return done, err
		}
		if (step.name == "ACK" || step.name == "BYE") && !strings.HasPrefix(request, step.name+" "+c.callee.contact+
			" SIP/2.0\r\nRoute: <sip:proxy;transport=ws;lr;r2=on>\r\nRoute: <sip:proxy;lr;r2=on>\r\n") {
			w.Errorf("%s does not follow target and route set:\n%s", step.name, request)
		}
	}
	return done, err
}

func same(_, text string) string { return text }

func TestCall(t *testing.T) {
	w := newWireCall(t)
	for range 2 { // a call leaves nothing behind for the next one
		done, err := w.steps(same)
		if !done || err != nil {
			t.Fatalf("done %v, %v", done, err)
		}
	}
}

func TestCallSeesFaults(t *testing.T) {
	tests := []struct {
		message, from, to string
		want              error
	}{
		{"100", "CSeq: 1", "CSeq: 2", errCSeq},
		{"100", "z9hG4bKi", "z9hG4bKx", errVia},
		{"100", "Via:", "Via: SIP/2.0/UDP other\r\nVia:", errVia},
		{"INVITE", "INVITE sip:", "INVITE sip:x", errURI},
		{"INVITE", "Max-Forwards: 69", "Max-Forwards: 70", errMaxForwards},
		{"INVITE", proxyVia, "", errVias},
		{"INVITE", proxyRoute, "", errRecordRoute},
		{"INVITE", "z9hG4bKi", "z9hG4bKx", errVias},
		{"INVITE", "ptime:20", "ptime:30", errBody},
		{"INVITE", "Contact:", "X-Contact:", errContact},
		{"INVITE", ";tag=a", ";tag=x", errFrom},
		{"180", "SIP/2.0 180", "SIP/2.0 486", nil},
		{"180", ";tag=b", ";tag=x", errTo},
		{"180", "Via:", proxyVia + "Via:", errVia},
		{"200", "ptime:20", "ptime:30", errBody},
		{"200", "Contact:", "X-Contact:", errContact},
		{"200", "Record-Route:", "X-Route:", errRecordRoute},
		{"200", ";lr", ";x", errRecordRoute},
		{"ACK", "Max-Forwards", "Route: <sip:proxy;lr>\r\nMax-Forwards", errRoute},
		{"ACK", ";tag=b", ";tag=x", errTo},
		{"ACK", "CSeq: 1", "CSeq: 2", errCSeq},
		{"BYE", "BYE sip:", "BYE sip:x", errURI},
		{"BYE", ";tag=b", ";tag=x", errTo},
		{"200 BYE", "CSeq: 2", "CSeq: 3", errCSeq},
		{"200 BYE", "SIP/2.0 200", "SIP/2.0 481", nil},
	}
	for _, tt := range tests {
		w := newWireCall(t)
		_, err := w.steps(func(name, text string) string {
			if name != tt.message {
				return text
			}
			altered := strings.ReplaceAll(text, tt.from, tt.to)
			if altered == text {
				t.Fatalf("%s has no %q", name, tt.from)
			}
			return altered
		})
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s with %q for %q: %v, want %v", tt.message, tt.to, tt.from, err, tt.want)
		}
	}
}

// A retransmission is told from a fault.
func TestCallRepeats(t *testing.T) {
	w := newWireCall(t)
	done, err := w.steps(func(name, text string) string {
		to := w.call.callee
		if name == "100" || name == "180" || name == "200" || name == "200 BYE" {
			to = w.call.caller
		}
		if name != "100" && name != "200 BYE" {
			t.Cleanup(func() {
				if _, err := w.receive(to, text); err != errExtra {
					t.Errorf("%s after the call: %v, want %v", name, err, errExtra)
				}
			})
		}
		return text
	})
	if !done || err != nil {
		t.Fatalf("done %v, %v", done, err)
	}
	if _, err := w.receive(w.call.caller, "SIP/2.0 200 OK\r\nCall-ID: other\r\n\r\n"); err != errExtra {
		t.Errorf("another Call-ID: %v", err)
	}
}

func TestSessionDescriptions(t *testing.T) {
	browser, desk := browserSDP(7, "actpass"), deskSDP(7)
	if n := len(browser); n < 2000 || n > 3000 {
		t.Errorf("a browser's offer has %d bytes", n)
	}
	if n := len(desk); n < 250 || n > 400 {
		t.Errorf("a phone's offer has %d bytes", n)
	}
	for _, b := range [][]byte{browser, desk} {
		if bytes.Count(b, []byte("\n")) != bytes.Count(b, []byte("\r\n")) || !bytes.HasSuffix(b, []byte("\r\n")) {
			t.Errorf("line ends: %q", b)
		}
	}
}

func BenchmarkInvite(b *testing.B) {
	l := &Load{run: "0123abcd", target: Target{Domain: "example.test"}}
	a := &agent{load: l, transport: WS, user: "ws-a0000", conn: &conn{transport: WS}}
	a.identify(l.target)
	c := l.newCall(0, a, a, false)
	out := make([]byte, headroom, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		a.conn.frame(c.appendInvite(out, 1), opText)
	}
}
