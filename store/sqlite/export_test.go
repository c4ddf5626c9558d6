package sqlite

import (
	"context"
	"database/sql"
)

// OnWriter runs a statement on the connection that writes.
func (s *Store) OnWriter(ctx context.Context, query string) error {
	return s.batches.Do(ctx, func() error {
		_, err := s.writer.conn.ExecContext(context.Background(), query)
		return err
	})
}

// Readers returns the connections for reading.
func (s *Store) Readers() *sql.DB { return s.readers }

// Forget empties the caches.
func (s *Store) Forget(ctx context.Context) error {
	return s.batches.Do(ctx, func() error {
		s.writer.forget()
		return nil
	})
}
