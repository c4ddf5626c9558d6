package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sipway/sipway/store"
)

// readStatements are prepared on every connection for reading.
type readStatements struct {
	bindings, user, users, nodes *sql.Stmt
	list                         [3]*sql.Stmt // by store.Sort
	count, remotes               *sql.Stmt
}

// bindingsOfAOR is what both readers and the writer ask.
const bindingsOfAOR = `SELECT ` + bindingColumns + ` FROM binding WHERE aor = ? ORDER BY created, id`

func (q *readStatements) prepare(ctx context.Context, db *sql.DB) error {
	// A pool closes its statements with itself.
	_, err := prepareAll(ctx, db, map[**sql.Stmt]string{
		&q.bindings: bindingsOfAOR,
		&q.list[store.ByAOR]: `SELECT ` + bindingColumns + ` FROM binding WHERE (aor, key) > (?9, ?10)` + selected +
			` ORDER BY aor, key LIMIT ?11`,
		&q.list[store.ByExpires]: `SELECT ` + bindingColumns + ` FROM binding WHERE (expires, aor, key) > (?8, ?9, ?10)` + selected +
			` ORDER BY expires, aor, key LIMIT ?11`,
		// Expressions with a minus, since one comparison of rows has one direction.
		&q.list[store.ByUpdated]: `SELECT ` + bindingColumns + ` FROM binding WHERE (-updated, aor, key) > (-?8, ?9, ?10)` + selected +
			` ORDER BY -updated, aor, key LIMIT ?11`,
		&q.count:   `SELECT count(*) FROM binding WHERE TRUE` + selected,
		&q.remotes: `SELECT remote FROM binding WHERE TRUE` + selected,
		&q.user:    `SELECT ` + userColumns + ` FROM user WHERE domain = ? AND name = ?`,
		&q.users: `SELECT ` + userColumns + ` FROM user
			WHERE (domain, name) > (?, ?) ORDER BY domain, name LIMIT ?`,
		&q.nodes: leasesOfNodes,
	})
	return err
}

// preparer is a *sql.DB or a *sql.Conn.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// prepareAll prepares the statements and returns all of them.
func prepareAll(ctx context.Context, p preparer, queries map[**sql.Stmt]string) ([]*sql.Stmt, error) {
	all := make([]*sql.Stmt, 0, len(queries))
	for stmt, query := range queries {
		var err error
		if *stmt, err = p.PrepareContext(ctx, query); err != nil {
			return nil, errors.Join(err, closeAll(all))
		}
		all = append(all, *stmt)
	}
	return all, nil
}

func closeAll(stmts []*sql.Stmt) error {
	var err error
	for _, stmt := range stmts {
		err = errors.Join(err, stmt.Close())
	}
	return err
}

// Lookup implements [store.Locations].
func (s *Store) Lookup(ctx context.Context, aor string, now time.Time) ([]store.Binding, error) {
	if bindings, ok := s.CachedLookup(aor, now); ok {
		return bindings, nil
	}
	ticket := s.bindings.Begin(aor)
	bindings, err := readBindings(ctx, s.query.bindings, aor)
	if err != nil {
		s.bindings.Abandon(aor, ticket)
		return nil, unavailable(ctx, err)
	}
	s.bindings.Fill(store.OwnAOR(aor, bindings), ticket, bindings, len(bindings) > 0)
	return s.leases.known().Live(bindings, now), nil
}

// readBindings returns all rows of an AOR, those that have expired among them.
func readBindings(ctx context.Context, stmt *sql.Stmt, aor string) ([]store.Binding, error) {
	rows, err := stmt.QueryContext(ctx, aor)
	if err != nil {
		return nil, err
	}
	return scanBindings(rows)
}

// CachedLookup implements [store.Cached].
func (s *Store) CachedLookup(aor string, now time.Time) ([]store.Binding, bool) {
	bindings, _, known := s.bindings.Get(aor)
	return s.leases.known().Live(bindings, now), known
}

// User implements [store.Users].
func (s *Store) User(ctx context.Context, name, domain string) (store.User, error) {
	id := store.UserID{Name: name, Domain: domain}
	u, exists, known := s.users.Get(id)
	if !known {
		ticket := s.users.Begin(id)
		found, err := readUsers(ctx, s.query.user, domain, name)
		if err != nil {
			s.users.Abandon(id, ticket)
			return store.User{}, unavailable(ctx, err)
		}
		if exists = len(found) > 0; exists {
			u = found[0]
			id = u.ID() // the caller's may be part of a message
		}
		s.users.Fill(id, ticket, u, exists)
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
	page, err := readUsers(ctx, s.query.users, after.Domain, after.Name, store.PageSize(limit))
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	return page, nil
}

func readUsers(ctx context.Context, stmt *sql.Stmt, args ...any) ([]store.User, error) {
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	return scanUsers(rows)
}
