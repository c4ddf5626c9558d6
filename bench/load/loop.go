//go:build linux

package load

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Pace says how fast operations are started.
type Pace struct {
	// Window is how many operations may be in flight. It is capped by the
	// number of agents, each of which does one thing at a time.
	Window int
	// Rate is operations per second; 0 starts the next as soon as the window
	// has room.
	Rate float64
	// Burst is how many operations a rate starts at once, at least 1.
	Burst int
}

// due is how many operations should have been started after a time, and when
// there will be more.
func (p Pace) due(elapsed time.Duration) (n int, next time.Duration) {
	if p.Rate <= 0 {
		return math.MaxInt, 0
	}
	burst := max(p.Burst, 1)
	period := float64(burst) / p.Rate * float64(time.Second)
	periods := 1 + int(float64(elapsed)/period)
	return periods * burst, time.Duration(float64(periods)*period) - elapsed
}

// Result is what a run did.
type Result struct {
	Done, Failed int
	// Extra counts messages that no operation waited for: retransmissions.
	// They are possible over UDP only; on a stream one is a failure.
	Extra    int
	Wall     time.Duration
	Failures []string // the first few, each with the offending message
	// Times are how long each operation took that succeeded, where [Load.Timed] asks for it.
	Times []time.Duration
}

const (
	opTimeout     = 10 * time.Second
	checkInterval = 250 * time.Millisecond
	keptFailures  = 3
)

// errExtra says that a message repeats one already dealt with.
var errExtra = errors.New("message not expected now")

var errTimeout = fmt.Errorf("not complete after %v", opTimeout)

// slot is the state of one exchange in the loop.
type slot struct {
	active  bool
	started time.Time
}

// loop is one run of operations over a set of exchanges.
type loop struct {
	*Load
	exchanges []exchange
	slots     []slot
	idle      []int // a ring of the exchanges with nothing in flight, oldest first
	idleHead  int
	inFlight  int
	started   int
	result    Result
}

// drive runs n operations, spread evenly over those of xs that are not nil. It
// stops starting new ones at the first failure and waits for those in flight.
// Every checkInterval it calls aside.
func (l *Load) drive(xs []exchange, n int, p Pace, aside func() error) Result {
	r := &loop{Load: l, exchanges: xs, slots: make([]slot, len(xs))}
	for i, x := range xs {
		if x != nil {
			r.idle = append(r.idle, i)
		}
	}
	window := min(max(p.Window, 1), len(r.idle))
	begin := time.Now()
	checked := begin
	for r.started < n || r.inFlight > 0 {
		now := time.Now()
		due, next := p.due(now.Sub(begin))
		for r.started < min(n, due) && r.inFlight < window {
			r.start(now)
		}
		if r.result.Failed > 0 {
			n = r.started
		}
		wait := checkInterval
		if r.started < n && p.Rate > 0 && r.inFlight < window {
			// epoll counts in milliseconds: rather late than in a busy loop.
			wait = min(wait, next+time.Millisecond-1)
		}
		if err := r.turn(wait, r.deliver); err != nil {
			r.result.fail(err, nil)
			break
		}
		if now.Sub(checked) >= checkInterval {
			checked = now
			r.expire(now)
			if err := aside(); err != nil {
				r.result.fail(err, nil)
				break
			}
		}
	}
	r.result.Wall = time.Since(begin)
	return r.result
}

// turn waits for traffic and reads it.
func (l *Load) turn(wait time.Duration, deliver func(*conn, []byte)) error {
	n, err := rawEpollWait(l.poll, l.events[:], int(wait.Milliseconds()))
	if err != nil && err != errInterrupted {
		return fmt.Errorf("epoll: %w", err)
	}
	for _, e := range l.events[:max(n, 0)] {
		c := l.conns[int(e.Fd)]
		if err := c.receive(l.in, deliver); err != nil {
			return fmt.Errorf("%s socket %v: %w", c.transport, c.local, err)
		}
	}
	return nil
}

// start begins the next operation on the exchange that has been idle longest.
func (r *loop) start(now time.Time) {
	i := r.idle[r.idleHead]
	r.idleHead = (r.idleHead + 1) % len(r.idle)
	r.seq++
	r.started++
	r.inFlight++
	r.slots[i] = slot{active: true, started: now}
	if err := r.exchanges[i].start(r.seq); err != nil {
		r.finish(i, err, nil)
	}
}

// finish ends the operation of exchange i.
func (r *loop) finish(i int, err error, raw []byte) {
	// The ring's tail is as far behind its head as operations are in flight.
	r.idle[(r.idleHead+len(r.idle)-r.inFlight)%len(r.idle)] = i
	r.inFlight--
	r.slots[i].active = false
	if err != nil {
		r.result.fail(err, raw)
		return
	}
	r.result.Done++
	if r.Timed {
		r.result.Times = append(r.result.Times, time.Since(r.slots[i].started))
	}
}

// deliver hands a message to the exchange that its Call-ID names.
func (r *loop) deliver(c *conn, b []byte) {
	m := &r.message
	if err := m.scan(b); err != nil {
		r.result.fail(err, b)
		return
	}
	i, ok := exchangeOf(m.callID)
	if !ok || i >= len(r.exchanges) || r.exchanges[i] == nil {
		r.result.fail(errors.New("unknown Call-ID"), b)
		return
	}
	if !r.slots[i].active {
		r.extra(c, b)
		return
	}
	done, err := r.exchanges[i].receive(c, m)
	switch {
	case err == errExtra:
		r.extra(c, b)
	case err != nil || done:
		r.finish(i, err, b)
	}
}

// extra counts a message that nobody waits for. After a failure, the remains
// of the failed operation are expected.
func (r *loop) extra(c *conn, b []byte) {
	r.result.Extra++
	if c.transport != UDP && r.result.Failed == 0 {
		r.result.fail(errExtra, b)
	}
}

// expire fails what takes too long.
func (r *loop) expire(now time.Time) {
	for i, s := range r.slots {
		if s.active && now.Sub(s.started) > opTimeout {
			r.finish(i, fmt.Errorf("%w: %v", errTimeout, r.exchanges[i]), nil)
		}
	}
}

func (r *Result) fail(err error, raw []byte) {
	r.Failed++
	if len(r.Failures) == keptFailures {
		return
	}
	text := err.Error()
	if raw != nil {
		text = fmt.Sprintf("%v:\n%s", err, raw)
	}
	r.Failures = append(r.Failures, text)
}

// Err is nil where every operation succeeded.
func (r *Result) Err() error {
	if r.Failed == 0 {
		return nil
	}
	return fmt.Errorf("%d operations failed, %d succeeded; first: %s", r.Failed, r.Done, r.Failures[0])
}
