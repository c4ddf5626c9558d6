package dialog

import (
	"slices"
	"time"

	"github.com/sipway/sipway/sip"
)

// Cause says what ended a call.
type Cause uint8

// The causes: first those of calls that were answered, then those of calls that were not.
const (
	Running Cause = iota // it has not ended

	HungUp    // a BYE
	Lost      // both connections, or one for long
	Expired   // the session timer passed without a refresh
	Silent    // no message for too long
	Forgotten // one side answered 481: it knows of no such call
	Stopped   // the server ended

	Cancelled   // by the caller
	CallerLost  // his connection broke
	Rejected    // a phone, or another server, said no
	NoAnswer    // nobody took it in time
	Unavailable // nobody could be reached
	causes
)

var causeNames = [causes]string{
	"", "hangup", "connections_lost", "session_expired", "silence", "forgotten", "server_stopped",
	"cancelled", "caller_lost", "rejected", "no_answer", "unavailable",
}

// Causes are all causes.
func Causes() []Cause {
	all := make([]Cause, 0, causes)
	for c := HungUp; c < causes; c++ {
		all = append(all, c)
	}
	return all
}

// String returns the name of the cause, "hangup", and "" for Running.
func (c Cause) String() string { return causeNames[c] }

// By says who ended a call.
type By uint8

// Those who can.
const (
	ByNobody By = iota
	ByCaller
	ByCallee
	ByServer
)

var byNames = [...]string{"", "caller", "callee", "server"}

// String returns "caller", "callee", "server" or "".
func (b By) String() string { return byNames[b] }

// Cancel notes the caller's CANCEL, with the value of its Reason (RFC 3326).
func (r Request) Cancel(reason string) {
	if c := r.call(); c != nil && r.dialog < 0 {
		c.shard.mu.Lock()
		if c.answered == 0 {
			c.cancelled, c.reason = true, bounded(reason)
		}
		c.shard.mu.Unlock()
	}
}

// Leave notes that the caller's connection has broken while his call was being set up.
func (r Request) Leave() {
	if c := r.call(); c != nil && r.dialog < 0 {
		c.shard.mu.Lock()
		c.left = c.answered == 0
		c.shard.mu.Unlock()
	}
}

// Failed notes that the request was given a final response above 299. A call that was
// challenged is forgotten: it comes again with credentials, and is a call then.
func (r Request) Failed(status int, phrase string) {
	c := r.call()
	if c == nil {
		return
	}
	c.shard.mu.Lock()
	var ended bool
	switch {
	case r.dialog >= 0:
		ended = r.refused(c, status)
	case c.answered != 0 || c.gone: // it was answered by another phone
	case status == 401 || status == 407:
		c.shard.remove(c)
		c.table.live.Add(-1)
	default:
		c.status = uint16(status)
		cause, by := c.whyFailed(status)
		if c.reason == "" {
			c.reason = bounded(phrase)
		}
		ended = c.finish(failure, cause, by)
	}
	c.shard.mu.Unlock()
	c.tell(ended)
}

// whyFailed tells a call's end from what was seen of it before.
func (c *Call) whyFailed(status int) (Cause, By) {
	theirs, rang := false, false
	for i := range c.legs {
		theirs = theirs || c.legs[i].status == status && !c.legs[i].ours
		rang = rang || c.legs[i].rang != 0
	}
	switch {
	case c.cancelled, c.by == ByCaller && status == 487: // by a BYE (RFC 3261 §15)
		return Cancelled, ByCaller
	case c.left:
		return CallerLost, ByCaller
	case theirs && status == 408:
		return NoAnswer, ByCallee
	case theirs && status != 487:
		return Rejected, ByCallee
	case rang && (status == 408 || status == 487): // RFC 3261 §16.8: Timer C, or what it cancelled
		return NoAnswer, ByServer
	}
	return Unavailable, ByServer
}

// refused notes a final response above 299 to a request within a dialog; it may be the end of
// the call.
func (r Request) refused(c *Call, status int) (ended bool) {
	c.note(r.side.other(), r.method, status)
	d := &c.dialogs[r.dialog]
	if r.method.name() == sip.INVITE || r.method.name() == sip.UPDATE {
		c.withdraw(r.side)
	}
	switch {
	case r.method.name() == sip.BYE && (status == 401 || status == 407):
		d.state = d.state.on(byeChallenged)
	case r.method.name() == sip.BYE:
		d.state = d.state.on(byeAnswered)
		return c.hungUp()
	case status == 481 && (r.method.name() == sip.INVITE || r.method.name() == sip.UPDATE): // RFC 3261 §12.2.1.2
		d.state = d.state.on(noDialog)
		if c.alive() {
			c.stay()
			return false
		}
		c.status = uint16(status)
		return c.finish(noDialog, Forgotten, By(r.side.other())+ByCaller)
	case status == 405 || status == 501:
		// SIP.js answers an UPDATE so, after which JsSIP refreshes no more, and the call goes
		// on: we may forget it when its timer has passed (RFC 4028 §8.3), and had better not.
		c.interval, c.expires = 0, 0
	case status != 408 && c.interval > 0: // who refuses a refresh is there
		c.expires = c.now() + c.interval
	}
	return false
}

// alive reports whether the call has, or may yet have, a dialog that has not ended.
func (c *Call) alive() bool {
	if c.answered == 0 {
		return !c.gone
	}
	for i := range c.dialogs {
		if s := c.dialogs[i].state; s == Confirmed || s == Ending {
			return true
		}
	}
	return false
}

// hungUp ends the call with its last dialog. Before, the callee is in one that goes on.
func (c *Call) hungUp() (ended bool) {
	if c.alive() {
		c.stay()
		return false
	}
	return c.finish(byeAnswered, HungUp, c.by)
}

// stay makes another phone that answered the callee, once the dialog of the first has ended.
func (c *Call) stay() {
	if c.answered == 0 || c.dialogs[c.main].state != Ended {
		return
	}
	for i := range c.dialogs {
		d := &c.dialogs[i]
		if d.state != Confirmed && d.state != Ending {
			continue
		}
		if c.main = int8(i); d.leg >= 0 {
			c.parties[Callee] = c.legs[d.leg].party
		}
		return
	}
}

// finish ends a call, whose shard is locked, and reports whether it is the first to do so.
// The caller calls tell once it has unlocked.
func (c *Call) finish(e event, cause Cause, by By) bool {
	if c.gone {
		return false
	}
	for i := range c.dialogs {
		d := &c.dialogs[i]
		d.state = d.state.on(given) // also that of a phone that rang when another one answered
	}
	c.cause, c.by, c.over = cause, by, c.heard
	switch e {
	case given, failure:
		c.over = c.now() // no message of a phone ends it
	case byeAnswered:
		c.over = max(c.hung, c.answered) // the BYE's answer may come late or never (RFC 3261 §15.1.1)
	}
	c.shard.remove(c)
	c.table.live.Add(-1)
	c.table.ended[cause].Add(1)
	return true
}

// tell says that a call has ended, if it has.
func (c *Call) tell(ended bool) {
	if ended && c.table.Ended != nil {
		c.table.Ended(c)
	}
}

// state is the state of the call: that of its most advanced dialog.
func (c *Call) state() State {
	if c.gone {
		return Ended
	}
	state := Trying
	for i := range c.dialogs {
		if s := c.dialogs[i].state; s != Ended {
			state = max(state, s)
		}
	}
	return state
}

// trace is the last messages of a call.
type trace struct {
	steps []step // a ring once there are traceSteps of them
	n     int    // of all messages
	first [usualSteps]step
}

// traceSteps is how many messages are kept of a call, usualSteps what most calls have at most.
const (
	traceSteps = 24
	usualSteps = 8
)

// step is one message.
type step struct {
	at     uint32 // milliseconds since the call began
	status int16  // 0 for a request
	method method
	side   Side // who sent it
}

// method is a method by its place in methods.
type method uint8

// methods are those that a record names; all others are "".
var methods = [...]sip.Method{
	"", sip.INVITE, sip.ACK, sip.BYE, sip.CANCEL, sip.PRACK, sip.UPDATE, sip.INFO, sip.REFER,
	sip.NOTIFY, sip.SUBSCRIBE, sip.MESSAGE, sip.OPTIONS,
}

func methodOf(m sip.Method) method { return method(max(slices.Index(methods[:], m), 0)) }

func (m method) name() sip.Method { return methods[m] }

// note notes a message: that the call lives, and for whoever looks at it later. It returns
// the time of it, as the clock is what a record costs most of.
func (c *Call) note(by Side, m method, status int) time.Duration {
	c.heard = c.now()
	s := step{at: uint32(c.heard / time.Millisecond), status: int16(status), method: m, side: by}
	t := &c.trace
	switch {
	case t.n == 0:
		t.steps = append(t.first[:0], s)
	case t.n < traceSteps:
		t.steps = append(t.steps, s)
	default:
		t.steps[t.n%traceSteps] = s
	}
	t.n++
	return c.heard
}
