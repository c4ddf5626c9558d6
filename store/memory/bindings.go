package memory

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipway/sipway/store"
)

// shard has the bindings of some AORs. The slices are never modified, only replaced, since
// readers share them.
type shard struct {
	mu       sync.RWMutex
	bindings map[string][]store.Binding // by AOR; no empty ones
}

// aors orders the AORs of all shards for listings. A refresh does not touch it.
type aors struct {
	mu    sync.RWMutex
	order order[string]
}

func compareStrings(a, b string) int { return strings.Compare(a, b) }

func (s *Store) shardOf(aor string) *shard {
	return &s.shard[maphash.String(s.seed, aor)%shards]
}

// set replaces the bindings that an AOR has. The shard is locked by the caller, so that the
// order can't miss what the shard has.
func (s *Store) set(sh *shard, aor string, old, bindings []store.Binding) {
	had := len(old) > 0
	switch {
	case len(bindings) > 0 && had:
		sh.bindings[aor] = bindings
	case len(bindings) > 0:
		// A copy, since the map keeps the key that came first for as long as it has one.
		aor = strings.Clone(aor)
		sh.bindings[aor] = bindings
		s.aors.mu.Lock()
		s.aors.order.insert(aor)
		s.aors.mu.Unlock()
	case had:
		delete(sh.bindings, aor)
		s.aors.mu.Lock()
		s.aors.order.delete(aor)
		s.aors.mu.Unlock()
	}
}

// Register implements [store.Locations].
func (s *Store) Register(ctx context.Context, u store.Update) (store.Result, error) {
	if err := s.check(ctx); err != nil {
		return store.Result{}, err
	}
	sh := s.shardOf(u.AOR)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	old := sh.bindings[u.AOR]
	r, err := store.Apply(old, s.knownLeases(), u)
	if err != nil {
		return store.Result{}, err
	}
	if !u.Query() {
		s.set(sh, u.AOR, old, r.Bindings)
	}
	return r, nil
}

// Lookup implements [store.Locations].
func (s *Store) Lookup(ctx context.Context, aor string, now time.Time) ([]store.Binding, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	bindings, _ := s.CachedLookup(aor, now)
	return bindings, nil
}

// CachedLookup implements [store.Cached]; it always knows.
func (s *Store) CachedLookup(aor string, now time.Time) ([]store.Binding, bool) {
	sh := s.shardOf(aor)
	sh.mu.RLock()
	bindings := sh.bindings[aor]
	sh.mu.RUnlock()
	return s.knownLeases().Live(bindings, now), true
}

// RemoveFlow implements [store.Locations].
func (s *Store) RemoveFlow(ctx context.Context, node string, epoch int64, flow uint64, aors []string) ([]store.Binding, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	var removed []store.Binding
	for _, aor := range aors {
		removed = s.filter(removed, aor, func(b *store.Binding) bool { return b.Over(node, epoch, flow) })
	}
	return removed, nil
}

// filter removes the bindings of an AOR that are to go and appends them to removed.
func (s *Store) filter(removed []store.Binding, aor string, gone func(*store.Binding) bool) []store.Binding {
	sh := s.shardOf(aor)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	old := sh.bindings[aor]
	next := store.Without(old, func(b *store.Binding) bool {
		if !gone(b) {
			return false
		}
		removed = append(removed, *b)
		return true
	})
	if len(next) < len(old) {
		s.set(sh, aor, old, next)
	}
	return removed
}

// Sweep implements [store.Listing]. It holds one shard at a time and goes on where the
// sweep before it stopped.
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int) ([]store.Binding, error) {
	var swept []store.Binding
	for range shards {
		if err := s.check(ctx); err != nil {
			return swept, err
		}
		if len(swept) >= limit {
			break
		}
		sh := &s.shard[s.swept.Load()%shards]
		more := false
		swept, more = s.sweepShard(swept, sh, now, limit-len(swept))
		if !more {
			s.swept.Add(1)
		}
	}
	return swept, nil
}

// sweepShard removes up to limit expired bindings of a shard and appends them to swept; more
// means that it stopped because of the limit. It searches without keeping readers out.
func (s *Store) sweepShard(swept []store.Binding, sh *shard, now time.Time, limit int) (_ []store.Binding, more bool) {
	for _, aor := range sh.expired(now, limit) {
		swept = s.filter(swept, aor, func(b *store.Binding) bool {
			if b.Live(now) || limit == 0 {
				return false
			}
			limit--
			return true
		})
	}
	return swept, limit == 0
}

// expired returns up to limit AORs with an expired binding.
func (sh *shard) expired(now time.Time, limit int) []string {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	var aors []string
	for aor, bindings := range sh.bindings {
		if len(aors) == limit {
			break
		}
		if slices.ContainsFunc(bindings, func(b store.Binding) bool { return !b.Live(now) }) {
			aors = append(aors, aor)
		}
	}
	return aors
}
