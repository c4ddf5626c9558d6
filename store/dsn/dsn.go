// Package dsn opens the store that a line of configuration names.
package dsn

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"

	"github.com/sipway/sipway/migrations"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
	"github.com/sipway/sipway/store/postgres"
	"github.com/sipway/sipway/store/sqlite"
)

// forms is what an error recommends.
const forms = `want "sqlite:PATH", such as "sqlite:sipway.db", "postgres://USER@HOST/DATABASE", or "memory:"`

// Options are what the stores have in common.
type Options struct {
	// CacheBytes bounds the memory in front of a database; 0 is the store's default.
	CacheBytes int64
	// Logger hears of the database's troubles; nil means slog.Default.
	Logger *slog.Logger
}

// Open opens a store, and brings its database to the version that this program knows:
//
//	sqlite:PATH                        the SQLite file of that path, created where there is none
//	postgres://USER@HOST:PORT/DATABASE a PostgreSQL database, with libpq's parameters
//	memory:                            nothing survives the process
//
// What follows "sqlite:" is the path as it stands, without escapes or options. Errors don't
// tell a password.
func Open(ctx context.Context, dsn string, o Options) (store.Store, error) {
	kind, rest, err := split(dsn)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "sqlite":
		return sqlite.Open(ctx, rest, sqlite.Config{CacheBytes: o.CacheBytes})
	case "postgres":
		return postgres.Open(ctx, dsn, postgres.Config{CacheBytes: o.CacheBytes, Logger: o.Logger})
	}
	return memory.New(), nil
}

// Status returns the version of the database, which it does not change, and the one that
// the program needs. A store in memory has none.
func Status(ctx context.Context, dsn string) (migrations.Status, error) {
	kind, rest, err := split(dsn)
	if err != nil {
		return migrations.Status{}, err
	}
	switch kind {
	case "sqlite":
		return sqlite.Status(ctx, rest)
	case "postgres":
		return postgres.Status(ctx, dsn)
	}
	return migrations.Status{}, fmt.Errorf("the store memory: has no database")
}

// split returns which store it is, and what follows the scheme.
func split(dsn string) (kind, rest string, err error) {
	scheme, rest, ok := strings.Cut(dsn, ":")
	switch {
	case !ok:
		return "", "", fmt.Errorf("store %q has no scheme: %s", Redact(dsn), forms)
	case scheme == "sqlite" && rest == "":
		return "", "", fmt.Errorf("store %q names no file: %s", dsn, forms)
	case scheme == "sqlite":
		return scheme, rest, nil
	case scheme == "memory" && rest != "":
		return "", "", fmt.Errorf("store %q: nothing can follow \"memory:\"", dsn)
	case scheme == "memory":
		return scheme, rest, nil
	case scheme == "postgres", scheme == "postgresql":
		return "postgres", rest, nil
	}
	// What was meant may have a password in it and is not repeated.
	return "", "", fmt.Errorf("store: unknown scheme %q: %s", scheme, forms)
}

// inLine finds a password among keywords or parameters.
var inLine = regexp.MustCompile(`(?i)(password\s*=\s*)('[^']*'|[^\s&]*)`)

// Redact returns the line without its password, for people and logs. Where it is not known what
// of it may be the password, little is left.
func Redact(dsn string) string {
	scheme, _, ok := strings.Cut(dsn, ":")
	if scheme == "sqlite" || scheme == "memory" {
		return dsn
	}
	u, err := url.Parse(dsn)
	switch {
	case !ok:
		return inLine.ReplaceAllString(dsn, "${1}xxxxx")
	case err == nil && u.Opaque == "":
		return inLine.ReplaceAllString(u.Redacted(), "${1}xxxxx")
	case strings.Contains(dsn, "://"):
		return scheme + "://..."
	}
	return "..."
}
