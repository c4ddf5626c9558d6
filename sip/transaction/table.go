package transaction

import "sync"

const (
	// shards is the number of parts of a table. A message locks one of them for the time of
	// a look-up, so that it takes many more cores than this to make them wait.
	shards = 64

	// minBuckets is the size of a part with little in it. A power of two.
	minBuckets = 8

	// sparse is how many buckets there are at least for each transaction: so many that a
	// look-up seldom meets another one than that which it is for.
	sparse = 4
)

// table finds the live transactions of one side. Transactions are filed by a 64-bit keyed
// hash of all that identifies them; whether one is meant is asked of the transaction itself,
// so that the rules of matching are written once and a look-up makes no key.
//
// It is a hash table whose chains run through the transactions. A transaction is long out of
// the processor's caches when it is looked for the last time, and what a look-up costs is the
// memory it waits for: here a bucket and the transaction, which is wanted anyway.
type table[T node[T]] struct {
	shards [shards]shard[T]
}

type shard[T node[T]] struct {
	mu      sync.Mutex
	buckets []T // the first of each chain; a power of two of them
	n       int
	_       [24]byte // a cache line to each
}

// node is a transaction that a table can hold.
type node[T any] interface {
	comparable
	link() *link[T]
}

// link is a transaction's place in a table.
type link[T any] struct {
	hash uint64 // set when it is inserted
	next T      // guarded by the shard's mutex
}

func newTable[T node[T]]() *table[T] {
	t := new(table[T])
	for i := range t.shards {
		t.shards[i].buckets = make([]T, minBuckets)
	}
	return t
}

func (t *table[T]) shard(hash uint64) *shard[T] { return &t.shards[hash%shards] }

// bucket is where the chain of a hash begins.
func (s *shard[T]) bucket(hash uint64) *T {
	return &s.buckets[hash/shards&uint64(len(s.buckets)-1)]
}

// find returns the transaction filed under hash that matches, the zero value if there is
// none.
func (t *table[T]) find(hash uint64, match func(T) bool) T {
	s := t.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(hash, match)
}

func (s *shard[T]) find(hash uint64, match func(T) bool) T {
	var none T
	for tx := *s.bucket(hash); tx != none; {
		l := tx.link()
		if l.hash == hash && match(tx) {
			return tx
		}
		tx = l.next
	}
	return none
}

// insert files tx under hash unless there is one that matches, which it then returns: two
// copies of a request may arrive at the same time.
func (t *table[T]) insert(hash uint64, tx T, match func(T) bool) (other T) {
	var none T
	s := t.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.find(hash, match); other != none {
		return other
	}
	if s.n++; sparse*s.n > len(s.buckets) {
		s.resize(2 * len(s.buckets))
	}
	tx.link().hash = hash
	s.file(tx)
	return none
}

func (s *shard[T]) file(tx T) {
	l := tx.link()
	head := s.bucket(l.hash)
	l.next, *head = *head, tx
}

// remove takes tx out; it must have been inserted.
func (t *table[T]) remove(tx T) {
	var none T
	l := tx.link()
	s := t.shard(l.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.bucket(l.hash)
	for *at != tx {
		at = &(*at).link().next
	}
	*at, l.next = l.next, none
	s.n--
	size := len(s.buckets)
	for size > minBuckets && 8*sparse*s.n < size {
		size /= 2
	}
	if size < len(s.buckets) {
		s.resize(size)
	}
}

// resize files all transactions anew, in n buckets.
func (s *shard[T]) resize(n int) {
	var none T
	old := s.buckets
	s.buckets = make([]T, n)
	for _, tx := range old {
		for tx != none {
			next := tx.link().next
			s.file(tx)
			tx = next
		}
	}
}
