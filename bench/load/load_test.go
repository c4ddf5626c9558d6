//go:build linux

package load

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/bench/floor"
)

// newEcho starts an echo server on loopback.
func newEcho(t *testing.T) Target {
	t.Helper()
	listeners, err := floor.Listen(t.Context(), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- floor.Echo(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	addr := func(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }
	return Target{
		UDP: addr(listeners.UDP.LocalAddr()), TCP: addr(listeners.TCP.Addr()), WS: addr(listeners.WS.Addr()),
		Domain: "example.test", Password: "secret", Echo: true,
	}
}

func nothing() error { return nil }

func TestEcho(t *testing.T) {
	target := newEcho(t)
	if err := Ready(target); err != nil {
		t.Fatal(err)
	}
	l, err := New(target, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, name := range []string{"options-udp", "options-ws", "register-udp", "register-tcp", "call-udp-udp", "call-tcp-tcp", "call-ws-ws", "call-ws-udp", "authcall-udp-udp", "authcall-ws-ws"} {
		op, err := ParseOp(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, pace := range []Pace{{Window: 3}, {Window: 100, Rate: 1000, Burst: 5}} {
			if err := l.Prepare(op, 30); err != nil {
				t.Fatal(err)
			}
			r := l.Run(op, 30, pace, nothing)
			if err := r.Err(); err != nil || r.Done != 30 || r.Extra != 0 {
				t.Fatalf("%s: %d done, %d extra, %v", name, r.Done, r.Extra, err)
			}
		}
	}
}

// What an agent of a call gets from a server that is no proxy fails the run,
// with the message in the report.
func TestFailureShowsMessage(t *testing.T) {
	target := newEcho(t)
	target.Echo = false
	l, err := New(target, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = l.Prepare(Op{Name: "register-ws", Caller: WS}, 1)
	if err == nil || !strings.Contains(err.Error(), "REGISTER sip:example.test SIP/2.0\r\n") {
		t.Errorf("registering at an echo server: %v", err)
	}
}

func TestIdle(t *testing.T) {
	l, err := New(newEcho(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.OpenIdle(10); err != nil {
		t.Fatal(err)
	}
	if err := l.Serve(0); err != nil {
		t.Error(err)
	}
}

func TestParseOp(t *testing.T) {
	for name, want := range map[string]Op{
		"options-udp":     {"options-udp", UDP, ""},
		"register-ws":     {"register-ws", WS, ""},
		"call-ws-udp":     {"call-ws-udp", WS, UDP},
		"authcall-udp-ws": {"authcall-udp-ws", UDP, WS},
	} {
		if op, err := ParseOp(name); err != nil || op != want {
			t.Errorf("%s: %+v, %v", name, op, err)
		}
	}
	for _, bad := range []string{"", "call", "call-udp", "authcall-udp", "options-tls", "options-udp-udp", "message-udp"} {
		if op, err := ParseOp(bad); err == nil {
			t.Errorf("%q: %+v", bad, op)
		}
	}
}

func TestPace(t *testing.T) {
	p := Pace{Rate: 500, Burst: 20}
	for _, tt := range []struct {
		elapsed time.Duration
		n       int
		next    time.Duration
	}{
		{0, 20, 40 * time.Millisecond},
		{39 * time.Millisecond, 20, time.Millisecond},
		{40 * time.Millisecond, 40, 40 * time.Millisecond},
		{time.Second, 520, 40 * time.Millisecond},
	} {
		if n, next := p.due(tt.elapsed); n != tt.n || next != tt.next {
			t.Errorf("after %v: %d, next in %v, want %d, %v", tt.elapsed, n, next, tt.n, tt.next)
		}
	}
	if n, _ := (Pace{}).due(0); n < 1<<30 {
		t.Errorf("a closed loop is limited to %d", n)
	}
}
