// Package feed hands the news of others' writes to those who watch a store.
package feed

import "sync"

// most bounds the addresses that wait for a watcher: above it, everything may have changed.
const most = 1 << 14

// Feed has the watchers of a store. The zero value has none; all methods are safe for
// concurrent use.
type Feed struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

// watcher is a function with what it is still to be told.
type watcher struct {
	f func(aors []string)

	mu      sync.Mutex
	aors    []string
	all     bool
	running bool // on a goroutine, which ends when there is nothing to tell
	stopped bool
}

// Watch is [store.Feed.Watch].
func (d *Feed) Watch(f func(aors []string)) (stop func()) {
	w := &watcher{f: f}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watchers == nil {
		d.watchers = make(map[*watcher]struct{})
	}
	d.watchers[w] = struct{}{}
	return func() {
		d.mu.Lock()
		delete(d.watchers, w)
		d.mu.Unlock()
		w.mu.Lock()
		w.stopped = true
		w.mu.Unlock()
	}
}

// Publish tells the watchers that bindings of the addresses have changed; nil means any.
// It does not wait for them.
func (d *Feed) Publish(aors []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for w := range d.watchers {
		w.add(aors)
	}
}

func (w *watcher) add(aors []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if aors == nil || len(w.aors)+len(aors) > most {
		w.all = true
	}
	if w.all {
		w.aors = nil
	} else {
		w.aors = append(w.aors, aors...)
	}
	if !w.running {
		w.running = true
		go w.run()
	}
}

func (w *watcher) run() {
	for {
		aors, ok := w.next()
		if !ok {
			return
		}
		w.f(aors)
	}
}

// next takes what is to be told; without it the goroutine ends.
func (w *watcher) next() (aors []string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || !w.all && len(w.aors) == 0 {
		w.running = false
		return nil, false
	}
	aors = w.aors
	w.aors, w.all = nil, false
	return aors, true
}
