// Package migrations has the numbered SQL that makes sipway's databases, and brings a
// database to the version that this program knows.
//
// A migration that has been released is never edited; a change is a new file with the next
// number in the folder of each database.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// Dialect names a database that there are migrations for.
type Dialect string

// The databases.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// ErrNewer means that the database was made by a newer program. Nothing was changed.
var ErrNewer = errors.New("migrations: the database is newer than this program")

// Status is the version of a database and the one this program needs; 0 is an empty
// database.
type Status struct{ Current, Target int64 }

// Get returns the status of a database. An empty one gets goose's table of versions.
func Get(ctx context.Context, d Dialect, db *sql.DB) (Status, error) {
	var st Status
	err := alone(ctx, d, db, func(p *goose.Provider) (err error) {
		st, err = status(ctx, p)
		return err
	})
	return st, err
}

// Up applies the migrations that a database lacks, each in a transaction of its own. It
// refuses a database that is newer (ErrNewer): an old program must not write what it does
// not understand. Several processes may call it at the same time.
func Up(ctx context.Context, d Dialect, db *sql.DB) error {
	return alone(ctx, d, db, func(p *goose.Provider) error { return up(ctx, p) })
}

func up(ctx context.Context, p *goose.Provider) error {
	st, err := status(ctx, p)
	for err == nil && st.Current < st.Target {
		_, failed := p.UpByOne(ctx)
		before := st
		// Where another process was faster, ours has failed and yet the work is done.
		st, err = status(ctx, p)
		if failed != nil && err == nil && st.Current == before.Current {
			return fmt.Errorf("migrations: from version %d: %w", st.Current, failed)
		}
	}
	return err
}

// lockKey is that of an advisory lock of PostgreSQL: "sipway" in ASCII.
const lockKey = 0x736970776179

// alone runs f while no other process does that on the same database. SQLite's processes
// wait for each other's transactions; in PostgreSQL even the creation of the same table
// fails where two do it at a time.
func alone(ctx context.Context, d Dialect, db *sql.DB, f func(*goose.Provider) error) (err error) {
	p, err := provider(d, db)
	if err != nil {
		return err
	}
	if d != Postgres {
		return f(p)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	// The lock ends with its session at the latest.
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(lockKey)); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	err = f(p)
	if _, unlock := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(lockKey)); unlock != nil {
		err = errors.Join(err, fmt.Errorf("migrations: %w", unlock))
	}
	return err
}

func status(ctx context.Context, p *goose.Provider) (Status, error) {
	var st Status
	var err error
	st.Current, st.Target, err = p.GetVersions(ctx)
	if err != nil {
		return st, fmt.Errorf("migrations: version of the database: %w", err)
	}
	if st.Current > st.Target {
		return st, fmt.Errorf("%w: it has version %d, the program knows %d", ErrNewer, st.Current, st.Target)
	}
	return st, nil
}

func provider(d Dialect, db *sql.DB) (*goose.Provider, error) {
	dialects := map[Dialect]goose.Dialect{SQLite: goose.DialectSQLite3, Postgres: goose.DialectPostgres}
	dialect, ok := dialects[d]
	if !ok {
		return nil, fmt.Errorf("migrations: none for database %q", d)
	}
	dir, err := fs.Sub(files, string(d))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	p, err := goose.NewProvider(dialect, db, dir, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return p, nil
}
