package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

var (
	// ErrNotFound says that there is no such name, or no such record of it.
	ErrNotFound = errors.New("resolver: not found")
	// ErrFailed says that the nameservers could not answer: SERVFAIL, REFUSED and the like.
	ErrFailed = errors.New("resolver: nameservers failed")
	// ErrSilent says that no nameserver answered, or that none is known.
	ErrSilent = errors.New("resolver: no nameserver answers")
)

// Resolver looks names up. Its methods are safe for concurrent use; they wait as long as
// their context lasts, and what was asked for goes on being looked up for others.
type Resolver struct {
	cfg     Config
	servers *nameservers
	hosts   *hosts
	cache   *cache
}

// New returns a resolver. It asks nothing before it is asked.
func New(cfg Config) *Resolver {
	r := &Resolver{cfg: cfg.withDefaults()}
	r.servers = newNameservers(&r.cfg)
	r.hosts = newHosts(r.cfg.Hosts)
	r.cache = newCache(r.cfg.Entries, r.cfg.StaleFor, r.ask)
	return r
}

// SRV is a service record (RFC 2782).
type SRV struct {
	Priority, Weight, Port uint16
	Target                 string // without the dot at its end; "" for a service that is decidedly not there
}

// NAPTR is a naming authority pointer (RFC 3403).
type NAPTR struct {
	Order, Preference uint16
	Flags, Service    string
	Regexp            string
	Replacement       string // without the dot at its end
}

// SRV returns the service records of a name, in no order.
func (r *Resolver) SRV(ctx context.Context, name string) ([]SRV, error) {
	records, err := r.lookup(ctx, name, dns.TypeSRV)
	all := make([]SRV, 0, len(records))
	for _, rr := range records {
		if s, ok := rr.(*dns.SRV); ok {
			all = append(all, SRV{s.Priority, s.Weight, s.Port, undotted(s.Target)})
		}
	}
	return all, err
}

// NAPTR returns the naming authority pointers of a name, in no order.
func (r *Resolver) NAPTR(ctx context.Context, name string) ([]NAPTR, error) {
	records, err := r.lookup(ctx, name, dns.TypeNAPTR)
	all := make([]NAPTR, 0, len(records))
	for _, rr := range records {
		if n, ok := rr.(*dns.NAPTR); ok {
			all = append(all, NAPTR{n.Order, n.Preference, n.Flags, n.Service, n.Regexp, undotted(n.Replacement)})
		}
	}
	return all, err
}

// Known returns the addresses of a name that needs no DNS: of the hosts file, or loopback.
func (r *Resolver) Known(name string) ([]netip.Addr, bool) {
	name = canonical(name)
	if addrs, ok := r.hosts.lookup(name); ok {
		return addrs, true
	}
	if within(name, "localhost") { // RFC 6761 §6.3
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, true
	}
	return nil, false
}

// familyDelay is how long the answer for one version of IP is waited for when that for the
// other is there (RFC 8305 §3 has a client wait 50 ms for the version that it prefers).
const familyDelay = 200 * time.Millisecond

// Addrs returns the addresses of a host, of both versions of IP, in the order in which they
// are to be tried.
func (r *Resolver) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if addrs, ok := r.Known(host); ok && len(addrs) > 0 {
		return addrs, nil
	} else if ok {
		return nil, ErrNotFound
	}
	six := make(chan found, 1)
	four := make(chan found, 1)
	go func() { six <- r.family(ctx, host, dns.TypeAAAA) }()
	go func() { four <- r.family(ctx, host, dns.TypeA) }()
	var a, aaaa found
	var late <-chan time.Time
	for range 2 {
		var other found
		select {
		case aaaa = <-six:
			six, other = nil, aaaa
		case a = <-four:
			four, other = nil, a
		case <-late:
			return order(aaaa.addrs, a.addrs), nil
		}
		if len(other.addrs) > 0 && late == nil {
			late = time.After(familyDelay)
		}
	}
	if len(a.addrs)+len(aaaa.addrs) > 0 {
		return order(aaaa.addrs, a.addrs), nil
	}
	if errors.Is(a.err, ErrNotFound) {
		return nil, aaaa.err
	}
	return nil, a.err
}

// found is the outcome of a look-up for one version of IP.
type found struct {
	addrs []netip.Addr
	err   error
}

func (r *Resolver) family(ctx context.Context, host string, qtype uint16) (f found) {
	var records []dns.RR
	records, f.err = r.lookup(ctx, host, qtype)
	for _, rr := range records {
		var addr netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			addr, _ = netip.AddrFromSlice(rr.A.To4())
		case *dns.AAAA:
			addr, _ = netip.AddrFromSlice(rr.AAAA.To16())
		}
		if addr = addr.Unmap(); addr.IsValid() && !addr.IsUnspecified() {
			f.addrs = append(f.addrs, addr)
		}
	}
	if f.err == nil && len(f.addrs) == 0 {
		f.err = ErrNotFound
	}
	return f
}

// lookup returns the records of a type, at least one unless there is an error.
func (r *Resolver) lookup(ctx context.Context, name string, qtype uint16) ([]dns.RR, error) {
	name = canonical(name)
	if _, ok := dns.IsDomainName(name); !ok || name == "." || within(name, "invalid") { // RFC 6761 §6.4
		return nil, ErrNotFound
	}
	records, err := r.cache.lookup(ctx, question{name, qtype})
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s", err, undotted(name), dns.TypeToString[qtype])
	}
	return records, nil
}

// canonical is a name as the cache has it: lower case, with a dot at its end.
func canonical(name string) string { return dns.Fqdn(strings.ToLower(name)) }

func undotted(name string) string { return strings.TrimSuffix(name, ".") }

// within reports whether a canonical name is the domain or below it.
func within(name, domain string) bool {
	name, ok := strings.CutSuffix(undotted(name), domain)
	return ok && (name == "" || strings.HasSuffix(name, "."))
}
