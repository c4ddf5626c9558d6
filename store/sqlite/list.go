package sqlite

import (
	"context"
	"database/sql"
	"math"
	"net/netip"

	"github.com/sipway/sipway/store"
)

// selected is what a query asks for, in its parameters ?1 to ?7, and store.Leases.Void.
const selected = ` AND aor >= ?1 AND aor < ?2 AND aor GLOB ?3 AND expires > ?4
	AND (?5 = '' OR instr(lower(user_agent), ?5) > 0)
	AND (?6 = '' OR transport = ?6)
	AND (?7 = '' OR node = ?7)
	AND expires < ?12
	AND NOT EXISTS (SELECT 1 FROM node WHERE node.name = binding.node
		AND flow <> 0 AND (transport IN ('WS', 'WSS') OR reg_id > 0)
		AND (node.epoch > binding.epoch OR node.epoch = binding.epoch AND node.until <= ?4))`

// arguments are those of a listing.
func arguments(q *store.Query, limit int) []any {
	prefix := store.Prefix(q.Pattern)
	transport := ""
	if q.Transport != 0 {
		transport = q.Transport.String()
	}
	before := int64(math.MaxInt64)
	if !q.ExpiresBefore.IsZero() {
		before = q.ExpiresBefore.UnixMilli()
	}
	from := q.After
	switch {
	case q.Sort == store.ByAOR && from.AOR < prefix:
		from = store.Cursor{AOR: prefix}
	case q.Sort == store.ByUpdated && from == store.Cursor{}:
		from.At = math.MaxInt64
	}
	return []any{
		prefix, after(prefix), glob(q.Pattern), q.Now.UnixMilli(),
		store.Fold(q.UserAgent), transport, q.Node,
		from.At, from.AOR, from.Key, limit, before,
	}
}

// List implements [store.Listing]. A page by AOR is one range of the index on (aor, key).
func (s *Store) List(ctx context.Context, q store.Query) ([]store.Binding, error) {
	limit := store.PageSize(q.Limit)
	step := limit
	if q.Source.IsValid() {
		// SQL can't tell, so more than the page has to be looked at.
		step = max(limit, store.DefaultPage)
	}
	var page []store.Binding
	for {
		rows, err := s.query.list[q.Sort].QueryContext(ctx, arguments(&q, step)...)
		if err != nil {
			return nil, unavailable(ctx, err)
		}
		found, err := scanBindings(rows)
		if err != nil {
			return nil, unavailable(ctx, err)
		}
		if page == nil && !q.Source.IsValid() {
			return found, nil
		}
		for i := range found {
			if q.From(found[i].Flow.Remote) {
				if page = append(page, found[i]); len(page) == limit {
					return page, nil
				}
			}
		}
		if len(found) < step {
			return page, nil
		}
		q.After = q.Sort.Cursor(&found[len(found)-1])
	}
}

// after returns the first text after all those that begin with the prefix. Where there is
// none it is a blob, which SQLite orders after every text.
func after(prefix string) any {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return []byte{}
}

// Count implements [store.Listing].
func (s *Store) Count(ctx context.Context, q store.Query) (int, error) {
	q.Sort, q.After = store.ByAOR, store.Cursor{}
	args := arguments(&q, 0)
	n := 0
	var err error
	if q.Source.IsValid() {
		n, err = countFrom(ctx, s.query.remotes, &q, args)
	} else {
		err = s.query.count.QueryRowContext(ctx, args...).Scan(&n)
	}
	if err != nil {
		return 0, unavailable(ctx, err)
	}
	return n, nil
}

// countFrom counts the rows of remote addresses that the query's Source has.
func countFrom(ctx context.Context, stmt *sql.Stmt, q *store.Query, args []any) (n int, err error) {
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var remote string
		if err := rows.Scan(&remote); err != nil {
			return 0, err
		}
		if addr, err := netip.ParseAddrPort(remote); err == nil && q.From(addr) {
			n++
		}
	}
	return n, rows.Err()
}
