package proxy

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/sip/transaction"
)

// responseContext is RFC 3261 §16.7's: it belongs to one server transaction and owns the
// target set, all branches of its request and the choice among their responses.
//
// It begins with forward. From then on more targets may come at any time: from a redirection,
// from a client that registers while others ring. Whoever may yet bring some holds it open.
type responseContext struct {
	proxy  *Proxy
	tx     *transaction.Server
	method sip.Method
	callID string // for the log

	// request is worked on by one goroutine at a time until forward, read by the branches and
	// whoever holds the context from then on, and let go with the last of them: then it is nil.
	request *request

	// home says that the Request-URI is one of ours, so that targets may be added (RFC 3261
	// §16.5). What is set beside it is so before forward.
	parking     *parking // nil where nobody is waited for
	merge       mergeKey // in the proxy's index until the last branch has ended
	timer       sessionTimer
	tallied     atomic.Bool
	counted     bool // among the proxy's calls until the last branch has ended
	home        bool
	inDialog    bool
	secure      bool // the Request-URI is a sips URI
	fromUser    bool // the sender is a user of ours, who was authenticated
	disposition disposition

	mu       sync.Mutex
	answered bool  // a final response went upstream
	closed   bool  // no further branch is to be made
	ended    bool  // all is over, and what was held is let go
	open     int32 // branches without a final response
	holds    int32 // those who may yet add targets
	building int32 // branches that make their own message of the request
	breadth  breadth
	call     dialog.Request // the request among the calls that pass
	branches []*branch      // those started, in that order
	first    branch         // room for the usual one
	room     [1]*branch
	noAnswer *time.Timer // ends the present group's time alone; INVITE only

	winner    *branch // whose 2xx was forwarded first
	winnerTag uint64  // and the hash of its To tag
}

// Reasons of our CANCELs (RFC 3326 §2).
const (
	reasonElsewhere = `SIP;cause=200;text="Call completed elsewhere"`
	reasonDeclined  = `SIP;cause=600;text="Declined elsewhere"`
	reasonGone      = `SIP;cause=487;text="Caller gone"`
	reasonNoAnswer  = `SIP;cause=408;text="No answer"`
)

// forward begins with the request's first targets. It takes ownership of the slice.
func (c *responseContext) forward(targets []target) {
	c.secure, c.inDialog, c.fromUser = c.request.uri.IsSIPS(), c.request.inDialog, c.request.aor != ""
	suited := c.suit(targets)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.reject(refuse(487, ""))
		return
	}
	if len(suited) == 0 && len(targets) > 0 && c.holds == 0 {
		c.mu.Unlock()
		c.reject(c.unsuited())
		return
	}
	targets = suited
	if err := c.allot(len(targets)); err != nil {
		c.mu.Unlock()
		c.reject(err)
		return
	}
	c.request.set.begin(targets, &c.disposition)
	due := c.due()
	c.mu.Unlock()
	if c.method == sip.INVITE {
		// Before a branch can answer: a caller is to hear first that we have the request
		// (RFC 3261 §16.2). The transaction sends no second one.
		c.reply(100, "")
	}
	startAll(due)
}

// add puts further targets into the set of a request that is being forwarded (RFC 3261
// §16.5) and starts those whose turn it is: those that rank no lower than what is tried now
// start at once. It returns how many were new. None are any more once the request has its
// final response, was cancelled or declined for all, or if it was not for us.
func (c *responseContext) add(targets ...target) (added int) {
	c.mu.Lock()
	if c.closed || !c.home {
		c.mu.Unlock()
		return 0
	}
	targets = c.suit(targets)
	for i := range targets {
		if len(c.branches)+len(c.request.set.waiting) >= maxBranches || c.hadOne() {
			break
		}
		if c.known(&targets[i]) {
			continue
		}
		if c.disposition.parallel {
			targets[i].rank = topRank
		}
		c.request.set.insert(targets[i])
		added++
	}
	due := c.due()
	c.mu.Unlock()
	startAll(due)
	return added
}

// hadOne reports whether the caller wants a single target to be tried (RFC 3841 §9.1), and one
// was there. Who has lost his flow counts as not there: it is him who comes back. The caller
// holds mu.
func (c *responseContext) hadOne() bool {
	return c.request.set.one && slices.ContainsFunc(c.branches, func(b *branch) bool { return !b.lost })
}

// hold keeps the context open, though no branch may be left, for whoever is going to add
// targets. Each hold ends with one call of release. It is false where it is too late.
func (c *responseContext) hold() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.holds++
	return true
}

// release ends a hold. Where there has never been a branch by then, none says what is
// answered.
func (c *responseContext) release(none error) {
	c.mu.Lock()
	c.holds--
	if len(c.branches) == 0 && c.holds == 0 && !c.answered {
		cancelled := c.closed
		c.mu.Unlock()
		if cancelled {
			none = refuse(487, "")
		}
		c.reject(none)
		return
	}
	c.settle()
}

// settle decides what follows on the end of a branch or a hold, and does it: the next
// targets, or when nothing is left to come the best response. The caller holds mu, which it
// unlocks.
func (c *responseContext) settle() {
	due := c.due()
	var best *sip.Message
	if c.open == 0 && (c.holds == 0 || c.closed) {
		if !c.answered && len(c.branches) > 0 {
			c.answered, c.closed = true, true
			best = c.best()
		}
		c.end()
	}
	c.mu.Unlock()
	if best != nil {
		c.respond(best)
	}
	startAll(due)
}

// end lets go of what only branches need: over UDP the transactions live on for 64*T1. The
// caller holds mu.
func (c *responseContext) end() {
	if !c.ended {
		c.ended = true
		if c.noAnswer != nil {
			c.noAnswer.Stop()
		}
		c.proxy.contextEnded(c)
	}
	c.letGo()
}

// letGo releases the request of a context that has ended, once neither a branch nor a hold is
// reading it. The caller holds mu.
func (c *responseContext) letGo() {
	r := c.request
	if !c.ended || c.building > 0 || c.holds > 0 || r == nil {
		return
	}
	c.request = nil
	c.tx.Release(r.received)
	if r.msg != nil && !r.shared {
		r.msg.Release()
	}
	r.release()
}

// provisional forwards a response below 200, whichever branch it is of, until a final one
// has been forwarded (RFC 3261 §16.7 step 5).
func (c *responseContext) provisional(b *branch, m *sip.Message) {
	c.mu.Lock()
	answered, call := c.answered, c.call
	c.mu.Unlock()
	if !answered {
		call.Response(int(b.leg)-1, m)
		c.respond(m)
	}
}

// success forwards a 2xx (RFC 3261 §16.7 step 5): each one to an INVITE, the first one to
// another request. The rest of the target set is not tried, and who rings is cancelled
// (step 10), unless the caller wants to see to that himself (RFC 3841 §9.1).
func (c *responseContext) success(b *branch, client *transaction.Client, m *sip.Message) {
	c.mu.Lock()
	pass := !c.answered || m.Method() == sip.INVITE
	if !c.answered {
		c.winner, c.winnerTag = b, c.proxy.tagHash(m)
	}
	late := c.isLate(b, m) || c.orphaned(m)
	c.answered, c.closed = true, true
	c.closeBranch(b)
	var losers []*transaction.Client
	if !c.disposition.noCancel {
		losers = c.cancelPending(reasonElsewhere)
	}
	call := c.call
	c.mu.Unlock()
	switch {
	case late:
		call.Leg(int(b.leg)-1, m.Status(), false)
		c.terminate(b, client.Flow(), m)
	case pass:
		c.timeAnswer(m)
		call.Response(int(b.leg)-1, m)
		c.respond(m)
	}
	cancelAll(losers, reasonElsewhere)
	c.mu.Lock()
	c.settle()
}

// failure takes a final response above 2xx. One that redirects to users of ours is followed
// before the branch counts as ended.
func (c *responseContext) failure(b *branch, m *sip.Message) {
	if m.Status() < 400 && c.mayRecurse() {
		c.recurse(b, m)
		return
	}
	c.failed(b, m)
}

// failed keeps a final response above 2xx, nil for none, and forwards the best of them when
// it was the last (RFC 3261 §16.7 steps 4 to 6). A 6xx ends all other branches.
func (c *responseContext) failed(b *branch, m *sip.Message) {
	c.mu.Lock()
	if b.done {
		c.mu.Unlock()
		return
	}
	c.closeBranch(b)
	var losers []*transaction.Client
	switch {
	case m == nil:
	case b.replace(m.Status()):
	case m.Status() >= 600:
		c.request.finals = append(c.request.finals, m)
		losers = c.cancelPending(reasonDeclined)
	default:
		c.request.finals = append(c.request.finals, m)
	}
	c.settle()
	cancelAll(losers, reasonDeclined)
}

// replace puts another flow to the same instance in the place of one that failed; any other
// response is the instance's own, and final (RFC 5626 §7). One that was cancelled has had its
// turn. The caller holds context.mu.
func (b *branch) replace(status int) bool {
	c := b.context
	if status != 408 && status != 430 && !b.lost || len(b.target.next) == 0 || b.cancelled || c.closed {
		return false
	}
	other := b.target.next[0]
	other.rank, other.next = b.target.rank, b.target.next[1:]
	c.request.set.insert(other)
	return true
}

// closeBranch notes that a branch has its final response. The caller holds mu.
func (c *responseContext) closeBranch(b *branch) {
	if !b.done {
		b.done = true
		b.stopTimer()
		c.open--
		c.breadth.used -= b.breadth
		if !b.passed {
			c.request.set.active--
		}
	}
}

// cancelPending forbids further branches and returns the pending ones, which the caller
// cancels when it has let go of mu (RFC 3261 §16.7 step 10). Only an INVITE can be cancelled
// (RFC 3261 §9.1).
func (c *responseContext) cancelPending(reason string) (pending []*transaction.Client) {
	c.closed = true
	if c.method != sip.INVITE {
		return nil
	}
	for _, b := range c.branches {
		if !b.done && b.cancel(reason) {
			pending = append(pending, b.client)
		}
	}
	return pending
}

func cancelAll(pending []*transaction.Client, reason string) {
	for _, client := range pending {
		client.Cancel(reason)
	}
}

// passOver ends the time that a group rings alone: it is cancelled, and the next one is
// tried while its responses are still on their way.
func (c *responseContext) passOver() {
	c.mu.Lock()
	if c.closed || len(c.request.set.waiting) == 0 || time.Since(c.request.set.started) < c.proxy.NoAnswer {
		c.mu.Unlock()
		return // or it is another group's turn, which has its own time
	}
	var pending []*transaction.Client
	for _, b := range c.branches {
		if b.done || b.passed {
			continue
		}
		b.passed = true
		c.request.set.active--
		if b.cancel(reasonNoAnswer) {
			pending = append(pending, b.client)
		}
	}
	c.settle()
	cancelAll(pending, reasonNoAnswer)
}

// Cancel is RFC 3261 §16.10: the caller's CANCEL goes to every pending branch, with all its
// Reasons, of which there is one for each protocol (RFC 3326 §2). The layer has answered it.
func (c *responseContext) Cancel(_ *transaction.Server, cancel *sip.Message) {
	reason := strings.Join(slices.Collect(cancel.Lines(sip.HReason)), ", ")
	c.recorded().Cancel(reason)
	c.abandon(reason)
}

// Error hears that the caller's flow is gone, so that nobody is left to answer, or that no
// ACK came, which is the caller's fault.
func (c *responseContext) Error(_ *transaction.Server, err error) {
	c.proxy.Logger.Debug("upstream lost", "call-id", c.callID, "error", err)
	c.recorded().Leave()
	c.abandon(reasonGone)
}

// abandon cancels all branches. Where there is none, whoever holds the context finds it
// closed; the caller need not wait for that.
func (c *responseContext) abandon(reason string) {
	c.mu.Lock()
	pending := c.cancelPending(reason)
	held := c.holds > 0 && c.open == 0 && !c.answered
	c.mu.Unlock()
	cancelAll(pending, reason)
	if held {
		c.reject(refuse(487, ""))
	}
}

// respond passes a response upstream (RFC 3261 §16.7 step 9). Where it can't be sent any
// more it is dropped (RFC 3261 §16.9).
func (c *responseContext) respond(m *sip.Message) {
	c.tally(m.Status())
	c.recordFinal(m.Status(), m.Reason())
	if err := c.tx.Respond(m); err != nil {
		c.proxy.Logger.Debug("response not sent", "call-id", c.callID, "status", m.Status(), "error", err)
	}
}

// reply is respond for a response of our own that nothing is added to.
func (c *responseContext) reply(status int, reason string) {
	c.tally(status)
	c.recordFinal(status, reason)
	if err := c.tx.Reply(status, reason); err != nil {
		c.proxy.Logger.Debug("response not sent", "call-id", c.callID, "status", status, "error", err)
	}
}

// reject answers a request that was not forwarded.
func (c *responseContext) reject(err error) {
	e, ok := err.(*replyError)
	if !ok {
		e = &replyError{status: 500}
	}
	if !c.finish() {
		return
	}
	if e.edit == nil {
		c.reply(e.status, e.reason)
		return
	}
	m := c.tx.NewResponse(e.status, e.reason)
	e.edit(m)
	c.respond(m)
}

// finish notes that the request is answered without being forwarded. It is false where it
// was answered before.
func (c *responseContext) finish() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered {
		return false
	}
	c.answered, c.closed = true, true
	if c.open == 0 && c.holds == 0 {
		c.end()
	}
	return true
}
