package transaction

import "sync"

// flowTable finds the transactions that hang on a stream flow, so that its closing costs
// what hangs on it and not a walk over all.
type flowTable struct {
	shards [shards]struct {
		mu    sync.Mutex
		heads map[uint64]*member
		_     [48]byte
	}
}

// member is a transaction's place in the list of its flow, guarded by the shard's mutex.
type member struct {
	tx         closer
	flow       uint64 // 0 where it is in no list
	prev, next *member
}

// closer is a transaction as its flow's list sees it.
type closer interface{ flowClosed(err error) }

func newFlowTable() *flowTable {
	t := new(flowTable)
	for i := range t.shards {
		t.shards[i].heads = make(map[uint64]*member)
	}
	return t
}

func (t *flowTable) join(flow uint64, m *member, tx closer) {
	s := &t.shards[flow%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	head := s.heads[flow]
	*m = member{tx: tx, flow: flow, next: head}
	if head != nil {
		head.prev = m
	}
	s.heads[flow] = m
}

// leave takes m out of the list of flow, if it is still there.
func (t *flowTable) leave(flow uint64, m *member) {
	s := &t.shards[flow%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.flow == 0 {
		return
	}
	if m.next != nil {
		m.next.prev = m.prev
	}
	switch {
	case m.prev != nil:
		m.prev.next = m.next
	case m.next != nil:
		s.heads[flow] = m.next
	default:
		delete(s.heads, flow)
	}
	*m = member{}
}

// take empties the list of flow and returns who was in it.
func (t *flowTable) take(flow uint64) (members []closer) {
	s := &t.shards[flow%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := s.heads[flow]; m != nil; {
		next := m.next
		members = append(members, m.tx)
		*m = member{}
		m = next
	}
	delete(s.heads, flow)
	return members
}
