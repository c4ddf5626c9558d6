package proxy

import (
	"errors"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/transaction"
)

// branch is one client transaction of a response context.
type branch struct {
	context *responseContext
	target  target
	leg     int32 // its number among the call's legs, from 1; set before its first response
	breadth int32 // its part of the Max-Breadth

	// Guarded by context.mu.
	client    *transaction.Client
	done      bool // it has its final response
	heard     bool // it had a provisional one, 100 perhaps
	rang      bool // it had one above 100
	lost      bool // it ended for want of a flow, not by a response
	passed    bool // it did not answer in time: the next group is tried
	cancelled bool
	reason    string            // of the CANCEL
	timerC    transaction.Place // INVITE only
	ended     []uint64          // To tags, hashed, of late 2xx that were given a BYE
}

// cancel notes that the branch is to be cancelled, and reports whether it has a client that
// is to be told; without one it is told later, or nothing is sent. The caller holds
// context.mu.
func (b *branch) cancel(reason string) bool {
	if b.cancelled {
		return false
	}
	b.cancelled, b.reason = true, reason
	return b.client != nil
}

// wanted reports whether the branch is still to be answered. The caller holds context.mu.
func (b *branch) wanted() bool { return !b.done && !b.cancelled && !b.context.closed }

// start forwards the request to the branch's target, after a flow to it was opened where
// there is none.
func (b *branch) start() {
	hop := &b.target.hop
	if client := hop.client; client != nil && recordRoutes(b.context.method) {
		hop.owner = b.context.proxy.tokens.owner(client.AOR, clientID(client))
	}
	switch {
	case hop.gone:
		b.lose(480)
	case hop.flow.Transport != 0:
		b.send(hop.flow, nil)
	default:
		go newFailover(b).seek()
	}
}

// build makes the request as it goes over a flow. It is nil where the branch needs none any
// more, or has ended for want of one. sole says that no other is made of the request.
func (b *branch) build(flow sip.Flow, sole bool) *sip.Message {
	c := b.context
	c.mu.Lock()
	if !b.wanted() { // after the flow was opened
		c.mu.Unlock()
		b.fail(487)
		return nil
	}
	if !c.carries(flow, &b.target) {
		c.mu.Unlock()
		b.lose(480)
		return nil
	}
	sole = sole && len(c.branches) == 1 && len(b.target.next) == 0
	breadth := int(b.breadth)
	r, m := c.request, c.request.msg
	if flow.Transport == sip.UDP && m.Size() > largestDatagram/2 {
		sole = false // it may grow too large, and is made anew then
	}
	if sole && !r.shared {
		r.msg = nil // it is the branch's now
	}
	c.building++
	c.mu.Unlock()
	m, err := c.proxy.forwarded(r, m, flow, &b.target, breadth, sole)
	c.mu.Lock()
	c.building--
	c.letGo()
	c.mu.Unlock()
	if err != nil {
		b.fail(err.(*replyError).status)
		return nil
	}
	return m
}

// send is RFC 3261 §16.6 steps 10 and 11. The attempt is that of one of several servers,
// nil where the target is a flow.
func (b *branch) send(flow sip.Flow, a *attempt) {
	c := b.context
	m := b.build(flow, a == nil && !c.home)
	switch {
	case m == nil:
		return
	case a == nil && c.proxy.tooLarge(m, flow) && b.sendLarge(m, flow):
		m.Release()
		return
	case flow.Transport == sip.UDP && m.Size() > mostUDP:
		b.fail(513)
		return
	}
	b.recordSent(flow)
	var handler transaction.ClientHandler = b
	if a != nil {
		handler = a
	}
	b.startTimer()
	client, err := c.proxy.Transactions.Request(flow, m, handler)
	if c.method != sip.INVITE { // of which the transaction makes ACK and CANCEL
		m.Release()
	}
	if err != nil {
		handler.Error(nil, err)
		return
	}
	if b.target.hop.registered {
		c.proxy.Network.ProbeSilent(flow)
	}
	if a != nil {
		a.sent(client)
	}
	c.mu.Lock()
	b.client = client
	// The CANCEL came before there was a client to take it, or another server's answer did.
	late := b.cancelled || b.done
	reason := b.reason
	c.mu.Unlock()
	if late {
		client.Cancel(reason)
	}
}

// Response is RFC 3261 §16.7, steps 1 to 5. It owns the response, and keeps it only if it
// may yet be the best one.
func (b *branch) Response(client *transaction.Client, m *sip.Message) {
	if m.Status() < 200 {
		b.hear()
	}
	m.PopVia() // step 3
	c := b.context
	c.proxy.disarmResponse(c, m, client.Flow())
	switch {
	case m.Via() == nil:
		b.aimless(client, m)
	case m.Status() > 299:
		b.flowFailed(m)
		c.recorded().Leg(int(b.leg)-1, m.Status(), false)
		c.failure(b, m)
		return
	case m.Status() > 199:
		c.success(b, client, m)
	case m.Status() > 100: // step 2; 100 is for this hop alone
		b.ring()
		c.provisional(b, m)
	}
	m.Release()
}

// aimless takes a response that is for us alone, as it has no other Via: it can't be forwarded
// (RFC 3261 §16.7 step 3), and a final one still ends the branch, for which no other will come.
func (b *branch) aimless(client *transaction.Client, m *sip.Message) {
	if m.Status() < 200 {
		return
	}
	if m.Status() < 300 && m.Method() == sip.INVITE {
		b.context.terminate(b, client.Flow(), m) // somebody picked up, whom nobody will hear
	}
	b.fail(502)
}

// hear notes a provisional response, be it for this hop alone.
func (b *branch) hear() {
	b.context.mu.Lock()
	defer b.context.mu.Unlock()
	b.heard = true
}

// ring notes a provisional response above 100 and starts Timer C anew (RFC 3261 §16.7 step 2).
func (b *branch) ring() {
	c := b.context
	c.mu.Lock()
	defer c.mu.Unlock()
	b.rang = true
	if c.method == sip.INVITE && !b.done {
		c.proxy.timersC.Join(&b.timerC, b)
	}
}

// startTimer starts Timer C of an INVITE.
func (b *branch) startTimer() {
	c := b.context
	if c.method != sip.INVITE {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !b.done {
		c.proxy.timersC.Join(&b.timerC, b)
	}
}

// stopTimer ends Timer C. The caller holds context.mu.
func (b *branch) stopTimer() { b.context.proxy.timersC.Leave(&b.timerC) }

// Expire is RFC 3261 §16.8: Timer C fired. A branch that rang is cancelled, another one
// counts as answered with 408.
func (b *branch) Expire() {
	c := b.context
	c.mu.Lock()
	client, rang, done := b.client, b.rang, b.done
	over := rang && client != nil && !done
	if over {
		b.cancel(reasonNoAnswer)
	}
	c.mu.Unlock()
	switch {
	case done:
	case over:
		client.Cancel(reasonNoAnswer)
	default:
		b.fail(408)
		if client != nil {
			client.Cancel(reasonNoAnswer) // should it ring after all
		}
	}
}

// Error hears that no response will come: a time-out counts as 408, a transport error as
// 503 (RFC 3261 §16.9), or as 480 where a registered client has gone, unless there is
// another way to it.
func (b *branch) Error(_ *transaction.Client, err error) {
	silent := errors.Is(err, transaction.ErrTimeout)
	switch {
	case silent && !(b.context.inDialog && b.target.hop.registered):
		b.fail(408)
		return
	case !silent && b.reroute():
		return
	}
	// Within a dialog a flow that carries nothing counts as lost: a 408 would end the
	// dialog (RFC 3261 §12.2.1.2), which may go on over the client's next one.
	b.unreachable()
}

func (b *branch) unreachable() {
	if b.target.hop.registered {
		b.lose(480)
		return
	}
	b.lose(503)
}

// lose has the branch end for want of a flow.
func (b *branch) lose(status int) {
	c := b.context
	c.mu.Lock()
	b.lost = true
	c.mu.Unlock()
	c.parkBranch(b)
	b.fail(status)
}

// fail has the branch end with a response of our own.
func (b *branch) fail(status int) {
	c := b.context
	c.recorded().Leg(int(b.leg)-1, status, true)
	c.failed(b, c.tx.NewResponse(status, ""))
}
