// Package postgres is the store that several nodes share, in PostgreSQL 13 or newer.
//
// A REGISTER is written by a lane, chosen by its AOR where there are several; a lane is a
// connection and a goroutine that writes all REGISTERs that wait for it together (see
// store/internal/batch). A plain refresh of a binding that is in memory takes one round
// trip for the whole batch, without a lock: the statement changes a row only if it is still
// the one in memory. What it does not change, and everything else, takes two: the AORs are
// locked and read, the outcome is made by [store.Apply] from what was read, and written.
//
// In front is a cache of bindings and users. Writers tell each other by NOTIFY which AORs
// they have added to, moved or removed from, once for a batch; mere refreshes are not told,
// so what a node knows of a binding at another one may lack its latest expiry, for as long
// as entries are believed. When the connection that listens breaks, the cache is emptied,
// and stays empty until there is a new one.
//
// While the database can't be reached, writes fail at once with store.ErrUnavailable, and
// look-ups are answered with what was bound through this process, which is kept for that.
// A connection is tried again all the time.
package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sipway/sipway/migrations"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/internal/batch"
	"github.com/sipway/sipway/store/internal/cache"
	"github.com/sipway/sipway/store/internal/feed"
)

// Config tunes a store. The zero value is right for most.
type Config struct {
	// CacheBytes bounds the memory that bindings and users are kept in; 0 means 256 MiB.
	// What is kept for when the database is down comes on top where it is not cached.
	CacheBytes int64
	// Lanes is how many batches may be under way at a time; 0 means 1, which costs least:
	// the more lanes, the smaller the batches. More are for a database far away.
	Lanes int
	// OneByOne has a transaction for each write, one after the other: what batches are
	// compared with.
	OneByOne bool
	// Logger hears when the database is lost and found; nil means slog.Default.
	Logger *slog.Logger
}

const (
	// maxBatch bounds a transaction, and with it the time that a write waits for those
	// before it.
	maxBatch = 512
	// linger is how long a batch waits for more writes where they come thick enough: what a
	// transaction costs the database is divided among them.
	linger = 2 * time.Millisecond
	// maxReaders bounds the connections for reading and for what is rare.
	maxReaders = 8
	// roundTrip bounds the answer of the database to a batch; the database itself gives up
	// a second before, which leaves the outcome certain.
	roundTrip = 5 * time.Second
	// lockTimeout is for a lock that another session keeps: ours are held for a moment, and
	// everybody in the lane waits.
	lockTimeout = "500ms"
	execTimeout = "4s"
	// connectTimeout bounds a try to connect.
	connectTimeout = 3 * time.Second
	// cacheAge is how long what is in memory is believed.
	cacheAge = 5 * time.Minute
	// minVersion is PostgreSQL 13's.
	minVersion = 130000
)

// Store is a store in a PostgreSQL database.
type Store struct {
	cfg    Config
	origin string // tells our own notifications from others'
	seed   maphash.Seed
	pool   *pgxpool.Pool
	lanes  []*lane
	health health

	bindings *cache.Cache[string, []store.Binding]
	users    *cache.Cache[store.UserID, store.User]
	held     held
	leases   leases
	feed     feed.Feed

	// usersMu is held while users are written, so that the cache hears of the commits in
	// their order.
	usersMu sync.Mutex

	closed atomic.Bool
	stop   context.CancelFunc
	ended  sync.WaitGroup // the goroutines that stop ends
}

var (
	_ store.Store = (*Store)(nil)
	_ store.Later = (*Store)(nil)
)

// Open opens the database that a URL or a line of keywords names, and brings it to the
// version that this program knows. Its errors don't have the DSN in them.
func Open(ctx context.Context, dsn string, cfg Config) (*Store, error) {
	pool, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// pgx quotes the DSN.
		return nil, errors.New("store: the PostgreSQL URL can't be read: want postgres://USER@HOST:PORT/DATABASE")
	}
	s, err := open(ctx, pool, cfg)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	return s, nil
}

func open(ctx context.Context, conf *pgxpool.Config, cfg Config) (_ *Store, err error) {
	cfg.Lanes = cmp.Or(cfg.Lanes, 1)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	conf.MaxConns = maxReaders
	prepareConfig(conf.ConnConfig)
	if err := migrate(ctx, conf.ConnConfig); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, origin: rand.Text(), seed: maphash.MakeSeed(),
		bindings: cache.Bindings(cfg.CacheBytes), users: cache.Users(cfg.CacheBytes),
	}
	s.held.init()
	if s.pool, err = pgxpool.NewWithConfig(ctx, conf); err != nil {
		return nil, err
	}
	listener, err := s.startListening(ctx)
	if err != nil {
		s.pool.Close()
		return nil, err
	}
	limit := maxBatch
	if cfg.OneByOne {
		limit, cfg.Lanes = 1, 1
	}
	for range cfg.Lanes {
		l := &lane{s: s}
		l.writes = batch.Start(limit, linger, l.commit, time.Hour, func() {})
		s.lanes = append(s.lanes, l)
	}
	run, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.ended.Go(func() { s.listen(run, listener) })
	s.ended.Go(func() { s.age(run) })
	return s, nil
}

// prepareConfig sets what all our connections have in common.
func prepareConfig(c *pgx.ConnConfig) {
	c.ConnectTimeout = connectTimeout
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "sipway"
	}
}

// migrate checks the server's version and brings the database to that of the program.
func migrate(ctx context.Context, conf *pgx.ConnConfig) (err error) {
	db := stdlib.OpenDB(*conf)
	defer func() { err = errors.Join(err, db.Close()) }()
	version := 0
	if err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return err
	}
	if version < minVersion {
		return fmt.Errorf("this is PostgreSQL %d, and sipway needs 13 or newer", version/10000)
	}
	return migrations.Up(ctx, migrations.Postgres, db)
}

// Status returns the version of the database that a DSN names and the one that the program
// needs; migrating brings it there first.
func Status(ctx context.Context, dsn string) (st migrations.Status, err error) {
	conf, err := pgx.ParseConfig(dsn)
	if err != nil {
		return st, errors.New("store: the PostgreSQL URL can't be read: want postgres://USER@HOST:PORT/DATABASE")
	}
	prepareConfig(conf)
	db := stdlib.OpenDB(*conf)
	defer func() { err = errors.Join(err, db.Close()) }()
	if st, err = migrations.Get(ctx, migrations.Postgres, db); err != nil {
		return st, unavailable(ctx, err)
	}
	return st, nil
}

// age makes what is in memory older.
func (s *Store) age(ctx context.Context) {
	tick := time.NewTicker(cacheAge / cache.MaxAge)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.bindings.Age()
			s.users.Age()
			s.held.prune(now)
		}
	}
}

// check says why an operation can't begin.
func (s *Store) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if s.closed.Load() {
		return fmt.Errorf("%w: closed", store.ErrUnavailable)
	}
	return s.health.down()
}

// CacheStats implements [store.Cached].
func (s *Store) CacheStats() (bindings, users store.CacheStats) {
	return s.bindings.Stats(), s.users.Stats()
}

// Watch implements [store.Feed].
func (s *Store) Watch(f func(aors []string)) (stop func()) { return s.feed.Watch(f) }

// Close implements [store.Store].
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	var errs []error
	for _, l := range s.lanes {
		l.writes.Close()
		errs = append(errs, l.disconnect())
	}
	s.stop()
	s.ended.Wait()
	s.pool.Close()
	// What is not cached is asked of the database, which now says that it is closed.
	s.health.listening.Store(false)
	s.bindings.Flush()
	s.users.Flush()
	s.held.init()
	return errors.Join(errs...)
}
