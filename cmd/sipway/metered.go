package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sipway/sipway/store"
)

// metered is a store that measures what the way of a message asks of it.
type metered struct {
	store.Store
	meters *storeMeters
}

// storeMeters are the measures of a store.
type storeMeters struct {
	seconds         *prometheus.HistogramVec
	failures        *prometheus.CounterVec
	bindings, users cacheMeter

	// Of the operations, so that none is looked for by its label.
	register, removeFlow, lookup, user, sweep meter
}

// meter measures one operation.
type meter struct {
	seconds  prometheus.Observer
	failures prometheus.Counter
}

// cacheMeter counts look-ups in memory.
type cacheMeter struct {
	hits, misses atomic.Uint64
}

func newStoreMeters() *storeMeters {
	m := &storeMeters{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sipway_store_seconds", Help: "Time that operations of the store took.",
			// From what memory takes to what a client waits for.
			Buckets: []float64{1e-5, 1e-4, 1e-3, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"operation"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipway_store_failures_total", Help: "Operations that the store could not do.",
		}, []string{"operation"}),
	}
	for operation, meter := range map[string]*meter{
		"register": &m.register, "remove_flow": &m.removeFlow, "lookup": &m.lookup, "user": &m.user, "sweep": &m.sweep,
	} {
		meter.seconds, meter.failures = m.seconds.WithLabelValues(operation), m.failures.WithLabelValues(operation)
	}
	return m
}

// done notes an operation that began at start. What a client did wrong is no failure of the store.
func (m *meter) done(start time.Time, err error) {
	m.seconds.Observe(time.Since(start).Seconds())
	if err != nil && !errors.Is(err, store.ErrOrder) && !errors.Is(err, store.ErrTooManyContacts) && !errors.Is(err, store.ErrNotFound) {
		m.failures.Inc()
	}
}

func (c *cacheMeter) count(hit bool) {
	if hit {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
	}
}

// Register implements [store.Locations].
func (m metered) Register(ctx context.Context, u store.Update) (store.Result, error) {
	start := time.Now()
	r, err := m.Store.Register(ctx, u)
	m.meters.register.done(start, err)
	return r, err
}

// RegisterLater implements [store.Later] where the store does.
func (m metered) RegisterLater(u store.Update, then func(store.Result, error)) bool {
	later, ok := m.Store.(store.Later)
	if !ok {
		return false
	}
	start := time.Now()
	return later.RegisterLater(u, func(r store.Result, err error) {
		m.meters.register.done(start, err)
		then(r, err)
	})
}

// RemoveFlow implements [store.Locations].
func (m metered) RemoveFlow(ctx context.Context, node string, epoch int64, flow uint64, aors []string) ([]store.Binding, error) {
	start := time.Now()
	gone, err := m.Store.RemoveFlow(ctx, node, epoch, flow, aors)
	m.meters.removeFlow.done(start, err)
	return gone, err
}

// Lookup implements [store.Locations].
func (m metered) Lookup(ctx context.Context, aor string, now time.Time) ([]store.Binding, error) {
	start := time.Now()
	bindings, err := m.Store.Lookup(ctx, aor, now)
	m.meters.lookup.done(start, err)
	return bindings, err
}

// User implements [store.Users].
func (m metered) User(ctx context.Context, name, domain string) (store.User, error) {
	start := time.Now()
	u, err := m.Store.User(ctx, name, domain)
	m.meters.user.done(start, err)
	return u, err
}

// Sweep implements [store.Listing].
func (m metered) Sweep(ctx context.Context, now time.Time, limit int) ([]store.Binding, error) {
	start := time.Now()
	gone, err := m.Store.Sweep(ctx, now, limit)
	m.meters.sweep.done(start, err)
	return gone, err
}

// CachedLookup implements [store.Cached].
func (m metered) CachedLookup(aor string, now time.Time) ([]store.Binding, bool) {
	bindings, ok := m.Store.CachedLookup(aor, now)
	m.meters.bindings.count(ok)
	return bindings, ok
}

// CachedUser implements [store.Cached].
func (m metered) CachedUser(name, domain string) (u store.User, exists, ok bool) {
	u, exists, ok = m.Store.CachedUser(name, domain)
	m.meters.users.count(ok)
	return u, exists, ok
}
