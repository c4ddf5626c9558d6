package transaction

import "slices"

// nonInviteServer is a Server as the non-INVITE server machine: RFC 3261 §17.2.2, figure 8,
// with the restrictions of RFC 4320 §4. Its lifetime timer is J in Completed; but as a rule
// it leaves its response to [answers] then, which repeats it for that long, and has ended.
//
// In Trying and Proceeding it lives for 64*T1, which is in no figure. By then the client's
// Timer F has fired and a response may not be sent any more (RFC 4320 §4.2), so that nothing
// but a user's neglect is forgiven by keeping it.
type nonInviteServer Server

var _ serverMachine = (*nonInviteServer)(nil)

func (s *nonInviteServer) enter(next state) {
	p := &s.layer.periods
	s.state = next
	switch next {
	case trying: // the 100 of RFC 4320 §4.1
		passed := s.layer.clock.now() - s.arrived
		s.arm(max(p.lateReply-passed, 1), max(p.timeout-passed, 1))
	case proceeding:
		s.timers.retransmit = 0
	case completed: // Timer J
		if s.reliable() || s.left {
			s.enter(terminated)
			return
		}
		s.arm(0, p.timeout)
	case terminated:
		s.arm(0, 0)
		(*Server)(s).end()
	}
}

// start arms the timers only now: most requests have their final response by the time the
// user returns, and need none or another.
func (s *nonInviteServer) start() action {
	if s.state == trying {
		s.enter(trying)
	}
	return action{}
}

func (s *nonInviteServer) again() action {
	switch s.state {
	case proceeding, completed:
		return action{send: s.last}
	case trying, terminated:
	}
	return action{}
}

func (s *nonInviteServer) respond(status int, b []byte) (action, error) {
	switch s.state {
	case trying, proceeding:
		switch {
		case status == 100:
			return s.provisional(b), nil
		case status < 200: // RFC 4320 §4.1
			return action{}, nil
		case status == 408: // RFC 4320 §4.2
			s.leave(nil)
			s.last = nil
			s.enter(completed)
			return action{}, nil
		}
		s.last = s.leave(b)
		do := action{send: s.last}
		s.enter(completed)
		return do, nil
	case completed, terminated:
	}
	return action{}, ErrAnswered
}

// leave makes a copy of the final response for as long as it may have to be repeated: where
// it can, that of [answers], which then do so.
func (s *nonInviteServer) leave(b []byte) []byte {
	if s.reliable() {
		return b
	}
	if kept, ok := s.layer.answers.keep((*Server)(s), b); ok {
		s.left = true
		return kept
	}
	return slices.Clone(b)
}

// provisional sends a 100. Over UDP one that comes early would have the client repeat its
// request at intervals of T2 from then on, and a lost final response would be repaired late
// or never (RFC 4320 §2.1).
func (s *nonInviteServer) provisional(b []byte) action {
	if !s.reliable() && s.layer.clock.now() < s.arrived+s.layer.periods.lateReply {
		return action{}
	}
	s.last = b
	s.enter(proceeding)
	return action{send: b}
}

// ack never happens: an ACK matches INVITE transactions alone.
func (s *nonInviteServer) ack() (do action, up bool) { return action{}, false }

// pending: CANCEL has no effect on another request than INVITE (RFC 3261 §9.2).
func (s *nonInviteServer) pending() bool { return false }

// retransmit is the time for a 100, over any transport (RFC 4320 §4.1).
func (s *nonInviteServer) retransmit() action {
	switch s.state {
	case trying:
		return s.provisional((*Server)(s).trying100())
	case proceeding, completed, terminated:
	}
	return action{}
}

// timeout is the end of a request that nobody answered, or Timer J.
func (s *nonInviteServer) timeout() action {
	switch s.state {
	case trying, proceeding:
		s.enter(terminated)
		return action{tell: event{err: ErrTimeout}}
	case completed:
		s.enter(terminated)
	case terminated:
	}
	return action{}
}

// transportError informs the user. The state stays, against the figure: RFC 6026 §8.8
// amends RFC 3261 §17.2.4, which is about both server machines. In Terminated a response
// over a reliable transport may still have been under way.
func (s *nonInviteServer) transportError(err error) action {
	switch s.state {
	case trying, proceeding, completed, terminated:
		return action{tell: event{err: err}}
	}
	return action{}
}
