package auth

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

const alice = "alice@" + domain

func newBinder(t testing.TB) (*Authenticator, *flows) {
	open := new(flows)
	a, err := New(Config{Mode: None, FlowCalls: true}, newUsers(), open)
	if err != nil {
		t.Fatal(err)
	}
	return a, open
}

func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, open := newBinder(t)
		other := browser
		other.ID++
		a.Bind(browser, alice, time.Now().Add(time.Minute))
		if !a.Bound(browser, alice) || a.Bound(browser, "bob@"+domain) || a.Bound(other, alice) {
			t.Error("believed is who has registered, and only there")
		}
		<-time.After(59 * time.Second)
		a.Bind(browser, alice, time.Now().Add(time.Minute)) // a refresh
		<-time.After(59 * time.Second)
		if !a.Bound(browser, alice) {
			t.Error("not believed after a refresh")
		}
		<-time.After(time.Second)
		if a.Bound(browser, alice) {
			t.Error("believed though the binding has expired")
		}

		a.Bind(browser, alice, time.Now().Add(time.Minute))
		a.Bind(browser, alice, time.Time{})
		if a.Bound(browser, alice) || len(a.bound.byFlow) != 0 {
			t.Error("believed though the binding was removed")
		}
		a.Bind(other, alice, time.Time{}) // was not bound

		a.Bind(browser, alice, time.Now().Add(time.Minute))
		open.close(browser)
		a.Closed(browser)
		if a.Bound(browser, alice) || len(a.bound.byFlow) != 0 {
			t.Error("believed though the flow has closed")
		}
	})
}

// Anybody can send a datagram from anybody's address.
func TestBoundUDP(t *testing.T) {
	a, _ := newBinder(t)
	a.Bind(desk, alice, time.Now().Add(time.Minute))
	if a.Bound(desk, alice) || len(a.bound.byFlow) != 0 {
		t.Error("believed over UDP")
	}
}

func TestBoundNotWanted(t *testing.T) {
	a, _ := newBinder(t)
	a.cfg.FlowCalls = false
	a.Bind(browser, alice, time.Now().Add(time.Minute))
	if a.Bound(browser, alice) || len(a.bound.byFlow) != 0 {
		t.Error("believed though every call is to be challenged")
	}
}

// The connection closes while its REGISTER is being answered. Wherever in Bind that
// happens, nothing may be left behind: no one will remove it later.
func TestBindRacesWithClosed(t *testing.T) {
	end := func(a *Authenticator, open *flows) {
		open.close(browser)
		a.Closed(browser)
	}
	for _, test := range []struct {
		name string
		bind func(a *Authenticator, open *flows)
	}{
		{"before", func(a *Authenticator, open *flows) {
			end(a, open)
			a.Bind(browser, alice, time.Now().Add(time.Hour))
		}},
		{"between adding and looking", func(a *Authenticator, open *flows) {
			open.asked = func() { open.asked = nil; end(a, open) }
			a.Bind(browser, alice, time.Now().Add(time.Hour))
		}},
		{"dead before, told after", func(a *Authenticator, open *flows) {
			open.close(browser)
			a.Bind(browser, alice, time.Now().Add(time.Hour))
			a.Closed(browser)
		}},
		{"after", func(a *Authenticator, open *flows) {
			a.Bind(browser, alice, time.Now().Add(time.Hour))
			end(a, open)
		}},
	} {
		a, open := newBinder(t)
		test.bind(a, open)
		if a.Bound(browser, alice) || len(a.bound.byFlow) != 0 {
			t.Errorf("%s: %v left", test.name, a.bound.byFlow)
		}
	}
}

func TestBindConcurrently(t *testing.T) {
	a, open := newBinder(t)
	var wg sync.WaitGroup
	for id := range uint64(200) {
		f := browser
		f.ID = id + 1
		for range 2 {
			wg.Go(func() {
				for range rand.IntN(20) {
					a.Bind(f, alice, time.Now().Add(time.Hour))
				}
			})
		}
		wg.Go(func() {
			open.close(f)
			a.Closed(f)
		})
	}
	wg.Wait()
	if n := len(a.bound.byFlow); n != 0 {
		t.Errorf("%d closed flows are still kept", n)
	}
}

func TestBoundIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newBinder(t)
		aor := func(i int) string { return fmt.Sprintf("%d@%s", i, domain) }
		for i := range 2 * maxBound {
			a.Bind(browser, aor(i), time.Now().Add(time.Minute))
		}
		if n := len(a.bound.byFlow[browser.ID]); n != maxBound {
			t.Errorf("%d users are kept", n)
		}
		if !a.Bound(browser, aor(0)) || a.Bound(browser, aor(maxBound)) {
			t.Error("who came first stays")
		}
		<-time.After(2 * time.Minute) // the places of those whose binding is over are free
		a.Bind(browser, aor(maxBound), time.Now().Add(time.Minute))
		if n := len(a.bound.byFlow[browser.ID]); n != 1 || !a.Bound(browser, aor(maxBound)) {
			t.Errorf("%d users are kept", n)
		}
	})
}

func BenchmarkBound(b *testing.B) {
	a, _ := newBinder(b)
	for id := range uint64(10000) {
		a.Bind(sip.Flow{Transport: sip.WS, ID: id + 1}, alice, time.Now().Add(time.Hour))
	}
	for b.Loop() {
		a.Bound(browser, alice)
	}
}
