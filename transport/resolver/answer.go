package resolver

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

const (
	// longestChain bounds the aliases that are followed.
	longestChain = 8

	// longestTTL bounds how long a record is kept, longestNegative how long it is kept that
	// there is none: a name that was just added is to be found.
	longestTTL      = 24 * time.Hour
	longestNegative = 5 * time.Minute

	// mostRecords bounds what is kept of one answer.
	mostRecords = 128
)

var errEndless = fmt.Errorf("%w: aliases without end", ErrFailed)

// ask asks the nameservers, and follows aliases that they did not follow themselves.
func (r *Resolver) ask(ctx context.Context, q question) answer {
	ttl, name := longestTTL, q.name
	for range longestChain {
		m, err := r.exchange(ctx, question{name, q.qtype})
		if err != nil {
			return answer{err: err}
		}
		a, alias := read(m, name, q.qtype)
		a.ttl = min(a.ttl, ttl)
		if alias == "" {
			return a
		}
		name, ttl = alias, a.ttl
	}
	return answer{err: errEndless}
}

// read finds the answer in a message: the records of the name or of what it is an alias of,
// which live as long as the first part of that chain. Where the message ends with an alias
// it returns that.
func read(m *dns.Msg, name string, qtype uint16) (a answer, alias string) {
	at, ttl := name, longestTTL
	for hops := 0; ; hops++ {
		if hops > longestChain {
			return answer{err: errEndless}, ""
		}
		all, next := records(m, at, qtype)
		for _, rr := range all {
			ttl = min(ttl, seconds(rr.Header().Ttl))
		}
		if len(all) > 0 {
			return answer{records: all, ttl: ttl}, ""
		}
		if next == nil {
			break
		}
		at, ttl = canonical(next.Target), min(ttl, seconds(next.Hdr.Ttl))
	}
	none := soa(m)
	switch {
	case none != nil: // RFC 2308 §5
		ttl = min(ttl, seconds(none.Hdr.Ttl), seconds(none.Minttl), longestNegative)
	case m.Rcode == dns.RcodeSuccess && at != name:
		return answer{ttl: ttl}, at
	default:
		ttl = 0 // not to be kept
	}
	return answer{err: ErrNotFound, ttl: ttl}, ""
}

// records returns the records of exactly that name, and its alias.
func records(m *dns.Msg, name string, qtype uint16) (all []dns.RR, alias *dns.CNAME) {
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Class != dns.ClassINET || canonical(h.Name) != name {
			continue
		}
		if h.Rrtype == qtype && len(all) < mostRecords {
			all = append(all, rr)
		} else if c, ok := rr.(*dns.CNAME); ok {
			alias = c
		}
	}
	return all, alias
}

func soa(m *dns.Msg) *dns.SOA {
	for _, rr := range m.Ns {
		if s, ok := rr.(*dns.SOA); ok {
			return s
		}
	}
	return nil
}

// seconds is a time to live. One with its highest bit set counts as zero (RFC 2181 §8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
