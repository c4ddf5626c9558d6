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

//go:embed sqlite/*.sql
var files embed.FS

// Dialect names a database that there are migrations for.
type Dialect string

// The databases.
const (
	SQLite Dialect = "sqlite"
)

// ErrNewer means that the database was made by a newer program. Nothing was changed.
var ErrNewer = errors.New("migrations: the database is newer than this program")

// Status is the version of a database and the one this program needs; 0 is an empty
// database.
type Status struct{ Current, Target int64 }

// Get returns the status of a database. An empty one gets goose's table of versions.
func Get(ctx context.Context, d Dialect, db *sql.DB) (Status, error) {
	p, err := provider(d, db)
	if err != nil {
		return Status{}, err
	}
	return status(ctx, p)
}

// Up applies the migrations that a database lacks, each in a transaction of its own. It
// refuses a database that is newer (ErrNewer): an old program must not write what it does
// not understand. Several processes may call it at the same time.
func Up(ctx context.Context, d Dialect, db *sql.DB) error {
	p, err := provider(d, db)
	if err != nil {
		return err
	}
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
	dialects := map[Dialect]goose.Dialect{SQLite: goose.DialectSQLite3}
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
