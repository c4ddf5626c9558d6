package transaction

import (
	"sync"
	"time"
)

// lane is a queue of transactions that wait for the same time, 64*T1: Timers B, F, H, J, L
// and M, which over UDP and for every call hold by far most of those that live. As all wait
// equally long they stand in the order of their ends, so that joining, leaving and expiring
// cost no more than a few pointers, and one runtime timer serves them all.
type lane struct {
	wait time.Duration

	mu         sync.Mutex
	head, tail *place
	timer      *time.Timer
	running    bool // the timer is set, for the head or for one that was before it
}

// place is a transaction's place in a lane, guarded by the lane's mutex.
type place struct {
	owner      expirer // nil where it is in no lane
	at         time.Duration
	prev, next *place
}

// join puts p at the end of the lane.
func (l *lane) join(c *clock, p *place, owner expirer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*p = place{owner: owner, at: c.now() + l.wait, prev: l.tail}
	if l.tail != nil {
		l.tail.next = p
	} else {
		l.head = p
	}
	l.tail = p
	l.run(c, 0)
}

// run sets the timer for the head, unless it is set already, and for no sooner than least.
func (l *lane) run(c *clock, least time.Duration) {
	if l.running || l.head == nil {
		return
	}
	l.running = true
	wait := max(l.head.at-c.now(), least)
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, func() { l.expire(c) })
		return
	}
	l.timer.Reset(wait)
}

// leave takes p out, if it is still there. The timer is left to find that out.
func (l *lane) leave(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.owner != nil {
		l.take(p)
	}
}

func (l *lane) take(p *place) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		l.head = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		l.tail = p.prev
	}
	*p = place{}
}

// slack is how much later than its time may come what ends soon after another: so the timer
// does not wake the process for each of them, when calls end every millisecond.
const slack = 20 * time.Millisecond

// expire tells those whose time has come.
func (l *lane) expire(c *clock) {
	for {
		owner := l.due(c)
		if owner == nil {
			return
		}
		owner.expire()
	}
}

// due takes the head out if its time has come. Otherwise the timer is set anew.
func (l *lane) due(c *clock) expirer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.head; p != nil && p.at <= c.now() {
		owner := p.owner
		l.take(p)
		return owner
	}
	l.running = false
	l.run(c, slack)
	return nil
}
