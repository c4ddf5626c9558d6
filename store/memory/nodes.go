package memory

import (
	"context"

	"github.com/sipway/sipway/store"
)

// Heartbeat implements [store.Nodes].
func (s *Store) Heartbeat(ctx context.Context, l store.Lease) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	s.leasesMu.Lock()
	defer s.leasesMu.Unlock()
	next := s.knownLeases().With(l)
	s.leases.Store(&next)
	return nil
}

// Nodes implements [store.Nodes].
func (s *Store) Nodes(ctx context.Context) ([]store.Lease, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return s.knownLeases().List(), nil
}

func (s *Store) knownLeases() store.Leases {
	if l := s.leases.Load(); l != nil {
		return *l
	}
	return nil
}

// Watch implements [store.Feed]. Nobody else can change anything.
func (s *Store) Watch(func(aors []string)) (stop func()) { return func() {} }
