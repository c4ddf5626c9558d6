package transaction

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/sipway/sipway/sip"
)

// replyFlow returns where the response to a request goes that arrived on f with v as its
// topmost Via (RFC 3261 §18.2.2, RFC 3581 §4).
//
// The address that the request came from stands for the received parameter: the transport
// has written one wherever it differs from the sent-by, and a request can't point its
// response at somebody else. For the same reason maddr is followed to a multicast group
// only, which is what a client writes it for (RFC 3261 §18.1.1).
func replyFlow(f sip.Flow, v *sip.Via) sip.Flow {
	if f.Transport.Reliable() {
		return f
	}
	port := v.Port
	if port == 0 {
		port = f.Transport.DefaultPort()
	}
	if group, ok := multicast(v); ok {
		f.Remote = netip.AddrPortFrom(group, port)
	} else if v.RPort < 0 {
		f.Remote = netip.AddrPortFrom(f.Remote.Addr(), port)
	}
	return f
}

func multicast(v *sip.Via) (netip.Addr, bool) {
	maddr, ok := v.Params.Get("maddr")
	if !ok {
		return netip.Addr{}, false
	}
	group, err := netip.ParseAddr(strings.Trim(maddr, "[]"))
	return group, err == nil && group.IsMulticast()
}

// redialAddr returns the address to connect to when the flow of a request with this sent-by
// has closed before its response (RFC 3261 §18.2.2). A WebSocket client can't be connected to (RFC 7118 §5.2),
// whatever transport its request was forwarded by: its sent-by is no host at all.
func redialAddr(f sip.Flow, host string, port uint16) (netip.AddrPort, bool) {
	if !redials(f) {
		return netip.AddrPort{}, false
	}
	const invalid = ".invalid"
	if n := len(host) - len(invalid); n >= 0 && strings.EqualFold(host[n:], invalid) {
		return netip.AddrPort{}, false
	}
	if port == 0 {
		port = f.Transport.DefaultPort()
	}
	return netip.AddrPortFrom(f.Remote.Addr(), port), true
}

func redials(f sip.Flow) bool { return f.Transport == sip.TCP || f.Transport == sip.TLS }

// redial is a connection that is opened, or was, in place of a request's closed flow. There
// is one attempt to a transaction. Guarded by the transaction's mutex.
type redial struct {
	done   bool
	flow   sip.Flow // once done: the new flow, or the closed one where that failed
	unsent [][]byte // until done: the responses that wait for it
}

// route returns where a response goes, and whether it goes now: while a connection is
// opened it waits for that. The transaction is locked.
func (s *Server) route(b []byte) (f sip.Flow, now bool) {
	switch {
	case b == nil:
		return sip.Flow{}, false
	case s.redial == nil:
		return s.reply(), true
	case !s.redial.done:
		s.redial.put(b)
		return sip.Flow{}, false
	}
	return s.redial.flow, true
}

// divert tries another way for a response that could not be sent. The error matches
// ErrTransport and says that there is none. The transaction is locked.
func (s *Server) divert(b []byte, cause error) error {
	addr, ok := redialAddr(s.flow, s.id.host, s.id.port)
	switch {
	case !ok || s.redial != nil && s.redial.done:
		return transportError(cause)
	case s.redial == nil:
		s.redial = new(redial)
		go s.dial(addr)
	}
	s.redial.put(b)
	return nil
}

// maxUnsent bounds the responses that wait for a connection, of which the callee may send as
// many as he likes. The last ones count.
const maxUnsent = 8

func (r *redial) put(b []byte) {
	if len(r.unsent) == maxUnsent {
		r.unsent = slices.Delete(r.unsent, 0, 1)
	}
	r.unsent = append(r.unsent, slices.Clone(b))
}

// dial opens the connection and sends what waits for it, in order.
func (s *Server) dial(addr netip.AddrPort) {
	// Nobody waits for a response any longer than that.
	ctx, cancel := context.WithTimeout(context.Background(), s.layer.periods.timeout)
	defer cancel()
	f, err := s.layer.sender.Dial(ctx, sip.Server{Transport: s.flow.Transport, Addr: addr, Name: s.name()})
	if err != nil {
		f, err = s.dialElsewhere(ctx, addr, err)
	}
	for err == nil {
		b, ok := s.unsent(f)
		if !ok {
			return
		}
		err = s.layer.sender.Send(f, b)
	}
	s.mu.Lock()
	*s.redial = redial{done: true, flow: s.flow}
	s.mu.Unlock()
	s.failed(err)
}

// mostElsewhere bounds the servers that a response is offered to.
const mostElsewhere = 8

// dialElsewhere connects to one of the servers of the sent-by (RFC 3263 §5), another one
// than at the address that failed.
func (s *Server) dialElsewhere(ctx context.Context, failed netip.AddrPort, cause error) (sip.Flow, error) {
	if s.layer.elsewhere == nil {
		return sip.Flow{}, cause
	}
	next := s.layer.elsewhere(s.flow, s.id.host, s.id.port)
	if next == nil {
		return sip.Flow{}, cause
	}
	for range mostElsewhere {
		to, err := next(ctx)
		if err != nil {
			break
		}
		if to.Addr == failed {
			continue
		}
		if f, err := s.layer.sender.Dial(ctx, to); err == nil {
			return f, nil
		}
	}
	return sip.Flow{}, cause
}

// name is what the certificate of whoever sent the request over TLS must be for: the host of
// its sent-by, unless that is an address.
func (s *Server) name() string {
	if _, ok := sip.HostAddr(s.id.host); ok {
		return ""
	}
	return s.id.host
}

// unsent takes the next response that waits. Without one the connection is in service.
func (s *Server) unsent(f sip.Flow) (b []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.redial.unsent) == 0 {
		*s.redial = redial{done: true, flow: f}
		return nil, false
	}
	b, s.redial.unsent = s.redial.unsent[0], s.redial.unsent[1:]
	return b, true
}
