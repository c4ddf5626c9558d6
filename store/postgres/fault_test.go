package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/postgres"
	"github.com/sipway/sipway/store/postgres/pgtest"
)

const rounds = 3

// TestServerKilled: PostgreSQL is killed and started again under load. What is bound here
// rings all the time; nothing that was acknowledged is lost, nothing comes back; the rest
// is refused at once; and it goes on by itself.
func TestServerKilled(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	dsn := newDatabase(t, c)
	s := openStore(t, dsn, postgres.Config{})
	defer s.Close()
	register(t, s, update("callee@x", 1, binding("page")))
	for round := range rounds {
		l := startLoad(t, s, fmt.Sprint("kill", round, "-"), 64, 5*time.Second)
		l.more(t, 500)
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		before := l.refused.Load()
		eventually(t, "refusals", func() bool { return l.refused.Load() > before+1000 })
		rings(t, s, "callee@x")
		refusedAtOnce(t, s)
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.more(t, 500)
		endAfresh(t, l, dsn)
	}
}

// TestServerPaused: PostgreSQL hangs, connections stay open.
func TestServerPaused(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	dsn := newDatabase(t, c)
	s := openStore(t, dsn, postgres.Config{})
	defer s.Close()
	register(t, s, update("callee@x", 1, binding("page")))
	for round := range rounds {
		l := startLoad(t, s, fmt.Sprint("pause", round, "-"), 64, time.Second)
		l.more(t, 300)
		if err := c.Pause(); err != nil {
			t.Fatal(err)
		}
		before := l.refused.Load()
		eventually(t, "refusals", func() bool { return l.refused.Load() > before+64 })
		rings(t, s, "callee@x")
		if err := c.Resume(); err != nil {
			t.Fatal(err)
		}
		l.more(t, 300)
		endAfresh(t, l, dsn)
	}
}

// TestConnectionCut: what lies between cuts all connections, again and again, and in one
// round lets none through for a while.
func TestConnectionCut(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	dsn := newDatabase(t, c)
	p := newProxy(t, fmt.Sprint("127.0.0.1:", c.Port))
	s := openStore(t, strings.Replace(dsn, fmt.Sprint("127.0.0.1:", c.Port), p.addr, 1), postgres.Config{})
	defer s.Close()
	register(t, s, update("callee@x", 1, binding("page")))
	l := startLoad(t, s, "cut-", 64, 5*time.Second)
	for range 10 {
		l.more(t, 200)
		p.cut(false)
		rings(t, s, "callee@x")
	}
	p.cut(true)
	before := l.refused.Load()
	eventually(t, "refusals", func() bool { return l.refused.Load() > before+1000 })
	rings(t, s, "callee@x")
	refusedAtOnce(t, s)
	p.open()
	l.more(t, 500)
	endAfresh(t, l, dsn)
}

// TestLockedRow: another session keeps a lock. Who has to do with it is refused in time,
// and it does not stay so.
func TestLockedRow(t *testing.T) {
	dsn := pgtest.Database(t)
	s := openStore(t, dsn, postgres.Config{})
	defer s.Close()
	register(t, s, update("locked@x", 1, binding("page")))
	other, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	if _, err := other.Exec(t.Context(), "BEGIN; SELECT * FROM binding FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, u := range []store.Update{
		update("locked@x", 2, binding("page")),                      // a refresh
		{AOR: "locked@x", Now: epoch, CallID: "d", RemoveAll: true}, // the slow way
	} {
		wg.Go(func() {
			if _, err := s.Register(t.Context(), u); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUncertain) {
				t.Errorf("a locked row: %v, want a certain ErrUnavailable", err)
			} else if !strings.Contains(err.Error(), "keep a lock") {
				t.Errorf("error %q does not tell of the lock", err)
			}
		})
	}
	for i := range 20 { // of all lanes; they may have to wait, and then it is their turn
		wg.Go(func() {
			if _, err := s.Register(t.Context(), update(fmt.Sprintf("free%d@x", i), 1, binding("page"))); err != nil {
				t.Errorf("beside a locked row: %v", err)
			}
		})
	}
	wg.Wait()
	rings(t, s, "locked@x")
	if _, err := other.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	register(t, s, update("locked@x", 2, binding("page")))
}

// TestOneBadWrite: what the database can't store fails alone.
func TestOneBadWrite(t *testing.T) {
	s := openStore(t, pgtest.Database(t), postgres.Config{})
	defer s.Close()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			u := update(fmt.Sprintf("u%d@x", i), 1, binding("page"))
			bad := i%10 == 0
			if bad {
				u.Bindings[0].Key = strings.Repeat("x", 5000)
			}
			if _, err := s.Register(t.Context(), u); (err != nil) != bad {
				t.Errorf("user %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func newDatabase(t *testing.T, c *pgtest.Cluster) string {
	t.Helper()
	dsn, err := c.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

// endAfresh ends a load and checks it with another store.
func endAfresh(t *testing.T, l *load, dsn string) {
	t.Helper()
	fresh := openStore(t, dsn, postgres.Config{})
	l.end(t, fresh)
	if err := fresh.Close(); err != nil {
		t.Error(err)
	}
}

// rings checks that a call to somebody who was bound here finds the binding soon enough.
func rings(t *testing.T, s store.Store, aor string) {
	t.Helper()
	began := time.Now()
	got, ok := s.CachedLookup(aor, epoch)
	if !ok {
		var err error
		if got, err = s.Lookup(t.Context(), aor, epoch); err != nil {
			t.Errorf("%s: %v", aor, err)
		}
	}
	if len(got) != 1 {
		t.Errorf("%s has %d bindings", aor, len(got))
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the look-up took %v", took)
	}
}

// refusedAtOnce: while the database is known to be down nobody waits for it.
func refusedAtOnce(t *testing.T, s store.Store) {
	t.Helper()
	began := time.Now()
	_, err := s.Register(t.Context(), update("late@x", 1, binding("page")))
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUncertain) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("refused after %v", took)
	}
}

// proxy passes connections on until it cuts them.
type proxy struct {
	addr, to string

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), to: to, conns: make(map[net.Conn]struct{})}
	t.Cleanup(func() {
		l.Close()
		p.cut(true)
	})
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(in)
		}
	}()
	return p
}

func (p *proxy) pass(in net.Conn) {
	out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.to)
	if err != nil {
		in.Close()
		return
	}
	if !p.add(in, out) {
		return
	}
	go func() {
		io.Copy(out, in)
		out.Close()
	}()
	io.Copy(in, out)
	in.Close()
}

// add notes a pair of connections, unless none are let through.
func (p *proxy) add(in, out net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		in.Close()
		out.Close()
		return false
	}
	p.conns[in], p.conns[out] = struct{}{}, struct{}{}
	return true
}

// cut closes all connections, without a word where the kernel can, and lets no more
// through if closed.
func (p *proxy) cut(closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = closed
	for c := range p.conns {
		c.(*net.TCPConn).SetLinger(0) // a reset
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
}
