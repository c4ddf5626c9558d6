package memory

import (
	"context"
	"slices"
	"strings"

	"github.com/sipway/sipway/store"
)

// List implements [store.Listing].
func (s *Store) List(ctx context.Context, q store.Query) ([]store.Binding, error) {
	limit := store.PageSize(q.Limit)
	if q.Sort != store.ByAOR {
		return s.listByTime(ctx, &q, limit)
	}
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

// appendPage adds the bindings of an AOR that the query asks for and that follow its cursor.
func (s *Store) appendPage(page []store.Binding, aor string, q *store.Query) []store.Binding {
	bindings, _ := s.CachedLookup(aor, q.Now)
	first := len(page)
	for i := range bindings {
		if q.Follows(&bindings[i]) && q.Selects(&bindings[i]) {
			page = append(page, bindings[i])
		}
	}
	slices.SortFunc(page[first:], func(a, b store.Binding) int { return strings.Compare(a.Key, b.Key) })
	return page
}

// listByTime looks at everything and keeps what may be on the page.
func (s *Store) listByTime(ctx context.Context, q *store.Query, limit int) ([]store.Binding, error) {
	var page []store.Binding
	shorten := func() {
		slices.SortFunc(page, func(a, b store.Binding) int {
			return q.Sort.Compare(q.Sort.Cursor(&a), q.Sort.Cursor(&b))
		})
		page = page[:min(len(page), limit)]
	}
	err := s.each(ctx, q, func(b *store.Binding) {
		if q.Follows(b) {
			if page = append(page, *b); len(page) >= 2*limit+1000 {
				shorten()
			}
		}
	})
	if err != nil {
		return nil, err
	}
	shorten()
	return page, nil
}

// Count implements [store.Listing].
func (s *Store) Count(ctx context.Context, q store.Query) (int, error) {
	n := 0
	err := s.each(ctx, &q, func(*store.Binding) { n++ })
	if err != nil {
		return 0, err
	}
	return n, nil
}

// each calls f for every binding that the query selects, in no order, while it holds a
// shard.
func (s *Store) each(ctx context.Context, q *store.Query, f func(*store.Binding)) error {
	leases := s.knownLeases()
	for i := range s.shard {
		if err := s.check(ctx); err != nil {
			return err
		}
		s.shard[i].each(func(b *store.Binding) {
			if b.Live(q.Now) && !leases.Void(b, q.Now) && q.Selects(b) {
				f(b)
			}
		})
	}
	return nil
}

func (sh *shard) each(f func(*store.Binding)) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, bindings := range sh.bindings {
		for i := range bindings {
			f(&bindings[i])
		}
	}
}
