package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store"
)

// transact runs f in a transaction. An error that is not the database's is f's own, and
// nothing was done; one of the commit may leave the outcome open.
func (s *Store) transact(ctx context.Context, f func(tx pgx.Tx) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return unavailable(ctx, err)
	}
	if err := f(tx); err != nil {
		// The transaction ends with its connection at the latest.
		_ = tx.Rollback(context.WithoutCancel(ctx))
		return err
	}
	switch err := tx.Commit(ctx); {
	case err == nil:
		return nil
	case refused(err):
		return unavailable(ctx, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", store.ErrUncertain, ctx.Err())
	default:
		return lost(err)
	}
}

// PutUsers implements [store.Users].
func (s *Store) PutUsers(ctx context.Context, users []store.User, mode store.PutMode) error {
	latest := make(map[store.UserID]store.User, len(users))
	for _, u := range users {
		if _, twice := latest[u.ID()]; twice && mode == store.Add {
			return fmt.Errorf("%w: %s", store.ErrExists, u.ID())
		}
		u.Pack()
		latest[u.ID()] = u
	}
	s.usersMu.Lock()
	defer s.usersMu.Unlock()
	err := s.transact(ctx, func(tx pgx.Tx) error { return s.putUsers(ctx, tx, latest, users, mode) })
	for id, u := range latest {
		if err == nil && s.health.listening.Load() {
			s.users.Set(id, u, true)
		} else {
			s.users.Drop(id)
		}
	}
	return err
}

// putUsers writes the users of latest; given has them in the caller's order.
func (s *Store) putUsers(ctx context.Context, tx pgx.Tx, latest map[store.UserID]store.User, given []store.User, mode store.PutMode) error {
	var names, domains [][]byte
	var md5, sha256, sha512 []string
	var notices []string
	for id, u := range latest {
		names, domains = append(names, []byte(u.Name)), append(domains, []byte(u.Domain))
		md5, sha256, sha512 = append(md5, u.HA1.MD5), append(sha256, u.HA1.SHA256), append(sha512, u.HA1.SHA512256)
		notices = append(notices, id.String())
	}
	conflict := map[store.PutMode]string{
		store.Add: `DO NOTHING`,
		store.Upsert: `(domain, name) DO UPDATE SET ha1_md5 = excluded.ha1_md5, ha1_sha256 = excluded.ha1_sha256,
			ha1_sha512_256 = excluded.ha1_sha512_256`,
	}[mode]
	rows, err := tx.Query(ctx, `INSERT INTO sip_user (`+userColumns+`)
		SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::text[]) AS u (`+userColumns+`)
		ORDER BY domain, name ON CONFLICT `+conflict+` RETURNING name, domain`, names, domains, md5, sha256, sha512)
	if err != nil {
		return unavailable(ctx, err)
	}
	stored := make(map[store.UserID]bool)
	var name, domain []byte
	_, err = pgx.ForEachRow(rows, []any{&name, &domain}, func() error {
		stored[store.UserID{Name: string(name), Domain: string(domain)}] = true
		return nil
	})
	if err != nil {
		return unavailable(ctx, err)
	}
	for i := range given {
		if id := given[i].ID(); !stored[id] {
			return fmt.Errorf("%w: %s", store.ErrExists, id)
		}
	}
	if _, err := tx.Exec(ctx, notify, s.notices(usersChanged, notices)); err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

// DeleteUser implements [store.Users].
func (s *Store) DeleteUser(ctx context.Context, name, domain string) error {
	id := store.UserID{Name: name, Domain: domain}
	s.usersMu.Lock()
	defer s.usersMu.Unlock()
	err := s.transact(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM sip_user WHERE domain = $1 AND name = $2`, []byte(domain), []byte(name))
		if err != nil {
			return unavailable(ctx, err)
		}
		if tag.RowsAffected() == 0 {
			return store.ErrNotFound
		}
		if _, err := tx.Exec(ctx, notify, s.notices(usersChanged, []string{id.String()})); err != nil {
			return unavailable(ctx, err)
		}
		return nil
	})
	s.users.Drop(id)
	return err
}

// ImportUsers implements [store.Users]. The users are copied into a temporary table, which
// holds up nobody, and from there into place; all of it is one transaction.
func (s *Store) ImportUsers(ctx context.Context, seq iter.Seq2[store.User, error], mode store.PutMode, progress func(int)) (int, error) {
	s.usersMu.Lock()
	defer s.usersMu.Unlock()
	n := 0
	err := s.transact(ctx, func(tx pgx.Tx) (err error) {
		if n, err = stage(ctx, tx, seq, progress); err != nil {
			return err
		}
		if err := adopt(ctx, tx, mode); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, notify, []string{s.notice(usersChanged)}); err != nil {
			return unavailable(ctx, err)
		}
		return nil
	})
	s.users.Flush()
	if err != nil {
		return 0, err
	}
	return n, nil
}

// stage copies the sequence into a temporary table that ends with the transaction.
func stage(ctx context.Context, tx pgx.Tx, seq iter.Seq2[store.User, error], progress func(int)) (n int, err error) {
	_, err = tx.Exec(ctx, `CREATE TEMP TABLE staged (n bigint, name bytea, domain bytea,
		ha1_md5 text, ha1_sha256 text, ha1_sha512_256 text) ON COMMIT DROP`)
	if err != nil {
		return 0, unavailable(ctx, err)
	}
	next, stop := iter.Pull2(seq)
	defer stop()
	// pgx calls it on another goroutine; what the caller gave is for its own.
	type read struct {
		user store.User
		err  error
		ok   bool
	}
	ask, answer := make(chan struct{}), make(chan read)
	copied := make(chan error, 1)
	source := pgx.CopyFromFunc(func() ([]any, error) {
		ask <- struct{}{}
		r := <-answer
		switch {
		case !r.ok:
			return nil, nil
		case r.err != nil:
			return nil, r.err
		}
		return []any{int64(n), []byte(r.user.Name), []byte(r.user.Domain), r.user.HA1.MD5, r.user.HA1.SHA256, r.user.HA1.SHA512256}, nil
	})
	go func() {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"staged"}, []string{"n", "name", "domain", "ha1_md5", "ha1_sha256", "ha1_sha512_256"}, source)
		copied <- err
	}()
	var own error // of what is imported, not of the database
	for {
		select {
		case <-ask:
			u, seqErr, ok := next()
			switch {
			case ok && seqErr != nil:
				seqErr = fmt.Errorf("store: import of user %d: %w", n+1, seqErr)
			case ok && ctx.Err() != nil:
				seqErr = fmt.Errorf("store: %w", ctx.Err())
			case ok:
				n++
				if progress != nil && n%store.ImportStep == 0 {
					progress(n)
				}
			}
			own = seqErr
			answer <- read{u, seqErr, ok}
		case err := <-copied:
			if own != nil {
				return 0, own
			}
			if err != nil {
				return 0, unavailable(ctx, err)
			}
			return n, nil
		}
	}
}

// adopt moves the staged users into place.
func adopt(ctx context.Context, tx pgx.Tx, mode store.PutMode) error {
	if mode == store.Upsert {
		_, err := tx.Exec(ctx, `INSERT INTO sip_user (`+userColumns+`)
			SELECT DISTINCT ON (domain, name) `+userColumns+` FROM staged ORDER BY domain, name, n DESC
			ON CONFLICT (domain, name) DO UPDATE SET ha1_md5 = excluded.ha1_md5, ha1_sha256 = excluded.ha1_sha256,
			ha1_sha512_256 = excluded.ha1_sha512_256`)
		if err != nil {
			return unavailable(ctx, err)
		}
		return nil
	}
	for _, twice := range []string{
		`SELECT name, domain FROM staged GROUP BY domain, name HAVING count(*) > 1 ORDER BY min(n) LIMIT 1`,
		`SELECT name, domain FROM staged JOIN sip_user USING (domain, name) ORDER BY n LIMIT 1`,
	} {
		var name, domain []byte
		err := tx.QueryRow(ctx, twice).Scan(&name, &domain)
		if err == nil {
			return fmt.Errorf("%w: %s", store.ErrExists, store.UserID{Name: string(name), Domain: string(domain)})
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return unavailable(ctx, err)
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO sip_user (`+userColumns+`) SELECT `+userColumns+` FROM staged ORDER BY domain, name`)
	if err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

// Secret implements [store.Secrets].
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	fresh := make([]byte, store.SecretSize)
	rand.Read(fresh) // never fails: it ends the program instead
	var secret []byte
	err := s.transact(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO secret (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, fresh)
		if err == nil {
			err = tx.QueryRow(ctx, `SELECT value FROM secret WHERE name = $1`, name).Scan(&secret)
		}
		if err != nil {
			return unavailable(ctx, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return secret, nil
}
