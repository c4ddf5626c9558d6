package locate

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/transport/resolver"
)

// place is what a URI says of where it leads to.
type place struct {
	host string // TARGET of RFC 3263 §4
	port uint16 // 0 where none is written
	sips bool
	// transport is that of the transport parameter, 0 where there is none.
	transport sip.Transport
}

// begin is RFC 3263 §4.1 and §4.2, as far as the URI alone says where it leads to.
func (l *Locator) begin(u *sip.URI) ([]sip.Server, []step, error) {
	p := place{host: u.Host, port: u.Port, sips: u.IsSIPS()}
	if !u.IsSIP() {
		return nil, nil, ErrNoServer
	}
	if maddr, ok := u.Params.Get("maddr"); ok {
		p.host = maddr
	}
	if name, ok := u.Params.Get("transport"); ok {
		if p.transport = l.named(name, p.sips); p.transport == 0 {
			return nil, nil, ErrNoServer
		}
	}
	t := cmp.Or(p.transport, l.usual(p.sips))
	if t == 0 {
		return nil, nil, ErrNoServer
	}
	if addr, ok := sip.HostAddr(p.host); ok {
		return []sip.Server{server(t, addr, p.port, "")}, nil, nil
	}
	if _, known := l.cfg.Resolver.Known(p.host); known || p.port != 0 {
		// A name that the hosts file has is an address by another name; the DNS knows
		// nothing of it.
		return nil, []step{l.addresses(p.host, t, p.port, p.host)}, nil
	}
	if p.transport != 0 {
		return nil, []step{l.services(serviceName(t, p.sips, p.host), t, &p)}, nil
	}
	return nil, []step{l.pointers(&p)}, nil
}

// named is the transport that a transport parameter names, 0 where it is none that we can
// open. A sips URI with "tcp" means TLS over TCP (RFC 3261 §26.2.2), and can't have "udp".
// A WebSocket client is reached by its flow alone (RFC 7118 §5).
func (l *Locator) named(name string, sips bool) sip.Transport {
	t, ok := sip.ParseTransport(name)
	switch {
	case !ok || t.WebSocket() || sips && t == sip.UDP:
		return 0
	case sips:
		t = sip.TLS
	}
	if !l.cfg.Supports(t) {
		return 0
	}
	return t
}

// usual is the transport where nothing says which: UDP, or TLS for a sips URI. Where we
// have no UDP it is TCP.
func (l *Locator) usual(sips bool) sip.Transport {
	for _, t := range plain(sips) {
		if l.cfg.Supports(t) {
			return t
		}
	}
	return 0
}

// plain are the transports of a scheme, in the order of our preference.
func plain(sips bool) []sip.Transport {
	if sips {
		return []sip.Transport{sip.TLS}
	}
	return []sip.Transport{sip.UDP, sip.TCP}
}

// serviceName is the name of the SRV records of a transport. TLS has those of sips, also
// for a sip URI that asks for it (RFC 3263 §4.2).
func serviceName(t sip.Transport, sips bool, host string) string {
	switch {
	case sips || t == sip.TLS:
		return "_sips._tcp." + host
	case t == sip.TCP:
		return "_sip._tcp." + host
	}
	return "_sip._udp." + host
}

// pointers looks for the NAPTR records of a domain: which transports it has, and where the
// SRV records of each stand. Without any, its SRV records say.
func (l *Locator) pointers(p *place) step {
	return func(ctx context.Context) ([]sip.Server, []step, error) {
		all, err := l.cfg.Resolver.NAPTR(ctx, p.host)
		if silent(ctx, err) {
			return nil, nil, err
		}
		all = slices.DeleteFunc(all, func(n resolver.NAPTR) bool { return l.service(&n, p.sips) == 0 })
		if len(all) == 0 {
			return l.guesses(p)(ctx)
		}
		// Records of a higher order are other transports of the same domain and not another
		// rule for the same thing, so they are what is left when the first have failed.
		slices.SortStableFunc(all, func(a, b resolver.NAPTR) int {
			return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Preference, b.Preference))
		})
		var steps []step
		for _, n := range all {
			steps = append(steps, l.services(n.Replacement, l.service(&n, p.sips), p))
		}
		return nil, steps, nil
	}
}

// service is the transport that a NAPTR record is about, 0 where it is of no use to us: a
// record of another application or transport, or without SIPS for a sips URI.
func (l *Locator) service(n *resolver.NAPTR, sips bool) sip.Transport {
	if !strings.EqualFold(n.Flags, "s") || n.Regexp != "" || n.Replacement == "" {
		return 0
	}
	var t sip.Transport
	switch strings.ToUpper(n.Service) {
	case "SIP+D2U":
		t = sip.UDP
	case "SIP+D2T":
		t = sip.TCP
	case "SIPS+D2T":
		t = sip.TLS
	}
	if t == 0 || sips && t != sip.TLS || !l.cfg.Supports(t) {
		return 0
	}
	return t
}

// guesses asks for the SRV records of each transport that we have, all at once. Where there
// are none at all the domain's addresses are those of its server.
func (l *Locator) guesses(p *place) step {
	return func(ctx context.Context) ([]sip.Server, []step, error) {
		var transports []sip.Transport
		for _, t := range plain(p.sips) {
			if l.cfg.Supports(t) {
				transports = append(transports, t)
			}
		}
		answers := make([]chan services, len(transports))
		for i, t := range transports {
			answers[i] = make(chan services, 1)
			go func() {
				var s services
				s.records, s.err = l.cfg.Resolver.SRV(ctx, serviceName(t, p.sips, p.host))
				answers[i] <- s
			}()
		}
		var steps []step
		there := false
		var failure error
		for i, t := range transports {
			s := <-answers[i]
			there = there || len(s.records) > 0
			steps = append(steps, l.targets(s.records, t, p.host)...)
			if silent(ctx, s.err) {
				failure = s.err
			}
		}
		switch {
		case there:
			return nil, steps, nil
		case failure != nil:
			return nil, nil, failure
		}
		return nil, []step{l.addresses(p.host, transports[0], 0, p.host)}, nil
	}
}

type services struct {
	records []resolver.SRV
	err     error
}

// silent reports whether a look-up failed in such a way that the next one would, too, after
// as long a time. A nameserver that merely fails may do so for one type of record.
func silent(ctx context.Context, err error) bool {
	return errors.Is(err, resolver.ErrSilent) || err != nil && ctx.Err() != nil
}

func server(t sip.Transport, addr netip.Addr, port uint16, name string) sip.Server {
	return sip.Server{Transport: t, Addr: netip.AddrPortFrom(addr.Unmap(), cmp.Or(port, t.DefaultPort())), Name: name}
}
