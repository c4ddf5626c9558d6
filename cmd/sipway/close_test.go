package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/dsn"
	"github.com/sipway/sipway/store/postgres/pgtest"
)

// closeBound is how long a binding may outlive its connection on a machine that has very much
// else to do, so that it says no more than that it ends by the close and not by the ping.
// BenchmarkClose says how long it takes.
const closeBound = 5 * time.Second

// A registration ends when its connection does: within milliseconds, and no other's.
func TestClose(t *testing.T) {
	for _, tr := range []sip.Transport{sip.WS, sip.TCP} {
		t.Run(tr.String(), func(t *testing.T) {
			w := newClosing(t, "sqlite:"+filepath.Join(t.TempDir(), "sipway.db"), tr, 200)
			for i := range 50 {
				unreachable, removed := w.close(t, i)
				if unreachable > closeBound || removed > closeBound {
					t.Errorf("unreachable after %v, out of the store after %v", unreachable, removed)
				}
			}
			if n := w.stored(t); n != 150 {
				t.Errorf("%d of 150 others are left", n)
			}
			w.closeAll(t)
		})
	}
}

// BenchmarkClose reports how long after the end of its connection a registration can't be
// called any more, and how long it takes to leave the store: of single connections among
// many, and of all of them closing at once.
func BenchmarkClose(b *testing.B) {
	for _, kind := range []string{"memory:", "sqlite:", "postgres:"} {
		b.Run(kind, func(b *testing.B) {
			name := kind
			switch kind {
			case "sqlite:":
				name += filepath.Join(b.TempDir(), "sipway.db")
			case "postgres:":
				name = pgtest.Database(b)
			}
			const conns, single = 4000, 1000
			for b.Loop() {
				w := newClosing(b, name, sip.WS, conns)
				var reach, stored []time.Duration
				for i := range single {
					unreachable, removed := w.close(b, i)
					reach, stored = append(reach, unreachable), append(stored, removed)
				}
				report(b, reach, "unreachable")
				report(b, stored, "removed")
				b.ReportMetric(float64(w.closeAll(b).Microseconds())/1000, "ms/3000-at-once")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func report(b *testing.B, all []time.Duration, what string) {
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(all[len(all)/2]), "ms/p50-"+what)
	b.ReportMetric(ms(all[len(all)*99/100]), "ms/p99-"+what)
}

// closing is a server with many clients, each registered over its own connection.
type closing struct {
	*server
	store store.Store
	conns []net.Conn // nil: closed
}

func newClosing(tb testing.TB, kind string, tr sip.Transport, clients int) *closing {
	tb.Helper()
	cfg := config.Default()
	cfg.Store, cfg.Admin = config.DSN(kind), ""
	cfg.Auth.Mode = config.AuthNone
	cfg.Listen = []config.Listener{{Transport: tr, Addr: "127.0.0.1:0", Path: "/"}}
	st, err := dsn.Open(context.Background(), kind, dsn.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := newServer(cfg, st, newOffice(cfg), new(encryption), slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	w := &closing{s, st, make([]net.Conn, clients)}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.shutdown(ctx); err != nil {
			tb.Error(err)
		}
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	at := s.transport.Listeners()[0].Addr.String()
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := worker; i < clients; i += 16 {
				c, err := dialAndRegister(at, tr, i)
				if err != nil {
					tb.Errorf("client %d: %v", i, err)
					return
				}
				w.conns[i] = c
			}
		})
	}
	all.Wait()
	if n := w.stored(tb); n != clients {
		tb.Fatalf("%d of %d clients are registered", n, clients)
	}
	return w
}

func aorOf(i int) string { return fmt.Sprintf("%d@localhost", i) }

func dialAndRegister(at string, tr sip.Transport, i int) (net.Conn, error) {
	c, err := net.Dial("tcp", at)
	if err != nil {
		return nil, err
	}
	text := fmt.Appendf(nil, "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/%v a.invalid;branch=z9hG4bK%d\r\n"+
		"From: <sip:%s>;tag=1\r\nTo: <sip:%[3]s>\r\nCall-ID: %[2]d\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"+
		"Contact: <sip:c@a.invalid>\r\nContent-Length: 0\r\n\r\n", tr, i, aorOf(i))
	if tr == sip.WS {
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n")
		if err := readUntil(c, "\r\n\r\n"); err != nil {
			return nil, err
		}
		// One text frame, masked with zeros.
		text = append([]byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}, text...)
	}
	if _, err := c.Write(text); err != nil {
		return nil, err
	}
	return c, readUntil(c, "SIP/2.0 200 OK")
}

func readUntil(c net.Conn, what string) error {
	var got []byte
	for chunk := make([]byte, 2000); !bytes.Contains(got, []byte(what)); {
		n, err := c.Read(chunk)
		if err != nil {
			return fmt.Errorf("%w after %q", err, got)
		}
		got = append(got, chunk[:n]...)
	}
	return nil
}

// stored returns how many bindings the store has.
func (w *closing) stored(tb testing.TB) int {
	tb.Helper()
	n, err := w.store.Count(context.Background(), store.Query{Now: time.Now()})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// close ends client i's connection and returns when it could not be called any more, and
// when its binding had left the store.
func (w *closing) close(tb testing.TB, i int) (unreachable, removed time.Duration) {
	tb.Helper()
	began := time.Now()
	if err := w.conns[i].Close(); err != nil {
		tb.Fatal(err)
	}
	w.conns[i] = nil
	gone := func(look func(string) ([]store.Binding, bool)) time.Duration {
		for {
			bindings, known := look(aorOf(i))
			if took := time.Since(began); known && len(bindings) == 0 || took > 10*time.Second {
				return took
			}
			runtime.Gosched()
		}
	}
	unreachable = gone(w.registrar.Lookup)
	removed = gone(func(aor string) ([]store.Binding, bool) { return w.store.CachedLookup(aor, time.Now()) })
	return unreachable, removed
}

// closeAll ends all connections that are left, and returns how long it took until the store
// had none of their bindings.
func (w *closing) closeAll(tb testing.TB) time.Duration {
	tb.Helper()
	began := time.Now()
	for _, c := range w.conns {
		if c != nil {
			c.Close()
		}
	}
	for time.Since(began) < 10*time.Second {
		if w.stored(tb) == 0 {
			return time.Since(began)
		}
	}
	tb.Errorf("%d bindings are left", w.stored(tb))
	return 0
}
