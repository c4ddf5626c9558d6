package proxy

import (
	"cmp"
	"context"
	"net/netip"
	"time"

	"github.com/sipway/sipway/sip"
)

// A datagram above the path's MTU travels in fragments, of which none may be lost, and which
// many routers and NATs drop without a word. A browser's INVITE has 3,000 bytes, so this is
// the rule and not the exception where browsers call UDP phones.
//
// RFC 3261 §18.1.1 has such a request go over TCP to the same address, and over UDP where
// nobody listens there for TCP. That is for a peer that is where its URI says. One that is
// reached at another address than that is behind a NAT: nobody can connect to it, and its
// one way in is the UDP flow that it opened itself.
const (
	// largestDatagram is the size of a request above which it goes over TCP (RFC 3261
	// §18.1.1, for an unknown MTU).
	largestDatagram = 1300

	// mostUDP is what a datagram can hold at all.
	mostUDP = 65507

	// tcpWait is how long a connection is waited for that UDP can do without. Whoever is
	// within a second of us and has TCP has answered by then; the caller hears nothing
	// meanwhile.
	tcpWait = time.Second

	// withoutTCP is how long it is remembered that a peer has no TCP: where a firewall
	// swallows the attempt, one call in ten minutes begins a second later.
	withoutTCP = 10 * time.Minute
)

// tooLarge reports whether a request is one to be sent over TCP instead of a UDP flow.
func (p *Proxy) tooLarge(m *sip.Message, to sip.Flow) bool {
	return to.Transport == sip.UDP && !p.LargeOverUDP && m.Size() > largestDatagram
}

// nextURI is the URI that says where a request goes (RFC 3261 §16.6 step 7), of which target
// is the Request-URI that it has or, for a strict router, had.
func nextURI(m *sip.Message, target string) string {
	if uri := m.RequestURI(); uri != target {
		return uri // the strict router's
	}
	for route, err := range m.Addresses(sip.HRoute) {
		if err == nil {
			return route.URI
		}
		break
	}
	return target
}

// directly reports whether a flow leads to the very address that the URI has.
func directly(uri string, f sip.Flow) bool {
	u, err := sip.ParseURI(uri)
	if err != nil || u.Params.Has("maddr") {
		return false
	}
	addr, ok := sip.HostAddr(u.Host)
	port := cmp.Or(u.Port, sip.UDP.DefaultPort())
	return ok && netip.AddrPortFrom(addr, port) == netip.AddrPortFrom(f.Remote.Addr().Unmap(), f.Remote.Port())
}

// overTCP is the same server over TCP.
func overTCP(s sip.Server) sip.Server {
	s.Transport = sip.TCP
	return s
}

// dialLarge opens a TCP connection for a request that is too large for UDP, and notes it
// where there is none to be had.
func (p *Proxy) dialLarge(s sip.Server) (sip.Flow, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tcpWait)
	defer cancel()
	f, err := p.Network.Dial(ctx, overTCP(s))
	if err != nil {
		p.Locator.Failed(s, withoutTCP)
	}
	return f, err
}

// sendLarge forwards a request that is too large for the target's UDP flow, m as it would go out
// there: over TCP, and should that fail before anything was answered, over the flow. It is false
// where TCP is out of the question.
func (b *branch) sendLarge(m *sip.Message, flow sip.Flow) bool {
	s := sip.Server{Transport: sip.UDP, Addr: flow.Remote}
	if !directly(nextURI(m, b.target.uri), flow) || !b.context.proxy.Locator.Usable(overTCP(s)) {
		return false
	}
	f := &failover{branch: b, seeking: true, spare: &candidate{server: s, flow: flow, tcp: tcpFirst}}
	go f.seek()
	return true
}

// large says whether a candidate is to be tried over TCP because of the request's size.
type large uint8

const (
	tcpBySize  large = iota // if the request is too large, and the server not known to have no TCP
	tcpFirst                // both are known
	tcpNot                  // it was tried
	tcpInstead              // this is it
)

// enlarge returns the candidate as it suits the request's size: over TCP, with the
// candidate itself as what is tried next.
func (f *failover) enlarge(to candidate) candidate {
	p := f.branch.context.proxy
	if to.tcp == tcpBySize {
		m := f.branch.build(to.flow, false)
		if m == nil {
			return to
		}
		large := p.tooLarge(m, to.flow)
		m.Release()
		if !large || !p.Locator.Usable(overTCP(to.server)) {
			return to
		}
	}
	if to.tcp >= tcpNot {
		return to
	}
	to.tcp = tcpNot
	tcp := candidate{server: overTCP(to.server), tcp: tcpInstead, pause: withoutTCP}
	var err error
	if tcp.flow, err = p.dialLarge(tcp.server); err != nil {
		p.Logger.Debug("no TCP for a large request", "call-id", f.branch.context.callID, "server", tcp.server, "error", err)
		return to
	}
	f.branch.context.mu.Lock()
	f.spare = &to
	f.branch.context.mu.Unlock()
	return tcp
}
