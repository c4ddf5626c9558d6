package memory

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/sipway/sipway/store"
)

// users has all users. An import prepares a whole new map while the old one answers.
type users struct {
	writing sync.Mutex // held by whoever changes anything

	mu    sync.RWMutex // guards the fields; taken for writing under writing only
	byID  map[store.UserID]store.User
	order order[store.UserID]
}

// reset replaces everything; ids are the sorted keys of byID.
func (u *users) reset(byID map[store.UserID]store.User, ids []store.UserID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.byID = byID
	u.order = sorted(store.UserID.Compare, ids)
}

// User implements [store.Users].
func (s *Store) User(ctx context.Context, name, domain string) (store.User, error) {
	if err := s.check(ctx); err != nil {
		return store.User{}, err
	}
	u, exists, _ := s.CachedUser(name, domain)
	if !exists {
		return store.User{}, store.ErrNotFound
	}
	return u, nil
}

// CachedUser implements [store.Cached]; it always knows.
func (s *Store) CachedUser(name, domain string) (u store.User, exists, ok bool) {
	s.users.mu.RLock()
	defer s.users.mu.RUnlock()
	u, exists = s.users.byID[store.UserID{Name: name, Domain: domain}]
	return u, exists, true
}

// PutUsers implements [store.Users].
func (s *Store) PutUsers(ctx context.Context, users []store.User, mode store.PutMode) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	s.users.writing.Lock()
	defer s.users.writing.Unlock()
	staged := make(map[store.UserID]store.User, len(users))
	for _, u := range users {
		if err := s.users.stage(staged, u, mode); err != nil {
			return err
		}
	}
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	for id, u := range staged {
		s.users.byID[id] = u
		s.users.order.insert(id)
	}
	return nil
}

// stage adds u to the users that are to be stored. The caller holds writing, so byID is
// read without mu.
func (u *users) stage(staged map[store.UserID]store.User, user store.User, mode store.PutMode) error {
	id := user.ID()
	if mode == store.Add {
		_, twice := staged[id]
		if _, exists := u.byID[id]; exists || twice {
			return fmt.Errorf("%w: %s", store.ErrExists, id)
		}
	}
	user.Pack()
	staged[user.ID()] = user
	return nil
}

// ImportUsers implements [store.Users]. Everything is in memory twice until it is over.
func (s *Store) ImportUsers(ctx context.Context, seq iter.Seq2[store.User, error], mode store.PutMode, progress func(int)) (int, error) {
	s.users.writing.Lock()
	defer s.users.writing.Unlock()
	staged := make(map[store.UserID]store.User)
	n := 0
	for u, err := range seq {
		if err != nil {
			return 0, fmt.Errorf("store: import of user %d: %w", n+1, err)
		}
		if err := s.check(ctx); err != nil {
			return 0, err
		}
		if err := s.users.stage(staged, u, mode); err != nil {
			return 0, err
		}
		n++
		if progress != nil && n%store.ImportStep == 0 {
			progress(n)
		}
	}
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	all := maps.Clone(s.users.byID)
	maps.Copy(all, staged)
	s.users.reset(all, slices.SortedFunc(maps.Keys(all), store.UserID.Compare))
	return n, nil
}

// DeleteUser implements [store.Users].
func (s *Store) DeleteUser(ctx context.Context, name, domain string) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	s.users.writing.Lock()
	defer s.users.writing.Unlock()
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	id := store.UserID{Name: name, Domain: domain}
	if _, exists := s.users.byID[id]; !exists {
		return store.ErrNotFound
	}
	delete(s.users.byID, id)
	s.users.order.delete(id)
	return nil
}

// ListUsers implements [store.Users].
func (s *Store) ListUsers(ctx context.Context, after store.UserID, limit int) ([]store.User, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	limit = store.PageSize(limit)
	s.users.mu.RLock()
	defer s.users.mu.RUnlock()
	page := make([]store.User, 0, min(limit, len(s.users.byID)))
	for _, id := range s.users.order.from(nil, after, limit+1) {
		if id != after && len(page) < limit {
			page = append(page, s.users.byID[id])
		}
	}
	return page, nil
}
