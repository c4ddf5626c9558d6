package postgres

import (
	"context"
	"time"

	"github.com/sipway/sipway/store"
)

// hedge is how long the database is waited for where what was bound here would do.
const hedge = 300 * time.Millisecond

// CachedLookup implements [store.Cached]. A binding that has expired in memory may have
// been refreshed at another node, of which nobody hears: only the database knows then.
// While it can't be reached, what was bound here is the best there is.
func (s *Store) CachedLookup(aor string, now time.Time) ([]store.Binding, bool) {
	bindings, _, known := s.bindings.Get(aor)
	for i := range bindings {
		known = known && bindings[i].Live(now)
	}
	if !known && s.health.down() != nil {
		bindings, known = s.held.get(aor)
	}
	if !known {
		return nil, false
	}
	return s.leases.known().Live(bindings, now), true
}

// Lookup implements [store.Locations].
func (s *Store) Lookup(ctx context.Context, aor string, now time.Time) ([]store.Binding, error) {
	if bindings, ok := s.CachedLookup(aor, now); ok {
		return bindings, nil
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	held, bound := s.held.get(aor)
	reading := ctx
	if bound {
		var cancel context.CancelFunc
		reading, cancel = context.WithTimeout(ctx, hedge)
		defer cancel()
	}
	ticket := s.bindings.Begin(aor)
	set, err := s.read(reading, aor)
	if err != nil {
		s.bindings.Abandon(aor, ticket)
		if bound && ctx.Err() == nil {
			return s.leases.known().Live(held, now), nil
		}
		return nil, unavailable(ctx, err)
	}
	set = store.Live(set, now)
	if s.health.listening.Load() {
		s.bindings.Fill(store.OwnAOR(aor, set), ticket, set, len(set) > 0)
	} else {
		s.bindings.Abandon(aor, ticket)
	}
	s.held.update(aor, set)
	return s.leases.known().Live(set, now), nil
}

// read returns all rows of an AOR, those that have expired among them.
func (s *Store) read(ctx context.Context, aor string) ([]store.Binding, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+bindingColumns+` FROM binding WHERE aor = $1 ORDER BY created, id`, []byte(aor))
	if err != nil {
		return nil, err
	}
	return scanBindings(rows)
}

// Sweep implements [store.Listing]. A row that another session is about to change is left
// to it, so nobody waits. What of it is in memory expires there by itself; it is forgotten
// all the same, for the memory.
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int) ([]store.Binding, error) {
	var swept []store.Binding
	for len(swept) < limit {
		if err := s.check(ctx); err != nil {
			return swept, err
		}
		step := min(sweepStep, limit-len(swept))
		rows, err := s.pool.Query(ctx, `DELETE FROM binding WHERE ctid = ANY(ARRAY(
				SELECT ctid FROM binding WHERE expires <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))
			RETURNING `+bindingColumns, now.UnixMilli(), step)
		if err != nil {
			return swept, unavailable(ctx, err)
		}
		part, err := scanBindings(rows)
		if err != nil {
			return swept, unavailable(ctx, err)
		}
		for i := range part {
			s.bindings.Drop(part[i].AOR)
		}
		swept = append(swept, part...)
		if len(part) < step {
			break
		}
	}
	return swept, nil
}

// sweepStep bounds the rows that one transaction deletes.
const sweepStep = 500

// User implements [store.Users].
func (s *Store) User(ctx context.Context, name, domain string) (store.User, error) {
	id := store.UserID{Name: name, Domain: domain}
	u, exists, known := s.users.Get(id)
	if !known {
		if err := s.check(ctx); err != nil {
			return store.User{}, err
		}
		ticket := s.users.Begin(id)
		found, err := s.queryUsers(ctx, `SELECT `+userColumns+` FROM sip_user WHERE domain = $1 AND name = $2`, []byte(domain), []byte(name))
		if err != nil {
			s.users.Abandon(id, ticket)
			return store.User{}, unavailable(ctx, err)
		}
		if exists = len(found) > 0; exists {
			u = found[0]
			id = u.ID() // the caller's may be part of a message
		}
		if s.health.listening.Load() {
			s.users.Fill(id, ticket, u, exists)
		} else {
			s.users.Abandon(id, ticket)
		}
	}
	if !exists {
		return store.User{}, store.ErrNotFound
	}
	return u, nil
}

// CachedUser implements [store.Cached].
func (s *Store) CachedUser(name, domain string) (u store.User, exists, ok bool) {
	return s.users.Get(store.UserID{Name: name, Domain: domain})
}

// ListUsers implements [store.Users].
func (s *Store) ListUsers(ctx context.Context, after store.UserID, limit int) ([]store.User, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	page, err := s.queryUsers(ctx, `SELECT `+userColumns+` FROM sip_user
		WHERE (domain, name) > ($1, $2) ORDER BY domain, name LIMIT $3`,
		[]byte(after.Domain), []byte(after.Name), store.PageSize(limit))
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	return page, nil
}
