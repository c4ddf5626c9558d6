package registrar

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/store"
)

// failedFlows are the bindings to which nothing leads any more, though they are bound: whoever
// has their flow, an edge proxy or another node, has answered 430 (RFC 5626 §11.5). They stay
// in the store, as only a REGISTER or their expiry ends them safely, but nobody is sent there.
// Each is known by the REGISTER that made it, so that the next one makes it good again.
type failedFlows struct {
	count atomic.Int64 // of set: mostly there is none, and the way of a call does not ask
	mu    sync.RWMutex
	set   map[failedFlow]time.Time // until when it is bound
}

type failedFlow struct {
	aor, key, callID string
	cseq             uint32
}

// maxFailed bounds what is remembered; above it callers only hear 430 a second time.
const maxFailed = 1 << 14

func failedOf(b *store.Binding) failedFlow { return failedFlow{b.AOR, b.Key, b.CallID, b.CSeq} }

// FlowFailed hears that whoever has the binding's flow has none any more. The binding is not
// found by Lookup until its client registers anew. Of a flow that ends here nobody else knows
// better: then the client itself has answered so.
func (r *Registrar) FlowFailed(b *store.Binding) {
	if b.Path == "" && b.Node == r.cfg.Node || !r.failed.add(b) {
		return
	}
	r.cfg.Logger.Info("flow failed", "aor", b.AOR, "contact", b.Contact, "path", b.Path)
	r.watchers.tell(store.FlowClosed, b)
}

// add reports whether it was not known before.
func (x *failedFlows) add(b *store.Binding) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	id := failedOf(b)
	if _, known := x.set[id]; known || len(x.set) >= maxFailed {
		return false
	}
	if x.set == nil {
		x.set = make(map[failedFlow]time.Time)
	}
	id = failedFlow{strings.Clone(id.aor), strings.Clone(id.key), strings.Clone(id.callID), id.cseq}
	x.set[id] = b.Expires
	x.count.Store(int64(len(x.set)))
	return true
}

func (x *failedFlows) has(b *store.Binding) bool {
	if x.count.Load() == 0 {
		return false
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, ok := x.set[failedOf(b)]
	return ok
}

// tidy forgets those that have expired.
func (x *failedFlows) tidy(now time.Time) {
	if x.count.Load() == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	maps.DeleteFunc(x.set, func(_ failedFlow, expires time.Time) bool { return !expires.After(now) })
	x.count.Store(int64(len(x.set)))
}
