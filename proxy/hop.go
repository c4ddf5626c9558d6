package proxy

import (
	"context"
	"errors"
	"net/netip"

	"github.com/sipway/sipway/sip"
)

// hop is the next element on a request's way: a flow that is there, or a URI to find one
// for (RFC 3261 §16.6 step 7), or a flow that has gone.
type hop struct {
	flow sip.Flow // Transport is 0 where uri is to be resolved
	uri  sip.URI
	gone bool

	// registered says that a client of ours is behind it: when it can't be reached, the
	// user is unavailable and not the service.
	registered bool
}

var (
	errUnreachable = errors.New("proxy: no connection can be opened to the next hop")
	errNoTransport = errors.New("proxy: transport of the next hop is not supported")
)

// connect finds or opens a flow to the hop's URI, trying the host's addresses in turn.
// It looks for addresses only (RFC 3263 §4.2): port and transport are those of the URI,
// or the defaults.
func (p *Proxy) connect(ctx context.Context, u *sip.URI) (sip.Flow, error) {
	transport := sip.UDP
	if name, ok := u.Params.Get("transport"); ok {
		var known bool
		if transport, known = sip.ParseTransport(name); !known || transport.WebSocket() || transport.Secure() {
			return sip.Flow{}, errNoTransport
		}
	}
	host := u.Host
	if maddr, ok := u.Params.Get("maddr"); ok {
		host = maddr
	}
	port := u.Port
	if port == 0 {
		port = transport.DefaultPort()
	}
	addrs, err := p.addresses(ctx, host)
	for _, addr := range addrs {
		var f sip.Flow
		if f, err = p.Network.Dial(ctx, transport, netip.AddrPortFrom(addr.Unmap(), port)); err == nil {
			return f, nil
		}
	}
	return sip.Flow{}, err
}

func (p *Proxy) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, ok := sip.HostAddr(host); ok {
		return []netip.Addr{addr}, nil
	}
	if unreachable(host) {
		return nil, errUnreachable
	}
	addrs, err := p.Resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = errUnreachable
	}
	return addrs, err
}
