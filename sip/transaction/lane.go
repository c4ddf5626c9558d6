package transaction

import (
	"sync"
	"time"
)

// Lane is a queue of those who wait for the same time: Timers B, F, H, J, L and M, which over
// UDP and for every call hold by far most of the transactions that live, or a proxy's Timers
// C. As all wait equally long they stand in the order of their ends, so that joining, leaving
// and expiring cost no more than a few pointers, and one runtime timer serves them all.
// It is safe for concurrent use.
type Lane struct {
	wait  time.Duration
	epoch time.Time

	mu         sync.Mutex
	head, tail *Place
	timer      *time.Timer
	running    bool // the timer is set, for the head or for one that was before it
}

// Place is a place in a [Lane], which guards it. The zero value is in none.
type Place struct {
	owner      Expirer       // nil where it is in no lane
	at         time.Duration // since the lane's epoch
	prev, next *Place
}

// Expirer is told that its time in a lane has come, without a lock held. It may have left by
// then: whether it still waits it must know itself.
type Expirer interface{ Expire() }

// NewLane returns a lane for those who wait for d.
func NewLane(d time.Duration) *Lane {
	l := new(Lane)
	l.init(d)
	return l
}

func (l *Lane) init(d time.Duration) { l.wait, l.epoch = d, time.Now() }

func (l *Lane) now() time.Duration { return time.Since(l.epoch) }

// Join puts p at the end of the lane, also where it is in it already.
func (l *Lane) Join(p *Place, owner Expirer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.owner != nil {
		l.take(p)
	}
	*p = Place{owner: owner, at: l.now() + l.wait, prev: l.tail}
	if l.tail != nil {
		l.tail.next = p
	} else {
		l.head = p
	}
	l.tail = p
	l.run(0)
}

// run sets the timer for the head, unless it is set already, and for no sooner than least.
func (l *Lane) run(least time.Duration) {
	if l.running || l.head == nil {
		return
	}
	l.running = true
	wait := max(l.head.at-l.now(), least)
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, l.expire)
		return
	}
	l.timer.Reset(wait)
}

// Leave takes p out, if it is still there. The timer is left to find that out.
func (l *Lane) Leave(p *Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.owner != nil {
		l.take(p)
	}
}

func (l *Lane) take(p *Place) {
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
	*p = Place{}
}

// slack is how much later than its time may come what ends soon after another: so the timer
// does not wake the process for each of them, when calls end every millisecond. To be woken
// costs more than what is done then.
func (l *Lane) slack() time.Duration { return min(l.wait/16, 250*time.Millisecond) }

// expire tells those whose time has come.
func (l *Lane) expire() {
	for {
		owner := l.due()
		if owner == nil {
			return
		}
		owner.Expire()
	}
}

// due takes the head out if its time has come. Otherwise the timer is set anew.
func (l *Lane) due() Expirer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.head; p != nil && p.at <= l.now() {
		owner := p.owner
		l.take(p)
		return owner
	}
	l.running = false
	l.run(l.slack())
	return nil
}
