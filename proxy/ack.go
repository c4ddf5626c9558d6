package proxy

import (
	"context"

	"github.com/sipway/sipway/sip"
)

// Ack forwards an ACK to a 2xx. It belongs to no transaction, so it is handled as by a
// stateless proxy (RFC 3261 §16.11), and never answered: what can't be forwarded is
// dropped. Only an ACK along a route that we gave out, or to a URI within reach, gets
// anywhere.
func (p *Proxy) Ack(f sip.Flow, ack *sip.Message) {
	r := takeRequest(f, ack)
	r.loop = p.loopHash(ack)
	if err := p.examine(r); err != nil {
		p.Logger.Debug("ACK dropped", "call-id", ack.CallID(), "error", err)
		return
	}
	if r.inDialog || p.Auth.Trusted(f) {
		p.Calls.Within(ack, r.sender())
	}
	p.disarm(r)
	p.ackToInstance(r)
	switch {
	case r.next != nil && r.next.gone:
	case r.next != nil:
		p.forwardAck(r, r.next.flow)
	case p.mayRelayAck(r):
		target := r.uri
		for route, err := range r.msg.Addresses(sip.HRoute) {
			if err == nil {
				target, err = sip.ParseURI(route.URI)
			}
			if err != nil {
				return
			}
			break
		}
		p.waiting(func(ctx context.Context) {
			flow, err := p.connect(ctx, r.flow, &target)
			if err != nil {
				p.Logger.Debug("ACK dropped", "call-id", ack.CallID(), "error", err)
				return
			}
			p.forwardAck(r, flow)
		})
	}
}

// mayRelayAck reports whether an ACK without a flow may go where its URI says: within a
// dialog of a user who is believed on his connection, or from a peer that may relay anyway.
// Anybody else could use it to have us send to third parties.
func (p *Proxy) mayRelayAck(r *request) bool {
	if p.ours(&r.uri) && !r.msg.Has(sip.HRoute) {
		return false // an address-of-record is no remote target
	}
	if p.Auth.Trusted(r.flow) {
		return true
	}
	claim, err := p.claimOf(r)
	return r.inDialog && err == nil && claim.aor != "" && p.Auth.Bound(r.flow, claim.aor)
}

func (p *Proxy) forwardAck(r *request, to sip.Flow) {
	s := overTCP(sip.Server{Addr: to.Remote})
	if p.tooLarge(r.msg, to) && directly(nextURI(r.msg, r.msg.RequestURI()), to) && p.Locator.Usable(s) {
		go p.sendLargeAck(r, to, s) // it has an answer to a late offer in it (RFC 3261 §13.2.1)
		return
	}
	p.sendAck(r, to)
}

func (p *Proxy) sendLargeAck(r *request, to sip.Flow, s sip.Server) {
	if tcp, err := p.dialLarge(s); err == nil {
		to = tcp
	}
	p.sendAck(r, to)
}

// sendAck sends the ACK and releases it.
func (p *Proxy) sendAck(r *request, to sip.Flow) {
	r.room[0] = target{uri: r.msg.RequestURI()}
	m, err := p.forwarded(r, r.msg, to, &r.room[0], maxBreadth, true)
	if err == nil {
		err = p.Transactions.Send(to, m)
	}
	if err != nil {
		p.Logger.Debug("ACK dropped", "call-id", r.msg.CallID(), "error", err)
	}
	r.msg.Release()
	r.release()
}
