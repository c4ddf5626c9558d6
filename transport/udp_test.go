package transport

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

func dialUDP(t testing.TB, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func TestUDPRequestAndResponse(t *testing.T) {
	for _, test := range []struct{ listen, dial string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"[::1]:0", "::1"},
		{"0.0.0.0:0", "127.0.0.2"}, // the answer must come from there
		{":0", "127.0.0.2"},
		{":0", "::1"},
	} {
		if strings.Contains(test.listen+test.dial, "::") && !hasIPv6() {
			continue
		}
		t.Run(test.listen+" "+test.dial, func(t *testing.T) {
			l, r := newLayer(t, Config{})
			at, err := l.Listen(sip.UDP, test.listen, Binding{})
			if err != nil {
				t.Fatal(err)
			}
			to := netip.AddrPortFrom(netip.MustParseAddr(test.dial), at.Port())
			c := dialUDP(t, to)
			write(t, c, request(sip.UDP, 1))
			e := expectSeq(t, r, 1)
			want := sip.Flow{Transport: sip.UDP, Local: to, Remote: addrPort(c.LocalAddr())}
			if e.flow != want || !l.Alive(e.flow) {
				t.Errorf("flow %v, want %v", e.flow, want)
			}
			if via := e.m.Via(); via.RPort != int(want.Remote.Port()) || via.Received != want.Remote.Addr().String() {
				t.Errorf("Via %+v", via)
			}
			if err := l.Send(e.flow, []byte("answer")); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			if n, err := c.Read(b); err != nil || string(b[:n]) != "answer" {
				t.Errorf("%q, %v", b[:n], err)
			}
		})
	}
}

func TestUDPAddressTaken(t *testing.T) {
	l, _ := newLayer(t, Config{})
	at := listen(t, l, sip.UDP)
	other, _ := newLayer(t, Config{})
	if _, err := other.Listen(sip.UDP, at.String(), Binding{}); err == nil {
		t.Error("two layers share an address")
	}
}

func TestUDPOddDatagrams(t *testing.T) {
	l, r := newLayer(t, Config{MaxMessage: 8000})
	c := dialUDP(t, listen(t, l, sip.UDP))
	stun := "\x00\x01\x00\x00\x21\x12\xa4\x42" + strings.Repeat("t", 12)
	for _, s := range []string{"", "\r\n\r\n", "\x00\x00\x00\x00", "\r\n", stun} {
		write(t, c, s)
	}
	write(t, c, "nonsense")
	if e := next(t, r.malformed); e.m != nil {
		t.Error("nonsense was understood")
	}
	write(t, c, requestBody(sip.UDP, 1, strings.Repeat("b", 60000)))
	e := next(t, r.malformed)
	if fault, ok := errors.AsType[*sip.Error](e.err); !ok || fault.Status != 513 || e.m == nil || e.m.Via().Received == "" {
		t.Errorf("%+v", e)
	}
	cut := requestBody(sip.UDP, 2, "body") // RFC 3261 §18.3: ends before the body does
	write(t, c, cut[:len(cut)-1])
	e = next(t, r.malformed)
	if fault, ok := errors.AsType[*sip.Error](e.err); !ok || fault.Status != 400 || e.m == nil {
		t.Errorf("%+v", e)
	}
	write(t, c, request(sip.UDP, 3)+"more than the body") // and here it is cut off
	if e := expectSeq(t, r, 3); len(e.m.Body()) != 0 {
		t.Errorf("body %q", e.m.Body())
	}
	if s := l.Stats()[sip.UDP]; s.In != 4 || s.Malformed != 3 || s.Keepalives != 5 {
		t.Errorf("%+v", s)
	}
}

// TestUDPUnreachable: what ICMP says about one peer stops nothing.
func TestUDPUnreachable(t *testing.T) {
	l, r := newLayer(t, Config{})
	at := listen(t, l, sip.UDP)
	gone := dialUDP(t, at)
	write(t, gone, request(sip.UDP, 1))
	f := expectSeq(t, r, 1).flow
	gone.Close()
	for range 10 {
		l.Send(f, []byte("answer"))
	}
	write(t, dialUDP(t, at), request(sip.UDP, 2))
	expectSeq(t, r, 2)
}

func TestUDPSendErrors(t *testing.T) {
	l, _ := newLayer(t, Config{})
	at := listen(t, l, sip.UDP)
	remote := netip.MustParseAddrPort("127.0.0.1:9")
	if err := l.Send(sip.Flow{Transport: sip.UDP, Local: netip.MustParseAddrPort("127.0.0.1:1"), Remote: remote}, nil); !errors.Is(err, ErrFlowClosed) {
		t.Errorf("unknown local address: %v", err)
	}
	six := netip.MustParseAddrPort("[::1]:9")
	if err := l.Send(sip.Flow{Transport: sip.UDP, Local: at, Remote: six}, nil); err == nil {
		t.Error("IPv6 from an IPv4 socket")
	}
	f, err := l.Dial(t.Context(), sip.Server{Transport: sip.UDP, Addr: remote})
	if err != nil || f.Local != at {
		t.Fatal(f, err)
	}
	if err := l.Send(f, make([]byte, 70000)); err == nil {
		t.Error("a datagram of 70,000 bytes was sent")
	}
	if _, err := l.Dial(t.Context(), sip.Server{Transport: sip.UDP, Addr: six}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("dial to IPv6: %v", err)
	}
	if s := l.Stats()[sip.UDP]; s.Dropped != 1 || s.Out != 0 {
		t.Errorf("%+v", s)
	}
}
