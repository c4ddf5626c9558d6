package dialog

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
)

// Request is a request of a call while it passes: the INVITE that began it, or one within
// one of its dialogs. The zero value belongs to no call, and its methods do nothing.
type Request struct {
	ref    *reference
	dialog int8 // -1 for the INVITE that began the call
	again  bool // it has passed before
	side   Side
	method method
}

// reference leads to a call until that has ended. The INVITE's transactions live on for 64*T1,
// which is longer than many a call, and are not to hold its record.
type reference struct{ atomic.Pointer[Call] }

// call is the call that the request belongs to, nil where there is none any more.
func (r Request) call() *Call {
	if r.ref == nil {
		return nil
	}
	return r.ref.Load()
}

// Known reports whether the request belongs to a call that is kept.
func (r Request) Known() bool { return r.call() != nil }

// Within finds the call that a request within a dialog belongs to, and notes the request. It
// came by the flow, a zero one where it has passed before (a spiral, RFC 3261 §16.3) and is on
// its way between others than the call's two sides.
func (t *Calls) Within(m *sip.Message, f sip.Flow) Request {
	if t == nil {
		return Request{}
	}
	s, hash := t.shardOf(m.CallID())
	s.mu.Lock()
	defer s.mu.Unlock()
	c, side, tag := s.dialogOf(hash, m)
	if c == nil {
		return Request{}
	}
	at := c.dialogWith(tag)
	if at < 0 {
		return Request{}
	}
	d := &c.dialogs[at]
	method := methodOf(m.Method())
	c.note(side, method, 0)
	again := f.Transport == 0
	if !again {
		c.moved(side, at, f)
	}
	d.seq[side] = max(d.seq[side], m.CSeq().Seq)
	switch method.name() {
	case sip.ACK, sip.PRACK:
		c.answer(side, m) // to an offer in the response (RFC 3264 §4, RFC 3262 §5)
	case sip.INVITE, sip.UPDATE:
		c.propose(side, m)
	case sip.REFER:
		to, _ := m.Get(sip.HReferTo)
		c.refer = bounded(to)
	case sip.BYE:
		if d.state == Ending {
			break // the two sides hang up at once, and this one was the second
		}
		d.state = d.state.on(bye)
		c.by, c.hung = By(side)+ByCaller, c.heard
		reason, _ := m.Get(sip.HReason) // RFC 3326
		c.reason = bounded(reason)
	}
	return Request{ref: c.ref, dialog: int8(at), again: again, side: side, method: method}
}

// dialogOf returns the call that a message within a dialog belongs to, which side sent it,
// and the tag of the callee. The shard is locked.
func (s *shard) dialogOf(hash uint64, m *sip.Message) (c *Call, side Side, tag string) {
	if c := s.find(hash, m.CallID(), m.FromTag()); c != nil {
		return c, Caller, m.ToTag()
	}
	return s.find(hash, m.CallID(), m.ToTag()), Callee, m.FromTag()
}

// dialogWith returns the place of the dialog with a callee's tag, -1 where there is none.
func (c *Call) dialogWith(tag string) int {
	for i := range c.dialogs {
		if c.dialogs[i].tag == tag {
			return i
		}
	}
	return -1
}

// Sent notes that the request goes to a URI, to that party; of one within a dialog the flow
// alone counts. It returns the number of the leg, -1 where none is kept.
func (r Request) Sent(uri string, to Party) (leg int) {
	c := r.call()
	if c == nil {
		return -1
	}
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if r.dialog >= 0 {
		if !r.again {
			c.moved(r.side.other(), int(r.dialog), to.Flow)
		}
		return -1
	}
	if len(c.legs) == maxLegs {
		return -1
	}
	return c.newLeg(uri, to)
}

// moved notes the flow of a side in a dialog. Where two phones have answered, that of the one
// whose dialog is soon ended is not the callee's.
func (c *Call) moved(side Side, dialog int, f sip.Flow) {
	if side == Caller || c.answered == 0 || dialog == int(c.main) {
		c.parties[side].Flow = f
	}
}

// Moved notes that a leg goes on over another flow, as its first one failed.
func (r Request) Moved(leg int, f sip.Flow) {
	if c := r.call(); c != nil && leg >= 0 {
		c.shard.mu.Lock()
		c.legs[leg].party.Flow = f
		c.shard.mu.Unlock()
	}
}

func (c *Call) newLeg(uri string, to Party) int {
	to.Identity, to.UserAgent = c.dialed, bounded(to.UserAgent)
	if to.AOR == c.dialed {
		to.AOR = c.dialed
	} else {
		to.AOR = strings.Clone(to.AOR)
	}
	c.legs = append(c.legs, leg{uri: bounded(uri), party: to, began: c.now()})
	return len(c.legs) - 1
}

// now is the time since the call began.
func (c *Call) now() time.Duration { return max(time.Since(c.begun), 1) }

// Response notes a response from 101 to 299 of a leg, which is passed on.
func (r Request) Response(leg int, m *sip.Message) {
	c := r.call()
	if c == nil {
		return
	}
	c.shard.mu.Lock()
	if r.dialog >= 0 {
		end := r.within(c, m)
		c.shard.mu.Unlock()
		c.tell(end)
		return
	}
	now := c.note(Callee, methodOf(sip.INVITE), m.Status())
	c.legAnswered(leg, m.Status(), false, now)
	if m.ToTag() != "" || m.Status() >= 200 { // an answer may have none (RFC 3261 §12.1.2)
		c.dialogFrom(leg, m, now)
	}
	c.shard.mu.Unlock()
}

// dialogFrom makes or changes the dialog of a response to the INVITE that began the call
// (RFC 3261 §12.1.2).
func (c *Call) dialogFrom(leg int, m *sip.Message, now time.Duration) {
	at := c.dialogWith(m.ToTag())
	if at < 0 {
		if len(c.dialogs) >= maxDialogs && (m.Status() < 200 || c.answered != 0) {
			return
		}
		at = len(c.dialogs)
		c.dialogs = append(c.dialogs, dialog{tag: strings.Clone(m.ToTag()), leg: int8(leg), seq: [2]uint32{Caller: c.seq}})
	}
	d := &c.dialogs[at]
	if m.Status() < 200 {
		d.state = d.state.on(provisional)
		if c.rang == 0 {
			c.rang = now
		}
		if c.answered == 0 {
			c.answer(Callee, m) // RFC 3262 §5: of a reliable one, which is not the usual
		}
		return
	}
	d.state = d.state.on(success)
	if c.answered != 0 {
		return // another phone's, or sent again
	}
	c.answered, c.main = now, int8(at)
	c.reason = "" // of a CANCEL that came too late
	c.answer(Callee, m)
	c.timer(m, now)
	ua, ok := m.Get(sip.HUserAgent)
	if !ok {
		ua, _ = m.Get(sip.HServer)
	}
	if leg >= 0 {
		c.parties[Callee] = c.legs[leg].party
	}
	if ua != "" {
		c.parties[Callee].UserAgent = bounded(ua)
	}
}

// within notes a 2xx to a request within a dialog; it may be the end of the call.
func (r Request) within(c *Call, m *sip.Message) (ended bool) {
	now := c.note(r.side.other(), r.method, m.Status())
	d := &c.dialogs[r.dialog]
	switch {
	case m.Status() < 200:
	case r.method.name() == sip.BYE:
		d.state = d.state.on(byeAnswered)
		return c.hungUp()
	case r.method.name() == sip.INVITE, r.method.name() == sip.UPDATE:
		c.agreed(r.side, m)
		c.timer(m, now)
	case r.method.name() == sip.PRACK:
		c.answer(r.side.other(), m)
	}
	return false
}

// timer notes the session timer of a 2xx to a refresh (RFC 4028 §8.2), or that there is none
// any more.
func (c *Call) timer(m *sip.Message, now time.Duration) {
	seconds, _, err := m.SessionExpires()
	if err != nil {
		c.interval, c.expires = 0, 0
		return
	}
	c.interval = min(time.Duration(seconds)*time.Second, c.table.MaxSilence)
	c.expires = now + c.interval
}

// Leg notes the final response of a leg that is not passed on at once, or one that was made
// here for want of any.
func (r Request) Leg(leg, status int, ours bool) {
	c := r.call()
	if c == nil || r.dialog >= 0 {
		return
	}
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	var now time.Duration
	if ours {
		now = c.now()
	} else {
		now = c.note(Callee, methodOf(sip.INVITE), status)
	}
	c.legAnswered(leg, status, ours, now)
}

func (c *Call) legAnswered(leg, status int, ours bool, now time.Duration) {
	if leg < 0 || leg >= len(c.legs) {
		return
	}
	l := &c.legs[leg]
	switch {
	case l.status >= 200:
		return
	case status >= 200:
		l.ended = now
	case l.rang == 0:
		l.rang = now
	}
	if l.status, l.ours = status, ours; status < 300 {
		return
	}
	for i := range c.dialogs { // the early ones of this leg (RFC 3261 §12.3)
		if d := &c.dialogs[i]; int(d.leg) == leg {
			d.state = d.state.on(failure)
		}
	}
}
