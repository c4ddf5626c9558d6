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

// set replaces the bindings of an AOR. The shard is locked by the caller, so that the
// order can't miss what the shard has.
func (s *Store) set(sh *shard, aor string, bindings []store.Binding) {
	_, had := sh.bindings[aor]
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
	r, err := store.Apply(sh.bindings[u.AOR], u)
	if err != nil {
		return store.Result{}, err
	}
	if !u.Query() {
		s.set(sh, u.AOR, r.Bindings)
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
	return store.Live(bindings, now), true
}

// RemoveFlow implements [store.Locations].
func (s *Store) RemoveFlow(ctx context.Context, node string, epoch int64, flow uint64, aors []string) (int, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	removed := 0
	for _, aor := range aors {
		removed += s.filter(aor, func(b *store.Binding) bool { return b.Over(node, epoch, flow) })
	}
	return removed, nil
}

// filter removes the bindings of an AOR that are to go and returns how many there were.
func (s *Store) filter(aor string, gone func(*store.Binding) bool) int {
	sh := s.shardOf(aor)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	old := sh.bindings[aor]
	next := store.Without(old, gone)
	if len(next) < len(old) {
		s.set(sh, aor, next)
	}
	return len(old) - len(next)
}

// List implements [store.Listing].
func (s *Store) List(ctx context.Context, q store.Query) ([]store.Binding, error) {
	limit := store.PageSize(q.Limit)
	prefix := store.Prefix(q.Pattern)
	start := max(q.After.AOR, prefix)
	var page []store.Binding
	var keys []string
	for {
		if err := s.check(ctx); err != nil {
			return nil, err
		}
		s.aors.mu.RLock()
		keys = s.aors.order.from(keys[:0], start, limit+1)
		s.aors.mu.RUnlock()
		for _, aor := range keys {
			if !strings.HasPrefix(aor, prefix) {
				return page, nil // past the last that the pattern can select
			}
			if store.Match(q.Pattern, aor) {
				page = s.appendPage(page, aor, &q)
			}
			if len(page) >= limit {
				return page[:limit], nil
			}
		}
		if len(keys) <= limit {
			return page, nil
		}
		// Nothing between a string and the string with a zero byte behind it.
		start = keys[len(keys)-1] + "\x00"
	}
}

// appendPage adds the live bindings of an AOR that follow the query's cursor.
func (s *Store) appendPage(page []store.Binding, aor string, q *store.Query) []store.Binding {
	bindings, _ := s.CachedLookup(aor, q.Now)
	first := len(page)
	for i := range bindings {
		if bindings[i].Cursor().Compare(q.After) > 0 {
			page = append(page, bindings[i])
		}
	}
	slices.SortFunc(page[first:], func(a, b store.Binding) int { return strings.Compare(a.Key, b.Key) })
	return page
}

// Count implements [store.Listing].
func (s *Store) Count(ctx context.Context, now time.Time) (int, error) {
	n := 0
	for i := range s.shard {
		if err := s.check(ctx); err != nil {
			return 0, err
		}
		sh := &s.shard[i]
		sh.mu.RLock()
		for _, bindings := range sh.bindings {
			for j := range bindings {
				if bindings[j].Live(now) {
					n++
				}
			}
		}
		sh.mu.RUnlock()
	}
	return n, nil
}

// Sweep implements [store.Listing]. It holds one shard at a time and goes on where the
// sweep before it stopped.
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	n := 0
	for range shards {
		if err := s.check(ctx); err != nil {
			return n, err
		}
		if n >= limit {
			break
		}
		sh := &s.shard[s.swept.Load()%shards]
		swept, more := s.sweepShard(sh, now, limit-n)
		n += swept
		if !more {
			s.swept.Add(1)
		}
	}
	return n, nil
}

// sweepShard removes up to limit expired bindings of a shard; more means that it stopped
// because of the limit. It searches without keeping readers out.
func (s *Store) sweepShard(sh *shard, now time.Time, limit int) (n int, more bool) {
	for _, aor := range sh.expired(now, limit) {
		n += s.filter(aor, func(b *store.Binding) bool {
			if b.Live(now) || limit == 0 {
				return false
			}
			limit--
			return true
		})
	}
	return n, limit == 0
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
