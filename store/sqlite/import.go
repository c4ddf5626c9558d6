package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/sipway/sipway/store"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ImportUsers implements [store.Users]. The users are staged in a temporary table of a
// connection of its own, which holds up nobody and leaves nothing behind. One statement
// then moves them into place: that is the transaction, and while it runs, for some seconds
// with a million users, REGISTERs wait for their commit. Reads go on throughout.
func (s *Store) ImportUsers(ctx context.Context, seq iter.Seq2[store.User, error], mode store.PutMode, progress func(int)) (n int, err error) {
	if s.closed.Load() {
		return 0, fmt.Errorf("%w: closed", store.ErrUnavailable)
	}
	db, err := connect(s.path, 1, "temp_store(FILE)")
	if err != nil {
		return 0, unavailable(ctx, err)
	}
	// Closing the only connection drops the temporary table.
	defer func() { err = errors.Join(err, db.Close()) }()
	n, err = stage(ctx, db, seq, mode, progress)
	if err != nil {
		return 0, err
	}
	if err := adopt(ctx, db, mode); err != nil {
		return 0, err
	}
	// The writer would notice within a second; the caller may ask sooner.
	s.users.Flush()
	return n, nil
}

// stage reads the sequence into the temporary table.
func stage(ctx context.Context, db *sql.DB, seq iter.Seq2[store.User, error], mode store.PutMode, progress func(int)) (n int, err error) {
	// The cache lets users come in any order without the disk being read for each.
	_, err = db.ExecContext(ctx, `PRAGMA temp.cache_size = -65536;
		CREATE TEMP TABLE staged (
			domain TEXT NOT NULL, name TEXT NOT NULL,
			ha1_md5 TEXT NOT NULL, ha1_sha256 TEXT NOT NULL, ha1_sha512_256 TEXT NOT NULL,
			PRIMARY KEY (domain, name)
		) STRICT, WITHOUT ROWID;
		BEGIN`)
	if err != nil {
		return 0, unavailable(ctx, err)
	}
	verb := map[store.PutMode]string{store.Add: "INSERT", store.Upsert: "INSERT OR REPLACE"}[mode]
	insert, err := db.PrepareContext(ctx, verb+` INTO temp.staged (`+userColumns+`) VALUES (?, ?, ?, ?, ?)`)
	if err != nil {
		return 0, unavailable(ctx, err)
	}
	for u, err := range seq {
		if err != nil {
			return 0, fmt.Errorf("store: import of user %d: %w", n+1, err)
		}
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("store: %w", err)
		}
		// Without ctx: the driver would start a goroutine for each row to watch it.
		if _, err := insert.Exec(userValues(&u)...); err != nil {
			if taken(err) {
				err = fmt.Errorf("%w: %s", store.ErrExists, u.ID())
				return 0, err
			}
			return 0, unavailable(ctx, err)
		}
		n++
		if progress != nil && n%store.ImportStep == 0 {
			progress(n)
		}
	}
	if _, err := db.ExecContext(ctx, `COMMIT`); err != nil {
		return 0, unavailable(ctx, err)
	}
	return n, nil
}

// adopt moves the staged users into place.
func adopt(ctx context.Context, db *sql.DB, mode store.PutMode) error {
	verb := map[store.PutMode]string{store.Add: "INSERT", store.Upsert: "INSERT OR REPLACE"}[mode]
	_, err := db.ExecContext(ctx, verb+` INTO main.user (`+userColumns+`)
		SELECT `+userColumns+` FROM temp.staged ORDER BY domain, name`)
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%w: %w", store.ErrUncertain, ended)
	}
	if !taken(err) {
		return unavailable(ctx, err)
	}
	var id store.UserID
	err = db.QueryRowContext(ctx, `SELECT name, domain FROM temp.staged JOIN main.user USING (domain, name)
		ORDER BY domain, name LIMIT 1`).Scan(&id.Name, &id.Domain)
	if err != nil {
		return unavailable(ctx, err)
	}
	return fmt.Errorf("%w: %s", store.ErrExists, id)
}

// taken reports whether the error means that the primary key exists.
func taken(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}
