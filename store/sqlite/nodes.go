package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/store"
)

const leasesOfNodes = `SELECT name, epoch, until FROM node ORDER BY name`

// Heartbeat implements [store.Nodes].
func (s *Store) Heartbeat(ctx context.Context, l store.Lease) error {
	err := s.batches.Do(ctx, func() error {
		w := s.writer
		if err := w.exec(w.stmt.putNode, l.Node, l.Epoch, l.Until.UnixMilli()); err != nil {
			return err
		}
		return w.exec(w.stmt.oldNodes, l.Until.Add(-store.LeaseMemory).UnixMilli())
	})
	if err != nil {
		return err
	}
	_, err = s.Nodes(ctx)
	return err
}

// Nodes implements [store.Nodes].
func (s *Store) Nodes(ctx context.Context) ([]store.Lease, error) {
	if err := s.leases.read(ctx, s.query.nodes); err != nil {
		return nil, unavailable(ctx, err)
	}
	return s.leases.known().List(), nil
}

// Watch implements [store.Feed].
func (s *Store) Watch(f func(aors []string)) (stop func()) { return s.feed.Watch(f) }

// leases is what is known of the nodes.
type leases struct {
	mu     sync.Mutex // held while they are read, so that an older reading comes not last
	latest atomic.Pointer[store.Leases]
}

func (l *leases) known() store.Leases {
	if latest := l.latest.Load(); latest != nil {
		return *latest
	}
	return nil
}

// read brings the leases up to date.
func (l *leases) read(ctx context.Context, stmt *sql.Stmt) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows, err := stmt.QueryContext(ctx)
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []store.Lease
	for rows.Next() {
		var lease store.Lease
		var until int64
		if err := rows.Scan(&lease.Node, &lease.Epoch, &until); err != nil {
			return err
		}
		lease.Until = time.UnixMilli(until)
		list = append(list, lease)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	next := store.NewLeases(list)
	l.latest.Store(&next)
	return nil
}
