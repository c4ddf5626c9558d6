package transport

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

var loopbackOnly = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// version2 is a PROXY header in binary, of a TCP connection from a client over IPv6, with a
// TLV behind the addresses.
func version2(client netip.AddrPort) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x21, 0, 36+4)
	from, to := client.Addr().As16(), netip.MustParseAddr("2001:db8::1").As16()
	b = append(append(b, from[:]...), to[:]...)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, client.Port()), 5061)
	return string(append(b, 0x04, 0, 1, 0))
}

// What a front end says of where its connection comes from is taken for the flow's address.
func TestProxyProtocol(t *testing.T) {
	ca := newAuthority(t)
	for _, test := range []struct {
		name, header, want string // want "": the connection's own address
	}{
		{"version 1", "PROXY TCP4 192.0.2.7 203.0.113.1 4711 5060\r\n", "192.0.2.7:4711"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 5060\r\n", "[2001:db8::7]:4711"},
		{"version 2", version2(netip.MustParseAddrPort("[2001:db8::7]:4711")), "[2001:db8::7]:4711"},
		{"version 1, the front end itself", "PROXY UNKNOWN\r\n", ""},
		{"version 2, the front end itself", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", ""},
	} {
		for _, tr := range []sip.Transport{sip.TCP, sip.TLS} {
			t.Run(test.name+" "+tr.String(), func(t *testing.T) {
				l, r := newLayer(t, Config{TLS: ca.serverConfig(t), Proxies: loopbackOnly})
				at, err := l.Listen(tr, "127.0.0.1:0", Binding{Proxied: true})
				if err != nil {
					t.Fatal(err)
				}
				c := dialStream(t, at)
				if tr == sip.TLS {
					write(t, c, test.header)
					secure := tls.Client(c, ca.clientConfig())
					write(t, secure, request(tr, 1))
				} else {
					write(t, c, test.header+request(tr, 1)) // in one segment
				}
				e := expectSeq(t, r, 1)
				want := addrPort(c.LocalAddr())
				if test.want != "" {
					want = netip.MustParseAddrPort(test.want)
				}
				if e.flow.Remote != want || e.m.Via().Received != want.Addr().String() || e.flow.Local != at {
					t.Errorf("flow %+v, received %s, want %v", e.flow, e.m.Via().Received, want)
				}
			})
		}
	}
}

// Who is no front end, or does not say what one says, is closed.
func TestProxyProtocolRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		proxies []netip.Prefix
		first   string
	}{
		{"not of ours", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, "PROXY TCP4 192.0.2.7 203.0.113.1 4711 5060\r\n"},
		{"no header", loopbackOnly, request(sip.TCP, 1)},
		{"no address", loopbackOnly, "PROXY TCP4 nowhere 203.0.113.1 4711 5060\r\n"},
		{"a line without end", loopbackOnly, "PROXY TCP4 " + string(make([]byte, 200))},
		{"version 2 over a Unix socket", loopbackOnly, "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + string(make([]byte, 216))},
		{"version 2, too short for its addresses", loopbackOnly, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04\x7f\x00\x00\x01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, r := newLayer(t, Config{Proxies: test.proxies, HandshakeTimeout: 100 * time.Millisecond})
			at, err := l.Listen(sip.TCP, "127.0.0.1:0", Binding{Proxied: true})
			if err != nil {
				t.Fatal(err)
			}
			if c, err := net.Dial("tcp", at.String()); err == nil { // else it was closed at once
				c.SetDeadline(time.Now().Add(patience))
				io.WriteString(c, test.first+request(sip.TCP, 2))
				if _, err := io.Copy(io.Discard, c); isTimeout(err) {
					t.Error("not closed")
				}
				c.Close()
			}
			none(t, r.received)
			if n := l.Stats()[sip.TCP].Refused; n != 1 {
				t.Errorf("%d connections refused", n)
			}
		})
	}
	l, _ := newLayer(t, Config{})
	if _, err := l.Listen(sip.UDP, "127.0.0.1:0", Binding{Proxied: true}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("over UDP: %v", err)
	}
}

// X-Forwarded-For counts from front ends alone, and of it what the last of them saw.
func TestForwardedFor(t *testing.T) {
	for _, test := range []struct {
		name    string
		proxies string
		headers []string
		want    string // the address, "" for the connection's own
	}{
		{"none", "127.0.0.0/8", nil, ""},
		{"one", "127.0.0.0/8", []string{"192.0.2.7"}, "192.0.2.7"},
		{"with a port", "127.0.0.0/8", []string{"192.0.2.7:4711"}, "192.0.2.7"},
		{"IPv6", "127.0.0.0/8", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"what the client says stands first", "127.0.0.0/8", []string{"198.51.100.1, 192.0.2.7"}, "192.0.2.7"},
		{"on two lines", "127.0.0.0/8", []string{"198.51.100.1", "192.0.2.7"}, "192.0.2.7"},
		{"through two front ends", "127.0.0.0/8", []string{"198.51.100.1, 192.0.2.7, 127.0.0.9"}, "192.0.2.7"},
		{"garbage of the client", "127.0.0.0/8", []string{"<script>, 192.0.2.7"}, "192.0.2.7"},
		{"garbage alone", "127.0.0.0/8", []string{"unknown"}, ""},
		{"from a stranger", "192.0.2.0/24", []string{"192.0.2.7"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, r := newLayer(t, Config{Proxies: []netip.Prefix{netip.MustParsePrefix(test.proxies)}})
			c, _, err := websocket.Dial(t.Context(), "ws://"+listen(t, l, sip.WS).String()+"/", &websocket.DialOptions{
				Subprotocols: []string{"sip"}, HTTPHeader: http.Header{"X-Forwarded-For": test.headers},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			writeWS(t, c, websocket.MessageText, request(sip.WS, 1))
			want := "127.0.0.1"
			if test.want != "" {
				want = test.want
			}
			e := expectSeq(t, r, 1)
			if got := e.flow.Remote.Addr().String(); got != want || e.m.Via().Received != want {
				t.Errorf("flow %v, received %s, want %s", e.flow, e.m.Via().Received, want)
			}
		})
	}
}

// FuzzPreamble: no header of a front end does harm.
func FuzzPreamble(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 203.0.113.1 4711 5060\r\nINVITE"))
	f.Add([]byte(version2(netip.MustParseAddrPort("[2001:db8::7]:4711"))))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff"))
	cfg := Config{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}.withDefaults()
	l := &Layer{cfg: cfg}
	f.Fuzz(func(t *testing.T, b []byte) {
		client, server := net.Pipe()
		go func() {
			client.Write(b)
			client.Close()
		}()
		sock := newSocket(memConn{server}, &l.cfg, nil)
		if err := l.readPreamble(sock); err == nil && !addrPort(sock.RemoteAddr()).IsValid() {
			t.Error("accepted without an address")
		}
		sock.discard(len(sock.in))
		server.Close()
	})
}
