package transport

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

// arrive has a connection come from an address. It returns it, the one that made room for it,
// and whether it was taken.
func arrive(t *testing.T, l *Layer, from string) (s, evicted *socket, ok bool) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	s = newSocket(near, &l.cfg, func() {})
	l.mu.Lock()
	defer l.mu.Unlock()
	ok, evicted = l.enter(s, netip.MustParseAddr(from))
	return s, evicted, ok
}

func TestHalfOpenConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{MaxHalfOpen: 2}, nil)
		first, _, _ := arrive(t, l, "198.51.100.1")
		second, _, _ := arrive(t, l, "198.51.100.2")
		if _, _, ok := arrive(t, l, "198.51.100.3"); ok {
			t.Error("a third one was taken while the others are young")
		}
		l.settled(first)
		third, evicted, ok := arrive(t, l, "198.51.100.3")
		if !ok || evicted != nil {
			t.Error("a connection that has shown what it is for takes room")
		}
		<-time.After(halfOpenGrace)
		fourth, evicted, ok := arrive(t, l, "198.51.100.4")
		if !ok || evicted != second {
			t.Errorf("the oldest did not make room: %v, %v", evicted, ok)
		}
		for _, s := range []*socket{first, second, third, fourth} {
			l.forget(s)
		}
		if c := &l.census; c.fresh != 0 || c.first != nil || c.last != nil || len(c.sources) != 0 {
			t.Errorf("left behind: %+v", c)
		}
	})
}

// forget is what the end of a connection does to the census.
func (l *Layer) forget(s *socket) {
	l.mu.Lock()
	l.census.gone(s)
	l.mu.Unlock()
}

func TestConnectionsPerSource(t *testing.T) {
	exempt := netip.MustParseAddr("203.0.113.9")
	front := netip.MustParsePrefix("192.0.2.0/24")
	tests := []struct {
		name  string
		cfg   Config
		from  []string
		taken int
	}{
		{"one address", Config{MaxPerSource: 2}, []string{"198.51.100.1", "198.51.100.1", "198.51.100.1"}, 2},
		{"two addresses", Config{MaxPerSource: 2}, []string{"198.51.100.1", "198.51.100.1", "198.51.100.2"}, 3},
		{"one /64", Config{MaxPerSource: 2}, []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"}, 2},
		{"an eighth of those half open", Config{MaxHalfOpen: 16}, []string{"198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.2"}, 3},
		{"exempt", Config{MaxPerSource: 1, MaxHalfOpen: 1}, []string{"203.0.113.9", "203.0.113.9", "203.0.113.9"}, 3},
		{"front end", Config{MaxPerSource: 1}, []string{"192.0.2.1", "192.0.2.1"}, 2},
		{"no bound", Config{}, []string{"198.51.100.1", "198.51.100.1"}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Proxies = []netip.Prefix{front}
			tt.cfg.Exempt = func(a netip.Addr) bool { return a == exempt }
			l := New(tt.cfg, nil)
			taken := 0
			for _, from := range tt.from {
				if _, _, ok := arrive(t, l, from); ok {
					taken++
				}
			}
			if taken != tt.taken {
				t.Errorf("%d taken, want %d", taken, tt.taken)
			}
		})
	}
}

// Behind a front end it is the client who is counted.
func TestConnectionsPerSourceBehindAFrontEnd(t *testing.T) {
	l := New(Config{MaxPerSource: 1, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}, nil)
	client := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 5}
	s, _, _ := arrive(t, l, "192.0.2.1")
	if err := l.identify(s, client); err != nil {
		t.Errorf("the first: %v", err)
	}
	other, _, _ := arrive(t, l, "192.0.2.1")
	if err := l.identify(other, client); !errors.Is(err, ErrTooMany) {
		t.Errorf("the second: %v", err)
	}
}

// What is not admitted is dropped over UDP and ends a connection elsewhere, and the handler
// hears of nothing.
func TestAdmit(t *testing.T) {
	asked := make(chan sip.Transport, 2)
	l, r := newLayer(t, Config{Admit: func(f sip.Flow, _ []byte) bool { asked <- f.Transport; return false }})
	request := "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n" +
		"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
	at := listen(t, l, sip.UDP)
	c, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write(t, c, request)
	if got := next(t, asked); got != sip.UDP {
		t.Errorf("asked for %v", got)
	}
	stream := dialStream(t, listen(t, l, sip.TCP))
	write(t, stream, request)
	if e := next(t, r.closed); !errors.Is(e.err, ErrFlood) {
		t.Errorf("closed by %v", e.err)
	}
	if in := l.Stats()[sip.UDP].In + l.Stats()[sip.TCP].In; in != 0 {
		t.Errorf("%d messages were read", in)
	}
}
