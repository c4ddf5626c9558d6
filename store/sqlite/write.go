package sqlite

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/sipway/sipway/store"
)

// sweepStep bounds the rows that one transaction deletes, so that a sweep after a long
// pause holds up nobody.
const sweepStep = 500

// Register implements [store.Locations].
func (s *Store) Register(ctx context.Context, u store.Update) (store.Result, error) {
	if u.Query() {
		bindings, err := s.Lookup(ctx, u.AOR, u.Now)
		return store.Result{Bindings: bindings, Before: bindings}, err
	}
	var r store.Result
	err := s.batches.Do(ctx, func() (err error) {
		r, err = s.writer.register(u)
		return err
	})
	if err != nil {
		return store.Result{}, err
	}
	return r, nil
}

func (w *writer) register(u store.Update) (store.Result, error) {
	old, err := w.current(u.AOR)
	if err != nil {
		return store.Result{}, err
	}
	r, err := store.Apply(old, w.leases.known(), u)
	if err != nil {
		return store.Result{}, err
	}
	return r, w.replace(u.AOR, old, r.Bindings)
}

// current returns the rows of an AOR as the transaction sees them.
func (w *writer) current(aor string) ([]store.Binding, error) {
	st, ok := w.stagedBindings[aor]
	if !ok {
		st.value, st.exists, st.known = w.bindings.Get(aor)
	}
	if st.known {
		return st.value, nil
	}
	ctx := context.Background()
	bindings, err := readBindings(ctx, w.stmt.bindings, aor)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	return bindings, nil
}

// replace writes the difference of two sets of an AOR.
func (w *writer) replace(aor string, old, next []store.Binding) error {
	w.stagedBindings[aor] = staged[[]store.Binding]{value: next, exists: len(next) > 0, known: true}
	c := store.Diff(old, next)
	for i := range c.Delete {
		if err := w.exec(w.stmt.delete, aor, c.Delete[i].Key); err != nil {
			return err
		}
	}
	for i := range c.Insert {
		if err := w.exec(w.stmt.insert, bindingValues(&c.Insert[i])...); err != nil {
			return err
		}
	}
	for i := range c.Update {
		if err := w.exec(w.stmt.update, bindingValues(&c.Update[i])...); err != nil {
			return err
		}
	}
	for i := range c.Touch {
		b := &c.Touch[i]
		if err := w.exec(w.stmt.touch, b.CSeq, b.Updated.UnixMilli(), b.Expires.UnixMilli(), aor, b.Key); err != nil {
			return err
		}
	}
	return nil
}

// RemoveFlow implements [store.Locations].
func (s *Store) RemoveFlow(ctx context.Context, node string, epoch int64, flow uint64, aors []string) ([]store.Binding, error) {
	var removed []store.Binding
	err := s.batches.Do(ctx, func() error {
		for _, aor := range aors {
			old, err := s.writer.current(aor)
			if err != nil {
				return err
			}
			next := store.Without(old, func(b *store.Binding) bool {
				if !b.Over(node, epoch, flow) {
					return false
				}
				removed = append(removed, *b)
				return true
			})
			if len(next) == len(old) {
				continue
			}
			if err := s.writer.replace(aor, old, next); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}

// Sweep implements [store.Listing].
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int) ([]store.Binding, error) {
	var swept []store.Binding
	for len(swept) < limit {
		step := min(sweepStep, limit-len(swept))
		var part []store.Binding
		err := s.batches.Do(ctx, func() (err error) {
			part, err = s.writer.sweep(now, step)
			return err
		})
		if err != nil {
			return swept, err
		}
		swept = append(swept, part...)
		if len(part) < step {
			break
		}
	}
	return swept, nil
}

func (w *writer) sweep(now time.Time, limit int) ([]store.Binding, error) {
	ctx := context.Background()
	rows, err := w.stmt.expired.Query(now.UnixMilli(), limit)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	expired, err := scanBindings(rows)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	for i := range expired {
		b := &expired[i]
		if err := w.exec(w.stmt.delete, b.AOR, b.Key); err != nil {
			return nil, err
		}
		w.unlist(b)
	}
	return expired, nil
}

// unlist takes a deleted row out of the AOR's set where that is in memory.
func (w *writer) unlist(gone *store.Binding) {
	st, ok := w.stagedBindings[gone.AOR]
	if !ok {
		st.value, st.exists, st.known = w.bindings.Get(gone.AOR)
	}
	st.value = store.Without(st.value, func(b *store.Binding) bool { return b.Key == gone.Key })
	st.exists = len(st.value) > 0
	w.stagedBindings[gone.AOR] = st
}

// PutUsers implements [store.Users].
func (s *Store) PutUsers(ctx context.Context, users []store.User, mode store.PutMode) error {
	return s.batches.Do(ctx, func() error { return s.writer.putUsers(users, mode) })
}

// putUsers looks before it writes, because a refused write must not have changed anything.
func (w *writer) putUsers(users []store.User, mode store.PutMode) error {
	seen := make(map[store.UserID]bool, len(users))
	for i := range users {
		id := users[i].ID()
		exists := 0
		if mode == store.Add {
			if err := w.stmt.user.QueryRow(id.Domain, id.Name).Scan(&exists); err != nil {
				return unavailable(context.Background(), err)
			}
			if exists > 0 || seen[id] {
				return fmt.Errorf("%w: %s", store.ErrExists, id)
			}
		}
		seen[id] = true
	}
	for _, u := range users {
		if err := w.exec(w.stmt.putUser, userValues(&u)...); err != nil {
			return err
		}
		u.Pack()
		w.stagedUsers[u.ID()] = staged[store.User]{value: u, exists: true, known: true}
	}
	return nil
}

// DeleteUser implements [store.Users].
func (s *Store) DeleteUser(ctx context.Context, name, domain string) error {
	return s.batches.Do(ctx, func() error {
		r, err := s.writer.stmt.deleteUser.Exec(domain, name)
		if err != nil {
			return unavailable(context.Background(), err)
		}
		if n, err := r.RowsAffected(); err == nil && n == 0 {
			return store.ErrNotFound
		}
		s.writer.stagedUsers[store.UserID{Name: name, Domain: domain}] = staged[store.User]{known: true}
		return nil
	})
}

// secret returns a secret, which it makes where there is none.
func (w *writer) secret(name string) ([]byte, error) {
	fresh := make([]byte, store.SecretSize)
	rand.Read(fresh) // never fails: it ends the program instead
	if err := w.exec(w.stmt.makeSecret, name, fresh); err != nil {
		return nil, err
	}
	var secret []byte
	if err := w.stmt.secret.QueryRow(name).Scan(&secret); err != nil {
		return nil, unavailable(context.Background(), err)
	}
	return secret, nil
}
