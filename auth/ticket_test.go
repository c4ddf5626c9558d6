package auth

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Tickets
		ticket, expires, err := all.Issue("alice@example.test", time.Minute)
		if err != nil || !IsTicket(ticket) || time.Until(expires) != time.Minute {
			t.Fatalf("%q, %v, %v", ticket, expires, err)
		}
		other, _, _ := all.Issue("bob@example.test", time.Minute)
		if _, ok := all.Redeem(ticket + "x"); ok {
			t.Error("a ticket that never was is taken")
		}
		var taken atomic.Int32
		var tries sync.WaitGroup
		for range 100 {
			tries.Go(func() {
				if aor, ok := all.Redeem(ticket); ok && aor == "alice@example.test" {
					taken.Add(1)
				}
			})
		}
		tries.Wait()
		if n := taken.Load(); n != 1 {
			t.Errorf("the ticket is taken %d times", n)
		}
		<-time.After(time.Minute)
		if _, ok := all.Redeem(other); ok || len(all.byHash) != 0 || len(all.queue) != 0 {
			t.Error("a ticket that has expired is taken, or kept")
		}
	})
}

// What nobody uses is bounded, and no ticket is kept as it is.
func TestTicketsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const maxTickets = 1000
		all := Tickets{Max: maxTickets}
		last := ""
		for i := range maxTickets {
			var err error
			if last, _, err = all.Issue("alice@example.test", time.Duration(i%100+1)*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := all.Issue("alice@example.test", time.Second); !errors.Is(err, ErrTooManyTickets) {
			t.Errorf("error %v", err)
		}
		for hash, entry := range all.byHash {
			if strings.Contains(string(hash[:])+entry.aor, last) {
				t.Error("the ticket itself is kept")
			}
		}
		<-time.After(50 * time.Second)
		if _, _, err := all.Issue("alice@example.test", time.Second); err != nil {
			t.Error(err)
		}
		if n := len(all.byHash); n != maxTickets/2+1 || n != len(all.queue) {
			t.Errorf("%d are kept", n)
		}
	})
}
