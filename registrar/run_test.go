package registrar

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/store"
)

// A binding outlives what its client was told by the grace, and then it is gone.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inline(t)
		s.send(udpFlow, regText("Contact: <sip:a@h>;expires=60, <sip:b@h>;expires=120"))
		for _, test := range []struct {
			after    time.Duration
			bindings string
		}{
			{1500 * time.Millisecond, "<sip:a@h>;expires=58, <sip:b@h>;expires=118"},
			{59 * time.Second, "<sip:a@h>;expires=1, <sip:b@h>;expires=61"},
			{64 * time.Second, "<sip:a@h>;expires=1, <sip:b@h>;expires=56"}, // 0 would mean gone
			{65 * time.Second, "<sip:b@h>;expires=55"},
			{125 * time.Second, ""},
		} {
			<-time.After(time.Until(start.Add(test.after)))
			if got := find(contactOf, s.send(udpFlow, regText())); got != test.bindings {
				t.Errorf("after %v: %s", test.after, got)
			}
		}
	})
}

// start is when virtual time begins.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestExpiryConfig(t *testing.T) {
	s := inline(t)
	s.reg.SetLimits(Limits{MinExpires: 2 * time.Hour, DefaultExpires: 3 * time.Hour, MaxExpires: 4 * time.Hour, MaxContacts: 20})
	for _, test := range []struct{ asked, got string }{
		{"", "<sip:a@h>;expires=10800"},
		{";expires=20000", "<sip:a@h>;expires=14400"},
		{";expires=3600", "<sip:a@h>;expires=3600"}, // RFC 3261 §10.3 step 7: an hour is never too brief
		{";expires=3599", ""},
	} {
		if got := find(contactOf, s.send(udpFlow, regText("Contact: <sip:a@h>"+test.asked))); got != test.got {
			t.Errorf("%s: %s", test.asked, got)
		}
	}
}

// sweeper counts the sweeps.
type sweeper struct {
	*slowStore
	sweeps atomic.Int32
	fails  atomic.Bool
}

func (s *sweeper) Sweep(ctx context.Context, now time.Time, limit int) ([]store.Binding, error) {
	s.sweeps.Add(1)
	if s.fails.Load() {
		return nil, store.ErrUnavailable
	}
	return s.Store.Sweep(ctx, now, limit)
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := waiting(t, Config{}, new(slowStore))
		sw := &sweeper{slowStore: s.store.(*slowStore)}
		s.reg.store = sw
		const users = 2*sweepBatch + 10
		for i := range users {
			_, err := s.store.Register(t.Context(), store.Update{
				AOR: fmt.Sprint(i), Now: time.Now(), CallID: "c", CSeq: 1,
				Bindings: []store.Binding{{Key: "k", Expires: time.Now().Add(75 * time.Second)}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.reg.Run(ctx)
		}()
		<-time.After(61 * time.Second)
		synctest.Wait()
		if n := sw.sweeps.Load(); n != 2 {
			t.Errorf("%d sweeps of what has not expired", n)
		}
		<-time.After(30 * time.Second)
		synctest.Wait()
		if n := sw.sweeps.Load(); n != 5 { // three batches
			t.Errorf("%d sweeps", n)
		}
		if left, err := s.store.Sweep(t.Context(), time.Now(), 1); len(left) != 0 || err != nil {
			t.Errorf("%v left, %v", left, err)
		}
		sw.fails.Store(true) // no reason to give up
		<-time.After(time.Minute)
		synctest.Wait()
		if n := sw.sweeps.Load(); n != 7 {
			t.Errorf("%d sweeps", n)
		}
		cancel()
		<-done
	})
}

// A store that is slow keeps nobody from being served, up to a limit.
func TestManyRegistrationsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		slow := &slowStore{before: func() { <-gate }}
		s := waiting(t, Config{MaxContacts: maxTasks}, slow)
		s.reg.tasks.running = maxTasks - 2 // as if that many waited
		for i := range 3 {
			s.deliver(wsFlow(1), regText(fmt.Sprintf("Contact: <sip:%d@x.invalid>", i), fmt.Sprintf("Call-ID: %d", i)))
		}
		if got := s.response(wsFlow(1)); find(statusOf, got) != "503 Too Many Registrations in Progress" {
			t.Error(got)
		}
		close(gate)
		synctest.Wait()
		if n := len(s.net.take(wsFlow(1))); n != 2 {
			t.Errorf("%d were answered", n)
		}
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := new(slowStore)
		slow.before = func() { <-time.After(time.Second) }
		slow.removal = func(int) error { <-time.After(time.Second); return nil }
		s := waiting(t, Config{}, slow)
		s.deliver(wsFlow(1), regText("Contact: <sip:a@x.invalid>"))
		<-time.After(2 * time.Second)
		s.net.take(wsFlow(1))
		s.deliver(udpFlow, regText("Contact: <sip:b@h>"))
		s.closed(wsFlow(1))
		if err := s.reg.Shutdown(t.Context()); err != nil || s.stored() != 1 {
			t.Errorf("%v, %d bindings", err, s.stored())
		}
		if got := s.response(udpFlow); find(statusOf, got) != "200 OK" {
			t.Error(got)
		}
		s.deliver(udpFlow, regText("Contact: <sip:c@h>"))
		if got := s.response(udpFlow); find(statusOf, got) != "503 Too Many Registrations in Progress" {
			t.Error(got)
		}
		if err := s.reg.Shutdown(t.Context()); err != nil { // once more does no harm
			t.Error(err)
		}
		s.closed(udpFlow)
	})
}

func TestShutdownTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowStore{removal: func(int) error { return store.ErrUnavailable }}
		s := waiting(t, Config{}, slow)
		s.deliver(wsFlow(1), regText("Contact: <sip:a@x.invalid>"))
		synctest.Wait()
		s.closed(wsFlow(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.reg.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait() // and the worker that kept trying has ended with it
	})
}

func TestLookupUnknown(t *testing.T) {
	s := inline(t)
	s.reg.store = &forgetful{s.store}
	if _, known := s.reg.Lookup(alice); known {
		t.Error("known though memory does not have it")
	}
	s.send(udpFlow, regText("Contact: <sip:a@h>"))
	if b, err := s.reg.LookupStore(t.Context(), alice); err != nil || len(b) != 1 {
		t.Error(b, err)
	}
}

// forgetful is a store that has nothing in memory.
type forgetful struct{ store.Store }

func (forgetful) CachedLookup(string, time.Time) ([]store.Binding, bool)    { return nil, false }
func (forgetful) CachedUser(string, string) (u store.User, exists, ok bool) { return }
