package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

var epoch = time.UnixMilli(1_800_000_000_000)

func binding(key string) store.Binding {
	return store.Binding{
		Key: key, Contact: "sip:" + key + "@192.0.2.1", Expires: epoch.Add(time.Hour),
		Flow: sip.Flow{Transport: sip.WS, ID: 1}, Node: "n1", Epoch: 1,
	}
}

func update(aor string, cseq uint32, bindings ...store.Binding) store.Update {
	return store.Update{AOR: aor, Now: epoch, CallID: "c", CSeq: cseq, Bindings: bindings}
}

func register(t testing.TB, s store.Store, u store.Update) store.Result {
	t.Helper()
	r, err := s.Register(t.Context(), u)
	if err != nil {
		t.Fatalf("Register(%s %d): %v", u.AOR, u.CSeq, err)
	}
	return r
}

// bound says whether a user of a load is registered after the request of that CSeq: of four
// in a row the first adds, two refresh, the last removes.
func bound(cseq uint32) bool { return cseq%4 != 0 }

func loadUpdate(aor string, cseq uint32) store.Update {
	b := binding("phone")
	if !bound(cseq) {
		b.Expires = epoch
	}
	return update(aor, cseq, b)
}

// load is users that register, refresh and unregister without a pause, with a log of what
// was acknowledged.
type load struct {
	name  string
	users []*user
	stop  context.CancelFunc
	wg    sync.WaitGroup

	acked, refused atomic.Int64
	slowest        atomic.Int64 // nanoseconds that an answer took
	wrong          atomic.Pointer[error]
}

// user is one of them. possible are the CSeqs whose state the database may have: that of
// the last acknowledged request, and those after it whose outcome is not known.
type user struct {
	aor      string
	cseq     uint32
	possible []uint32
}

// startLoad has n users on the store. deadline bounds each request, as the registrar does.
func startLoad(t *testing.T, s store.Store, name string, n int, deadline time.Duration) *load {
	ctx, stop := context.WithCancel(t.Context())
	l := &load{name: name, stop: stop}
	for i := range n {
		u := &user{aor: fmt.Sprintf("%s%d@x", name, i), possible: []uint32{0}}
		l.users = append(l.users, u)
		l.wg.Go(func() {
			for ctx.Err() == nil {
				l.request(s, u, deadline)
			}
		})
	}
	return l
}

func (l *load) request(s store.Store, u *user, deadline time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	u.cseq++
	began := time.Now()
	_, err := s.Register(ctx, loadUpdate(u.aor, u.cseq))
	if took := int64(time.Since(began)); took > l.slowest.Load() {
		l.slowest.Store(took)
	}
	switch {
	case err == nil:
		u.possible = []uint32{u.cseq}
		l.acked.Add(1)
		return
	case errors.Is(err, store.ErrUncertain):
		u.possible = append(u.possible, u.cseq)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
	default:
		l.wrong.Store(&err)
	}
	l.refused.Add(1)
	// As a client that was told to retry; without a pause a store that refuses at once
	// would be asked a million times.
	pause := time.NewTimer(time.Millisecond)
	<-pause.C
}

// more waits for so many further acknowledged requests.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	want := l.acked.Load() + n
	eventually(t, fmt.Sprint(n, " more registrations"), func() bool { return l.acked.Load() >= want })
}

// end stops the load and compares the log with the database, as a store that has nothing
// in memory sees it.
func (l *load) end(t *testing.T, fresh store.Store) {
	t.Helper()
	l.stop()
	l.wg.Wait()
	if err := l.wrong.Load(); err != nil {
		t.Errorf("a failure of another kind: %v", *err)
	}
	for _, u := range l.users {
		got, err := fresh.Lookup(t.Context(), u.aor, epoch)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(u.possible, func(cseq uint32) bool { return is(got, cseq) }) {
			t.Errorf("%s: possible after the acknowledgements is CSeq %d, the database has %+v", u.aor, u.possible, got)
		}
	}
	t.Logf("%s: %d acknowledged, %d refused, the slowest answer took %v", l.name, l.acked.Load(), l.refused.Load(), time.Duration(l.slowest.Load()))
}

// is reports whether the bindings are the state after the request of that CSeq.
func is(got []store.Binding, cseq uint32) bool {
	if !bound(cseq) {
		return len(got) == 0
	}
	return len(got) == 1 && got[0].CSeq == cseq
}

// eventually waits for what another connection must bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
