package transaction

import "sync"

// flowTable finds the transactions that hang on a stream flow, so that its closing costs
// little more than what hangs on it and not a walk over all. It has lists of what hangs on
// any of some flows: even with the most transactions there may be they are short enough to
// be gone through when one of the flows has closed.
type flowTable struct {
	shards [shards]struct {
		mu    sync.Mutex
		heads [flowLists]*member
		_     [56]byte
	}
}

// flowLists is the number of lists in a shard.
const flowLists = 64

// member is a transaction's place in a list, guarded by the shard's mutex.
type member struct {
	tx         closer
	flow       uint64 // 0 where it is in no list
	prev, next *member
}

// closer is a transaction as its flow's list sees it.
type closer interface{ flowClosed(err error) }

func newFlowTable() *flowTable { return new(flowTable) }

// list returns the list of a flow and what guards it.
func (t *flowTable) list(flow uint64) (*sync.Mutex, **member) {
	s := &t.shards[flow%shards]
	return &s.mu, &s.heads[flow/shards%flowLists]
}

func (t *flowTable) join(flow uint64, m *member, tx closer) {
	mu, head := t.list(flow)
	mu.Lock()
	defer mu.Unlock()
	*m = member{tx: tx, flow: flow, next: *head}
	if m.next != nil {
		m.next.prev = m
	}
	*head = m
}

// leave takes m out of the list of flow, if it is still there.
func (t *flowTable) leave(flow uint64, m *member) {
	mu, head := t.list(flow)
	mu.Lock()
	defer mu.Unlock()
	if m.flow != 0 {
		m.leave(head)
	}
}

func (m *member) leave(head **member) {
	if m.next != nil {
		m.next.prev = m.prev
	}
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		*head = m.next
	}
	*m = member{}
}

// take takes all that hang on flow out of their list and returns them.
func (t *flowTable) take(flow uint64) (members []closer) {
	mu, head := t.list(flow)
	mu.Lock()
	defer mu.Unlock()
	for m := *head; m != nil; {
		next := m.next
		if m.flow == flow {
			members = append(members, m.tx)
			m.leave(head)
		}
		m = next
	}
	return members
}
