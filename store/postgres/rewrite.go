package postgres

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store"
)

// statements are prepared on the connections that write.
var statements = map[string]string{
	"touch": `UPDATE binding SET cseq = u.new_cseq, updated = u.new_updated, expires = u.new_expires
		FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
			WITH ORDINALITY AS u (aor, key, call_id, cseq, updated, new_cseq, new_updated, new_expires, at)
		WHERE binding.aor = u.aor AND binding.key = u.key
			AND binding.call_id = u.call_id AND binding.cseq = u.cseq AND binding.updated = u.updated
		RETURNING u.at`,

	"begin":  `BEGIN`,
	"commit": `COMMIT`,
	"lock":   `SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) k`,
	// The rows are locked too, against refreshes; in the same order as those lock them.
	"read": `SELECT ` + bindingColumns + `, id FROM binding WHERE aor = ANY($1::bytea[])
		ORDER BY aor, key FOR UPDATE`,
	"delete": `DELETE FROM binding USING unnest($1::bytea[], $2::bytea[]) AS u (aor, key)
		WHERE binding.aor = u.aor AND binding.key = u.key`,
	"insert": `INSERT INTO binding (` + bindingColumns + `) SELECT * FROM ` + unnest,
	"update": `UPDATE binding SET (` + bindingColumns + `) = (` + newColumns + `)
		FROM ` + unnest + ` AS u (` + bindingColumns + `) WHERE binding.aor = u.aor AND binding.key = u.key`,
	"notify": notify,
}

var newColumns = "u." + strings.Join(strings.FieldsFunc(bindingColumns, func(c rune) bool { return strings.ContainsRune(", \t\n", c) }), ", u.")

// rewriting is a batch on the slow way.
type rewriting struct {
	old, now map[string][]store.Binding // by AOR: as read, and after the ops so far
	errs     []error                    // of the ops
}

// rewrite does writes on what the database has: it locks and reads their AORs, applies
// them, and writes the outcome. An error is that of the transaction: no write was finished.
func (l *lane) rewrite(ops []*op) error {
	for try := 0; ; try++ {
		err := l.rewriteOnce(ops)
		if err == nil || try == 2 || !conflicted(err) || l.conn.IsClosed() {
			return err
		}
	}
}

func (l *lane) rewriteOnce(ops []*op) error {
	ctx, cancel := context.WithTimeout(context.Background(), roundTrip)
	defer cancel()
	aors := aorsOf(ops)
	r := rewriting{errs: make([]error, len(ops))}
	var err error
	if r.old, err = l.readLocked(ctx, aors); err != nil {
		l.rollback()
		return certain{err}
	}
	r.now = make(map[string][]store.Binding, len(aors))
	for aor, set := range r.old {
		r.now[aor] = set
	}
	for i, op := range ops {
		r.errs[i] = r.apply(op.Write, l.s.leases.known())
	}
	if err := l.write(ctx, aors, &r); err != nil {
		for _, aor := range aors {
			l.forget(aor)
		}
		l.rollback()
		return err
	}
	for _, aor := range aors {
		l.publish(aor, r.now[aor])
	}
	for i, op := range ops {
		op.Done(r.errs[i])
	}
	return nil
}

// aorsOf returns the AORs of writes in the order in which they are locked.
func aorsOf(ops []*op) []string {
	var aors []string
	for _, op := range ops {
		if op.Write.flow != nil {
			aors = append(aors, op.Write.aors...)
		} else {
			aors = append(aors, op.Write.update.AOR)
		}
	}
	slices.Sort(aors)
	return slices.Compact(aors)
}

// apply does one write to what there is by now.
func (r *rewriting) apply(w *write, leases store.Leases) error {
	if w.flow == nil {
		result, err := store.Apply(r.now[w.update.AOR], leases, w.update)
		if err != nil {
			return err
		}
		w.result = result
		r.now[w.update.AOR] = result.Bindings
		return nil
	}
	w.removed = nil // of a try before
	for _, aor := range w.aors {
		r.now[aor] = store.Without(r.now[aor], func(b *store.Binding) bool {
			if !b.Over(w.flow.node, w.flow.epoch, w.flow.id) {
				return false
			}
			w.removed = append(w.removed, *b)
			return true
		})
	}
	return nil
}

// readLocked begins a transaction in which nobody else changes the AORs.
func (l *lane) readLocked(ctx context.Context, aors []string) (map[string][]store.Binding, error) {
	var b pgx.Batch
	b.Queue("begin")
	b.Queue("lock", lockKeys(aors))
	b.Queue("read", byteArrays(aors))
	results := l.conn.SendBatch(ctx, &b)
	sets, err := readSets(results)
	return sets, errors.Join(err, results.Close())
}

func readSets(results pgx.BatchResults) (map[string][]store.Binding, error) {
	for range 2 {
		if _, err := results.Exec(); err != nil {
			return nil, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	type row struct {
		store.Binding
		id int64
	}
	all := make(map[string][]row)
	for rows.Next() {
		var r row
		if r.Binding, err = scanBinding(rows, &r.id); err != nil {
			return nil, err
		}
		all[r.AOR] = append(all[r.AOR], r)
	}
	sets := make(map[string][]store.Binding, len(all))
	for aor, rows := range all {
		slices.SortFunc(rows, func(a, b row) int {
			if c := a.Created.Compare(b.Created); c != 0 {
				return c
			}
			return cmp.Compare(a.id, b.id)
		})
		set := make([]store.Binding, len(rows))
		for i := range rows {
			set[i] = rows[i].Binding
		}
		sets[aor] = set
	}
	return sets, rows.Err()
}

// write writes what has changed, tells the others, and commits.
func (l *lane) write(ctx context.Context, aors []string, r *rewriting) error {
	var gone, fresh, moved columns
	var changed []string
	for _, aor := range aors {
		c := store.Diff(r.old[aor], r.now[aor])
		for i := range c.Delete {
			gone.add(&c.Delete[i])
		}
		for i := range c.Insert {
			fresh.add(&c.Insert[i])
		}
		for i := range c.Update {
			moved.add(&c.Update[i])
		}
		if len(c.Delete)+len(c.Insert)+len(c.Update) > 0 {
			changed = append(changed, aor)
		}
		for i := range c.Touch {
			moved.add(&c.Touch[i])
		}
	}
	var b pgx.Batch
	if !gone.empty() {
		b.Queue("delete", gone.aor, gone.key)
	}
	if !moved.empty() {
		b.Queue("update", moved.args()...)
	}
	if !fresh.empty() {
		b.Queue("insert", fresh.args()...)
	}
	if len(changed) > 0 {
		b.Queue("notify", l.s.notices(bindingsChanged, changed))
	}
	b.Queue("commit")
	return l.conn.SendBatch(ctx, &b).Close()
}

// rollback ends a transaction that failed.
func (l *lane) rollback() {
	if l.conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), roundTrip)
	defer cancel()
	if _, err := l.conn.Exec(ctx, "ROLLBACK"); err != nil {
		// It ends with the connection.
		_ = l.disconnect()
	}
}

func byteArrays(texts []string) [][]byte {
	all := make([][]byte, len(texts))
	for i, s := range texts {
		all[i] = []byte(s)
	}
	return all
}

// lockKeys are the advisory locks of AORs, the same on every node, in their order.
func lockKeys(aors []string) []int64 {
	keys := make([]int64, len(aors))
	for i, aor := range aors {
		h := fnv.New64a()
		_, _ = h.Write([]byte(aor)) // never fails
		keys[i] = int64(h.Sum64())
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
