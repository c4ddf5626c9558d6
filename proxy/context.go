package proxy

import (
	"sync"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/transaction"
)

// responseContext is RFC 3261 §16.7's: it belongs to one server transaction and owns all
// branches of its request and the choice among their responses.
type responseContext struct {
	proxy  *Proxy
	tx     *transaction.Server
	method sip.Method
	callID string // for the log

	// request is worked on by one goroutine at a time until forward, read by the branches
	// from then on, and let go with the last of them.
	request request

	mu       sync.Mutex
	branches []branch       // all there will ever be, once started
	single   [1]branch      // room for the usual one
	open     int            // branches without a final response
	finals   []*sip.Message // final responses above 2xx that were not forwarded
	answered bool           // a final response went upstream
	// cancelled says that no further branch is to be tried and pending ones are CANCELed;
	// reason is the Reason that goes with it.
	cancelled bool
	reason    string
}

// Reasons of our CANCELs (RFC 3326 §2).
const (
	reasonElsewhere = `SIP;cause=200;text="Call completed elsewhere"`
	reasonDeclined  = `SIP;cause=600;text="Declined elsewhere"`
	reasonGone      = `SIP;cause=487;text="Caller gone"`
)

// forward sends the request to its targets in parallel.
func (c *responseContext) forward(targets []target) {
	c.mu.Lock()
	if c.cancelled {
		c.mu.Unlock()
		c.reject(refuse(487, ""))
		return
	}
	c.open = len(targets)
	if c.branches = c.single[:]; len(targets) > 1 {
		c.branches = make([]branch, len(targets))
	}
	for i := range targets {
		c.branches[i].context, c.branches[i].target = c, targets[i]
	}
	c.mu.Unlock()
	if c.method == sip.INVITE {
		// Before a branch can answer: a caller is to hear first that we have the request
		// (RFC 3261 §16.2). The transaction sends no second one.
		c.reply(100, "")
	}
	for i := range c.branches {
		c.branches[i].start()
	}
}

// provisional forwards a response below 200, whichever branch it is of, until a final one
// has been forwarded (RFC 3261 §16.7 step 5).
func (c *responseContext) provisional(m *sip.Message) {
	c.mu.Lock()
	answered := c.answered
	c.mu.Unlock()
	if !answered {
		c.respond(m)
	}
}

// success forwards a 2xx: each one to an INVITE, the first one to another request.
func (c *responseContext) success(b *branch, m *sip.Message) {
	c.mu.Lock()
	c.closeBranch(b)
	pass := !c.answered || m.Method() == sip.INVITE
	c.answered = true
	losers := c.cancelPending(reasonElsewhere)
	c.mu.Unlock()
	if pass {
		c.respond(m)
	}
	cancelAll(losers, reasonElsewhere)
}

// failure keeps a final response above 2xx, and forwards the best of them when it was the
// last (RFC 3261 §16.7 steps 5 and 6). A 6xx ends all other branches.
func (c *responseContext) failure(b *branch, m *sip.Message) {
	c.mu.Lock()
	if b.done {
		c.mu.Unlock()
		return
	}
	c.closeBranch(b)
	c.finals = append(c.finals, m)
	var losers []*transaction.Client
	if m.Status() >= 600 {
		losers = c.cancelPending(reasonDeclined)
	}
	var best *sip.Message
	if c.open == 0 && !c.answered {
		c.answered = true
		best = c.best()
	}
	c.mu.Unlock()
	if best != nil {
		c.respond(best)
	}
	cancelAll(losers, reasonDeclined)
}

// closeBranch notes that a branch has its final response. The caller holds mu.
func (c *responseContext) closeBranch(b *branch) {
	if !b.done {
		b.done = true
		b.stopTimer()
		if c.open--; c.open == 0 {
			c.request = request{} // over UDP the transactions live on for 64*T1
		}
	}
}

// cancelPending forbids further branches and returns the pending ones, which the caller
// cancels when it has let go of mu. Only an INVITE can be cancelled (RFC 3261 §9.1).
func (c *responseContext) cancelPending(reason string) (pending []*transaction.Client) {
	if c.cancelled || c.method != sip.INVITE {
		return nil
	}
	c.cancelled, c.reason = true, reason
	for i := range c.branches {
		if b := &c.branches[i]; !b.done && b.client != nil {
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

// Cancel is RFC 3261 §16.10: the caller's CANCEL, with its Reason, goes to every pending
// branch. The layer has answered it.
func (c *responseContext) Cancel(_ *transaction.Server, cancel *sip.Message) {
	reason, _ := cancel.Get(sip.HReason)
	c.abandon(reason)
}

// Error hears that the caller's flow is gone, so that nobody is left to answer, or that no
// ACK came, which is the caller's fault.
func (c *responseContext) Error(_ *transaction.Server, err error) {
	c.proxy.Logger.Debug("upstream lost", "call-id", c.callID, "error", err)
	c.abandon(reasonGone)
}

func (c *responseContext) abandon(reason string) {
	c.mu.Lock()
	pending := c.cancelPending(reason)
	c.mu.Unlock()
	cancelAll(pending, reason)
}

// respond passes a response upstream (RFC 3261 §16.7 step 9). Where it can't be sent any
// more it is dropped (§16.9).
func (c *responseContext) respond(m *sip.Message) {
	if err := c.tx.Respond(m); err != nil {
		c.proxy.Logger.Debug("response not sent", "call-id", c.callID, "status", m.Status(), "error", err)
	}
}

// reply is respond for a response of our own that nothing is added to.
func (c *responseContext) reply(status int, reason string) {
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
	c.finish()
	if e.edit == nil {
		c.reply(e.status, e.reason)
		return
	}
	m := c.tx.NewResponse(e.status, e.reason)
	e.edit(m)
	c.respond(m)
}

// finish notes that the request was answered without being forwarded.
func (c *responseContext) finish() {
	c.mu.Lock()
	c.answered = true
	c.cancelled = true
	c.mu.Unlock()
}
