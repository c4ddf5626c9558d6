package postgres

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store"
)

// condition builds the WHERE clause of a listing.
type condition struct {
	sql  strings.Builder
	args []any
}

// and adds a condition, whose %s stand for the arguments.
func (c *condition) and(sql string, args ...any) {
	names := make([]any, len(args))
	for i, arg := range args {
		c.args = append(c.args, arg)
		names[i] = fmt.Sprint("$", len(c.args))
	}
	if c.sql.Len() > 0 {
		c.sql.WriteString(" AND ")
	}
	fmt.Fprintf(&c.sql, sql, names...)
}

// where is what a query asks for, apart from its cursor and its Source, and
// store.Leases.Void.
func where(q *store.Query) *condition {
	var c condition
	now := q.Now.UnixMilli()
	c.and(`expires > %s`, now)
	c.and(`NOT EXISTS (SELECT 1 FROM node WHERE node.name = binding.node
		AND flow <> 0 AND (transport IN ('WS', 'WSS') OR reg_id > 0)
		AND (node.epoch > binding.epoch OR node.epoch = binding.epoch AND node.until <= %s))`, now)
	if prefix := store.Prefix(q.Pattern); prefix != "" {
		c.and(`aor >= %s`, []byte(prefix))
		if end := after(prefix); end != nil {
			c.and(`aor < %s`, end)
		}
	}
	if q.Pattern != "" {
		c.and(`aor LIKE %s`, like(q.Pattern))
	}
	if q.UserAgent != "" {
		// The escaped form is text, whose ASCII letters lower() knows in every locale.
		c.and(`strpos(lower(encode(user_agent, 'escape')), lower(encode(%s::bytea, 'escape'))) > 0`, []byte(q.UserAgent))
	}
	if q.Transport != 0 {
		c.and(`transport = %s`, q.Transport.String())
	}
	if q.Node != "" {
		c.and(`node = %s`, []byte(q.Node))
	}
	if !q.ExpiresBefore.IsZero() {
		c.and(`expires < %s`, q.ExpiresBefore.UnixMilli())
	}
	return &c
}

// like turns the pattern of a [store.Query] into one of LIKE.
func like(pattern string) []byte {
	return []byte(strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`).Replace(pattern))
}

// after returns the first text after all those that begin with the prefix; nil where there
// is none.
func after(prefix string) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return append([]byte(prefix[:i]), prefix[i]+1)
		}
	}
	return nil
}

// List implements [store.Listing]. A page by AOR is one range of the index on (aor, key).
func (s *Store) List(ctx context.Context, q store.Query) ([]store.Binding, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	limit := store.PageSize(q.Limit)
	step := limit
	if q.Source.IsValid() {
		// SQL can't tell, so more than the page has to be looked at.
		step = max(limit, store.DefaultPage)
	}
	var page []store.Binding
	for {
		found, err := s.listStep(ctx, &q, step)
		if err != nil {
			return nil, unavailable(ctx, err)
		}
		if !q.Source.IsValid() {
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

func (s *Store) listStep(ctx context.Context, q *store.Query, step int) ([]store.Binding, error) {
	c := where(q)
	order := `aor, key`
	at, aor, key := q.After.At, []byte(q.After.AOR), []byte(q.After.Key)
	switch q.Sort {
	case store.ByAOR:
		c.and(`(aor, key) > (%s, %s)`, aor, key)
	case store.ByExpires:
		order = `expires, aor, key`
		c.and(`(expires, aor, key) > (%s, %s, %s)`, at, aor, key)
	case store.ByUpdated:
		order = `-updated, aor, key` // with a minus, since one comparison of rows has one direction
		if q.After == (store.Cursor{}) {
			at = math.MaxInt64
		}
		c.and(`(-updated, aor, key) > (%s, %s, %s)`, -at, aor, key)
	}
	c.args = append(c.args, step)
	rows, err := s.pool.Query(ctx, fmt.Sprintf(`SELECT %s FROM binding WHERE %s ORDER BY %s LIMIT $%d`,
		bindingColumns, c.sql.String(), order, len(c.args)), c.args...)
	if err != nil {
		return nil, err
	}
	return scanBindings(rows)
}

// Count implements [store.Listing].
func (s *Store) Count(ctx context.Context, q store.Query) (int, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	c := where(&q)
	n := 0
	var err error
	if q.Source.IsValid() {
		n, err = s.countFrom(ctx, &q, c)
	} else {
		err = s.pool.QueryRow(ctx, `SELECT count(*) FROM binding WHERE `+c.sql.String(), c.args...).Scan(&n)
	}
	if err != nil {
		return 0, unavailable(ctx, err)
	}
	return n, nil
}

// countFrom counts the rows of remote addresses that the query's Source has.
func (s *Store) countFrom(ctx context.Context, q *store.Query, c *condition) (n int, err error) {
	rows, err := s.pool.Query(ctx, `SELECT remote FROM binding WHERE `+c.sql.String(), c.args...)
	if err != nil {
		return 0, err
	}
	var remote string
	_, err = pgx.ForEachRow(rows, []any{&remote}, func() error {
		if addr, err := netip.ParseAddrPort(remote); err == nil && q.From(addr) {
			n++
		}
		return nil
	})
	return n, err
}
