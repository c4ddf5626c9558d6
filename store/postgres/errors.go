package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sipway/sipway/migrations"
	"github.com/sipway/sipway/store"
)

// unavailable wraps an error of the database. ctx is the one that the operation ran under:
// if it has ended, that is what happened.
func unavailable(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("store: %w", ended)
	}
	if errors.Is(err, migrations.ErrNewer) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, explain(err))
}

// lost is unavailable for a write that may have been done.
func lost(err error) error {
	return fmt.Errorf("%w, %w: %w", store.ErrUnavailable, store.ErrUncertain, explain(err))
}

// explain puts into words what an operator can do something about. The codes are those of
// PostgreSQL's appendix A.
func explain(err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch e.Code {
	case "53100":
		return fmt.Errorf("the database's disk is full: %w", err)
	case "53300":
		return fmt.Errorf("the database has no connection left (max_connections): %w", err)
	case "55P03", "57014":
		return fmt.Errorf("the database did not answer in time, another session may keep a lock: %w", err)
	case "57P01", "57P02", "57P03":
		return fmt.Errorf("the database is stopping or starting: %w", err)
	case "28P01", "28000":
		return fmt.Errorf("the database does not accept the user or password: %w", err)
	case "3D000":
		return fmt.Errorf("there is no such database, make it with createdb: %w", err)
	case "42501":
		return fmt.Errorf("the database's user lacks a privilege: %w", err)
	}
	return err
}

// refused reports whether the server itself said no, so that the transaction is certainly
// not done. It says so of the connection's end, too, but not whether before the commit.
func refused(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Severity != "FATAL" && e.Severity != "PANIC" || pgconn.SafeToRetry(err)
}

// conflicted reports whether the same may succeed when it is tried again at once: a
// deadlock, or a row that another session has changed.
func conflicted(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40P01" || e.Code == "40001")
}

// ours reports whether the cause may lie in the data of one write, so that the others of
// its batch had better be tried without it.
func ours(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch e.Code[:2] {
	case "22", "23", "54": // data exceptions, constraints, limits
		return true
	}
	return e.Code == "55P03" || e.Code == "57014" // a lock that somebody keeps
}
