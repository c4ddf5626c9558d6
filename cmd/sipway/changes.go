package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/store"
)

// changes tells those who watch the registrations what happens to them. Nobody who changes one waits
// for a watcher: what a slow one does not take is counted and left out.
type changes struct {
	total [store.Removed + 1]atomic.Uint64 // by store.Event

	active   atomic.Int32 // watchers, so that mostly nothing is locked
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

// watcher is one who watches.
type watcher struct {
	selects store.Query
	queue   chan admin.Event
	lost    int // since the last event that found room; guarded by changes.mu
}

// watchQueue is how many events wait for a watcher.
const watchQueue = 4096

// publish tells of a change.
func (c *changes) publish(event store.Event, b *store.Binding) {
	c.total[event].Add(1)
	if c.active.Load() == 0 {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.watchers {
		if w.selects.Selects(b) {
			r := admin.NewRegistration(b, now)
			w.put(admin.Event{Time: now.UTC(), Event: eventNames[event], AOR: b.AOR, Registration: &r})
		}
	}
}

// elsewhere tells that others have changed bindings of the AORs.
func (c *changes) elsewhere(aors []string) {
	if c.active.Load() == 0 {
		return
	}
	now := time.Now().UTC()
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.watchers {
		if aors == nil {
			w.put(admin.Event{Time: now, Event: admin.EventChanged})
		}
		for _, aor := range aors {
			if store.Match(w.selects.Pattern, aor) {
				w.put(admin.Event{Time: now, Event: admin.EventChanged, AOR: aor})
			}
		}
	}
}

// put queues an event, behind the number of those that were left out before it.
func (w *watcher) put(e admin.Event) {
	if w.lost > 0 {
		select {
		case w.queue <- admin.Event{Time: e.Time, Event: admin.EventLost, Lost: w.lost}:
			w.lost = 0
		default:
		}
	}
	if w.lost == 0 {
		select {
		case w.queue <- e:
			return
		default:
		}
	}
	w.lost++
}

// watch returns the events of what the query selects until ctx ends.
func (c *changes) watch(ctx context.Context, q store.Query) <-chan admin.Event {
	w := &watcher{selects: q, queue: make(chan admin.Event, watchQueue)}
	c.mu.Lock()
	if c.watchers == nil {
		c.watchers = make(map[*watcher]struct{})
	}
	c.watchers[w] = struct{}{}
	c.active.Add(1)
	c.mu.Unlock()
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		delete(c.watchers, w)
		c.active.Add(-1)
		c.mu.Unlock()
		close(w.queue) // nobody puts anything any more
	})
	return w.queue
}

var eventNames = [store.Removed + 1]string{
	store.Added: admin.EventAdded, store.Refreshed: admin.EventRefreshed, store.Unregistered: admin.EventUnregistered,
	store.Replaced: admin.EventReplaced, store.Dropped: admin.EventDropped, store.Expired: admin.EventExpired,
	store.FlowClosed: admin.EventFlowClosed, store.NodeGone: admin.EventNodeGone, store.Removed: admin.EventRemoved,
}
