package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store"
)

const (
	// channel is that of our notifications.
	channel = "sipway"
	// notify sends the payloads of its parameter.
	notify = `SELECT pg_notify('` + channel + `', p) FROM unnest($1::text[]) p`
	// maxPayload is PostgreSQL's limit of 8000 bytes with room to spare.
	maxPayload = 7800
	// quiet is how long nothing is heard before the connection is tried.
	quiet = 2 * time.Second
	// minRetry and maxRetry bound the wait between two tries to connect.
	minRetry = 50 * time.Millisecond
	maxRetry = time.Second
)

// The kinds of notices. A notice is our origin, a kind, and names, with spaces between.
const (
	bindingsChanged = "b" // of the AORs named
	usersChanged    = "u" // those named; all where there is no name
	leasesChanged   = "n"
)

// health is whether the database can be reached, as the connection that listens sees it.
type health struct {
	// listening is false while others may change what is in memory without our hearing.
	listening atomic.Bool
	// failure is why the database can't be reached; nil while it can.
	failure atomic.Pointer[error]
	// lives counts the losses. A connection from before one is not to be trusted.
	lives atomic.Int64
}

// down returns why nothing can be asked of the database.
func (h *health) down() error {
	if err := h.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// notice returns a notice without names.
func (s *Store) notice(kind string) string { return s.origin + " " + kind }

// notices returns as few notices as have room for the names.
func (s *Store) notices(kind string, names []string) []string {
	var all []string
	var one strings.Builder
	for _, name := range names {
		name = url.QueryEscape(name) // no spaces, and ASCII whatever the bytes
		if len(name) > maxPayload/2 {
			continue // nobody caches that, see maxKey
		}
		if one.Len() > 0 && one.Len()+len(name)+1 > maxPayload {
			all = append(all, one.String())
			one.Reset()
		}
		if one.Len() == 0 {
			one.WriteString(s.notice(kind))
		}
		one.WriteByte(' ')
		one.WriteString(name)
	}
	if one.Len() > 0 {
		all = append(all, one.String())
	}
	return all
}

// heard does what a notice says.
func (s *Store) heard(ctx context.Context, conn *pgx.Conn, payload string) error {
	words := strings.Split(payload, " ")
	if len(words) < 2 || words[0] == s.origin {
		return nil
	}
	names := words[2:]
	for i := range names {
		name, err := url.QueryUnescape(names[i])
		if err != nil {
			return nil // not one of ours
		}
		names[i] = name
	}
	switch words[1] {
	case bindingsChanged:
		for _, aor := range names {
			s.bindings.Drop(aor)
		}
		s.feed.Publish(names)
	case usersChanged:
		s.forgetUsers(names)
	case leasesChanged:
		s.leases.mu.Lock()
		defer s.leases.mu.Unlock()
		return s.readLeases(ctx, conn)
	}
	return nil
}

func (s *Store) forgetUsers(names []string) {
	if len(names) == 0 {
		s.users.Flush()
	}
	for _, name := range names {
		if at := strings.LastIndexByte(name, '@'); at >= 0 {
			s.users.Drop(store.UserID{Name: name[:at], Domain: name[at+1:]})
		}
	}
}

// startListening opens the connection on which others are heard. From its return on,
// memory is as good as the database.
func (s *Store) startListening(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "LISTEN "+channel)
	if err == nil {
		err = s.renew(ctx, conn, time.Now())
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	// What was read before somebody could be heard may be out of date.
	s.bindings.Flush()
	s.users.Flush()
	s.health.failure.Store(nil)
	s.health.listening.Store(true)
	s.feed.Publish(nil)
	return conn, nil
}

// listen hears what others change until ctx ends, on one connection after the other.
func (s *Store) listen(ctx context.Context, conn *pgx.Conn) {
	for conn != nil {
		err := s.hear(ctx, conn)
		s.lost(err, ctx.Err() == nil)
		// It is broken or of no use any more; that it can't be closed is no news.
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = conn.Close(closing)
		cancel()
		conn = s.listenAgain(ctx)
	}
}

// hear returns why the connection is of no use any more.
func (s *Store) hear(ctx context.Context, conn *pgx.Conn) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, quiet)
		n, err := conn.WaitForNotification(waiting)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			err = s.heard(ctx, conn, n.Payload)
		case waiting.Err() != nil && !conn.IsClosed():
			trying, cancel := context.WithTimeout(ctx, quiet)
			err = conn.Ping(trying)
			cancel()
		}
		if err != nil {
			return err
		}
	}
}

// lost is for when nobody is heard any more.
func (s *Store) lost(err error, log bool) {
	s.health.listening.Store(false)
	s.health.lives.Add(1)
	s.pool.Reset() // its connections are of before, too
	s.leases.freeze(time.Now())
	s.bindings.Flush()
	s.users.Flush()
	if log {
		s.cfg.Logger.Warn("connection to the database lost", "error", err)
	}
}

// listenAgain connects until it can; nil is returned when ctx has ended.
func (s *Store) listenAgain(ctx context.Context) *pgx.Conn {
	began := time.Now()
	for wait := minRetry; ctx.Err() == nil; wait = min(2*wait, maxRetry) {
		conn, err := s.startListening(ctx)
		if err == nil {
			s.cfg.Logger.Info("connection to the database is back", "after", time.Since(began).Round(time.Millisecond))
			return conn
		}
		if s.health.down() == nil && ctx.Err() == nil {
			s.cfg.Logger.Error("the database can't be reached: registrations are answered with 503, calls go to what was registered here", "error", explain(err))
		}
		failure := fmt.Errorf("%w: %w", store.ErrUnavailable, explain(err))
		s.health.failure.Store(&failure)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return nil
}
