package transaction

import (
	"slices"
	"sync"
	"time"

	"github.com/sipway/sipway/sip"
)

// state is a state of one of the machines, named as in its figure.
type state uint8

const (
	calling state = iota + 1
	trying
	proceeding
	accepted
	completed
	confirmed
	terminated
)

var stateNames = [...]string{
	calling: "Calling", trying: "Trying", proceeding: "Proceeding", accepted: "Accepted",
	completed: "Completed", confirmed: "Confirmed", terminated: "Terminated",
}

// String returns the state's name in the figures.
func (s state) String() string { return stateNames[s] }

// transaction is what the four machines have in common.
type transaction struct {
	layer *Layer
	flow  sip.Flow // where the request goes or came from

	mu     sync.Mutex // guards all below, in Client and Server too
	state  state
	timers timers
	last   []byte // the message that a retransmission repeats, nil where there is none
	events events
	member member // guarded by the flow table
}

// action is what an event leaves to be done once the transaction is unlocked.
type action struct {
	send   []byte // a message to be sent
	tell   event  // something to be told to the user
	cancel bool   // a CANCEL to be sent in a transaction of its own
}

// event is something to be told to the user: a response or a CANCEL, or else an error.
type event struct {
	m   *sip.Message
	err error
}

func (e event) some() bool { return e.m != nil || e.err != nil }

// events are what the user of a transaction is still to be told. Whoever puts one in while
// nobody tells becomes the teller; everybody else leaves theirs to it. So the user gets them
// in order and one at a time, though no lock is held while it is called.
type events struct {
	telling bool
	queue   []event
}

// put adds e and reports whether the caller is to tell.
func (q *events) put(e event) bool {
	q.queue = append(q.queue, e)
	teller := !q.telling
	q.telling = true
	return teller
}

// begin is put for whoever always has somebody to tell: the teller begins with e itself, which
// then never was in the queue.
func (q *events) begin(e event) (teller bool) {
	if q.telling {
		q.queue = append(q.queue, e)
		return false
	}
	q.telling = true
	return true
}

// take returns the next event. Without one the caller is no longer the teller.
func (q *events) take() (e event, ok bool) {
	if len(q.queue) == 0 {
		q.telling = false
		return event{}, false
	}
	e = q.queue[0]
	q.queue = slices.Delete(q.queue, 0, 1)
	return e, true
}

func (t *transaction) reliable() bool { return t.flow.Transport.Reliable() }

// arm sets both timers, to run from now; 0 stops one.
func (t *transaction) arm(retransmit, lifetime time.Duration) {
	t.timers.interval = retransmit
	t.timers.retransmit, t.timers.lifetime = 0, 0
	t.timers.lane, t.timers.fresh = t.layer.clock.laneFor(lifetime), true
	if retransmit == 0 && lifetime == 0 {
		return
	}
	now := t.layer.clock.now()
	if retransmit > 0 {
		t.timers.retransmit = now + retransmit
	}
	if lifetime > 0 {
		t.timers.lifetime = now + lifetime
	}
}

// repeat arms the retransmission timer once more and leaves the other running.
func (t *transaction) repeat(interval time.Duration) {
	t.timers.interval = interval
	t.timers.retransmit = t.layer.clock.now() + interval
}

// unreliably is d over an unreliable transport and else 0: a timer that the table of RFC
// 3261 §17 sets to zero seconds over a reliable one.
func (t *transaction) unreliably(d time.Duration) time.Duration {
	if t.reliable() {
		return 0
	}
	return d
}
