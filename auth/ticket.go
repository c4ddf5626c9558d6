package auth

import (
	"cmp"
	"container/heap"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"
)

// ErrTooManyTickets is returned while as many tickets wait for their use as may.
var ErrTooManyTickets = errors.New("auth: too many tickets wait for their use")

// Tickets are one-time tickets: whoever shows one at the upgrade of a WebSocket is the user that
// it was issued for, and nobody is any more who shows it again. They are kept in memory, as
// hashes, so they do not outlive the process, and are good at this node alone. The zero value
// has none. It is safe for concurrent use.
type Tickets struct {
	// Max bounds how many wait for their use; 0 means 100,000, some 300 bytes each.
	Max int

	mu     sync.Mutex
	byHash map[[sha256.Size]byte]*ticket
	queue  ticketQueue
}

type ticket struct {
	hash  [sha256.Size]byte
	aor   string
	until time.Time
	at    int // in the queue
}

const (
	defaultMaxTickets = 100_000

	// ticketPrefix tells tickets from tokens.
	ticketPrefix = "swt_"
	ticketSize   = 32 // random bytes
)

// Issue returns a ticket for the user of an AOR, and when it expires.
func (t *Tickets) Issue(aor string, ttl time.Duration) (text string, expires time.Time, err error) {
	var random [ticketSize]byte
	rand.Read(random[:]) // which never fails
	text = ticketPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if len(t.queue) >= cmp.Or(t.Max, defaultMaxTickets) {
		return "", time.Time{}, ErrTooManyTickets
	}
	entry := &ticket{hash: sha256.Sum256([]byte(text)), aor: aor, until: now.Add(ttl)}
	if t.byHash == nil {
		t.byHash = make(map[[sha256.Size]byte]*ticket)
	}
	t.byHash[entry.hash] = entry
	heap.Push(&t.queue, entry)
	return text, entry.until, nil
}

// Redeem uses a ticket up and returns whose it was; ok is false for one that was used, has
// expired or never was.
func (t *Tickets) Redeem(text string) (aor string, ok bool) {
	// A map of hashes tells by its time nothing of the tickets in it.
	hash := sha256.Sum256([]byte(text))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(time.Now())
	entry := t.byHash[hash]
	if entry == nil {
		return "", false
	}
	delete(t.byHash, hash)
	heap.Remove(&t.queue, entry.at)
	return entry.aor, true
}

// expire removes what has expired. The caller holds mu.
func (t *Tickets) expire(now time.Time) {
	for len(t.queue) > 0 && !now.Before(t.queue[0].until) {
		delete(t.byHash, heap.Pop(&t.queue).(*ticket).hash)
	}
}

// IsTicket reports whether a text has the form of a ticket.
func IsTicket(text string) bool { return strings.HasPrefix(text, ticketPrefix) }

// ticketQueue is a heap by expiry.
type ticketQueue []*ticket

func (q ticketQueue) Len() int           { return len(q) }
func (q ticketQueue) Less(i, j int) bool { return q[i].until.Before(q[j].until) }

func (q ticketQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push and Pop are for package heap.
func (q *ticketQueue) Push(x any) {
	entry := x.(*ticket)
	entry.at = len(*q)
	*q = append(*q, entry)
}

func (q *ticketQueue) Pop() any {
	last := len(*q) - 1
	entry := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return entry
}
