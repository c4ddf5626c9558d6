// Command store measures the stores: how many REGISTER refreshes they make durable with 1,
// 64 and 1,024 clients, in batches and with a transaction for each; and how they do with a
// million bindings. PostgreSQL runs as a throwaway cluster with fsync on, SQLite on a file
// beside it, so both have the same disk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/postgres"
	"github.com/sipway/sipway/store/postgres/pgtest"
	"github.com/sipway/sipway/store/sqlite"
)

// options are the command line.
type options struct {
	bindings int
	expired  int
	lasts    time.Duration
	lanes    int
	dir      string
}

func main() {
	var o options
	flag.IntVar(&o.bindings, "bindings", 1_000_000, "bindings of the large store")
	flag.IntVar(&o.expired, "expired", 100_000, "those of them that expire and are swept")
	flag.DurationVar(&o.lasts, "lasts", 5*time.Second, "time of each measurement")
	flag.IntVar(&o.lanes, "lanes", 0, "batches of PostgreSQL under way at a time (0: the default)")
	flag.StringVar(&o.dir, "dir", "", "where the databases are made (the temporary folder)")
	flag.Parse()
	slog.SetLogLoggerLevel(slog.LevelWarn)
	if err := run(context.Background(), os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench/store:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "sipway-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data, err := os.MkdirTemp(o.dir, "sipway-postgres-")
	if err != nil {
		return err
	}
	c, err := pgtest.New(ctx, pgtest.Options{Dir: data, Settings: []string{
		// As an administrator of a million registrations would have it.
		"shared_buffers = 256MB", "max_wal_size = 4GB", "autovacuum_naptime = 10s",
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	k := kit{ctx: ctx, options: o, cluster: c, dir: dir, out: tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)}
	for _, part := range []func() error{k.refreshes, k.large} {
		if err := part(); err != nil {
			return err
		}
		debug.FreeOSMemory()
	}
	return nil
}

// kit is what all measurements share.
type kit struct {
	options
	ctx     context.Context
	cluster *pgtest.Cluster
	dir     string
	out     *tabwriter.Writer
	opened  int
}

// openSQLite opens a new file.
func (k *kit) openSQLite() (store.Store, error) {
	k.opened++
	return sqlite.Open(k.ctx, filepath.Join(k.dir, fmt.Sprint(k.opened, ".db")), sqlite.Config{CacheBytes: 2 << 30})
}

// openPostgres opens a new database.
func (k *kit) openPostgres(cfg postgres.Config) (store.Store, string, error) {
	dsn, err := k.cluster.NewDatabase(k.ctx)
	if err != nil {
		return nil, "", err
	}
	cfg.CacheBytes, cfg.Lanes = 2<<30, k.lanes
	s, err := postgres.Open(k.ctx, dsn, cfg)
	return s, dsn, err
}

// oneByOne lets one REGISTER in at a time, so that each has a transaction for itself.
type oneByOne struct {
	store.Store
	mu sync.Mutex
}

func (s *oneByOne) Register(ctx context.Context, u store.Update) (store.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Store.Register(ctx, u)
}
