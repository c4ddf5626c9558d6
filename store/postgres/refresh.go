package postgres

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store"
)

// refreshed is an AOR of which one binding is refreshed and nothing else changes, as far as
// memory knows.
type refreshed struct {
	base, set []store.Binding // in memory, and after all ops
	at        int             // which one
	ops       []*op
	results   []store.Result // of ops
}

func (r *refreshed) old() *store.Binding { return &r.base[r.at] }
func (r *refreshed) new() *store.Binding { return &r.set[r.at] }

// refresh does, in one round trip, those writes of a batch that are plain refreshes of what
// is in memory, and returns the others and those that memory was wrong about.
func (l *lane) refresh(ops []*op) (rest []*op) {
	plain, rest := l.plan(ops)
	if len(plain) == 0 {
		return rest
	}
	done, err := l.touch(plain)
	if err != nil {
		if !refused(err) {
			for _, r := range plain {
				l.forget(r.new().AOR)
				finish(r.ops, l.failed(err))
			}
			if l.conn.IsClosed() {
				finish(rest, unavailable(context.Background(), err)) // not begun
				return nil
			}
			return rest
		}
		clear(done) // and the other way may do
	}
	for i, r := range plain {
		if !done[i] {
			rest = append(rest, r.ops...)
			continue
		}
		l.publish(r.new().AOR, r.set)
		for j, op := range r.ops {
			op.Write.result = r.results[j]
			op.Done(nil)
		}
	}
	return rest
}

// forget is for an AOR whose state is not known any more.
func (l *lane) forget(aor string) { l.s.bindings.Drop(aor) }

// plan divides the writes of a batch. All those of an AOR go the same way, in their order.
func (l *lane) plan(ops []*op) (plain []*refreshed, rest []*op) {
	planned := make(map[string]*refreshed, len(ops))
	hard := make(map[string]bool)
	for _, op := range ops {
		w := op.Write
		for _, aor := range w.aors {
			hard[aor] = true
		}
		if aor := w.update.AOR; w.flow == nil && !hard[aor] && !l.planOne(planned, op) {
			hard[aor] = true
		}
	}
	for aor, r := range planned {
		if !hard[aor] {
			plain = append(plain, r)
		}
	}
	for _, op := range ops {
		if op.Write.flow != nil || hard[op.Write.update.AOR] {
			rest = append(rest, op)
		}
	}
	// The order in which the rows are locked.
	slices.SortFunc(plain, func(a, b *refreshed) int { return compareKeys(a.old(), b.old()) })
	return plain, rest
}

func compareKeys(a, b *store.Binding) int {
	return cmp.Or(strings.Compare(a.AOR, b.AOR), strings.Compare(a.Key, b.Key))
}

// planOne adds a write to those of its AOR if it is a refresh.
func (l *lane) planOne(planned map[string]*refreshed, op *op) bool {
	u := &op.Write.update
	r := planned[u.AOR]
	if r == nil {
		set, exists, known := l.s.bindings.Get(u.AOR)
		if !known || !exists {
			return false
		}
		r = &refreshed{base: set, set: set, at: -1}
	}
	result, err := store.Apply(r.set, l.s.leases.known(), *u)
	if err != nil {
		return false // the database has the last word
	}
	at, ok := store.Touched(r.set, result.Bindings)
	if !ok || len(result.Gone) > 0 || r.at >= 0 && r.at != at {
		return false
	}
	r.at, r.set = at, result.Bindings
	r.ops, r.results = append(r.ops, op), append(r.results, result)
	planned[u.AOR] = r
	return true
}

// touch refreshes the rows that are what memory has, and reports which were.
func (l *lane) touch(plain []*refreshed) (done []bool, err error) {
	n := len(plain)
	done = make([]bool, n)
	aors, keys, callIDs := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	var numbers [5][]int64
	for i := range numbers {
		numbers[i] = make([]int64, n)
	}
	for i, r := range plain {
		old, b := r.old(), r.new()
		aors[i], keys[i], callIDs[i] = []byte(old.AOR), []byte(old.Key), []byte(old.CallID)
		for j, v := range [...]int64{
			int64(old.CSeq), old.Updated.UnixMilli(),
			int64(b.CSeq), b.Updated.UnixMilli(), b.Expires.UnixMilli(),
		} {
			numbers[j][i] = v
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), roundTrip)
	defer cancel()
	rows, err := l.conn.Query(ctx, "touch", aors, keys, callIDs, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4])
	if err != nil {
		return done, err
	}
	var at int64
	_, err = pgx.ForEachRow(rows, []any{&at}, func() error {
		done[at-1] = true
		return nil
	})
	return done, err
}
