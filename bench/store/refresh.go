package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/postgres"
)

// users is how many AORs the refreshes go round.
const users = 10_000

func aor(i int) string { return fmt.Sprintf("user%07d@example.test", i) }

// browser returns a binding as large as that of a real page.
func browser(i int, expires time.Time) store.Binding {
	instance := fmt.Sprintf("<urn:uuid:0f2ad1c4-5e6b-4d1f-9c1e-%012d>", i)
	return store.Binding{
		Key:       instance + ";1",
		Contact:   fmt.Sprintf("sip:k3j5h2l%d@df7jal23ls0d.invalid;transport=ws", i),
		Params:    ";+sip.ice;reg-id=1;+sip.instance=\"" + instance + "\"",
		Q:         1000,
		Methods:   `"INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY"`,
		Instance:  instance,
		RegID:     1,
		UserAgent: "JsSIP 3.13.8",
		Flow: sip.Flow{
			Transport: sip.WSS, ID: uint64(i + 1),
			Local: netip.MustParseAddrPort("192.0.2.1:8443"), Remote: netip.MustParseAddrPort("198.51.100.7:40123"),
		},
		Node: "n1", Epoch: 1, Expires: expires,
	}
}

func refreshOf(i int, cseq uint32, now time.Time) store.Update {
	return store.Update{
		AOR: aor(i), Now: now, CallID: fmt.Sprintf("m3k5j2h4l6k7j8h9-%d", i), CSeq: cseq,
		Bindings: []store.Binding{browser(i, now.Add(10*time.Minute))}, MaxContacts: 20,
	}
}

// bind registers users first to last-1, those from expiring on for a second only.
func (k *kit) bind(s store.Store, first, last, expiring int, now time.Time) error {
	const writers = 512
	failed := make(chan error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := first + w; i < last; i += writers {
				u := refreshOf(i, 1, now)
				if i >= expiring {
					u.Bindings[0].Expires = now.Add(time.Second)
				}
				if _, err := s.Register(k.ctx, u); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

// refreshes prints the rates of refreshes.
func (k *kit) refreshes() error {
	fmt.Fprintln(k.out, "store\tclients\trefreshes/s\tp50\tp99\tCPU\tone by one/s\tp50\tp99\tCPU\tratio\t")
	rounds := []struct {
		name string
		open func(alone bool) (store.Store, error)
	}{
		{"SQLite", func(alone bool) (store.Store, error) {
			s, err := k.openSQLite()
			if alone {
				return &oneByOne{Store: s}, err
			}
			return s, err
		}},
		{"PostgreSQL", func(alone bool) (store.Store, error) {
			s, _, err := k.openPostgres(postgres.Config{OneByOne: alone})
			return s, err
		}},
	}
	for _, round := range rounds {
		for _, clients := range []int{1, 64, 1024} {
			var results [2]rate
			for i, alone := range []bool{false, true} {
				s, err := round.open(alone)
				if err != nil {
					return err
				}
				results[i], err = k.refresh(s, clients)
				if err := errors.Join(err, s.Close()); err != nil {
					return err
				}
			}
			all, one := results[0], results[1]
			fmt.Fprintf(k.out, "%s\t%d\t%.0f\t%v\t%v\t%v\t%.0f\t%v\t%v\t%v\t%.1f\t\n", round.name, clients,
				all.perSecond, all.p50, all.p99, all.cpu, one.perSecond, one.p50, one.p99, one.cpu, all.perSecond/one.perSecond)
		}
	}
	return k.out.Flush()
}

// rate is the outcome of a measurement.
type rate struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       time.Duration // of a refresh: ours, the clients' included, and the database's
}

// refresh has clients that each refresh the bindings of their own users in turn.
func (k *kit) refresh(s store.Store, clients int) (rate, error) {
	if err := k.bind(s, 0, users, users, time.Now()); err != nil {
		return rate{}, err
	}
	var stop atomic.Bool
	took := make([][]time.Duration, clients)
	failed := make(chan error, clients)
	var wg sync.WaitGroup
	began, used := time.Now(), k.cpu()
	for c := range clients {
		wg.Go(func() {
			for cseq := uint32(2); !stop.Load(); cseq++ {
				for i := c; i < users && !stop.Load(); i += clients {
					start := time.Now()
					if _, err := s.Register(k.ctx, refreshOf(i, cseq, start)); err != nil {
						failed <- err
						return
					}
					took[c] = append(took[c], time.Since(start))
				}
			}
		})
	}
	time.AfterFunc(k.lasts, func() { stop.Store(true) })
	wg.Wait()
	lasted, spent := time.Since(began), k.cpu()-used
	close(failed)
	if err := <-failed; err != nil {
		return rate{}, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return rate{float64(len(all)) / lasted.Seconds(), quantile(all, .5), quantile(all, .99), (spent / time.Duration(len(all))).Round(100 * time.Nanosecond)}, nil
}

// cpu returns the processor time of this process and of the database.
func (k *kit) cpu() time.Duration { return ownCPU() + k.cluster.CPU() }

// ownCPU returns the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quantile returns one of sorted durations, with three digits.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	d := all[min(len(all)-1, int(q*float64(len(all))))]
	return d.Round(max(time.Duration(pow10(d)/100), 1))
}

// pow10 returns the largest power of ten that is not above d.
func pow10(d time.Duration) int64 {
	p := int64(1)
	for p*10 <= int64(d) {
		p *= 10
	}
	return p
}
