package transaction

import (
	"sync"
	"time"
)

// timers are the two slots that every machine does with: retransmit for Timers A, E and G
// and for a 100 that is due later, lifetime for B, D, F, H, I, J, K, L and M. A lane serves
// a lifetime of 64*T1; all else is served by one alarm that is set to the earlier of both.
// Guarded by the transaction's mutex.
type timers struct {
	// retransmit and lifetime are instants of the layer's clock, 0 where the slot is
	// stopped.
	retransmit, lifetime time.Duration
	// interval is what retransmit was last armed with.
	interval time.Duration

	// long says that lifetime is 64*T1 from when it was armed, which a lane takes care of;
	// place is there once it does. fresh says that it was armed since.
	long, fresh bool
	waits       bool // place is in the lane, or was until it expired
	place       place

	alarm *alarm
	set   time.Duration // the instant the alarm is set to, 0 for none
}

// slot names one of the timers, or none.
type slot uint8

const (
	noSlot slot = iota
	retransmitSlot
	lifetimeSlot
)

// due takes the slot that has come due out of service and returns it. A stale firing, of an
// alarm that was set anew or changed hands while its callback was on the way, finds none.
// The lifetime goes first: what has timed out is not retransmitted in the same instant.
func (t *timers) due(now time.Duration) slot {
	if t.set != 0 && now >= t.set {
		t.set = 0
	}
	switch {
	case t.lifetime != 0 && now >= t.lifetime:
		t.lifetime = 0
		return lifetimeSlot
	case t.retransmit != 0 && now >= t.retransmit:
		t.retransmit = 0
		return retransmitSlot
	}
	return noSlot
}

// sync brings lane and alarm into line with the slots.
func (t *timers) sync(c *clock, owner expirer) {
	next := t.lifetime
	long := t.long && next != 0
	if t.waits && (t.fresh || !long) {
		c.lane.leave(&t.place)
		t.waits = false
	}
	if long {
		if !t.waits {
			c.lane.join(c, &t.place, owner)
			t.waits = true
		}
		next = 0
	}
	t.fresh = false
	if t.retransmit != 0 && (next == 0 || t.retransmit < next) {
		next = t.retransmit
	}
	switch {
	case next == 0:
		if t.alarm != nil {
			c.release(t.alarm)
			t.alarm, t.set = nil, 0
		}
	case next != t.set:
		if t.alarm == nil {
			t.alarm = c.take(owner)
		}
		t.set = next
		t.alarm.timer.Reset(next - c.now())
	}
}

// expirer is a transaction as its alarm sees it.
type expirer interface{ expire() }

// alarm is a runtime timer on loan to a transaction. A timer that was stopped stays in the
// runtime's heap for a while; as it points to the alarm alone, it doesn't keep the memory of
// a transaction that has ended.
type alarm struct {
	timer *time.Timer

	mu    sync.Mutex
	owner expirer
}

func (a *alarm) fire() {
	a.mu.Lock()
	owner := a.owner
	a.mu.Unlock()
	if owner != nil {
		owner.expire()
	}
}

func (a *alarm) assign(owner expirer) {
	a.mu.Lock()
	a.owner = owner
	a.mu.Unlock()
}

// clock tells the time of a layer and lends its alarms. It runs from the layer's making, so
// that an instant takes 8 bytes and is never 0 where a timer was armed.
type clock struct {
	epoch  time.Time
	lane   lane
	alarms sync.Pool
}

func (c *clock) now() time.Duration { return time.Since(c.epoch) }

func (c *clock) take(owner expirer) *alarm {
	a, ok := c.alarms.Get().(*alarm)
	if !ok {
		a = new(alarm)
		a.timer = time.AfterFunc(time.Hour, a.fire)
	}
	a.assign(owner)
	return a
}

func (c *clock) release(a *alarm) {
	a.timer.Stop()
	a.assign(nil)
	c.alarms.Put(a)
}
