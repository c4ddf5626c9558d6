// Package cache is the memory in front of a database: a bounded LRU that also remembers
// what is absent, and that a slow read can never set back.
//
// The danger of a cache beside a database is a reader that fetches a row, loses the
// processor, and stores what it fetched after a writer has committed and stored something
// newer. Here a read announces itself first ([Cache.Begin]), and a write ([Cache.Set],
// [Cache.Drop], [Cache.Flush]) voids the announcements of its key: [Cache.Fill] without a
// valid one does nothing. The order is right as long as the writer calls Set after its
// commit and before it tells anybody of it, and its Sets come in the order of its commits.
package cache

import (
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// shards is the number of independently locked parts: enough that the cores of a large
// machine rarely meet at one.
const shards = 64

// Cache maps keys to values. All methods are safe for concurrent use and never block for
// longer than another's map access.
type Cache[K comparable, V any] struct {
	hash  func(K) uint64
	shard [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu      sync.Mutex
	present *simplelru.LRU[K, V]
	// absent has the keys known to have no value. It is apart, so that somebody who asks
	// for a million invented names drives out no value.
	absent *simplelru.LRU[K, struct{}]
	// reads has the ticket of the last read under way for a key.
	reads  map[K]Ticket
	ticket Ticket
}

// Ticket is the announcement of a read; 0 is none.
type Ticket uint64

// New returns a cache for about size values and as many absent keys. The hash function
// spreads keys.
func New[K comparable, V any](size int, hash func(seed maphash.Seed, key K) uint64) *Cache[K, V] {
	seed := maphash.MakeSeed()
	c := &Cache[K, V]{hash: func(key K) uint64 { return hash(seed, key) }}
	part := max(1, size/shards)
	for i := range c.shard {
		s := &c.shard[i]
		s.reads = make(map[K]Ticket)
		// NewLRU fails for sizes below 1 only.
		s.present, _ = simplelru.NewLRU[K, V](part, nil)
		s.absent, _ = simplelru.NewLRU[K, struct{}](part, nil)
	}
	return c
}

func (c *Cache[K, V]) lock(key K) *shard[K, V] {
	s := &c.shard[c.hash(key)%shards]
	s.mu.Lock()
	return s
}

// Get returns the value of key. known is false where the cache can't tell; exists is
// false where there is known to be none.
func (c *Cache[K, V]) Get(key K) (value V, exists, known bool) {
	s := c.lock(key)
	defer s.mu.Unlock()
	if value, ok := s.present.Get(key); ok {
		return value, true, true
	}
	_, known = s.absent.Get(key)
	return value, false, known
}

// Begin announces a read of key from the database. It must precede the read, and a call of
// Fill or Abandon must follow it.
func (c *Cache[K, V]) Begin(key K) Ticket {
	s := c.lock(key)
	defer s.mu.Unlock()
	s.ticket++
	s.reads[key] = s.ticket
	return s.ticket
}

// Fill stores what the read found, unless a write has come between or another read has
// begun since, and reports whether it did.
func (c *Cache[K, V]) Fill(key K, t Ticket, value V, exists bool) bool {
	s := c.lock(key)
	defer s.mu.Unlock()
	if s.reads[key] != t {
		return false
	}
	s.put(key, value, exists)
	return true
}

// Abandon ends a read that found out nothing.
func (c *Cache[K, V]) Abandon(key K, t Ticket) {
	s := c.lock(key)
	defer s.mu.Unlock()
	if s.reads[key] == t {
		delete(s.reads, key)
	}
}

// Set stores what a write has committed.
func (c *Cache[K, V]) Set(key K, value V, exists bool) {
	s := c.lock(key)
	defer s.mu.Unlock()
	s.put(key, value, exists)
}

// put stores a value and voids the reads under way.
func (s *shard[K, V]) put(key K, value V, exists bool) {
	delete(s.reads, key)
	if exists {
		s.absent.Remove(key)
		s.present.Add(key, value)
		return
	}
	s.present.Remove(key)
	s.absent.Add(key, struct{}{})
}

// Drop forgets a key whose state is not known any more.
func (c *Cache[K, V]) Drop(key K) {
	s := c.lock(key)
	defer s.mu.Unlock()
	delete(s.reads, key)
	s.present.Remove(key)
	s.absent.Remove(key)
}

// Flush forgets everything.
func (c *Cache[K, V]) Flush() {
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		clear(s.reads)
		s.present.Purge()
		s.absent.Purge()
		s.mu.Unlock()
	}
}
