package locate

import (
	"context"

	"github.com/sipway/sipway/sip"
)

// Respond returns where a response is sent whose request's connection has gone, by the
// sent-by of its topmost Via, port 0 where none is written (RFC 3263 §5). next is that of
// [Locator.Locate].
func (l *Locator) Respond(t sip.Transport, host string, port uint16) (next func(ctx context.Context) (sip.Server, error)) {
	if t == 0 || t.WebSocket() || !l.cfg.Supports(t) {
		return l.search(nil, nil, ErrNoServer).next
	}
	if addr, ok := sip.HostAddr(host); ok {
		return l.search([]sip.Server{server(t, addr, port, "")}, nil, nil).next
	}
	p := &place{host: host, transport: t}
	first := l.addresses(host, t, port, host)
	if _, known := l.cfg.Resolver.Known(host); !known && port == 0 {
		first = l.services(serviceName(t, false, host), t, p)
	}
	return l.search(nil, []step{first}, nil).next
}
