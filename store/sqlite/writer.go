package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/internal/batch"
	"github.com/sipway/sipway/store/internal/cache"
	"github.com/sipway/sipway/store/internal/feed"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// writer is the only connection that writes in the course of a server's life. Its methods
// are called on the goroutine of a batch.Writer.
//
// Since nobody else of this process changes bindings, and the writer notices the commits
// of other processes inside its own transaction, the cache is as good as the table for the
// bindings that it knows: a refresh reads nothing.
type writer struct {
	db   *sql.DB // one connection
	conn *sql.Conn
	stmt writeStatements
	open []*sql.Stmt // all of stmt: closing a *sql.Conn closes none of them

	// version is PRAGMA data_version when it was last looked at. For one connection it
	// changes with the commits of all others.
	version int64

	bindings *cache.Cache[string, []store.Binding]
	users    *cache.Cache[store.UserID, store.User]
	leases   *leases
	feed     *feed.Feed

	// What the transaction under way will have changed. An entry without value has to be
	// read again.
	stagedBindings map[string]staged[[]store.Binding]
	stagedUsers    map[store.UserID]staged[store.User]
}

// write does one write inside the transaction of a batch. Its error is the outcome of this
// write alone, unless it is store.ErrUnavailable.
type write = func() error

type staged[V any] struct {
	value         V
	exists, known bool
}

type writeStatements struct {
	begin, commit, rollback, version *sql.Stmt
	bindings, insert, update, touch  *sql.Stmt
	delete, expired                  *sql.Stmt
	user, putUser, deleteUser        *sql.Stmt
	makeSecret, secret               *sql.Stmt
	nodes, putNode, oldNodes         *sql.Stmt
}

func newWriter(ctx context.Context, db *sql.DB, s *Store) (*writer, error) {
	w := &writer{
		db: db, bindings: s.bindings, users: s.users, leases: &s.leases, feed: &s.feed,
		stagedBindings: make(map[string]staged[[]store.Binding]),
		stagedUsers:    make(map[store.UserID]staged[store.User]),
	}
	return w, w.connect(ctx)
}

// connect takes a connection and prepares the statements on it.
func (w *writer) connect(ctx context.Context) error {
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	q := &w.stmt
	open, err := prepareAll(ctx, conn, map[**sql.Stmt]string{
		&q.begin:    `BEGIN IMMEDIATE`,
		&q.commit:   `COMMIT`,
		&q.rollback: `ROLLBACK`,
		&q.version:  `PRAGMA data_version`,
		&q.bindings: bindingsOfAOR,
		// A row of the same key can only be one that has expired.
		&q.insert: `INSERT OR REPLACE INTO binding (` + bindingColumns + `)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		&q.update: `UPDATE binding SET (` + bindingColumns + `)
			= (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)
			WHERE aor = ?1 AND key = ?2`,
		&q.touch:      `UPDATE binding SET cseq = ?, updated = ?, expires = ? WHERE aor = ? AND key = ?`,
		&q.delete:     `DELETE FROM binding WHERE aor = ? AND key = ?`,
		&q.expired:    `SELECT ` + bindingColumns + ` FROM binding WHERE expires <= ? ORDER BY expires LIMIT ?`,
		&q.user:       `SELECT count(*) FROM user WHERE domain = ? AND name = ?`,
		&q.putUser:    `INSERT OR REPLACE INTO user (` + userColumns + `) VALUES (?, ?, ?, ?, ?)`,
		&q.deleteUser: `DELETE FROM user WHERE domain = ? AND name = ?`,
		&q.nodes:      leasesOfNodes,
		&q.putNode:    `INSERT OR REPLACE INTO node (name, epoch, until) VALUES (?, ?, ?)`,
		&q.oldNodes:   `DELETE FROM node WHERE until < ?`,
		&q.makeSecret: `INSERT OR IGNORE INTO secret (name, value) VALUES (?, ?)`,
		&q.secret:     `SELECT value FROM secret WHERE name = ?`,
	})
	if err == nil {
		err = q.version.QueryRowContext(ctx).Scan(&w.version)
	}
	if err != nil {
		return errors.Join(err, closeAll(open), conn.Close())
	}
	w.conn, w.open = conn, open
	return nil
}

// disconnect throws the connection away.
func (w *writer) disconnect() error {
	if w.conn == nil {
		return nil
	}
	conn := w.conn
	w.conn = nil
	err := closeAll(w.open)
	// A connection that reports itself as bad does not go back into the pool.
	raw := conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(raw, driver.ErrBadConn) {
		raw = nil
	}
	return errors.Join(err, raw)
}

func (w *writer) close() error {
	return errors.Join(w.disconnect(), w.db.Close())
}

// commit runs the writes of a batch in one transaction. A write that is refused by its own
// terms (store.ErrOrder) has changed nothing and leaves the others alone; when the database
// fails, it fails for all.
func (w *writer) commit(ops []*batch.Op[write]) {
	errs := make([]error, len(ops))
	err := w.begin()
	for i := 0; i < len(ops) && err == nil; i++ {
		errs[i] = ops[i].Write()
		if errors.Is(errs[i], store.ErrUnavailable) {
			err = errs[i]
		}
	}
	if err == nil {
		err = w.exec(w.stmt.commit)
	}
	if err == nil {
		w.publish()
	} else {
		w.abort()
	}
	for i, op := range ops {
		op.Done(cmp.Or(err, errs[i]))
	}
}

// begin starts a transaction, on a new connection where the old one is of no use any more.
func (w *writer) begin() error {
	if w.conn != nil {
		err := w.exec(w.stmt.begin)
		if err == nil {
			return w.look()
		}
		if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_BUSY {
			return err
		}
	}
	ctx := context.Background()
	// Closing what is broken may fail; what matters is whether the next one works.
	_ = w.disconnect()
	if err := w.connect(ctx); err != nil {
		return unavailable(ctx, err)
	}
	// Nobody watched for other processes in the meantime.
	w.forget()
	if err := w.exec(w.stmt.begin); err != nil {
		return err
	}
	return w.look()
}

// abort ends a transaction that failed. The keys that it touched are read again; COMMIT
// may have failed after the fact.
func (w *writer) abort() {
	for aor := range w.stagedBindings {
		w.bindings.Drop(aor)
	}
	for id := range w.stagedUsers {
		w.users.Drop(id)
	}
	w.unstage()
	if w.conn != nil {
		// SQLite has rolled back already after some errors and says so by another. If
		// the transaction is still there in spite of this, begin will find out.
		_, _ = w.stmt.rollback.Exec()
	}
}

// publish makes the effects of a transaction visible to those who ask the caches, before
// anybody learns that it was committed.
func (w *writer) publish() {
	for aor, st := range w.stagedBindings {
		if st.known {
			w.bindings.Set(store.OwnAOR(aor, st.value), st.value, st.exists)
		} else {
			w.bindings.Drop(aor)
		}
	}
	for id, st := range w.stagedUsers {
		w.users.Set(id, st.value, st.exists)
	}
	w.unstage()
}

func (w *writer) unstage() {
	clear(w.stagedBindings)
	clear(w.stagedUsers)
}

// watch looks for commits of other processes while there is nothing to write.
func (w *writer) watch() {
	if w.conn == nil {
		return
	}
	if err := w.look(); err != nil {
		// Whether the caches are right is not known.
		w.forget()
	}
}

// look forgets the caches if somebody else has committed since the last look, and reads
// what others say of their nodes.
func (w *writer) look() error {
	var version int64
	if err := w.stmt.version.QueryRow().Scan(&version); err != nil {
		return unavailable(context.Background(), err)
	}
	if version != w.version {
		w.version = version
		w.forget()
		if err := w.leases.read(context.Background(), w.stmt.nodes); err != nil {
			return unavailable(context.Background(), err)
		}
	}
	return nil
}

// forget is for when others may have changed anything.
func (w *writer) forget() {
	w.bindings.Flush()
	w.users.Flush()
	w.feed.Publish(nil)
}

// exec runs a statement; an error means that the transaction can't go on.
func (w *writer) exec(stmt *sql.Stmt, args ...any) error {
	if _, err := stmt.Exec(args...); err != nil {
		return unavailable(context.Background(), err)
	}
	return nil
}
