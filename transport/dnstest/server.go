// Package dnstest is a nameserver for tests: a real one, on loopback over UDP and TCP, that
// has the records that a test gives it and can be made to fail.
package dnstest

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Server is a nameserver. Its methods are safe for concurrent use.
type Server struct {
	// Addr is where it answers.
	Addr netip.AddrPort

	mu      sync.Mutex
	records map[string][]dns.RR // by lower-case name
	rcodes  map[string]int      // by name, "" for all
	queries map[string]int      // by "NAME TYPE", and by "NAME TYPE tcp" over TCP
	asked   chan struct{}       // closed at the next query
	silent  bool
	fault   func(q, m *dns.Msg)
}

// Start starts a nameserver that knows nothing and ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{records: make(map[string][]dns.RR), rcodes: make(map[string]int), queries: make(map[string]int), asked: make(chan struct{})}
	udp, tcp := listen(t)
	s.Addr = udp.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, server := range []*dns.Server{{PacketConn: udp}, {Listener: tcp}} {
		started := make(chan struct{})
		server.Handler = s
		server.NotifyStartedFunc = func() { close(started) }
		ended := make(chan error, 1)
		go func() { ended <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := server.Shutdown(); err != nil {
				t.Error(err)
			}
			<-ended
		})
	}
	return s
}

// listen finds a port that is free for both.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var last error
	for range 100 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			return udp, tcp
		}
		last = err
		udp.Close()
	}
	t.Fatal(last)
	return nil, nil
}

// Set replaces the records of the names that the lines have, written as in a zone file with
// absolute names or without a dot at their end. A SOA makes the absence of what is in its
// zone known for the time of its last field.
func (s *Server) Set(t testing.TB, lines ...string) {
	t.Helper()
	fresh := make(map[string][]dns.RR)
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ToLower(rr.Header().Name)
		fresh[name] = append(fresh[name], rr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, records := range fresh {
		s.records[name] = records
	}
}

// Remove makes a name one that does not exist.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, strings.ToLower(dns.Fqdn(name)))
}

// Fail has queries for a name, "" for all, answered with that code; dns.RcodeSuccess ends it.
func (s *Server) Fail(name string, rcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name != "" {
		name = strings.ToLower(dns.Fqdn(name))
	}
	s.rcodes[name] = rcode
}

// Silence has the server not answer at all, or answer again.
func (s *Server) Silence(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = on
}

// Fault lets f change answers before they are sent; nil ends it.
func (s *Server) Fault(f func(query, answer *dns.Msg)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Queries returns how often it was asked, such as "example.test NAPTR", or "example.test
// NAPTR tcp" for the queries over TCP alone.
func (s *Server) Queries(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries[what]
}

// Asked returns a channel that is closed when the next query has come.
func (s *Server) Asked() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// ServeDNS answers a query.
func (s *Server) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	s.mu.Lock()
	q := query.Question[0]
	what := strings.ToLower(strings.TrimSuffix(q.Name, ".")) + " " + dns.TypeToString[q.Qtype]
	s.queries[what]++
	_, overTCP := w.RemoteAddr().(*net.TCPAddr)
	if overTCP {
		s.queries[what+" tcp"]++
	}
	close(s.asked)
	s.asked = make(chan struct{})
	m := s.answer(query)
	silent, fault := s.silent, s.fault
	s.mu.Unlock()
	if silent {
		return
	}
	if !overTCP {
		size := dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
	}
	if fault != nil {
		fault(query, m)
	}
	// Who asks may have gone.
	_ = w.WriteMsg(m)
}

// answer is what the zone says. The caller holds mu.
func (s *Server) answer(query *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(query)
	m.RecursionAvailable = true
	q := query.Question[0]
	name := strings.ToLower(q.Name)
	for _, key := range []string{"", name} {
		if rcode := s.rcodes[key]; rcode != dns.RcodeSuccess {
			m.Rcode = rcode
			return m
		}
	}
	for range 20 {
		alias := ""
		found := false
		for _, rr := range s.records[name] {
			c, isAlias := rr.(*dns.CNAME)
			if rr.Header().Rrtype != q.Qtype && !isAlias {
				continue
			}
			m.Answer = append(m.Answer, rr)
			if found = true; isAlias {
				alias = strings.ToLower(c.Target)
			}
		}
		if alias == "" {
			if !found {
				s.deny(m, name)
			}
			return m
		}
		name = alias
	}
	return m
}

// deny says that there is no such name or record.
func (s *Server) deny(m *dns.Msg, name string) {
	if len(s.records[name]) == 0 {
		m.Rcode = dns.RcodeNameError
	}
	for zone := name; zone != ""; _, zone, _ = strings.Cut(zone, ".") {
		for _, rr := range s.records[zone] {
			if _, ok := rr.(*dns.SOA); ok {
				m.Ns = append(m.Ns, rr)
				return
			}
		}
	}
}
