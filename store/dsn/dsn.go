// Package dsn opens the store that a line of configuration names.
package dsn

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
	"github.com/sipway/sipway/store/sqlite"
)

// forms is what an error recommends.
const forms = `want "sqlite:PATH", such as "sqlite:sipway.db", or "memory:"`

// Open opens a store:
//
//	sqlite:PATH   the SQLite file of that path, created where there is none
//	memory:       nothing survives the process
//
// What follows "sqlite:" is the path as it stands, without escapes or options.
func Open(ctx context.Context, dsn string) (store.Store, error) {
	scheme, rest, ok := strings.Cut(dsn, ":")
	if !ok {
		return nil, fmt.Errorf("store %q has no scheme: %s", dsn, forms)
	}
	switch scheme {
	case "sqlite":
		if rest == "" {
			return nil, fmt.Errorf("store %q names no file: %s", dsn, forms)
		}
		return sqlite.Open(ctx, rest, sqlite.Config{})
	case "memory":
		if rest != "" {
			return nil, fmt.Errorf("store %q: nothing can follow \"memory:\"", dsn)
		}
		return memory.New(), nil
	case "postgres", "postgresql":
		// The DSN may have a password in it and is not repeated.
		return nil, errors.New("store: this version has no PostgreSQL: " + forms)
	}
	return nil, fmt.Errorf("store: unknown scheme %q: %s", scheme, forms)
}
