// Package sqlite is the store in one file: sipway's default. The driver is SQLite in pure
// Go, in WAL mode with synchronous=FULL, so that what was committed survives the loss of
// power.
//
// One goroutine writes; it commits all writes that wait in one transaction (see
// store/internal/batch), so a thousand concurrent REGISTERs share a disk flush. Readers
// have connections of their own and wait for nobody. In front of both is a cache of
// bindings and users (see store/internal/cache).
//
// Other processes may use the same file at the same time, such as "sipway user add" beside
// a running server. A server notices their commits before it writes and otherwise once per
// second (PRAGMA data_version), and forgets its caches then. So what a cache answers, "no
// such user" included, is never older than a second, plus the time of a transaction that is
// under way. While another process holds the write lock, writes wait up to ten seconds and
// then fail with store.ErrUnavailable.
//
// The file holds H(A1) of users: it is created with mode 0600.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/migrations"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/internal/batch"
	"github.com/sipway/sipway/store/internal/cache"
	"github.com/sipway/sipway/store/internal/feed"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Config tunes a store. The zero value is right for a small server.
type Config struct {
	// CacheBytes bounds the memory that bindings and users are kept in; 0 means 256 MiB.
	CacheBytes int64
}

const (
	// maxBatch bounds a transaction, and with it the time that a write waits for those
	// before it: about 20 ms of work.
	maxBatch = 1024
	// watchInterval is how often the commits of other processes are looked for.
	watchInterval = time.Second
	// maxReaders bounds the connections for reading. More would contend for cores, not
	// for the database.
	maxReaders = 4
	// lockWait is how long a transaction waits for those of other processes.
	lockWait = 10 * time.Second
	// applicationID marks a file of ours; the first migration sets it.
	applicationID = 0x73697077 // "sipw"
)

// Store is a store in an SQLite file.
type Store struct {
	path    string
	readers *sql.DB
	query   readStatements
	writer  *writer
	batches *batch.Writer[write]
	closed  atomic.Bool

	bindings *cache.Cache[string, []store.Binding]
	users    *cache.Cache[store.UserID, store.User]
	leases   leases
	feed     feed.Feed
}

var _ store.Store = (*Store)(nil)

// Open opens the file, which is created where there is none, and brings it to the version
// that this program knows. Its directory must exist.
func Open(ctx context.Context, path string, cfg Config) (*Store, error) {
	// An absolute path stays what it is, whatever the process or SQLite's special names
	// (":memory:") do.
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	s, err := open(ctx, abs, cfg)
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, explain(err))
	}
	return s, nil
}

// Status returns the version of the file, which must exist, and the one that the program
// needs.
func Status(ctx context.Context, path string) (st migrations.Status, err error) {
	if _, err := os.Stat(path); err != nil {
		return st, fmt.Errorf("store: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return st, fmt.Errorf("store: %s: %w", path, err)
	}
	db, err := connect(path, 1, "")
	if err != nil {
		return st, fmt.Errorf("store: %s: %w", path, explain(err))
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := ours(ctx, db); err != nil {
		return st, fmt.Errorf("store: %s: %w", path, explain(err))
	}
	return migrations.Get(ctx, migrations.SQLite, db)
}

func open(ctx context.Context, path string, cfg Config) (_ *Store, err error) {
	if err := create(path); err != nil {
		return nil, err
	}
	s := &Store{
		path:     path,
		bindings: cache.Bindings(cfg.CacheBytes),
		users:    cache.Users(cfg.CacheBytes),
	}
	db, err := connect(path, 1, "")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if err := ours(ctx, db); err != nil {
		return nil, err
	}
	if err := useWAL(ctx, db); err != nil {
		return nil, err
	}
	if err := migrations.Up(ctx, migrations.SQLite, db); err != nil {
		return nil, err
	}
	s.writer, err = newWriter(ctx, db, s)
	if err != nil {
		return nil, err
	}
	s.readers, err = connect(path, maxReaders, "query_only(1)")
	if err != nil {
		return nil, err
	}
	if err := s.query.prepare(ctx, s.readers); err != nil {
		return nil, errors.Join(err, s.readers.Close())
	}
	if err := s.leases.read(ctx, s.query.nodes); err != nil {
		return nil, errors.Join(err, s.readers.Close())
	}
	s.batches = batch.Start(maxBatch, 0, s.writer.commit, watchInterval, s.writer.watch)
	return s, nil
}

// create makes an empty file that only its owner can read; SQLite would give it the mode
// of the umask. The files beside it (-wal, -shm) take the mode of this one. A file that
// exists is not even opened here: closing it again would take away the locks that this
// process may hold on it.
func create(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist): // another process was faster
		return nil
	case err != nil:
		return err
	}
	return f.Close()
}

// connect opens the file with a pool of that many connections.
func connect(path string, size int, pragma string) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", lockWait.Milliseconds()), "synchronous(FULL)", "foreign_keys(1)",
		// 16 MB instead of 4: pages that change again and again are copied back less often.
		"wal_autocheckpoint(4000)",
	}}
	if pragma != "" {
		q.Add("_pragma", pragma)
	}
	name := url.URL{Path: path}
	db, err := sql.Open("sqlite", "file:"+name.EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// ours refuses the database of another program, before it gets a table of ours.
func ours(ctx context.Context, db *sql.DB) error {
	var id, tables int
	err := db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%')`).
		Scan(&id, &tables)
	if err != nil {
		return err
	}
	if id != applicationID && (id != 0 || tables > 0) {
		return errors.New("this is the database of another program")
	}
	return nil
}

// useWAL puts the file into WAL mode, which it stays in. Where processes that start at the
// same time all want that, SQLite doesn't let them wait for each other: each may hold the
// read lock that another waits for, and so it refuses all but one at once.
func useWAL(ctx context.Context, db *sql.DB) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(lockWait); ; {
		_, err := db.ExecContext(ctx, "PRAGMA journal_mode = WAL")
		if !busy(err) || time.Now().After(end) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// busy reports whether err says that another process has the file locked.
func busy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// CacheStats implements [store.Cached].
func (s *Store) CacheStats() (bindings, users store.CacheStats) {
	return s.bindings.Stats(), s.users.Stats()
}

// Close implements [store.Store].
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.batches.Close()
	err := errors.Join(s.readers.Close(), s.writer.close())
	// What is not cached is asked of the database, which now says that it is closed.
	s.bindings.Flush()
	s.users.Flush()
	return err
}

// Secret implements [store.Secrets].
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	var secret []byte
	err := s.batches.Do(ctx, func() (err error) {
		secret, err = s.writer.secret(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return secret, nil
}

// unavailable wraps an error of the database. ctx is the one that the operation ran under:
// if it has ended, that is what happened.
func unavailable(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("store: %w", ended)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, explain(err))
}

// explain puts into words what an operator can do something about.
func explain(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff { // without the extended part
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("the file is not a database: %w", err)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("the file is damaged; restore it from a backup: %w", err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full: %w", err)
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("the file or its directory can't be written: %w", err)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("another process keeps the file locked: %w", err)
	}
	return err
}

// glob turns the pattern of a [store.Query] into one of SQLite's GLOB, where more
// characters than the star are special.
func glob(pattern string) string {
	if pattern == "" {
		return "*"
	}
	return strings.NewReplacer("[", "[[]", "?", "[?]").Replace(pattern)
}
