package registrar

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sipway/sipway/store"
)

// watchers are those who hear of every change. The list is replaced, never modified, so
// that whoever makes a change reads it without a lock.
type watchers struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*watcher]
}

type watcher struct {
	f func(store.Event, *store.Binding)
}

// Watch has f called for every binding that this node adds, refreshes or removes, after the
// store has made that durable, and for those that it sweeps after their expiry. Changes of
// one AOR come in an order of their own if they were made at the same time. f is called on
// the goroutine that made the change and must not block; the binding is read-only. stop ends
// it; a call may be under way still. What other nodes do is told by [store.Feed].
func (r *Registrar) Watch(f func(store.Event, *store.Binding)) (stop func()) {
	w := &watcher{f}
	r.watchers.edit(func(list []*watcher) []*watcher { return append(list, w) })
	return func() {
		r.watchers.edit(func(list []*watcher) []*watcher {
			kept := make([]*watcher, 0, len(list))
			for _, other := range list {
				if other != w {
					kept = append(kept, other)
				}
			}
			return kept
		})
	}
}

// Change makes a change that no REGISTER asks for, as [store.Locations] does, and tells those
// who watch.
func (r *Registrar) Change(ctx context.Context, u store.Update) (store.Result, error) {
	result, err := r.store.Register(ctx, u)
	if err == nil {
		r.watchers.tellResult(&result)
	}
	return result, err
}

func (w *watchers) edit(f func([]*watcher) []*watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*watcher
	if old := w.list.Load(); old != nil {
		list = append(list, *old...)
	}
	if list = f(list); len(list) == 0 {
		w.list.Store(nil)
		return
	}
	w.list.Store(&list)
}

// tell passes a change on.
func (w *watchers) tell(e store.Event, b *store.Binding) {
	if list := w.list.Load(); list != nil {
		for _, watcher := range *list {
			watcher.f(e, b)
		}
	}
}

// tellAll passes on that the bindings are gone, and why.
func (w *watchers) tellAll(e store.Event, bindings []store.Binding) {
	for i := range bindings {
		w.tell(e, &bindings[i])
	}
}

// tellResult passes on what an update has changed.
func (w *watchers) tellResult(result *store.Result) {
	if w.list.Load() == nil {
		return
	}
	for e, b := range result.Changes() {
		w.tell(e, b)
	}
}
