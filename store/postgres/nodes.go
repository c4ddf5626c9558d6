package postgres

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store"
)

// grace is how long after the database was found again a lease counts as alive that ran
// out: nobody could extend it.
const grace = 15 * time.Second

// far is the end of what does not end for now.
const far = 365 * 24 * time.Hour

// leases is what is known of the nodes.
type leases struct {
	mu     sync.Mutex // held while they are read, so that an older reading comes not last
	latest atomic.Pointer[store.Leases]
	own    *store.Lease // the last of ours, and how long it was to last
	span   time.Duration
	until  time.Time // no lease counts as ended before
}

func (l *leases) known() store.Leases {
	if latest := l.latest.Load(); latest != nil {
		return *latest
	}
	return nil
}

// freeze lets no more leases run out, since none can be extended.
func (l *leases) freeze(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = now.Add(far)
	if latest := l.latest.Load(); latest != nil {
		l.set(latest.List())
	}
}

// set makes a list the latest. The caller holds mu.
func (l *leases) set(list []store.Lease) {
	for i := range list {
		if list[i].Until.Before(l.until) {
			list[i].Until = l.until
		}
	}
	next := store.NewLeases(list)
	l.latest.Store(&next)
}

// Heartbeat implements [store.Nodes].
func (s *Store) Heartbeat(ctx context.Context, lease store.Lease) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own, l.span = &lease, time.Until(lease.Until)
	if err := s.putLease(ctx, s.pool, &lease); err != nil {
		return unavailable(ctx, err)
	}
	return s.readLeases(ctx, s.pool)
}

// session is a connection or a pool of them.
type session interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

func (s *Store) putLease(ctx context.Context, c session, lease *store.Lease) error {
	var b pgx.Batch
	b.Queue(`INSERT INTO node (name, epoch, until) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, until = excluded.until`,
		[]byte(lease.Node), lease.Epoch, lease.Until.UnixMilli())
	b.Queue(`DELETE FROM node WHERE until < $1`, lease.Until.Add(-store.LeaseMemory).UnixMilli())
	b.Queue(notify, []string{s.notice(leasesChanged)})
	return c.SendBatch(ctx, &b).Close()
}

// readLeases brings the leases up to date. The caller holds leases.mu.
func (s *Store) readLeases(ctx context.Context, c session) error {
	rows, err := c.Query(ctx, `SELECT name, epoch, until FROM node ORDER BY name`)
	if err != nil {
		return unavailable(ctx, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (lease store.Lease, err error) {
		var name []byte
		var until int64
		err = row.Scan(&name, &lease.Epoch, &until)
		lease.Node, lease.Until = string(name), time.UnixMilli(until)
		return lease, err
	})
	if err != nil {
		return unavailable(ctx, err)
	}
	s.leases.set(list)
	return nil
}

// renew is for when the database was found again: our own lease is extended before anybody
// looks, and others have time to extend theirs.
func (s *Store) renew(ctx context.Context, c session, now time.Time) error {
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.until.IsZero() {
		l.until = now.Add(grace)
	}
	if l.own != nil && l.span > 0 {
		own := *l.own
		own.Until = now.Add(l.span)
		if err := s.putLease(ctx, c, &own); err != nil {
			return err
		}
	}
	return s.readLeases(ctx, c)
}

// Nodes implements [store.Nodes].
func (s *Store) Nodes(ctx context.Context) ([]store.Lease, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	if err := s.readLeases(ctx, s.pool); err != nil {
		return nil, err
	}
	return s.leases.known().List(), nil
}
