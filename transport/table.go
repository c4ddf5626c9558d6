package transport

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
)

// shardCount spreads the connections, so that cores that send to different flows rarely
// meet at a lock or a counter. A power of two.
const shardCount = 64

// table holds the open connections by incarnation.
type table struct {
	last   atomic.Uint64 // the last incarnation given away
	shards [shardCount]shard
}

type shard struct {
	mu    sync.RWMutex
	conns map[uint64]*connection
	tally [sip.WSS + 1]tally
}

// init starts the incarnations at the time, so that those of two runs of the process differ
// as well: a binding that a crash left behind never fits a new connection. In microseconds
// they stay below 2^53 until the year 2255, so that JavaScript can read them, and are never
// given away as fast as they pass.
func (t *table) init() {
	t.last.Store(uint64(time.Now().UnixMicro()))
	for i := range t.shards {
		t.shards[i].conns = make(map[uint64]*connection)
	}
}

func (t *table) next() uint64 { return t.last.Add(1) }

func (t *table) shard(id uint64) *shard { return &t.shards[id%shardCount] }

func (t *table) add(c *connection) {
	s := t.shard(c.flow.ID)
	s.mu.Lock()
	s.conns[c.flow.ID] = c
	s.mu.Unlock()
}

func (t *table) remove(c *connection) {
	s := t.shard(c.flow.ID)
	s.mu.Lock()
	delete(s.conns, c.flow.ID)
	s.mu.Unlock()
}

func (t *table) get(id uint64) *connection {
	s := t.shard(id)
	s.mu.RLock()
	c := s.conns[id]
	s.mu.RUnlock()
	return c
}

// all returns the connections that are open now.
func (t *table) all() []*connection {
	var all []*connection
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for _, c := range s.conns {
			all = append(all, c)
		}
		s.mu.RUnlock()
	}
	return all
}
