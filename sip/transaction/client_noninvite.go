package transaction

import "github.com/sipway/sipway/sip"

// nonInviteClient is a Client as the non-INVITE client machine: RFC 3261 §17.1.2, figure 6.
// Its lifetime timers are F in Trying and Proceeding and K in Completed.
type nonInviteClient Client

var _ clientMachine = (*nonInviteClient)(nil)

func (c *nonInviteClient) enter(s state) {
	p := &c.layer.periods
	c.state = s
	switch s {
	case trying: // Timers E and F
		c.arm(c.unreliably(p.t1), p.timeout)
	case proceeding:
		// Timers E and F run on: E takes its longer interval when it next fires.
	case completed: // Timer K
		c.last = nil
		if c.reliable() {
			c.enter(terminated)
			return
		}
		c.arm(0, p.timerK)
	case terminated:
		c.arm(0, 0)
		(*Client)(c).end()
	}
}

func (c *nonInviteClient) start() action {
	c.enter(trying)
	return action{send: c.last}
}

func (c *nonInviteClient) response(m *sip.Message) action {
	switch c.state {
	case trying, proceeding:
		if m.Status() >= 200 {
			c.enter(completed)
		} else if c.state == trying {
			c.enter(proceeding)
		}
		return action{tell: event{m: m}}
	case completed, terminated:
	}
	return action{}
}

// cancel does nothing: RFC 3261 §9.1 cancels INVITE alone.
func (c *nonInviteClient) cancel() action { return action{} }

// retransmit is Timer E (RFC 3261 §17.1.2.2).
func (c *nonInviteClient) retransmit() action {
	t2 := c.layer.periods.t2
	switch c.state {
	case trying:
		c.repeat(min(2*c.timers.interval, t2))
		return action{send: c.last}
	case proceeding:
		c.repeat(t2)
		return action{send: c.last}
	case completed, terminated:
	}
	return action{}
}

// timeout is Timer F or K.
func (c *nonInviteClient) timeout() action {
	switch c.state {
	case trying, proceeding:
		c.enter(terminated)
		return action{tell: event{err: ErrTimeout}}
	case completed:
		c.enter(terminated)
	case terminated:
	}
	return action{}
}

func (c *nonInviteClient) transportError(err error) action {
	switch c.state {
	case trying, proceeding:
		c.enter(terminated)
		return action{tell: event{err: err}}
	case completed, terminated:
	}
	return action{}
}
