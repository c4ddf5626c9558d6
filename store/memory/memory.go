// Package memory is a store that lives and ends with its process: for tests, labs, and
// edge proxies whose registrations are elsewhere. Its size is bounded by the data alone;
// every look-up is a hit, so nothing ever waits.
package memory

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/sipway/sipway/store"
)

// shards is the number of independently locked parts of the bindings: enough that counting
// or sweeping one of them, with a million bindings in all, holds it for a moment only.
const shards = 256

// Store is a store in memory.
//
// Locks: users.writing before users.mu; a shard's before aors.mu. No other two are held
// together.
type Store struct {
	seed  maphash.Seed
	shard [shards]shard
	aors  aors
	users users

	// swept is the shard where the next sweep begins.
	swept atomic.Uint32

	secretsMu sync.Mutex
	secrets   map[string][]byte // by name

	leasesMu sync.Mutex // held to replace leases
	leases   atomic.Pointer[store.Leases]

	closed atomic.Bool
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	s := &Store{seed: maphash.MakeSeed(), secrets: make(map[string][]byte)}
	for i := range s.shard {
		s.shard[i].bindings = make(map[string][]store.Binding)
	}
	s.aors.order = sorted[string](compareStrings, nil)
	s.users.reset(make(map[store.UserID]store.User), nil)
	return s
}

// check says why an operation can't begin.
func (s *Store) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if s.closed.Load() {
		return fmt.Errorf("%w: closed", store.ErrUnavailable)
	}
	return nil
}

// Secret implements [store.Secrets].
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	s.secretsMu.Lock()
	defer s.secretsMu.Unlock()
	secret, ok := s.secrets[name]
	if !ok {
		secret = make([]byte, store.SecretSize)
		rand.Read(secret) // never fails: it ends the program instead
		s.secrets[name] = secret
	}
	return append([]byte(nil), secret...), nil
}

// CacheStats implements [store.Cached]: there is nothing behind the memory.
func (s *Store) CacheStats() (bindings, users store.CacheStats) { return }

// Close implements [store.Store].
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}
