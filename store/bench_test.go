package store_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
	"github.com/sipway/sipway/store/sqlite"
)

// benchUsers is how many AORs the benchmarks go round.
const benchUsers = 10_000

func openMemory(testing.TB) store.Store { return memory.New() }

func openSQLite(tb testing.TB) store.Store {
	s, err := sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "sipway.db"), sqlite.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// oneByOne has a transaction for each REGISTER: what group commit is compared with.
type oneByOne struct {
	store.Store
	mu sync.Mutex
}

func benchAOR(i int) string { return fmt.Sprintf("user%06d@example.test", i) }

// browser returns a binding as large as that of a real page.
func browser(i int) store.Binding {
	return store.Binding{
		Key:       fmt.Sprintf("<urn:uuid:0f2ad1c4-5e6b-4d1f-9c1e-%012d>;1", i),
		Contact:   fmt.Sprintf("sip:k3j5h2l%d@df7jal23ls0d.invalid;transport=ws", i),
		Params:    ";+sip.ice;reg-id=1;+sip.instance=\"<urn:uuid:0f2ad1c4-5e6b-4d1f-9c1e-000000000000>\"",
		Q:         1000,
		Methods:   `"INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY"`,
		Instance:  fmt.Sprintf("<urn:uuid:0f2ad1c4-5e6b-4d1f-9c1e-%012d>", i),
		RegID:     1,
		UserAgent: "JsSIP 3.10.1",
		Flow: sip.Flow{
			Transport: sip.WSS, ID: uint64(i + 1),
			Local: netip.MustParseAddrPort("192.0.2.1:8443"), Remote: netip.MustParseAddrPort("198.51.100.7:40123"),
		},
		Node: "n1", Epoch: 1, Expires: now.Add(10 * time.Minute),
	}
}

func benchUpdate(i int, cseq uint32) store.Update {
	return store.Update{
		AOR: benchAOR(i), Now: now, CallID: fmt.Sprintf("m3k5j2h4l6k7j8h9-%d", i), CSeq: cseq,
		Bindings: []store.Binding{browser(i)}, MaxContacts: 20,
	}
}

// fill binds users first to last-1.
func fill(tb testing.TB, s store.Store, first, last int) {
	tb.Helper()
	var wg sync.WaitGroup
	const writers = 256
	for w := range writers {
		wg.Go(func() {
			for i := first + w; i < last; i += writers {
				if _, err := s.Register(tb.Context(), benchUpdate(i, 1)); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRegister(b *testing.B) {
	stores := []struct {
		name  string
		open  func(testing.TB) store.Store
		alone bool
	}{
		{"memory", openMemory, false},
		{"sqlite", openSQLite, false},
		{"sqlite one by one", openSQLite, true},
	}
	for _, st := range stores {
		for _, clients := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("%s/clients=%d", st.name, clients), func(b *testing.B) {
				s := st.open(b)
				defer s.Close()
				fill(b, s, 0, benchUsers)
				if st.alone {
					s = &oneByOne{Store: s}
				}
				refresh(b, s, clients)
			})
		}
	}
}

// refresh has clients that each refresh the bindings of their own users in turn.
func refresh(b *testing.B, s store.Store, clients int) {
	updates := make([]store.Update, benchUsers)
	for i := range updates {
		updates[i] = benchUpdate(i, 1)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range clients {
		wg.Go(func() {
			for i := c; left.Add(-1) >= 0; i += clients {
				if i >= benchUsers {
					i = c
				}
				updates[i].CSeq++
				if err := registerOne(b, s, updates[i]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func registerOne(tb testing.TB, s store.Store, u store.Update) error {
	if one, ok := s.(*oneByOne); ok {
		one.mu.Lock()
		defer one.mu.Unlock()
	}
	_, err := s.Register(tb.Context(), u)
	return err
}

func BenchmarkLookupHit(b *testing.B) {
	for name, open := range map[string]func(testing.TB) store.Store{"memory": openMemory, "sqlite": openSQLite} {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			defer s.Close()
			fill(b, s, 0, benchUsers)
			aors := make([]string, benchUsers)
			for i := range aors {
				aors[i] = benchAOR(i)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if got, ok := s.CachedLookup(aors[i%benchUsers], now); !ok || len(got) != 1 {
					b.Fatal("no hit")
				}
				i++
			}
		})
	}
}

func BenchmarkLookupMiss(b *testing.B) {
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "sipway.db"), sqlite.Config{CacheBytes: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	fill(b, s, 0, benchUsers)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if got, err := s.Lookup(b.Context(), benchAOR(i%benchUsers), now); err != nil || len(got) != 1 {
			b.Fatal(len(got), err)
		}
		i++
	}
}
