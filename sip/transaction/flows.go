package transaction

import (
	"sync"

	"github.com/sipway/sipway/sip"
)

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
type closer interface {
	flowClosed(err error)
	inviting() bool
}

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

// all returns who is in the list of flow.
func (t *flowTable) all(flow uint64) (members []closer) {
	mu, head := t.list(flow)
	mu.Lock()
	defer mu.Unlock()
	for m := *head; m != nil; m = m.next {
		if m.flow == flow { // lists are shared
			members = append(members, m.tx)
		}
	}
	return members
}

// Inviting reports whether a call is being set up over a connection: an INVITE went out on it, or
// came in over it if it is a WebSocket's, that has no final response yet.
func (l *Layer) Inviting(f sip.Flow) bool {
	if f.ID == 0 {
		return false
	}
	for _, tx := range l.flows.all(f.ID) {
		if tx.inviting() {
			return true
		}
	}
	return false
}

func (c *Client) inviting() bool { return c.method == sip.INVITE && c.before(accepted) }

func (s *Server) inviting() bool { return s.id.method == sip.INVITE && s.before(accepted) }

// before reports whether the machine has not got as far as a state.
func (t *transaction) before(s state) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state < s
}
