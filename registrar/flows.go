package registrar

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// flowIndex notes which AORs were bound over which open flow. A flow's entry goes with the
// flow.
type flowIndex struct {
	mu    sync.Mutex
	flows map[uint64]*flowAORs // by sip.Flow.ID

	contacts map[uint64]boundContact // by contactHash
}

// flowAORs are the AORs of one flow: one or two, or thousands on the connection of an edge
// proxy.
type flowAORs struct {
	list []string
	set  map[string]struct{} // of those in list, once it is long

	contacts []uint64 // those noted for the flow, by contactHash
}

const longList = 16

// add notes the AOR for the flow, and reports whether it was not noted yet.
func (x *flowIndex) add(flow uint64, aor string) (fresh bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.flows[flow]
	if f == nil {
		f = new(flowAORs)
		x.flows[flow] = f
	}
	if f.has(aor) {
		return false
	}
	aor = strings.Clone(aor) // it may be part of a message
	f.list = append(f.list, aor)
	switch {
	case f.set != nil:
		f.set[aor] = struct{}{}
	case len(f.list) > longList:
		f.set = make(map[string]struct{}, 2*len(f.list))
		for _, a := range f.list {
			f.set[a] = struct{}{}
		}
	}
	return true
}

func (f *flowAORs) has(aor string) bool {
	if f.set != nil {
		_, ok := f.set[aor]
		return ok
	}
	for _, a := range f.list {
		if a == aor {
			return true
		}
	}
	return false
}

// take removes the flow's entry and returns its AORs.
func (x *flowIndex) take(flow uint64) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.flows[flow]
	if f == nil {
		return nil
	}
	delete(x.flows, flow)
	x.dropContacts(flow, f)
	return f.list
}

// Closed voids the bindings that were made over the flow, and no others: none of them is
// found by Lookup any more, and the store removes them. It is called when the flow has
// closed, and returns at once.
func (r *Registrar) Closed(f sip.Flow) {
	if f.ID == 0 {
		return
	}
	if aors := r.index.take(f.ID); len(aors) > 0 {
		r.noteLost(f, aors)
		r.void(flowEnd{flow: f, aors: aors, forget: time.Now().Add(r.limits.Load().MaxExpires + r.cfg.Grace)})
	}
}

// flowEnd is a flow whose bindings the store is to remove.
type flowEnd struct {
	flow sip.Flow
	aors []string
	// forget is when the bindings have expired anyhow.
	forget time.Time
}

// voidQueue holds the flows whose bindings are still to be removed from the store.
type voidQueue struct {
	mu      sync.Mutex
	ends    []flowEnd
	workers int
}

const (
	// maxVoiders is how many flow ends the store is asked for at a time, which it commits
	// as a group. When a thousand connections break at once, the others wait their turn.
	maxVoiders = 256

	// A store that is unavailable is tried again after minRetry, then after twice as long
	// each time up to maxRetry.
	minRetry = 50 * time.Millisecond
	maxRetry = 10 * time.Second
)

// void has the store remove the bindings of a flow, off this goroutine if that may wait.
func (r *Registrar) void(end flowEnd) {
	if r.cfg.Inline && r.tryVoid(&end) == nil {
		return
	}
	q := &r.voids
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ends = append(q.ends, end)
	if q.workers < maxVoiders && r.tasks.always(r.voidAll) {
		q.workers++
	}
}

// voidAll works until nothing is left to do.
func (r *Registrar) voidAll() {
	for {
		end, ok := r.voids.next()
		if !ok {
			return
		}
		r.voidFlow(&end)
	}
}

// next takes the oldest flow end; without one the worker has ended.
func (q *voidQueue) next() (flowEnd, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ends) == 0 {
		q.ends = nil // and the memory of a burst
		q.workers--
		return flowEnd{}, false
	}
	end := q.ends[0]
	q.ends = q.ends[1:]
	return end, true
}

// voidFlow tries until the store has done it or it does not matter any more. A failure
// that is not temporary is no other case: what else should a closed flow be told?
func (r *Registrar) voidFlow(end *flowEnd) {
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		err := r.tryVoid(end)
		if err == nil || time.Now().After(end.forget) {
			return
		}
		r.alarm.raise(r.cfg.Logger, "bindings of a closed flow not yet removed",
			slog.String("flow", end.flow.String()), slog.Any("error", err))
		if !r.tasks.sleep(wait) {
			return
		}
	}
}

func (r *Registrar) tryVoid(end *flowEnd) error {
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.StoreTimeout)
	defer cancel()
	gone, err := r.store.RemoveFlow(ctx, r.cfg.Node, r.cfg.Epoch, end.flow.ID, end.aors)
	r.watchers.tellAll(store.FlowClosed, gone)
	if err == nil && len(gone) > 0 {
		r.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "flow closed, bindings void",
			slog.String("flow", end.flow.String()), slog.String("aor", end.aors[0]),
			slog.Int("aors", len(end.aors)), slog.Int("contacts", len(gone)))
	}
	return err
}
