package registrar

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// returns knows whose flow broke just now, and tells those who wait for a user to come
// back. A page that is loaded anew is away for a moment: its connection breaks, and the
// next one registers.
type returns struct {
	park time.Duration // how long a broken flow is remembered

	// waiting is how many wait, so that a REGISTER looks no further while none does.
	waiting atomic.Int32

	mu      sync.Mutex                      // guards what follows
	lost    map[string][]*lostFlow          // by AOR, oldest first
	oldest  []*lostFlow                     // all of them, oldest first
	waiters map[string]map[*waiter]struct{} // by AOR
	arrived uint64                          // counts waiters
}

// lostFlow is a flow that broke with a binding of the AOR.
type lostFlow struct {
	aor string
	at  time.Time
}

type waiter struct {
	bound func([]store.Binding)
	n     uint64 // in the order of their coming
}

// maxLost bounds the broken flows that are remembered; when more break at once, a network
// has gone and not a page.
const maxLost = 1 << 16

func (x *returns) init(park time.Duration) {
	x.park = park
	x.lost = make(map[string][]*lostFlow)
	x.waiters = make(map[string]map[*waiter]struct{})
}

// Lost reports whether a flow that the AOR was bound over broke within Config.Park, and the
// user has not registered over another one since. It never blocks.
func (r *Registrar) Lost(aor string) bool {
	x := &r.returns
	x.mu.Lock()
	defer x.mu.Unlock()
	flows := x.lost[aor]
	return len(flows) > 0 && time.Since(flows[len(flows)-1].at) < x.park
}

// Await has bound called with the AOR's bindings over the flow of a REGISTER, whenever one
// has bound any, until cancel is called. It is called on the goroutine of that REGISTER,
// after its 200, and must not wait; once more it may be called while cancel is. When the
// bindings have changed at another node, it is called with all of them.
func (r *Registrar) Await(aor string, bound func([]store.Binding)) (cancel func()) {
	x := &r.returns
	x.mu.Lock()
	defer x.mu.Unlock()
	x.arrived++
	w := &waiter{bound, x.arrived}
	if x.waiters[aor] == nil {
		x.waiters[aor] = make(map[*waiter]struct{}, 1)
	}
	x.waiters[aor][w] = struct{}{}
	x.waiting.Add(1)
	return func() { x.leave(aor, w) }
}

func (x *returns) leave(aor string, w *waiter) {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := x.waiters[aor]
	if _, ok := all[w]; !ok {
		return
	}
	x.waiting.Add(-1)
	if delete(all, w); len(all) == 0 {
		delete(x.waiters, aor)
	}
}

// came tells who waits for the AOR that a REGISTER has bound it over the flow. fresh says
// that the AOR was not bound over it before: then a lost flow has found its successor.
func (x *returns) came(f sip.Flow, aor string, bindings []store.Binding, fresh bool) {
	if fresh {
		x.mu.Lock()
		if flows := x.lost[aor]; len(flows) > 0 {
			x.forget(flows[0])
		}
		x.mu.Unlock()
	}
	if x.waiting.Load() == 0 {
		return
	}
	var over []store.Binding
	for i := range bindings {
		if bindings[i].Flow == f {
			over = append(over, bindings[i])
		}
	}
	x.tell(aor, over)
}

// tell tells who waits for the AOR of bindings.
func (x *returns) tell(aor string, bindings []store.Binding) {
	if len(bindings) == 0 {
		return
	}
	x.mu.Lock()
	waiters := slices.Collect(maps.Keys(x.waiters[aor]))
	x.mu.Unlock()
	slices.SortFunc(waiters, func(a, b *waiter) int { return cmp.Compare(a.n, b.n) })
	for _, w := range waiters {
		w.bound(bindings)
	}
}

// awaited returns those of the AORs, nil for all, that somebody waits for.
func (x *returns) awaited(aors []string) (list []string) {
	if x.waiting.Load() == 0 {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if aors == nil {
		return slices.Collect(maps.Keys(x.waiters))
	}
	for _, aor := range aors {
		if x.waiters[aor] != nil {
			list = append(list, aor)
		}
	}
	return list
}

// changedElsewhere hears that others have changed the bindings of the AORs, or of any where
// that is nil: a user may have come back at another node.
func (r *Registrar) changedElsewhere(aors []string) {
	for _, aor := range r.returns.awaited(aors) {
		r.tasks.start(func() {
			ctx, cancel := context.WithTimeout(context.Background(), r.cfg.StoreTimeout)
			defer cancel()
			// Without an answer the wait goes on.
			if bindings, err := r.LookupStore(ctx, aor); err == nil {
				r.returns.tell(aor, bindings)
			}
		})
	}
}

// broke remembers that the AOR has lost a flow. The string is kept.
func (x *returns) broke(aor string, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	if len(x.oldest) == maxLost {
		x.forget(x.oldest[0])
		x.oldest = x.oldest[1:]
	}
	flow := &lostFlow{aor, now}
	x.lost[aor] = append(x.lost[aor], flow)
	x.oldest = append(x.oldest, flow)
}

// tidy lets go of what is too old.
func (x *returns) tidy(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
}

// expire is tidy with the mutex held.
func (x *returns) expire(now time.Time) {
	for len(x.oldest) > 0 && now.Sub(x.oldest[0].at) >= x.park {
		x.forget(x.oldest[0])
		x.oldest[0], x.oldest = nil, x.oldest[1:]
	}
	if len(x.oldest) == 0 {
		x.oldest = nil // and the memory of a burst
	}
}

// forget takes the flow out of the AOR's. The caller holds mu.
func (x *returns) forget(flow *lostFlow) {
	flows := x.lost[flow.aor]
	switch {
	case len(flows) == 0 || flows[0] != flow: // its successor came before
	case len(flows) == 1:
		delete(x.lost, flow.aor)
	default:
		x.lost[flow.aor] = flows[1:]
	}
}

// noteLost remembers for which of the AORs the end of the flow is a loss: those that had a
// binding over it whose successor is not there yet.
func (r *Registrar) noteLost(f sip.Flow, aors []string) {
	now := time.Now()
	for _, aor := range aors {
		bindings, known := r.store.CachedLookup(aor, now)
		if !known || r.loses(f, bindings, now) {
			r.returns.broke(aor, now)
		}
	}
}

// loses reports whether one of the bindings belongs to the flow, and none was made just now
// by what may be the same client: a page that was loaded anew may have registered before
// the end of its old connection is known.
func (r *Registrar) loses(f sip.Flow, bindings []store.Binding, now time.Time) bool {
	lost := -1
	for i := range bindings {
		if bindings[i].Over(r.cfg.Node, r.cfg.Epoch, f.ID) {
			lost = i
		}
	}
	for i := lost + 1; lost >= 0 && i < len(bindings); i++ { // they stand in the order they were made
		b := &bindings[i]
		if now.Sub(b.Created) < r.cfg.Park && sameClient(b, &bindings[lost]) {
			return false
		}
	}
	return lost >= 0
}

// sameClient reports whether two bindings may be those of one client, before and after a
// reload, as far as one can tell from afar: tabs of one browser look the same.
func sameClient(a, b *store.Binding) bool {
	return a.UserAgent == b.UserAgent && a.Flow.Remote.Addr() == b.Flow.Remote.Addr()
}

// probeOthers has the AOR's other clients show that they are there, now that one has
// registered over a new flow: it may be the successor of one whose connection has no end
// (a lid was closed, a network left). Nothing but the answer tells a ghost from a second
// tab.
func (q *request) probeOthers(f sip.Flow, bindings []store.Binding) {
	at := -1
	for i := range bindings {
		if bindings[i].Flow == f {
			at = i
		}
	}
	for i := range bindings {
		if at >= 0 {
			q.probe(&bindings[i], &bindings[at])
		}
	}
}

// probe has the client of a binding over another flow than the new one's show that it is
// there. Who looks like the new one has little time, everybody else that of any ping.
func (q *request) probe(b, fresh *store.Binding) {
	switch {
	case b.Flow.ID == fresh.Flow.ID || !b.Over(q.cfg.Node, q.cfg.Epoch, b.Flow.ID):
	case sameClient(b, fresh):
		q.flows.Probe(b.Flow, q.cfg.ProbeTimeout)
	default:
		q.flows.Probe(b.Flow, q.cfg.PingTimeout)
	}
}
