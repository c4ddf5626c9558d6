package resolver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/miekg/dns"
)

const (
	// flightTime bounds the look-up of one answer. Those who wait for it may go before.
	flightTime = 10 * time.Second

	// staleAfter is how long a look-up is waited for while an old answer is there (the
	// client response timer of RFC 8767 §5), and staleRetry when it is tried again after a
	// failure (its failure recheck timer).
	staleAfter = 1800 * time.Millisecond
	staleRetry = 30 * time.Second

	// failureTime is how long it is remembered that no answer could be had, so that every
	// call to a name whose servers are down does not wait anew (RFC 2308 §7).
	failureTime = 5 * time.Second
)

// question is what the nameservers are asked.
type question struct {
	name  string // canonical
	qtype uint16
}

// answer is what they say.
type answer struct {
	records []dns.RR
	err     error         // ErrNotFound, or that there is no answer
	ttl     time.Duration // of the records, or of their absence
}

func (a answer) failed() bool { return a.err != nil && !errors.Is(a.err, ErrNotFound) }

// cache keeps answers for their time to live, a bounded number of them.
type cache struct {
	ask      func(ctx context.Context, q question) answer
	staleFor time.Duration

	mu      sync.Mutex
	entries *simplelru.LRU[question, entry]
	flights map[question]*flight
}

// entry is an answer that is kept.
type entry struct {
	answer
	expires time.Time
	retry   time.Time // until when it is used past its time without asking
}

// flight is a question on its way, which any number may wait for.
type flight struct {
	done chan struct{} // closed when the answer is valid
	answer
}

func newCache(size int, staleFor time.Duration, ask func(context.Context, question) answer) *cache {
	entries, err := simplelru.NewLRU[question, entry](max(size, 1), nil)
	if err != nil {
		panic(err) // of a size below 1 only
	}
	return &cache{ask: ask, staleFor: staleFor, entries: entries, flights: make(map[question]*flight)}
}

// lookup returns the answer to q, from memory if it can.
func (c *cache) lookup(ctx context.Context, q question) ([]dns.RR, error) {
	c.mu.Lock()
	now := time.Now()
	e, known := c.entries.Get(q)
	if known && (now.Before(e.expires) || now.Before(e.retry)) {
		c.mu.Unlock()
		return e.records, e.err
	}
	stale := known && !e.failed() && now.Before(e.expires.Add(c.staleFor))
	f := c.flights[q]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		c.flights[q] = f
		go c.fly(q, f)
	}
	c.mu.Unlock()
	if stale {
		return c.await(ctx, f, &e)
	}
	select {
	case <-f.done:
		return f.records, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// await waits for an answer as long as it is worth it where there is an old one.
func (c *cache) await(ctx context.Context, f *flight, old *entry) ([]dns.RR, error) {
	timer := time.NewTimer(staleAfter)
	defer timer.Stop()
	select {
	case <-f.done:
		if !f.failed() {
			return f.records, f.err
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	return old.records, old.err
}

// fly asks, and keeps the answer.
func (c *cache) fly(q question, f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), flightTime)
	f.answer = c.ask(ctx, q)
	cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(q, f.answer)
	delete(c.flights, q)
	close(f.done)
}

// keep enters an answer. A failure drives out nothing that may still be used. The caller
// holds mu.
func (c *cache) keep(q question, a answer) {
	now := time.Now()
	if !a.failed() {
		c.entries.Add(q, entry{answer: a, expires: now.Add(a.ttl)})
		return
	}
	if old, ok := c.entries.Peek(q); ok && !old.failed() && now.Before(old.expires.Add(c.staleFor)) {
		old.retry = now.Add(staleRetry)
		c.entries.Add(q, old)
		return
	}
	c.entries.Add(q, entry{answer: a, expires: now.Add(failureTime)})
}
