//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store/postgres/pgtest"
)

// kamailioSchemas are the tables of Debian's package kamailio-postgres-modules that a
// registrar needs, in the order in which they are made.
var kamailioSchemas = []string{"standard-create.sql", "usrloc-create.sql"}

const kamailioSchemaDir = "/usr/share/kamailio/postgres"

// startDatabase starts a PostgreSQL cluster for one server, with fsync on, and returns it
// with the URL of an empty database.
func startDatabase(ctx context.Context) (*pgtest.Cluster, string, error) {
	c, err := pgtest.New(ctx, pgtest.Options{Settings: []string{"shared_buffers = 128MB", "max_connections = 200"}})
	if err != nil {
		return nil, "", err
	}
	dsn, err := c.NewDatabase(ctx)
	if err != nil {
		return nil, "", errors.Join(err, c.Close())
	}
	return c, dsn, nil
}

// makeKamailioTables fills an empty database with Kamailio's own tables.
func makeKamailioTables(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	for _, name := range kamailioSchemas {
		text, readErr := os.ReadFile(filepath.Join(kamailioSchemaDir, name))
		if err = readErr; err == nil {
			// A script of many statements goes as one simple query.
			_, err = conn.PgConn().Exec(ctx, string(text)).ReadAll()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			break
		}
	}
	return errors.Join(err, conn.Close(ctx))
}
