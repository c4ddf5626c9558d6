package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sipway/sipway/transport/dnstest"
)

// newTest returns a resolver for nameservers, without the system's files.
func newTest(t *testing.T, servers ...netip.AddrPort) *Resolver {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	return New(Config{
		Servers: servers, Timeout: 50 * time.Millisecond, Hosts: none, ResolvConf: none,
		Logger: slog.New(slog.DiscardHandler),
	})
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func addrs(text ...string) (all []netip.Addr) {
	for _, s := range text {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func TestRecords(t *testing.T) {
	s := dnstest.Start(t)
	s.Set(t,
		"example.test. 60 NAPTR 10 20 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.test.",
		"_sip._udp.example.test. 60 SRV 1 2 5070 Server.example.test.",
		"_sip._tcp.example.test. 60 SRV 0 0 0 .",
		"server.example.test. 60 A 192.0.2.7",
		"server.example.test. 60 A 192.0.2.8",
		"six.example.test. 60 AAAA 2001:db8::7",
		"both.example.test. 60 A 127.0.0.2",
		"both.example.test. 60 AAAA ::1")
	r := newTest(t, s.Addr)
	ctx := t.Context()

	pointers, err := r.NAPTR(ctx, "Example.Test")
	if want := []NAPTR{{10, 20, "s", "SIP+D2U", "", "_sip._udp.example.test"}}; err != nil || !reflect.DeepEqual(pointers, want) {
		t.Errorf("NAPTR: %v, %v", pointers, err)
	}
	services, err := r.SRV(ctx, "_sip._udp.example.test")
	if want := []SRV{{1, 2, 5070, "Server.example.test"}}; err != nil || !reflect.DeepEqual(services, want) {
		t.Errorf("SRV: %v, %v", services, err)
	}
	if services, err = r.SRV(ctx, "_sip._tcp.example.test."); err != nil || !reflect.DeepEqual(services, []SRV{{}}) {
		t.Errorf("SRV of a service that is not there: %v, %v", services, err)
	}
	for host, want := range map[string][]netip.Addr{
		"SERVER.example.test": addrs("192.0.2.7", "192.0.2.8"),
		"six.example.test.":   addrs("2001:db8::7"),
	} {
		if got, err := r.Addrs(ctx, host); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", host, got, err)
		}
	}
	if got, err := r.Addrs(ctx, "both.example.test"); err != nil || len(got) != 2 {
		t.Errorf("addresses of both versions: %v, %v", got, err)
	}
	before := s.Queries("server.example.test A")
	if _, err := r.Addrs(ctx, "server.EXAMPLE.test"); err != nil || s.Queries("server.example.test A") != before {
		t.Error("asked again within the time to live")
	}
}

// What does not fit into a datagram comes over TCP; where that fails what came is used.
func TestTruncated(t *testing.T) {
	s := dnstest.Start(t)
	var lines []string
	for i := range 60 {
		lines = append(lines, fmt.Sprintf("_sip._udp.large.test. 60 SRV 1 1 5060 a-server-with-a-long-name-%d.large.test.", i))
	}
	s.Set(t, lines...)
	services, err := newTest(t, s.Addr).SRV(t.Context(), "_sip._udp.large.test")
	if err != nil || len(services) != 60 || s.Queries("_sip._udp.large.test SRV tcp") != 1 {
		t.Errorf("%d records, %v, %d queries over TCP", len(services), err, s.Queries("_sip._udp.large.test SRV tcp"))
	}

	udp, err := net.ListenPacket("udp", "127.0.0.1:0") // and no TCP
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: udp, Handler: dns.HandlerFunc(s.ServeDNS)}
	go func() {
		if err := server.ActivateAndServe(); err != nil {
			t.Error(err)
		}
	}()
	defer udp.Close()
	services, err = newTest(t, udp.LocalAddr().(*net.UDPAddr).AddrPort()).SRV(t.Context(), "_sip._udp.large.test")
	if err != nil || len(services) == 0 || len(services) >= 60 {
		t.Errorf("without TCP: %d records, %v", len(services), err)
	}
	if err := server.Shutdown(); err != nil {
		t.Error(err)
	}
}

// onlyFirst makes a nameserver one that does not follow aliases.
func onlyFirst(_, m *dns.Msg) {
	if len(m.Answer) > 1 {
		m.Answer = m.Answer[:1]
	}
}

func TestAliases(t *testing.T) {
	s := dnstest.Start(t)
	s.Set(t,
		"a.test. 60 CNAME b.test.", "b.test. 60 CNAME C.test.", "c.test. 60 A 192.0.2.7",
		"loop.test. 60 CNAME pool.test.", "pool.test. 60 CNAME loop.test.",
		"dangling.test. 60 CNAME nowhere.test.")
	for _, follows := range []bool{true, false} {
		r := newTest(t, s.Addr)
		if !follows {
			s.Fault(onlyFirst)
		}
		if got, err := r.Addrs(t.Context(), "a.test"); err != nil || !slices.Equal(got, addrs("192.0.2.7")) {
			t.Errorf("follows %v: %v, %v", follows, got, err)
		}
		if got, err := r.Addrs(t.Context(), "loop.test"); !errors.Is(err, ErrFailed) {
			t.Errorf("a loop, follows %v: %v, %v", follows, got, err)
		}
		if got, err := r.Addrs(t.Context(), "dangling.test"); !errors.Is(err, ErrNotFound) {
			t.Errorf("an alias of nothing, follows %v: %v, %v", follows, got, err)
		}
	}
}

// Each fault of a nameserver leads to the next one.
func TestNameserverFaults(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault func(s *dnstest.Server)
		alone error // what it leads to where there is no other
		later bool  // the bad one is asked after the good one from then on
	}{
		{"silent", func(s *dnstest.Server) { s.Silence(true) }, ErrSilent, true},
		{"SERVFAIL", func(s *dnstest.Server) { s.Fail("", dns.RcodeServerFailure) }, ErrFailed, false},
		{"REFUSED", func(s *dnstest.Server) { s.Fail("", dns.RcodeRefused) }, ErrFailed, false},
		{"FORMERR to everything", func(s *dnstest.Server) { s.Fail("", dns.RcodeFormatError) }, ErrFailed, false},
		{"answers another question", func(s *dnstest.Server) {
			s.Fault(func(_, m *dns.Msg) { m.Question[0].Name = "other.test." })
		}, ErrSilent, true},
		{"refers to others", func(s *dnstest.Server) {
			s.Fault(func(_, m *dns.Msg) { m.Answer, m.RecursionAvailable = nil, false })
		}, ErrFailed, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad, good := dnstest.Start(t), dnstest.Start(t)
			for _, s := range []*dnstest.Server{bad, good} {
				s.Set(t, "a.test. 60 A 192.0.2.7", "b.test. 60 A 192.0.2.8")
			}
			tc.fault(bad)
			r := newTest(t, bad.Addr, good.Addr)
			if got, err := r.Addrs(t.Context(), "a.test"); err != nil || !slices.Equal(got, addrs("192.0.2.7")) {
				t.Errorf("%v, %v", got, err)
			}
			if _, err := r.Addrs(t.Context(), "b.test"); err != nil {
				t.Error(err)
			}
			if asked := bad.Queries("b.test A") > 0; asked == tc.later {
				t.Errorf("asked again first: %v", asked)
			}
			if got, err := newTest(t, bad.Addr).Addrs(t.Context(), "a.test"); !errors.Is(err, tc.alone) {
				t.Errorf("alone: %v, %v", got, err)
			}
		})
	}
}

func TestNameserverGone(t *testing.T) {
	good := dnstest.Start(t)
	good.Set(t, "a.test. 60 A 192.0.2.7")
	r := newTest(t, closedPort(t), good.Addr)
	if got, err := r.Addrs(t.Context(), "a.test"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := newTest(t, closedPort(t)).Addrs(t.Context(), "a.test"); !errors.Is(err, ErrSilent) {
		t.Error(err)
	}
}

// A lost datagram is sent again.
func TestRetry(t *testing.T) {
	s := dnstest.Start(t)
	s.Set(t, "a.test. 60 A 192.0.2.7")
	s.Silence(true)
	asked := s.Asked()
	var wait sync.WaitGroup
	wait.Go(func() {
		if got, err := newTest(t, s.Addr).Addrs(t.Context(), "a.test"); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
	<-asked
	s.Silence(false)
	wait.Wait()
}

// An old nameserver that takes EDNS for an error is asked without (RFC 6891 §7).
func TestWithoutEDNS(t *testing.T) {
	s := dnstest.Start(t)
	s.Set(t, "a.test. 60 A 192.0.2.7")
	s.Fault(func(q, m *dns.Msg) {
		if q.IsEdns0() != nil {
			m.Rcode, m.Answer = dns.RcodeFormatError, nil
		}
	})
	if got, err := newTest(t, s.Addr).Addrs(t.Context(), "a.test"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// That there is nothing is known for the time that the zone's SOA says, and not without.
func TestNegative(t *testing.T) {
	s := dnstest.Start(t)
	s.Set(t, "example.test. 3600 SOA ns.example.test. admin.example.test. 1 2 3 4 60", "here.example.test. 60 A 192.0.2.7")
	r := newTest(t, s.Addr)
	for _, tc := range []struct {
		name    string
		queries int
	}{{"nobody.example.test", 1}, {"here.example.test", 1}, {"nobody.elsewhere.test", 3}} {
		for range 3 {
			if got, err := r.SRV(t.Context(), tc.name); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v, %v", tc.name, got, err)
			}
		}
		if n := s.Queries(tc.name + " SRV"); n != tc.queries {
			t.Errorf("%s: %d queries", tc.name, n)
		}
	}
}

// How long an answer is kept: as long as the first part of it lives, and what is absent as
// long as the zone's SOA says, within bounds.
func TestTimeToLive(t *testing.T) {
	for _, tc := range []struct {
		records string // a line each; those of a SOA are the authority
		want    time.Duration
	}{
		{"a.test. 60 A 192.0.2.7", time.Minute},
		{"a.test. 60 A 192.0.2.7\na.test. 30 A 192.0.2.8", 30 * time.Second},
		{"a.test. 10 CNAME b.test.\nb.test. 60 A 192.0.2.7", 10 * time.Second},
		{"a.test. 60 CNAME b.test.\nb.test. 10 A 192.0.2.7", 10 * time.Second},
		{"a.test. 999999 A 192.0.2.7", longestTTL},
		{"a.test. 4294967295 A 192.0.2.7", 0}, // RFC 2181 §8
		{"test. 60 SOA ns.test. admin.test. 1 2 3 4 100", time.Minute},
		{"test. 100 SOA ns.test. admin.test. 1 2 3 4 60", time.Minute},
		{"test. 99999 SOA ns.test. admin.test. 1 2 3 4 99999", longestNegative},
		{"a.test. 10 CNAME b.test.\ntest. 100 SOA ns.test. admin.test. 1 2 3 4 60", 10 * time.Second},
	} {
		m := new(dns.Msg)
		for line := range strings.Lines(tc.records) {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			if rr.Header().Rrtype == dns.TypeSOA {
				m.Ns = append(m.Ns, rr)
			} else {
				m.Answer = append(m.Answer, rr)
			}
		}
		if a, alias := read(m, "a.test.", dns.TypeA); a.ttl != tc.want || alias != "" {
			t.Errorf("%q: %v, %v, %q; want %v", tc.records, a.ttl, a.err, alias, tc.want)
		}
	}
}

// After its time to live an answer is asked for again.
func TestExpiry(t *testing.T) {
	s := dnstest.Start(t)
	s.Set(t, "a.test. 1 A 192.0.2.7")
	r := newTest(t, s.Addr)
	if _, err := r.Addrs(t.Context(), "a.test"); err != nil {
		t.Fatal(err)
	}
	s.Set(t, "a.test. 1 A 192.0.2.8")
	deadline := time.Now().Add(10 * time.Second)
	for range time.Tick(20 * time.Millisecond) {
		got, err := r.Addrs(t.Context(), "a.test")
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(got, addrs("192.0.2.8")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v for ever", got)
		}
	}
	if n := s.Queries("a.test A"); n != 2 {
		t.Errorf("%d queries", n)
	}
}

// Names that need no nameserver never reach one.
func TestKnownNames(t *testing.T) {
	s := dnstest.Start(t)
	r := newTest(t, s.Addr)
	r.hosts = newHosts(filepath.Join(t.TempDir(), "hosts"))
	text := "127.0.0.1 localhost\n192.0.2.7\tpbx.lan PBX # the old one\n::1 six\n0.0.0.0 blocked\nnonsense x\n"
	if err := os.WriteFile(r.hosts.file.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]netip.Addr{
		"pbx.lan": addrs("192.0.2.7"), "Pbx": addrs("192.0.2.7"), "six.": addrs("::1"),
		"localhost":     addrs("127.0.0.1"),
		"sip.localhost": addrs("127.0.0.1", "::1"),
		"a.invalid":     nil, "INVALID.": nil, "blocked": nil, "x.": nil, "a..b": nil, ".": nil, "": nil,
	} {
		got, err := r.Addrs(t.Context(), name)
		if !slices.Equal(got, want) || (err != nil) != (want == nil) {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	if n := s.Queries("x A"); n != 1 {
		t.Errorf("a line that is none was read: %d queries", n)
	}
	for _, name := range []string{"a.invalid", "pbx.lan", "sip.localhost", "blocked"} {
		if s.Queries(name+" A")+s.Queries(name+" AAAA") > 0 {
			t.Errorf("a nameserver was asked for %s", name)
		}
	}

	text += "192.0.2.9 more.lan\n"
	if err := os.WriteFile(r.hosts.file.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.hosts.file.checked = r.hosts.file.checked.Add(-checkInterval)
	if got, err := r.Addrs(t.Context(), "more.lan"); err != nil || !slices.Equal(got, addrs("192.0.2.9")) {
		t.Errorf("a line that was added: %v, %v", got, err)
	}
}

// The nameservers are those of resolv.conf, which may change and need not be there.
func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	cfg := Config{ResolvConf: path, Logger: slog.New(slog.DiscardHandler)}
	n := newNameservers(&cfg)
	for _, tc := range []struct{ text, want string }{
		{"", "[127.0.0.1:53]"},
		{"search lan\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver ns.test\noptions rotate\n", "[192.0.2.53:53 [fe80::1%eth0]:53]"},
		{"nameserver 192.0.2.54\n", "[192.0.2.54:53]"},
		{"# none\n", "[127.0.0.1:53]"},
	} {
		if tc.text != "" {
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !n.conf.checked.IsZero() {
			n.conf.checked = n.conf.checked.Add(-checkInterval)
		}
		if got := fmt.Sprint(n.list()); got != tc.want {
			t.Errorf("%q: %s", tc.text, got)
		}
	}
}

// A nameserver that is slow for one version of IP does not hold up the other for long.
func TestSlowFamily(t *testing.T) {
	s := dnstest.Start(t)
	s.Set(t, "a.test. 60 A 192.0.2.7")
	release := make(chan struct{})
	s.Fault(func(q, _ *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeAAAA {
			<-release
		}
	})
	defer close(release)
	r := newTest(t, s.Addr)
	r.cfg.Timeout = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got, err := r.Addrs(ctx, "a.test"); err != nil || !slices.Equal(got, addrs("192.0.2.7")) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestOrder(t *testing.T) {
	six, four := addrs("::1"), addrs("127.0.0.1", "127.0.0.2")
	got := order(six, four)
	if unroutable(six[0]) == 0 {
		if !slices.Equal(got, addrs("::1", "127.0.0.1", "127.0.0.2")) {
			t.Errorf("%v", got)
		}
	} else if !slices.Equal(got, addrs("127.0.0.1", "127.0.0.2", "::1")) {
		t.Errorf("without a route: %v", got)
	}
	if got := order(nil, four); !slices.Equal(got, four) {
		t.Errorf("%v", got)
	}
}
