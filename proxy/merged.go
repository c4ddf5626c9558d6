package proxy

import (
	"hash/maphash"
	"sync"

	"github.com/sipway/sipway/sip"
)

// mergeKey tells requests apart that are not one request on two ways; 0 is none.
type mergeKey uint64

// merges is the index of requests that may arrive a second time, on another way.
type merges struct {
	mu      sync.Mutex
	running map[mergeKey]struct{}
}

// enter is the check of RFC 3261 §8.2.2.2 where a proxy is responsible: a request that has
// forked upstream and arrives on a second way, for the same target, while the first one is
// being forwarded. It would ring the same phones again. Only a fork makes two of a request,
// so one that comes straight from its sender is spared the look-up; what it repeats after a
// lost connection is served. The caller of enter has found no loop.
func (p *Proxy) enter(c *responseContext) bool {
	m := c.request.msg
	if m.ToTag() != "" || !manyVias(m) {
		return true
	}
	key := p.mergeKey(m)
	p.merges.mu.Lock()
	defer p.merges.mu.Unlock()
	if _, ok := p.merges.running[key]; ok {
		return false
	}
	if p.merges.running == nil {
		p.merges.running = make(map[mergeKey]struct{})
	}
	p.merges.running[key] = struct{}{}
	c.merge = key
	return true
}

// leave forgets a request that has its final response and no branch left.
func (p *Proxy) leave(key mergeKey) {
	if key != 0 {
		p.merges.mu.Lock()
		delete(p.merges.running, key)
		p.merges.mu.Unlock()
	}
}

func manyVias(m *sip.Message) bool {
	n := 0
	for range m.Values(sip.HVia) {
		if n++; n > 1 {
			return true
		}
	}
	return false
}

func (p *Proxy) mergeKey(m *sip.Message) mergeKey {
	var h maphash.Hash
	h.SetSeed(p.loopSeed)
	for _, s := range [...]string{m.FromTag(), m.CallID(), string(m.Method()), m.RequestURI()} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	maphash.WriteComparable(&h, m.CSeq().Seq)
	return mergeKey(max(h.Sum64(), 1))
}
