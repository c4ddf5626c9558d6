package locate

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/transport/resolver"
)

// services looks up SRV records. Without any the host's addresses are those of its server,
// at the transport's default port (RFC 3263 §4.2).
func (l *Locator) services(name string, t sip.Transport, p *place) step {
	return func(ctx context.Context) ([]sip.Server, []step, error) {
		records, err := l.cfg.Resolver.SRV(ctx, name)
		switch {
		case len(records) > 0:
			return nil, l.targets(records, t, p.host), nil
		case silent(ctx, err):
			return nil, nil, err
		}
		return nil, []step{l.addresses(p.host, t, 0, p.host)}, nil
	}
}

// targets are the look-ups of the addresses of SRV records, in the order of RFC 2782. One
// that says that the service is decidedly not there has the root as its target, which has
// no address.
func (l *Locator) targets(records []resolver.SRV, t sip.Transport, domain string) (steps []step) {
	records = slices.Clone(records)
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	for _, r := range arrange(records, rand.IntN) {
		steps = append(steps, l.addresses(r.Target, t, r.Port, domain))
	}
	return steps
}

// arrange orders SRV records: by priority, and within one by a draw in which a record's
// chance of coming next is its part of the weights; those without weight stay in the order
// that they have. random returns a number below n.
func arrange(records []resolver.SRV, random func(n int) int) []resolver.SRV {
	// Those without weight come first in each draw, so that they have their very small
	// chance (RFC 2782).
	slices.SortStableFunc(records, func(a, b resolver.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(min(a.Weight, 1), min(b.Weight, 1)))
	})
	for from := 0; from < len(records); from++ {
		to, sum := from, 0
		for to < len(records) && records[to].Priority == records[from].Priority {
			sum += int(records[to].Weight)
			to++
		}
		draw, at := random(sum+1), from
		for running := int(records[at].Weight); running < draw; running += int(records[at].Weight) {
			at++
		}
		chosen := records[at]
		copy(records[from+1:at+1], records[from:at])
		records[from] = chosen
	}
	return records
}

// addresses looks up the addresses of a host. The domain is the one whose certificate a
// server over TLS must have: that of the URI, not the target of a record that anybody may
// have forged (RFC 5922 §7.2).
func (l *Locator) addresses(host string, t sip.Transport, port uint16, domain string) step {
	return func(ctx context.Context) ([]sip.Server, []step, error) {
		if addr, ok := sip.HostAddr(host); ok { // not allowed as a record's target, and there
			return []sip.Server{server(t, addr, port, domain)}, nil, nil
		}
		addrs, err := l.cfg.Resolver.Addrs(ctx, host)
		servers := make([]sip.Server, len(addrs))
		for i, addr := range addrs {
			servers[i] = server(t, addr, port, domain)
		}
		return servers, nil, err
	}
}
