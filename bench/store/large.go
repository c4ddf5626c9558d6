package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/postgres"
)

// large prints how PostgreSQL's store does with very many bindings.
func (k *kit) large() (err error) {
	before := heap()
	s, dsn, err := k.openPostgres(postgres.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	now := time.Now()
	if err := k.bind(s, 0, k.bindings, k.bindings-k.expired, now); err != nil {
		return err
	}
	fmt.Fprintf(k.out, "\n%d bindings, loaded in\t%v\t\n", k.bindings, time.Since(now).Round(time.Second/10))
	bindings, _ := s.CacheStats()
	fmt.Fprintf(k.out, "memory per cached binding\t%d bytes\t(%d reckoned)\t\n",
		(heap()-before)/uint64(bindings.Entries), bindings.Bytes/int64(bindings.Entries))
	if err := analyze(k.ctx, dsn); err != nil {
		return err
	}
	for _, part := range []func(store.Store) error{k.cached, k.read, k.list, k.sweep} {
		if err := part(s); err != nil {
			return err
		}
	}
	return k.out.Flush()
}

// heap returns the bytes of live objects.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// analyze does what the autovacuum would soon do.
func analyze(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE binding")
	return errors.Join(err, conn.Close(ctx))
}

// cached measures look-ups that memory answers, of AORs in no order. It counts processor
// time, of which nobody else on the machine takes any.
func (k *kit) cached(s store.Store) error {
	const n = 2_000_000
	aors := make([]string, 1<<16)
	for i := range aors {
		aors[i] = aor(rand.IntN(k.bindings - k.expired))
	}
	now := time.Now()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := ownCPU()
	for i := range n {
		if set, ok := s.CachedLookup(aors[i%len(aors)], now); !ok || len(set) != 1 {
			return fmt.Errorf("%s is not cached", aors[i%len(aors)])
		}
	}
	took := ownCPU() - start
	runtime.ReadMemStats(&after)
	fmt.Fprintf(k.out, "look-up in memory\t%d ns\t%.3f allocations\t\n", took.Nanoseconds()/n, float64(after.Mallocs-before.Mallocs)/n)
	return nil
}

// read measures look-ups that the database answers: of AORs that have no bindings, which
// memory does not know, and of those that have, at another node.
func (k *kit) read(s store.Store) error {
	other, err := postgres.Open(k.ctx, k.cluster.DSN(fmt.Sprint("test", k.cluster.Databases())), postgres.Config{CacheBytes: 1})
	if err != nil {
		return err
	}
	var took []time.Duration
	for start := time.Now(); time.Since(start) < k.lasts; {
		name := aor(rand.IntN(k.bindings))
		began := time.Now()
		if _, err := other.Lookup(k.ctx, name, began); err != nil {
			return errors.Join(err, other.Close())
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	fmt.Fprintf(k.out, "look-up in PostgreSQL\t%v p50\t%v p99\t\n", quantile(took, .5), quantile(took, .99))
	return other.Close()
}

// list measures what people ask.
func (k *kit) list(s store.Store) error {
	now := time.Now()
	for _, ask := range []struct {
		name string
		q    store.Query
	}{
		{"count", store.Query{}},
		{"page by address", store.Query{Limit: 50, After: store.Cursor{AOR: aor(k.bindings / 2)}}},
		{"page by expiry", store.Query{Limit: 50, Sort: store.ByExpires}},
		{"page by last refresh", store.Query{Limit: 50, Sort: store.ByUpdated}},
		{"page of a user agent", store.Query{Limit: 50, UserAgent: "jssip"}},
		{"count of a pattern", store.Query{Pattern: "*77@*"}},
	} {
		ask.q.Now = now
		start := time.Now()
		var err error
		if ask.q.Limit == 0 {
			_, err = s.Count(k.ctx, ask.q)
		} else {
			_, err = s.List(k.ctx, ask.q)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(k.out, "%s\t%v\t\t\n", ask.name, time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// sweep measures by how much refreshes are slower while what has expired is deleted.
func (k *kit) sweep(s store.Store) error {
	alone, _, err := k.beside(s, func() (int, error) {
		time.Sleep(k.lasts)
		return 0, nil
	})
	if err != nil {
		return err
	}
	start := time.Now()
	swept := 0
	busy, took, err := k.beside(s, func() (n int, err error) {
		for {
			gone, err := s.Sweep(k.ctx, time.Now(), 1000)
			if swept += len(gone); err != nil || len(gone) < 1000 {
				return swept, err
			}
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(k.out, "sweep of %d\t%v\t\t\n", swept, took.Sub(start).Round(time.Millisecond))
	fmt.Fprintf(k.out, "a REGISTER without it\t%v p50\t%v p99\t%v at most\t\n", quantile(alone, .5), quantile(alone, .99), quantile(alone, 1))
	fmt.Fprintf(k.out, "a REGISTER during it\t%v p50\t%v p99\t%v at most\t\n", quantile(busy, .5), quantile(busy, .99), quantile(busy, 1))
	return nil
}

// beside has 16 clients that refresh while f runs, and returns how long each refresh took
// and when f had done.
func (k *kit) beside(s store.Store, f func() (int, error)) (took []time.Duration, done time.Time, err error) {
	const clients = 16
	ctx, stop := context.WithCancel(k.ctx)
	defer stop()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	for c := range clients {
		wg.Go(func() {
			for i := c; ctx.Err() == nil; i += clients {
				start := time.Now()
				_, err := s.Register(k.ctx, refreshOf(i%users, uint32(start.UnixMilli()-1_700_000_000_000), start))
				mu.Lock()
				took = append(took, time.Since(start))
				if err != nil && !errors.Is(err, store.ErrOrder) {
					failed = err
				}
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	_, err = f()
	done = time.Now()
	stop()
	wg.Wait()
	slices.Sort(took)
	return took, done, errors.Join(err, failed)
}
