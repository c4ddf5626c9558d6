package transport

import (
	"sync"

	"github.com/sipway/sipway/sip"
)

const (
	// maxBatch bounds the datagrams that are handled before the sending, so that none waits
	// longer than some milliseconds, and those that one system call sends.
	maxBatch = 64

	// maxQueue bounds those that wait to be sent. Each one handled brings forth a few, for
	// requests fork; what found no place would overtake those that wait.
	maxQueue = 16 * maxBatch

	// maxPayload is what fits into a UDP datagram over IPv4. What does not is sent at once,
	// to fail at once.
	maxPayload = 65507
)

// udpBatch gathers what is sent while datagrams are being handled, for one system call in
// place of many: each would wake its receiver, who takes the processor from us.
//
// Whoever has begun takes at its end all that was added until then, so nothing is left over.
type udpBatch struct {
	// sending is held from the taking of a batch until it has been sent, so that no later
	// one overtakes it: a 200 that arrives before its 180 fails a call. It is locked before
	// mu.
	sending sync.Mutex

	mu       sync.Mutex
	handlers int // that have begun and not ended
	queue    []outgoing
}

// outgoing is a datagram to be sent.
type outgoing struct {
	flow sip.Flow
	b    []byte
}

func (q *udpBatch) begin() {
	q.mu.Lock()
	q.handlers++
	q.mu.Unlock()
}

// add takes a datagram, unless nobody is there to send it or too many wait.
func (q *udpBatch) add(d outgoing) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.handlers == 0 || len(q.queue) == maxQueue {
		return false
	}
	q.queue = append(q.queue, d)
	return true
}

// end returns what the caller, who holds sending, is to send, and takes room for what comes
// next.
func (q *udpBatch) end(room []outgoing) []outgoing {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.handlers--
	queue := q.queue
	q.queue = room[:0]
	return queue
}
