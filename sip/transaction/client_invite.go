package transaction

import "github.com/sipway/sipway/sip"

// inviteClient is a Client as the INVITE client machine: RFC 3261 §17.1.1 as amended by RFC
// 6026 §8.4, figure 5. Its lifetime timers are B in Calling, D in Completed and M in
// Accepted; in Proceeding it runs once a CANCEL was sent.
type inviteClient Client

var _ clientMachine = (*inviteClient)(nil)

func (c *inviteClient) enter(s state) {
	p := &c.layer.periods
	c.state = s
	switch s {
	case calling: // Timers A and B
		c.arm(c.unreliably(p.t1), p.timeout)
	case proceeding: // Timer C is the proxy core's (RFC 3261 §16.6)
		c.last = nil
		c.arm(0, 0)
	case completed: // Timer D
		(*Client)(c).forget()
		if c.reliable() {
			c.enter(terminated)
			return
		}
		c.arm(0, p.timerD)
	case accepted: // Timer M, over reliable transports too
		c.last = nil
		(*Client)(c).forget()
		c.arm(0, p.timeout)
	case terminated:
		c.arm(0, 0)
		(*Client)(c).end()
	}
}

func (c *inviteClient) start() action {
	c.enter(calling)
	return action{send: c.last}
}

func (c *inviteClient) response(m *sip.Message) action {
	status := m.Status()
	switch c.state {
	case calling, proceeding:
		switch {
		case status < 200:
			return c.provisional(m)
		case status < 300:
			c.enter(accepted)
			return action{tell: event{m: m}}
		default:
			// RFC 3261 §17.1.1.2: acknowledged over reliable transports too.
			ack := newAck(c.request, m).Bytes()
			c.last = ack // what answers a repetition
			c.enter(completed)
			return action{send: ack, tell: event{m: m}}
		}
	case completed:
		if status >= 300 {
			return action{send: c.last}
		}
	case accepted:
		if status >= 200 && status < 300 {
			return action{tell: event{m: m}}
		}
	case terminated:
	}
	return action{}
}

func (c *inviteClient) provisional(m *sip.Message) action {
	do := action{tell: event{m: m}}
	if c.state == calling {
		c.enter(proceeding)
		do.cancel = c.cancelled && c.sendCancel()
	}
	return do
}

func (c *inviteClient) cancel() action {
	switch c.state {
	case calling:
		// RFC 3261 §9.1: no CANCEL before a provisional response; provisional sends it.
	case proceeding:
		return action{cancel: c.sendCancel()}
	case completed, accepted, terminated:
	}
	return action{}
}

// sendCancel gives the peer 64*T1 to end the INVITE: one that follows RFC 2543 need not
// answer a cancelled INVITE (RFC 3261 §9.1).
func (c *inviteClient) sendCancel() bool {
	c.arm(0, c.layer.periods.timeout)
	return true
}

// retransmit is Timer A, which doubles without a cap until Timer B ends it.
func (c *inviteClient) retransmit() action {
	switch c.state {
	case calling:
		c.repeat(2 * c.timers.interval)
		return action{send: c.last}
	case proceeding, completed, accepted, terminated:
	}
	return action{}
}

// timeout is Timer B, the end of the wait after a CANCEL, or Timer D or M.
func (c *inviteClient) timeout() action {
	switch c.state {
	case calling, proceeding:
		c.enter(terminated)
		return action{tell: event{err: ErrTimeout}}
	case completed, accepted:
		c.enter(terminated)
	case terminated:
	}
	return action{}
}

func (c *inviteClient) transportError(err error) action {
	switch c.state {
	case calling, completed:
		c.enter(terminated)
		return action{tell: event{err: err}}
	case proceeding:
		// The figure knows errors of sending only. This is the flow's end: the peer could
		// open another one for its response (RFC 3261 §18.2.2), but a caller who waits for
		// that waits for Timer C.
		c.enter(terminated)
		return action{tell: event{err: err}}
	case accepted, terminated:
	}
	return action{}
}
