package transaction

import "time"

// inviteServer is a Server as the INVITE server machine: RFC 3261 §17.2.1 as amended by RFC
// 6026 §8.5 to §8.8, figure 7. Its lifetime timers are H in Completed, I in Confirmed and L
// in Accepted. In Proceeding it has none: how long a call may ring is the user's decision.
type inviteServer Server

var _ serverMachine = (*inviteServer)(nil)

func (s *inviteServer) enter(next state) {
	p := &s.layer.periods
	s.state = next
	switch next {
	case proceeding: // entered again by each provisional response: the 100 is not due any more
		s.arm(0, 0)
	case completed: // Timers G and H
		again := s.unreliably(p.t1)
		if s.sparing && s.unheard {
			again = 0
		}
		s.arm(again, p.timeout)
	case confirmed: // Timer I
		s.last = nil
		if s.reliable() {
			s.enter(terminated)
			return
		}
		s.arm(0, p.timerI)
	case accepted: // Timer L, over reliable transports too
		s.last = nil
		s.arm(0, p.timeout)
	case terminated:
		s.arm(0, 0)
		(*Server)(s).end()
	}
}

// sparingTrying is the delay of the 100 to a caller who is spared repetitions: usually the
// final response is there by then.
const sparingTrying = 150 * time.Millisecond

// start sends the 100 that RFC 3261 §17.2.1 wants within 200 ms, or sees to it that it is
// sent then, unless the user has answered by now.
func (s *inviteServer) start() action {
	if s.state != proceeding || s.last != nil {
		return action{}
	}
	delay := s.layer.periods.trying
	if s.sparing {
		delay = max(delay, sparingTrying)
	}
	if wait := s.arrived + delay - s.layer.clock.now(); wait > 0 {
		s.arm(wait, 0)
		return action{}
	}
	return s.sendTrying()
}

func (s *inviteServer) sendTrying() action {
	s.last = (*Server)(s).trying100()
	s.enter(proceeding)
	return action{send: s.last}
}

// again: RFC 6026 §7.1 absorbs the INVITE in Accepted, whose 2xx the UAS core repeats.
func (s *inviteServer) again() action {
	switch s.state {
	case proceeding, completed:
		return action{send: s.last}
	case accepted, confirmed, terminated:
	}
	return action{}
}

func (s *inviteServer) respond(status int, b []byte) (action, error) {
	switch s.state {
	case proceeding:
		switch {
		case status == 100 && s.last != nil: // the transaction's own went before
			return action{}, nil
		case status < 200:
			s.last = b
			s.enter(proceeding)
		case status < 300:
			s.enter(accepted)
		default:
			s.unheard, s.last = s.last == nil, b
			s.enter(completed)
		}
		return action{send: b}, nil
	case accepted:
		if status >= 200 && status < 300 {
			return action{send: b}, nil
		}
	case completed, confirmed, terminated:
	}
	return action{}, ErrAnswered
}

func (s *inviteServer) ack() (do action, up bool) {
	switch s.state {
	case proceeding:
		// Nothing was sent that it could acknowledge.
	case completed:
		s.enter(confirmed)
	case accepted:
		// RFC 6026 §6: of an RFC 2543 client, whose ACK to a 2xx matches the INVITE.
		return action{}, true
	case confirmed, terminated:
	}
	return action{}, false
}

func (s *inviteServer) pending() bool { return s.state == proceeding }

// retransmit is Timer G in Completed, and in Proceeding the time for the 100.
func (s *inviteServer) retransmit() action {
	switch s.state {
	case proceeding:
		if s.last == nil {
			return s.sendTrying()
		}
	case completed:
		s.repeat(min(2*s.timers.interval, s.layer.periods.t2))
		return action{send: s.last}
	case accepted, confirmed, terminated:
	}
	return action{}
}

// timeout is Timer H, I or L.
func (s *inviteServer) timeout() action {
	switch s.state {
	case completed:
		s.enter(terminated)
		return action{tell: event{err: ErrTimeout}}
	case accepted, confirmed:
		s.enter(terminated)
	case proceeding, terminated:
	}
	return action{}
}

// transportError informs the user and stays in the state: a retransmission of the INVITE
// must not be taken for a new one (RFC 6026 §7.1).
func (s *inviteServer) transportError(err error) action {
	switch s.state {
	case proceeding, completed, accepted:
		return action{tell: event{err: err}}
	case confirmed, terminated:
	}
	return action{}
}
