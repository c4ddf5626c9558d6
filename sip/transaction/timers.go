package transaction

import (
	"sync"
	"time"
)

// timers are the two slots that every machine does with: retransmit for Timers A, E and G
// and for a 100 that is due later, lifetime for B, D, F, H, I, J, K, L and M. A lane serves
// a lifetime of 64*T1, another one that of T4; all else is served by one alarm that is set to
// the earlier of both.
// Guarded by the transaction's mutex.
type timers struct {
	// retransmit and lifetime are instants of the layer's clock, 0 where the slot is
	// stopped.
	retransmit, lifetime time.Duration
	// interval is what retransmit was last armed with.
	interval time.Duration

	// lane takes care of lifetime; noLane: the alarm does. place is in the lane in, or was
	// until it expired. fresh says that lifetime was armed since.
	lane, in laneID
	fresh    bool
	place    Place

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
func (t *timers) sync(c *clock, owner Expirer) {
	next, lane := t.lifetime, t.lane
	if next == 0 {
		lane = noLane
	}
	if t.in != noLane && (t.fresh || lane == noLane) {
		c.lanes[t.in].Leave(&t.place)
		t.in = noLane
	}
	if lane != noLane {
		if t.in == noLane {
			c.lanes[lane].Join(&t.place, owner)
			t.in = lane
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

// alarm is a runtime timer on loan to a transaction. A timer that was stopped stays in the
// runtime's heap for a while; as it points to the alarm alone, it doesn't keep the memory of
// a transaction that has ended.
type alarm struct {
	timer *time.Timer

	mu    sync.Mutex
	owner Expirer
}

func (a *alarm) fire() {
	a.mu.Lock()
	owner := a.owner
	a.mu.Unlock()
	if owner != nil {
		owner.Expire()
	}
}

func (a *alarm) assign(owner Expirer) {
	a.mu.Lock()
	a.owner = owner
	a.mu.Unlock()
}

// clock tells the time of a layer and lends its alarms. It runs from the layer's making, so
// that an instant takes 8 bytes and is never 0 where a timer was armed.
type clock struct {
	epoch  time.Time
	lanes  [laneCount]Lane
	alarms sync.Pool
}

// laneID names a lane of a clock.
type laneID uint8

const (
	noLane   laneID = iota
	longLane        // 64*T1: Timers B, F, H, J, L and M
	t4Lane          // T4: Timers I and K
	laneCount
)

func (c *clock) start(p *periods) {
	c.epoch = time.Now()
	c.lanes[longLane].init(p.timeout)
	c.lanes[t4Lane].init(p.timerK)
}

// laneFor returns the lane of those who wait for that time, if there is one.
func (c *clock) laneFor(d time.Duration) laneID {
	for id := longLane; id < laneCount; id++ {
		if d == c.lanes[id].wait {
			return id
		}
	}
	return noLane
}

func (c *clock) now() time.Duration { return time.Since(c.epoch) }

func (c *clock) take(owner Expirer) *alarm {
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
