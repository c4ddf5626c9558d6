package proxy

// reroute is for a request within a dialog whose flow was there when the request came, and
// ended before anything was answered on it (RFC 3261 §16.9): the peer had just closed it for
// having been idle, perhaps. The request is processed once more, from validation on and from
// the bytes that were received, and so goes where it would have gone had the flow been gone
// before, if its sender may have it go there: what let it pass was that flow alone. It is
// false where the branch is to end as it ended.
//
// An ACK is not sent again, as its sender repeats it with every 2xx that comes meanwhile
// (RFC 3261 §13.2.2.4).
func (b *branch) reroute() bool {
	c, flow := b.context, b.target.hop.flow
	if !c.inDialog || !flow.Transport.Reliable() || c.proxy.Network.Alive(flow) {
		return false
	}
	c.mu.Lock()
	if b.heard || !b.wanted() || !c.request.takesFlow() {
		c.mu.Unlock()
		return false
	}
	old := c.request
	c.closeBranch(b)
	c.branches = nil
	c.request = old.afresh()
	c.mu.Unlock()
	if old.msg != nil && !old.shared {
		old.msg.Release()
	}
	old.release()
	c.proxy.Logger.Debug("flow gone, routed once more", "call-id", c.callID, "flow", flow)
	c.proxy.process(c)
	return true
}

// takesFlow reports whether the request has gone by the flow of its route, for the first time.
func (r *request) takesFlow() bool { return r.next != nil && !r.next.gone && !r.again }

// afresh returns the request as it was received.
func (r *request) afresh() *request {
	n := takeRequest(r.flow, r.received)
	n.received, n.shared, n.loop, n.again = r.received, true, r.loop, true
	return n
}
