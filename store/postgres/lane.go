package postgres

import (
	"context"
	"fmt"
	"hash/maphash"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/internal/batch"
)

// maxKey bounds AOR and key of a binding together: an entry of an index has no room for
// more, and a row that can't be written must not get into a batch with others.
const maxKey = 2000

// lane is a connection that writes, with the goroutine that uses it. Every AOR has one
// lane, so that the cache hears of the commits of an AOR in their order.
type lane struct {
	s      *Store
	writes *batch.Writer[*write]

	// Of the goroutine alone.
	conn *pgx.Conn
	life int64 // health.lives when it connected
}

// write is a REGISTER, or the end of a flow.
type write struct {
	update store.Update
	result store.Result

	flow    *flowEnd
	aors    []string // of the flow
	removed []store.Binding
}

type flowEnd struct {
	node  string
	epoch int64
	id    uint64
}

type op = batch.Op[*write]

func (s *Store) laneOf(aor string) int {
	return int(maphash.String(s.seed, aor) % uint64(len(s.lanes)))
}

// Register implements [store.Locations].
func (s *Store) Register(ctx context.Context, u store.Update) (store.Result, error) {
	if u.Query() {
		bindings, err := s.Lookup(ctx, u.AOR, u.Now)
		return store.Result{Bindings: bindings, Before: bindings}, err
	}
	if err := s.check(ctx); err != nil {
		return store.Result{}, err
	}
	if tooLong(&u) {
		return store.Result{}, fmt.Errorf("store: address and contact have more than %d bytes", maxKey)
	}
	w := &write{update: u}
	if err := s.lanes[s.laneOf(u.AOR)].writes.Do(ctx, w); err != nil {
		return store.Result{}, err
	}
	return w.result, nil
}

// RegisterLater implements [store.Later].
func (s *Store) RegisterLater(u store.Update, then func(store.Result, error)) bool {
	if u.Query() || s.closed.Load() || s.health.down() != nil || tooLong(&u) {
		return false
	}
	w := &write{update: u}
	return s.lanes[s.laneOf(u.AOR)].writes.Later(w, func(err error) { then(w.result, err) })
}

// tooLong reports whether a binding's key is.
func tooLong(u *store.Update) bool {
	for i := range u.Bindings {
		if len(u.AOR)+len(u.Bindings[i].Key) > maxKey {
			return true
		}
	}
	return false
}

// RemoveFlow implements [store.Locations].
func (s *Store) RemoveFlow(ctx context.Context, node string, epoch int64, flow uint64, aors []string) ([]store.Binding, error) {
	if err := s.check(ctx); err != nil || flow == 0 {
		return nil, err
	}
	parts := make([][]string, len(s.lanes))
	for _, aor := range aors {
		at := s.laneOf(aor)
		parts[at] = append(parts[at], aor)
	}
	end := &flowEnd{node, epoch, flow}
	var removed []store.Binding
	for at, part := range parts {
		if len(part) == 0 {
			continue
		}
		w := &write{flow: end, aors: part}
		if err := s.lanes[at].writes.Do(ctx, w); err != nil {
			return removed, err
		}
		removed = append(removed, w.removed...)
	}
	return removed, nil
}

// commit does the writes of a batch.
func (l *lane) commit(ops []*op) {
	if err := l.ready(); err != nil {
		finish(ops, err)
		return
	}
	rest := l.refresh(ops)
	if len(rest) == 0 {
		return
	}
	err := l.rewrite(rest)
	switch {
	case err == nil:
	case ours(err) && len(rest) > 1:
		l.rewriteEach(rest)
	default:
		finish(rest, l.failed(err))
	}
}

// rewriteEach does the writes one by one, so that one that can't be done fails alone.
func (l *lane) rewriteEach(ops []*op) {
	for _, op := range ops {
		err := l.ready()
		if err == nil {
			err = l.rewrite([]*batch.Op[*write]{op})
		}
		if err != nil {
			op.Done(l.failed(err))
		}
	}
}

func finish(ops []*op, err error) {
	for _, op := range ops {
		op.Done(err)
	}
}

// failed returns what a failure of the database means for a write.
func (l *lane) failed(err error) error {
	if err, ok := err.(certain); ok {
		return unavailable(context.Background(), err.error)
	}
	if refused(err) {
		return unavailable(context.Background(), err)
	}
	return lost(err)
}

// certain is an error that came before the commit was asked for.
type certain struct{ error }

func (c certain) Unwrap() error { return c.error }

// ready makes sure that there is a connection to write on.
func (l *lane) ready() error {
	if err := l.s.health.down(); err != nil {
		return err
	}
	if life := l.s.health.lives.Load(); l.conn != nil && (l.conn.IsClosed() || l.life != life) {
		// What is broken can't be closed in good order.
		_ = l.disconnect()
	}
	if l.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if err := l.connect(ctx); err != nil {
		return unavailable(context.Background(), err)
	}
	return nil
}

func (l *lane) connect(ctx context.Context) error {
	life := l.s.health.lives.Load()
	conf := l.s.pool.Config().ConnConfig
	for name, value := range map[string]string{
		"lock_timeout": lockTimeout, "statement_timeout": execTimeout,
		// A transaction that we forget, because our end of the connection broke, is not
		// to keep its locks.
		"idle_in_transaction_session_timeout": execTimeout,
		// The plan is the same for a batch of any size: every row by the index, in the
		// order of the arrays, which is what keeps nodes from locking each other out.
		"plan_cache_mode": "force_generic_plan",
		"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off", "enable_bitmapscan": "off", "enable_material": "off",
		"jit": "off",
	} {
		conf.RuntimeParams[name] = value
	}
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return err
	}
	// A 200 says that the binding is durable, whatever the server's default is.
	_, err = conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`)
	for name, sql := range statements {
		if err == nil {
			_, err = conn.Prepare(ctx, name, sql)
		}
	}
	if err != nil {
		_ = conn.Close(ctx) // the first error tells more
		return err
	}
	l.conn, l.life = conn, life
	return nil
}

// disconnect closes the connection.
func (l *lane) disconnect() error {
	if l.conn == nil {
		return nil
	}
	conn := l.conn
	l.conn = nil
	if conn.IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return conn.Close(ctx)
}

// publish makes the set of an AOR that was committed visible to those who ask the cache,
// before anybody learns of the commit.
func (l *lane) publish(aor string, set []store.Binding) {
	if l.s.health.listening.Load() {
		l.s.bindings.Set(store.OwnAOR(aor, set), set, len(set) > 0)
	} else {
		l.s.bindings.Drop(aor)
	}
	l.s.held.put(aor, set)
}
