package transaction

import "sync"

// shards is the number of parts of a table. A message locks one of them for the time of a
// map access, so that it takes many more cores than this to make them wait.
const shards = 64

// table finds the live transactions of one side. Transactions are filed by a 64-bit keyed
// hash of all that identifies them, those that collide in a chain; whether one is meant is
// asked of the transaction itself, so that the rules of matching are written once and a
// look-up makes no key.
type table[T node[T]] struct {
	shards [shards]struct {
		mu    sync.Mutex
		heads map[uint64]T
		_     [48]byte // a cache line to each
	}
}

// node is a transaction that a table can hold.
type node[T any] interface {
	comparable
	link() *link[T]
}

// link is a transaction's place in a table, guarded by the shard's mutex.
type link[T any] struct {
	hash uint64
	next T
}

func newTable[T node[T]]() *table[T] {
	t := new(table[T])
	for i := range t.shards {
		t.shards[i].heads = make(map[uint64]T)
	}
	return t
}

// find returns the transaction filed under hash that matches, the zero value if there is
// none.
func (t *table[T]) find(hash uint64, match func(T) bool) T {
	var none T
	s := &t.shards[hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for tx := s.heads[hash]; tx != none; tx = tx.link().next {
		if match(tx) {
			return tx
		}
	}
	return none
}

// insert files tx under hash unless there is one that matches, which it then returns: two
// copies of a request may arrive at the same time.
func (t *table[T]) insert(hash uint64, tx T, match func(T) bool) (other T) {
	var none T
	s := &t.shards[hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	head := s.heads[hash]
	for old := head; old != none; old = old.link().next {
		if match(old) {
			return old
		}
	}
	*tx.link() = link[T]{hash, head}
	s.heads[hash] = tx
	return none
}

// remove takes tx out; it must have been inserted.
func (t *table[T]) remove(tx T) {
	var none T
	hash := tx.link().hash
	s := &t.shards[hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	head := s.heads[hash]
	switch next := tx.link().next; {
	case head != tx:
		for old := head; old != none; old = old.link().next {
			if old.link().next == tx {
				old.link().next = next
				break
			}
		}
	case next == none:
		delete(s.heads, hash)
	default:
		s.heads[hash] = next
	}
	tx.link().next = none
}
