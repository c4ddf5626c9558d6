// Package cache is the memory in front of a database: an LRU bounded in bytes that also
// remembers what is absent, and that a slow read can never set back.
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
	"math"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/sipway/sipway/store"
)

const (
	// shards is the number of independently locked parts: enough that the cores of a large
	// machine rarely meet at one.
	shards = 64
	// absentShare is the part of the bytes that absent keys may have, as a divisor.
	absentShare = 8
	// overhead is what an entry costs besides its key and value: the list's and the map's
	// shares, measured.
	overhead = 160
	// MaxAge is how many calls of [Cache.Age] an entry is believed.
	MaxAge = 8
)

// Config says how a cache works.
type Config[K comparable, V any] struct {
	// Bytes bounds the memory of keys and values as Weigh reckons it; a cache holds at
	// least one value per shard.
	Bytes int64
	// Hash spreads keys.
	Hash func(seed maphash.Seed, key K) uint64
	// Clone returns a key that pins nothing else. It is asked for absent keys; that of a
	// value should be part of the value.
	Clone func(key K) K
	// Weigh returns the bytes of a key with its value, the zero value for absent ones.
	Weigh func(key K, value V) int
}

// Cache maps keys to values. All methods are safe for concurrent use and never block for
// longer than another's map access.
type Cache[K comparable, V any] struct {
	cfg   Config[K, V]
	seed  maphash.Seed
	now   atomic.Uint32 // counts calls of Age
	shard [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu      sync.Mutex
	present part[K, V]
	// absent has the keys known to have no value. It is apart, so that somebody who asks
	// for a million invented names drives out no value.
	absent part[K, struct{}]
	// reads has the ticket of the last read under way for a key.
	reads  map[K]Ticket
	ticket Ticket

	hits, misses uint64
}

// part is an LRU bounded in bytes.
type part[K comparable, V any] struct {
	lru       *simplelru.LRU[K, entry[V]]
	bytes     int64
	evictions uint64
}

type entry[V any] struct {
	value V
	size  int32
	born  uint32 // when it was read or written, as Cache.now
}

// Ticket is the announcement of a read; 0 is none.
type Ticket uint64

// New returns an empty cache.
func New[K comparable, V any](cfg Config[K, V]) *Cache[K, V] {
	c := &Cache[K, V]{cfg: cfg, seed: maphash.MakeSeed()}
	for i := range c.shard {
		s := &c.shard[i]
		s.reads = make(map[K]Ticket)
		// NewLRU fails for sizes below 1 only; the bound is that in bytes.
		s.present.lru, _ = simplelru.NewLRU[K, entry[V]](math.MaxInt, nil)
		s.absent.lru, _ = simplelru.NewLRU[K, entry[struct{}]](math.MaxInt, nil)
	}
	return c
}

func (c *Cache[K, V]) lock(key K) *shard[K, V] {
	s := &c.shard[c.cfg.Hash(c.seed, key)%shards]
	s.mu.Lock()
	return s
}

// Get returns the value of key. known is false where the cache can't tell; exists is
// false where there is known to be none.
func (c *Cache[K, V]) Get(key K) (value V, exists, known bool) {
	s := c.lock(key)
	now := c.now.Load()
	e, ok := s.present.get(key, s.hits)
	exists = ok && now-e.born <= MaxAge
	known = exists
	if !exists {
		e, ok := s.absent.get(key, s.hits)
		known = ok && now-e.born <= MaxAge
	}
	if known {
		s.hits++
	} else {
		s.misses++
	}
	s.mu.Unlock()
	if exists {
		value = e.value
	}
	return value, exists, known
}

// get returns an entry. One hit in promoted moves it to the front: as good an order as that
// of all hits, and it spares most of them three entries of the list, which are seldom in
// the processor's memory.
func (p *part[K, V]) get(key K, hits uint64) (entry[V], bool) {
	if hits%promoted == 0 {
		return p.lru.Get(key)
	}
	return p.lru.Peek(key)
}

const promoted = 4

// Age makes all entries one step older.
func (c *Cache[K, V]) Age() { c.now.Add(1) }

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
	c.put(s, key, value, exists)
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
	c.put(s, key, value, exists)
}

// put stores a value and voids the reads under way.
func (c *Cache[K, V]) put(s *shard[K, V], key K, value V, exists bool) {
	delete(s.reads, key)
	size, born := int32(c.cfg.Weigh(key, value)+overhead), c.now.Load()
	if exists {
		s.absent.remove(key)
		s.present.add(key, entry[V]{value, size, born}, c.cfg.Bytes/shards)
		return
	}
	s.present.remove(key)
	if !s.absent.lru.Contains(key) {
		key = c.cfg.Clone(key)
	}
	s.absent.add(key, entry[struct{}]{size: size, born: born}, c.cfg.Bytes/shards/absentShare)
}

func (p *part[K, V]) add(key K, e entry[V], limit int64) {
	if old, ok := p.lru.Peek(key); ok {
		p.bytes -= int64(old.size)
	}
	p.lru.Add(key, e)
	p.bytes += int64(e.size)
	for p.bytes > limit && p.lru.Len() > 1 {
		_, old, _ := p.lru.RemoveOldest()
		p.bytes -= int64(old.size)
		p.evictions++
	}
}

func (p *part[K, V]) remove(key K) {
	if old, ok := p.lru.Peek(key); ok {
		p.bytes -= int64(old.size)
		p.lru.Remove(key)
	}
}

func (p *part[K, V]) purge() {
	p.lru.Purge()
	p.bytes = 0
}

// Drop forgets a key whose state is not known any more.
func (c *Cache[K, V]) Drop(key K) {
	s := c.lock(key)
	defer s.mu.Unlock()
	delete(s.reads, key)
	s.present.remove(key)
	s.absent.remove(key)
}

// Flush forgets everything.
func (c *Cache[K, V]) Flush() {
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		clear(s.reads)
		s.present.purge()
		s.absent.purge()
		s.mu.Unlock()
	}
}

// Stats returns what the cache has done.
func (c *Cache[K, V]) Stats() store.CacheStats {
	var all store.CacheStats
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		all.Hits += s.hits
		all.Misses += s.misses
		all.Evictions += s.present.evictions + s.absent.evictions
		all.Entries += s.present.lru.Len()
		all.Absent += s.absent.lru.Len()
		all.Bytes += s.present.bytes + s.absent.bytes
		s.mu.Unlock()
	}
	return all
}
