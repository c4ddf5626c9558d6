package locate

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/transport/dnstest"
	"github.com/sipway/sipway/transport/resolver"
)

// newTest returns a locator that supports transports, "udp tcp tls", with a nameserver that
// has some domains.
func newTest(t *testing.T, transports string) (*Locator, *dnstest.Server) {
	t.Helper()
	s := dnstest.Start(t)
	none := filepath.Join(t.TempDir(), "none")
	r := resolver.New(resolver.Config{
		Servers: []netip.AddrPort{s.Addr}, Timeout: 50 * time.Millisecond, Hosts: none, ResolvConf: none,
		Logger: slog.New(slog.DiscardHandler),
	})
	s.Set(t,
		// A domain with everything, whose NAPTR lead to names of another domain.
		`all.test. 60 NAPTR 90 50 "s" "SIP+D2T" "" _sip._tcp.hosted.test.`,
		`all.test. 60 NAPTR 50 60 "S" "SIPS+D2T" "" _sips._tcp.hosted.test.`,
		`all.test. 60 NAPTR 90 20 "s" "sip+d2u" "" _sip._udp.hosted.test.`,
		`all.test. 60 NAPTR 10 50 "s" "SIP+D2S" "" _sip._sctp.hosted.test.`,
		`all.test. 60 NAPTR 10 50 "u" "E2U+sip" "!^.*$!sip:x@other.test!" .`,
		`_sip._udp.all.test. 60 SRV 0 0 5999 wrong.all.test.`,
		"all.test. 60 A 192.0.2.99",
		"_sip._udp.hosted.test. 60 SRV 20 0 5060 udp2.hosted.test.",
		"_sip._udp.hosted.test. 60 SRV 10 0 5070 udp1.hosted.test.",
		"_sip._tcp.hosted.test. 60 SRV 10 0 5070 tcp.hosted.test.",
		"_sips._tcp.hosted.test. 60 SRV 10 0 5071 tcp.hosted.test.",
		"udp1.hosted.test. 60 A 192.0.2.1", "udp1.hosted.test. 60 A 192.0.2.2",
		"udp2.hosted.test. 60 A 192.0.2.3",
		"tcp.hosted.test. 60 CNAME tcp0.hosted.test.", "tcp0.hosted.test. 60 A 192.0.2.4",
		// SRV alone.
		"_sip._udp.srv.test. 60 SRV 0 0 5060 udp1.hosted.test.",
		"_sip._tcp.srv.test. 60 SRV 0 0 5080 tcp0.hosted.test.",
		"_sips._tcp.srv.test. 60 SRV 0 0 5081 tcp0.hosted.test.",
		"srv.test. 60 A 192.0.2.99",
		"_sip._tcp.tcponly.test. 60 SRV 0 0 5080 tcp0.hosted.test.",
		// NAPTR, and one transport without SRV.
		`half.test. 60 NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.half.test.`, "half.test. 60 A 192.0.2.5",
		// NAPTR of no use at all.
		`useless.test. 60 NAPTR 1 1 "s" "SIP+D2S" "" _sip._sctp.useless.test.`, "useless.test. 60 A 192.0.2.6",
		// Addresses alone.
		"a.test. 60 A 192.0.2.7", "a.test. 60 A 192.0.2.8",
		"six.test. 60 AAAA 2001:db8::7",
		// A service that is decidedly not there, for one transport and for all.
		"_sip._udp.notudp.test. 60 SRV 0 0 0 .", "_sip._tcp.notudp.test. 60 SRV 0 0 5060 tcp0.hosted.test.",
		"_sip._udp.not.test. 60 SRV 0 0 0 .", "_sip._tcp.not.test. 60 SRV 0 0 0 .", "not.test. 60 A 192.0.2.99",
		// Two that are equal.
		"_sip._udp.equal.test. 60 SRV 0 0 5060 udp2.hosted.test.",
		"_sip._udp.equal.test. 60 SRV 0 0 5060 tcp0.hosted.test.",
		// A target that does not exist, an address in its place, a name twice.
		"_sip._udp.holes.test. 60 SRV 1 0 5060 nowhere.test.",
		"_sip._udp.holes.test. 60 SRV 2 0 5060 192.0.2.9.",
		"_sip._udp.holes.test. 60 SRV 3 0 5060 a.test.",
		"_sip._udp.holes.test. 60 SRV 4 0 5060 a.test.")
	return New(Config{
		Resolver: r,
		Supports: func(t sip.Transport) bool {
			return strings.Contains(transports, strings.ToLower(t.String()))
		},
	}), s
}

// servers lists what a search yields, and how it ends.
func servers(t *testing.T, next func(context.Context) (sip.Server, error)) (list string, end error) {
	t.Helper()
	var all []string
	for range 20 {
		s, err := next(t.Context())
		if err != nil {
			return strings.Join(all, ", "), err
		}
		all = append(all, s.String())
	}
	t.Fatal("servers without end")
	return "", nil
}

func uri(t *testing.T, text string) *sip.URI {
	t.Helper()
	u, err := sip.ParseURI(text)
	if err != nil {
		t.Fatal(err)
	}
	return &u
}

func TestLocate(t *testing.T) {
	all, _ := newTest(t, "udp tcp tls")
	plain, _ := newTest(t, "udp tcp")
	tcp, _ := newTest(t, "tcp")
	const (
		hostedUDP = "udp 192.0.2.1:5070, udp 192.0.2.2:5070, udp 192.0.2.3:5060"
		hostedTCP = "tcp 192.0.2.4:5070"
	)
	for _, tc := range []struct {
		locator   *Locator
		uri, want string
	}{
		// §4.1: a transport parameter, numeric, a port: no NAPTR.
		{all, "sip:x@192.0.2.7", "udp 192.0.2.7:5060"},
		{all, "sip:x@192.0.2.7:5070", "udp 192.0.2.7:5070"},
		{all, "sip:x@192.0.2.7;transport=TCP", "tcp 192.0.2.7:5060"},
		{all, "sip:x@192.0.2.7;transport=tls", "tls 192.0.2.7:5061"},
		{all, "sips:x@192.0.2.7", "tls 192.0.2.7:5061"},
		{all, "sips:x@192.0.2.7:5060;transport=tcp", "tls 192.0.2.7:5060"},
		{all, "sip:x@[2001:db8::7]", "udp [2001:db8::7]:5060"},
		{all, "sip:x@[2001:db8::7]:5070;transport=tcp", "tcp [2001:db8::7]:5070"},
		{all, "sip:x@all.test;maddr=192.0.2.7", "udp 192.0.2.7:5060"},
		{all, "sip:x@192.0.2.9;maddr=a.test", "udp 192.0.2.7:5060, udp 192.0.2.8:5060"},
		{all, "sip:x@192.0.2.9:5070;maddr=[2001:db8::7];transport=tcp", "tcp [2001:db8::7]:5070"},
		{all, "sip:x@srv.test:5060", "udp 192.0.2.99:5060"},
		{all, "sips:x@srv.test:5070", "tls 192.0.2.99:5070"},
		{all, "sip:x@srv.test:5070;transport=tcp", "tcp 192.0.2.99:5070"},
		{all, "sip:x@six.test:5070", "udp [2001:db8::7]:5070"},
		// §4.1: NAPTR, by order and preference, what we support and the scheme allows.
		{all, "sip:x@All.Test", "tls 192.0.2.4:5071, " + hostedUDP + ", " + hostedTCP},
		{plain, "sip:x@all.test", hostedUDP + ", " + hostedTCP},
		{tcp, "sip:x@all.test", hostedTCP},
		{all, "sips:x@all.test", "tls 192.0.2.4:5071"},
		{all, "sip:x@half.test", "udp 192.0.2.5:5060"},
		{all, "sip:x@useless.test", "udp 192.0.2.6:5060"},
		// Without NAPTR: SRV of the transports there are.
		{all, "sip:x@srv.test", "udp 192.0.2.1:5060, udp 192.0.2.2:5060, tcp 192.0.2.4:5080"},
		{tcp, "sip:x@srv.test", "tcp 192.0.2.4:5080"},
		{all, "sip:x@tcponly.test", "tcp 192.0.2.4:5080"},
		{all, "sips:x@srv.test", "tls 192.0.2.4:5081"},
		// §4.2: a transport parameter leads to SRV at once.
		{all, "sip:x@srv.test;transport=tcp", "tcp 192.0.2.4:5080"},
		{all, "sip:x@srv.test;transport=tls", "tls 192.0.2.4:5081"},
		{all, "sips:x@srv.test;transport=tcp", "tls 192.0.2.4:5081"},
		{all, "sip:x@all.test;transport=udp", ""}, // there is one, of a server that is not
		{all, "sip:x@a.test;transport=tcp", "tcp 192.0.2.7:5060, tcp 192.0.2.8:5060"},
		{all, "sip:x@a.test;transport=tls", "tls 192.0.2.7:5061, tls 192.0.2.8:5061"},
		// Without SRV: addresses at the default port.
		{all, "sip:x@a.test", "udp 192.0.2.7:5060, udp 192.0.2.8:5060"},
		{tcp, "sip:x@a.test", "tcp 192.0.2.7:5060, tcp 192.0.2.8:5060"},
		{all, "sips:x@a.test", "tls 192.0.2.7:5061, tls 192.0.2.8:5061"},
		{all, "sip:x@six.test", "udp [2001:db8::7]:5060"},
		// Odd zones.
		{all, "sip:x@notudp.test", "tcp 192.0.2.4:5060"},
		{all, "sip:x@not.test", ""},
		{all, "sip:x@holes.test", "udp 192.0.2.9:5060, udp 192.0.2.7:5060, udp 192.0.2.8:5060"},
		// Names that need no DNS.
		{all, "sip:x@localhost;transport=tcp", "tcp 127.0.0.1:5060, tcp [::1]:5060"},
		{all, "sip:x@localhost", "udp 127.0.0.1:5060, udp [::1]:5060"},
		// What leads nowhere.
		{all, "sip:x@nowhere.test", ""},
		{all, "sip:x@a.invalid;transport=ws", ""},
		{all, "sip:x@a.invalid", ""},
		{all, "sip:x@192.0.2.7;transport=ws", ""},
		{all, "sip:x@192.0.2.7;transport=sctp", ""},
		{all, "sips:x@192.0.2.7;transport=udp", ""},
		{plain, "sips:x@192.0.2.7", ""},
		{plain, "sip:x@192.0.2.7;transport=tls", ""},
		{tcp, "sip:x@192.0.2.7;transport=udp", ""},
		{tcp, "sip:x@192.0.2.7", "tcp 192.0.2.7:5060"},
		{all, "tel:+1234", ""},
	} {
		got, end := servers(t, tc.locator.Locate(uri(t, tc.uri)))
		if got != tc.want {
			t.Errorf("%s: %s; want %s", tc.uri, got, tc.want)
		}
		if wantEOF := tc.want != ""; errors.Is(end, io.EOF) != wantEOF || end == nil {
			t.Errorf("%s ends with %v", tc.uri, end)
		}
	}
}

// Servers whose records say nothing of their share have equal ones.
func TestEqualServers(t *testing.T) {
	l, _ := newTest(t, "udp")
	firsts := map[sip.Server]int{}
	for range 100 {
		s, err := l.Locate(uri(t, "sip:x@equal.test"))(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		firsts[s]++
	}
	for s, n := range firsts {
		if len(firsts) != 2 || n < 20 {
			t.Errorf("%v is first %d times of 100", s, n)
		}
	}
}

// Nothing is looked up before it is needed.
func TestLazy(t *testing.T) {
	l, dns := newTest(t, "udp tcp tls")
	next := l.Locate(uri(t, "sip:x@all.test"))
	if s, err := next(t.Context()); err != nil || s != (sip.Server{Transport: sip.TLS, Addr: netip.MustParseAddrPort("192.0.2.4:5071"), Name: "all.test"}) {
		t.Errorf("%v, %v", s, err)
	}
	for _, what := range []string{"_sip._udp.hosted.test SRV", "udp1.hosted.test A", "_sip._tcp.hosted.test SRV"} {
		if n := dns.Queries(what); n != 0 {
			t.Errorf("%s: %d queries", what, n)
		}
	}
	if _, err := next(t.Context()); err != nil || dns.Queries("_sip._udp.hosted.test SRV") != 1 || dns.Queries("udp2.hosted.test A") != 0 {
		t.Errorf("the second server: %v", err)
	}
}

// A nameserver that fails for one kind of record does not hide the others; one that does
// not answer is not waited for again and again.
func TestNameserverFailure(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(s *dnstest.Server)
		want string
		end  error
	}{
		{"SERVFAIL for NAPTR", func(s *dnstest.Server) {
			s.Fault(func(q, m *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeNAPTR {
					m.Rcode, m.Answer = dns.RcodeServerFailure, nil
				}
			})
		}, "udp 192.0.2.1:5060, udp 192.0.2.2:5060, tcp 192.0.2.4:5080", io.EOF},
		{"SERVFAIL for NAPTR and SRV", func(s *dnstest.Server) {
			s.Fault(func(q, m *dns.Msg) {
				if q.Question[0].Qtype != dns.TypeA {
					m.Rcode, m.Answer = dns.RcodeServerFailure, nil
				}
			})
		}, "udp 192.0.2.99:5060", io.EOF},
		{"SERVFAIL for SRV over UDP", func(s *dnstest.Server) { s.Fail("_sip._udp.srv.test", dns.RcodeServerFailure) }, "tcp 192.0.2.4:5080", io.EOF},
		{"SERVFAIL for a target", func(s *dnstest.Server) { s.Fail("udp1.hosted.test", dns.RcodeServerFailure) }, "tcp 192.0.2.4:5080", io.EOF},
		{"SERVFAIL for all", func(s *dnstest.Server) { s.Fail("", dns.RcodeServerFailure) }, "", resolver.ErrFailed},
		{"silence", func(s *dnstest.Server) { s.Silence(true) }, "", resolver.ErrSilent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, s := newTest(t, "udp tcp")
			tc.harm(s)
			got, end := servers(t, l.Locate(uri(t, "sip:x@srv.test")))
			if got != tc.want || !errors.Is(end, tc.end) {
				t.Errorf("%s, %v; want %s", got, end, tc.want)
			}
			if tc.end == resolver.ErrSilent && s.Queries("_sip._udp.srv.test SRV") > 0 {
				t.Error("asked on for SRV")
			}
		})
	}
}

// §5: where a response goes whose connection has gone.
func TestRespond(t *testing.T) {
	l, _ := newTest(t, "udp tcp tls")
	for _, tc := range []struct {
		transport sip.Transport
		host      string
		port      uint16
		want      string
	}{
		{sip.TCP, "192.0.2.7", 0, "tcp 192.0.2.7:5060"},
		{sip.TLS, "192.0.2.7", 0, "tls 192.0.2.7:5061"},
		{sip.TCP, "[2001:db8::7]", 5070, "tcp [2001:db8::7]:5070"},
		{sip.TCP, "a.test", 5070, "tcp 192.0.2.7:5070, tcp 192.0.2.8:5070"},
		{sip.TCP, "srv.test", 5070, "tcp 192.0.2.99:5070"},
		{sip.TCP, "srv.test", 0, "tcp 192.0.2.4:5080"},
		{sip.TLS, "srv.test", 0, "tls 192.0.2.4:5081"},
		{sip.UDP, "srv.test", 0, "udp 192.0.2.1:5060, udp 192.0.2.2:5060"},
		{sip.TCP, "a.test", 0, "tcp 192.0.2.7:5060, tcp 192.0.2.8:5060"},
		{sip.TCP, "localhost", 0, "tcp 127.0.0.1:5060, tcp [::1]:5060"},
		{sip.TCP, "a.invalid", 0, ""},
		{sip.WS, "a.test", 0, ""},
		{0, "a.test", 0, ""},
	} {
		if got, end := servers(t, l.Respond(tc.transport, tc.host, tc.port)); got != tc.want || end == nil {
			t.Errorf("%v %s:%d: %s, %v; want %s", tc.transport, tc.host, tc.port, got, end, tc.want)
		}
	}
}

// Who gives up hears so, and may go on later.
func TestContext(t *testing.T) {
	l, s := newTest(t, "udp tcp")
	next := l.Locate(uri(t, "sip:x@srv.test"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got, err := next(t.Context()); err != nil || got.Addr.Port() != 5060 || s.Queries("srv.test NAPTR") != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
