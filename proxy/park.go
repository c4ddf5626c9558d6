package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// A page that is loaded anew is away for a moment, and so is a telephone that changes its
// network. A request for a user whose flow broke just now is parked for that moment: it
// goes to whatever the user registers meanwhile, even while other devices of his ring.

// maxParked bounds the waits for a user at a time. Each holds what any other request holds
// that has not been answered.
const maxParked = 1 << 14

// parking is what a response context knows of the user whom it may wait for. It is set
// before forward.
type parking struct {
	aor   string
	begun time.Time // when the request came
}

// park forwards a request for a user who has just lost a flow to the targets there are,
// maybe none, and waits for what he registers. It is false where nothing is waited for, and
// nothing was done.
func (c *responseContext) park(aor string, targets []target) bool {
	if c.proxy.Park <= 0 || c.method != sip.INVITE && c.method != sip.MESSAGE {
		return false
	}
	c.parking = &parking{aor, time.Now()}
	if !c.proxy.Locations.Lost(aor) || !c.hold() {
		return false
	}
	c.forward(targets)
	c.awaitReturn(c.proxy.Park)
	return true
}

// parkBranch has the request wait for the successor of a client whose connection broke.
// The time counts from when the client was last known to be there: it rang until now, or
// else the request came.
func (c *responseContext) parkBranch(b *branch) {
	if c.parking == nil || !b.target.hop.registered || b.target.hop.flow.ID == 0 {
		return
	}
	wait := c.proxy.Park
	c.mu.Lock()
	if !b.rang {
		wait -= time.Since(c.parking.begun)
	}
	if wait <= 0 || !b.wanted() {
		c.mu.Unlock()
		return
	}
	c.holds++
	c.mu.Unlock()
	c.awaitReturn(wait)
}

// awaitReturn waits for the successor of one flow. The caller has taken a hold of the
// context, which ends with the wait.
func (c *responseContext) awaitReturn(wait time.Duration) {
	c.proxy.awaitReturn(c.parking.aor, wait, func(bindings []store.Binding) bool {
		return c.add(c.proxy.targetsOf(bindings)...) > 0
	}, func() {
		c.release(refuse(480, ""))
	})
}

// parkForOne has a request wait for one client of a user, whose flow broke just now: that of
// a dialog, or the instance of a GRUU. Pick makes the targets of the bindings that are the
// client's. It is false where nobody is waited for, and nothing was done.
func (c *responseContext) parkForOne(aor string, pick func([]store.Binding) []target) bool {
	p := c.proxy
	if p.Park <= 0 || !p.Locations.Lost(aor) || !c.hold() {
		return false
	}
	if c.method == sip.INVITE {
		c.reply(100, "")
	}
	var found atomic.Pointer[[]target]
	p.awaitReturn(aor, p.Park, func(bindings []store.Binding) bool {
		targets := pick(bindings)
		if len(targets) > 0 {
			found.Store(&targets)
		}
		return len(targets) > 0
	}, func() {
		if targets := found.Load(); targets != nil {
			c.forward(*targets)
		}
		c.release(refuse(480, ""))
	})
	return true
}

// comeback is a wait for a user whose flow broke.
type comeback struct {
	proxy *Proxy
	came  func([]store.Binding) (enough bool)
	over  func()

	mu    sync.Mutex // guards what follows
	ended bool
	leave func() // ends Await
	timer *time.Timer
}

// awaitReturn has came called with the bindings of a user whose flow broke: with those that
// are there now, and with those that a REGISTER makes, until it says that it has seen
// enough or the time is over. Then over is called, once, whatever happened. Neither may
// wait, and both may be called before awaitReturn returns. Where the user must be one of
// several, the instance of a dialog perhaps, came has to look whether he is among the
// bindings.
func (p *Proxy) awaitReturn(aor string, wait time.Duration, came func([]store.Binding) (enough bool), over func()) {
	w := &comeback{proxy: p, came: came, over: over}
	if p.parked.Add(1) > maxParked {
		w.end(&p.inVain)
		return
	}
	leave := p.Locations.Await(aor, w.look)
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		leave()
		return
	}
	w.leave, w.timer = leave, time.AfterFunc(wait, func() { w.end(&p.inVain) })
	w.mu.Unlock()
	// He may have come before anybody waited for him.
	if bindings, known := p.Locations.Lookup(aor); known && len(bindings) > 0 {
		w.look(bindings)
	}
}

func (w *comeback) look(bindings []store.Binding) {
	if w.came(bindings) {
		w.end(&w.proxy.cameBack)
	}
}

// end ends the wait, once, and counts it.
func (w *comeback) end(outcome *atomic.Int64) {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	w.ended = true
	leave, timer := w.leave, w.timer
	w.mu.Unlock()
	if leave != nil {
		leave()
		timer.Stop()
	}
	w.proxy.parked.Add(-1)
	outcome.Add(1)
	w.over()
}
