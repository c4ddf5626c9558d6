package registrar

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
)

// slowStore lets a test act around each write.
type slowStore struct {
	store.Store
	before, after func()            // of Register; nil does nothing
	removal       func(n int) error // called with the number of the RemoveFlow; nil does nothing
	removals      atomic.Int32
}

func (s *slowStore) Register(ctx context.Context, u store.Update) (store.Result, error) {
	if s.before != nil {
		s.before()
	}
	r, err := s.Store.Register(ctx, u)
	if s.after != nil {
		s.after()
	}
	return r, err
}

func (s *slowStore) RemoveFlow(ctx context.Context, node string, epoch int64, flow uint64, aors []string) ([]store.Binding, error) {
	n := int(s.removals.Add(1))
	if s.removal != nil {
		if err := s.removal(n); err != nil {
			return nil, err
		}
	}
	return s.Store.RemoveFlow(ctx, node, epoch, flow, aors)
}

// waiting is a server whose store takes its time, so that REGISTER leaves its goroutine.
func waiting(t testing.TB, cfg Config, s *slowStore) *server {
	t.Helper()
	s.Store = memory.New()
	cfg.AnyUser = true
	return newServer(t, options{reg: cfg, auth: auth.Config{Mode: auth.None}, store: s})
}

// stored returns how many bindings the store has, whether they can be reached or not.
func (s *server) stored() int {
	s.t.Helper()
	n, err := s.store.Count(context.Background(), store.Query{Now: time.Now()})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// left returns how many flows the index still has.
func (s *server) left() int {
	s.reg.index.mu.Lock()
	defer s.reg.index.mu.Unlock()
	return len(s.reg.index.flows)
}

// settle lets everything happen that takes less than a second.
func settle() { <-time.After(time.Second) }

// The connection closes while its REGISTER is on the way through the store. At whatever
// point that is, no binding is left, neither in memory nor in the store, nobody is told
// that there is one, and nothing is kept of the flow.
func TestRegisterRacesWithClosed(t *testing.T) {
	f := wsFlow(1)
	dies := func(s *server) { s.net.kill(f) }
	told := func(s *server) { s.reg.Closed(f); settle() }
	ends := func(s *server) { dies(s); told(s) }
	for _, test := range []struct {
		name                                   string
		first, beforeCommit, afterCommit, last func(s *server)
	}{
		{name: "closed before it is processed", first: ends},
		{name: "closed before the commit", beforeCommit: ends},
		{name: "closed after the commit, before it is known", afterCommit: ends},
		{name: "closed after the response", last: ends},
		{name: "dead before the commit, told after it", beforeCommit: dies, afterCommit: told},
		{name: "dead before the commit, told at last", beforeCommit: dies, last: told},
		{name: "dead after the commit, told at last", afterCommit: dies, last: told},
		{name: "told before the commit and again", beforeCommit: ends, last: told},
	} {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, later %t", test.name, later), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					slow := new(slowStore)
					s := waiting(t, Config{}, slow)
					if later {
						s.reg.later = laterStore{slow}
					}
					call := func(f func(*server)) func() {
						return func() {
							if f != nil {
								f(s)
							}
						}
					}
					call(test.first)()
					slow.before, slow.after = call(test.beforeCommit), call(test.afterCommit)
					s.deliver(f, regText("Contact: <sip:a@x.invalid>"))
					settle()
					if got := s.response(f); (find(statusOf, got) == "200 OK") != (test.last != nil && test.beforeCommit == nil && test.afterCommit == nil) {
						t.Errorf("answered with %q", got)
					}
					call(test.last)()
					settle()
					if contacts, n := s.lookup(alice), s.stored(); len(contacts) > 0 || n > 0 {
						t.Errorf("bound to a closed flow: %q, %d in the store", contacts, n)
					}
					if n := s.left(); n != 0 {
						t.Errorf("%d closed flows are still in the index", n)
					}
				})
			})
		}
	}
}

// TCP could bring the answer over another connection; it must not be 200.
func TestRegisterRacesWithClosedTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := tcpFlow(1)
		slow := new(slowStore)
		s := waiting(t, Config{}, slow)
		// The network forgets to refuse what is sent over the flow.
		slow.after = func() { s.reg.flows = deadFlows{}; s.reg.Closed(f) }
		s.deliver(f, regText("Contact: <sip:a@h>"))
		synctest.Wait()
		if got := s.response(f); find(statusOf, got) != "503 Flow Closed" {
			t.Error(got)
		}
		if s.stored() != 0 || s.left() != 0 {
			t.Errorf("%d bindings, %d flows left", s.stored(), s.left())
		}
	})
}

type deadFlows struct{}

func (deadFlows) Alive(sip.Flow) bool           { return false }
func (deadFlows) Probe(sip.Flow, time.Duration) {}
func (deadFlows) Send(sip.Flow, []byte) error   { return nil }

// A user who is leaving removes the binding and closes the connection at once.
func TestUnregisterThenClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := new(slowStore)
		s := waiting(t, Config{}, slow)
		s.deliver(udpFlow, regText("Contact: <sip:a@x.invalid>")) // known over another flow
		synctest.Wait()
		slow.before = func() { s.closed(wsFlow(2)) }
		s.deliver(wsFlow(2), regText("Contact: <sip:a@x.invalid>;expires=0"))
		synctest.Wait()
		if n := s.stored(); n != 0 {
			t.Error("the removal got lost")
		}
	})
}

// A page is reloaded: its contact is bound anew before the end of the old connection is
// noticed.
func TestLateClose(t *testing.T) {
	s := inline(t)
	s.send(wsFlow(1), regText("Contact: <sip:a@x.invalid>"))
	s.send(wsFlow(2), regText("Contact: <sip:a@x.invalid>"))
	s.closed(wsFlow(1))
	if got := s.lookup(alice); !slices.Equal(got, []string{"sip:a@x.invalid"}) || s.stored() != 1 {
		t.Errorf("%q", got)
	}
	s.closed(wsFlow(2))
	if got := s.lookup(alice); len(got) > 0 || s.stored() != 0 || s.left() != 0 {
		t.Errorf("%q", got)
	}
}

// Closing a flow voids its own bindings and nobody else's.
func TestClosedVoidsItsOwn(t *testing.T) {
	s := inline(t)
	s.send(wsFlow(1), regText("Contact: <sip:a1@x.invalid>, <sip:a2@x.invalid>"))
	s.send(wsFlow(1), regText("From: <sip:bob@example.test>;tag=1", "To: <sip:bob@example.test>", "Contact: <sip:b1@x.invalid>"))
	s.send(wsFlow(2), regText("Contact: <sip:a3@x.invalid>"))
	s.send(tcpFlow(3), regText("Contact: <sip:a4@h>"))
	s.send(udpFlow, regText("Contact: <sip:a5@h>"))
	s.closed(wsFlow(1))
	if got := s.lookup(alice); !slices.Equal(got, []string{"sip:a3@x.invalid", "sip:a4@h", "sip:a5@h"}) {
		t.Errorf("%q", got)
	}
	if got := s.lookup(bob); len(got) > 0 {
		t.Errorf("%q", got)
	}
	s.closed(tcpFlow(3))
	s.closed(udpFlow) // a UDP flow has no end
	s.net.dead = map[uint64]bool{}
	if got := s.lookup(alice); !slices.Equal(got, []string{"sip:a3@x.invalid", "sip:a5@h"}) || s.stored() != 2 {
		t.Errorf("%q", got)
	}
}

// From the moment the connection is dead its bindings are, whatever the store says.
func TestDeadBeforeStoreKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowStore{removal: func(n int) error {
			if n < 5 {
				return fmt.Errorf("%w: locked", store.ErrUnavailable)
			}
			return nil
		}}
		s := waiting(t, Config{}, slow)
		s.deliver(wsFlow(1), regText("Contact: <sip:a@x.invalid>"))
		s.deliver(wsFlow(2), regText("Call-ID: d", "Contact: <sip:b@x.invalid>"))
		synctest.Wait()
		begin := time.Now()
		s.net.kill(wsFlow(1))
		if got := s.lookup(alice); !slices.Equal(got, []string{"sip:b@x.invalid"}) {
			t.Errorf("%q", got)
		}
		s.reg.Closed(wsFlow(1))
		synctest.Wait()
		if n := s.stored(); n != 2 {
			t.Errorf("%d bindings, though the store is down", n)
		}
		// A response lists what can be reached.
		s.net.take(wsFlow(2))
		s.deliver(wsFlow(2), regText())
		synctest.Wait()
		if got := find(contactOf, s.response(wsFlow(2))); got != "<sip:b@x.invalid>;expires=600" {
			t.Errorf("%s", got)
		}
		if err := s.reg.Shutdown(t.Context()); err != nil { // waits for the removal
			t.Error(err)
		}
		want := minRetry + 2*minRetry + 4*minRetry + 8*minRetry
		if waited := time.Since(begin); waited != want || s.stored() != 1 || slow.removals.Load() != 5 {
			t.Errorf("removed after %v by attempt %d, %d left", waited, slow.removals.Load(), s.stored())
		}
	})
}

// When the bindings have expired there is nothing left to remove.
func TestVoidGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowStore{removal: func(int) error { return store.ErrUnavailable }}
		s := waiting(t, Config{MaxExpires: 10 * time.Minute}, slow)
		s.deliver(wsFlow(1), regText("Contact: <sip:a@x.invalid>"))
		synctest.Wait()
		s.closed(wsFlow(1))
		<-time.After(11 * time.Minute)
		synctest.Wait()
		before := slow.removals.Load()
		<-time.After(time.Hour)
		if after := slow.removals.Load(); before < 60 || before > 80 || after != before {
			t.Errorf("%d attempts in 11 minutes, %d in the hour after", before, after-before)
		}
	})
}

// of adds to the lines of a REGISTER that it is one of user i.
func of(i int, lines ...string) []string {
	aor := fmt.Sprintf("<sip:%d@example.test>", i)
	return append(lines, "From: "+aor+";tag=1", "To: "+aor)
}

// A thousand connections break at once, and once more.
func TestManyClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		slow := new(slowStore)
		slow.removal = func(int) error {
			most.Store(max(most.Load(), now.Add(1)))
			<-time.After(10 * time.Millisecond)
			now.Add(-1)
			return nil
		}
		s := waiting(t, Config{}, slow)
		for round := range uint64(2) {
			for id := range uint64(1000) {
				s.deliver(wsFlow(1000*round+id+1), regText(of(int(id), "Contact: <sip:a@x.invalid>")...))
			}
			settle()
			if n := s.stored(); n != 1000 {
				t.Fatalf("%d bindings", n)
			}
			for id := range uint64(1000) {
				s.closed(wsFlow(1000*round + id + 1))
			}
			settle()
		}
		if s.stored() != 0 || s.left() != 0 || most.Load() > maxVoiders || most.Load() < 2 {
			t.Errorf("%d bindings and %d flows left, at most %d at a time", s.stored(), s.left(), most.Load())
		}
	})
}

// An edge proxy brings thousands of users over one connection.
func TestManyUsersOnOneFlow(t *testing.T) {
	s := inline(t)
	const users = 1000
	for range 2 {
		for i := range users {
			s.send(tcpFlow(1), regText(of(i, "Contact: <sip:a@h>")...))
		}
	}
	if n := len(s.reg.index.flows[1].list); n != users || s.stored() != users {
		t.Errorf("%d in the index, %d in the store", n, s.stored())
	}
	s.closed(tcpFlow(1))
	if s.stored() != 0 || s.left() != 0 {
		t.Errorf("%d bindings and %d flows left", s.stored(), s.left())
	}
}

// Connections come, register and break in any order; in the end the store and the index
// have the open ones only.
func TestFlowsConcurrently(t *testing.T) {
	slow := &slowStore{}
	s := waiting(t, Config{MaxContacts: 10000}, slow)
	var wg sync.WaitGroup
	var open atomic.Int32
	for id := range uint64(300) {
		f := wsFlow(id + 1)
		contact := fmt.Sprintf("Contact: <sip:%d@x.invalid>", id%50) // six connections take each from another
		wg.Go(func() {
			for range rand.IntN(5) {
				s.deliver(f, regText("Call-ID: "+fmt.Sprint(id), contact))
			}
		})
		wg.Go(func() {
			if id%5 > 0 {
				s.closed(f)
			} else {
				open.Add(1)
			}
		})
	}
	wg.Wait()
	if err := s.reg.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	bindings, err := s.store.Lookup(t.Context(), alice, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i := range bindings {
		if !s.net.Alive(bindings[i].Flow) {
			t.Errorf("%v is closed and bound", bindings[i].Flow)
		}
	}
	for id := range s.reg.index.flows {
		if !s.net.Alive(wsFlow(id)) {
			t.Errorf("flow %d is closed and in the index", id)
		}
	}
}

// After a restart browsers have to come back by themselves; a phone can be connected to.
func TestRestart(t *testing.T) {
	st, net := memory.New(), newNetwork()
	life := func(epoch int64, node string) *server {
		return newServer(t, options{
			reg:  Config{Inline: true, AnyUser: true, Epoch: epoch, Node: node, MaxContacts: 3},
			auth: auth.Config{Mode: auth.None}, store: st, net: net,
		})
	}
	first := life(1, "n")
	first.send(wsFlow(1), regText("Contact: <sip:ws@x.invalid>"))
	first.send(tcpFlow(2), regText("Contact: <sip:tcp@h>"))
	first.send(udpFlow, regText("Contact: <sip:udp@h>"))
	net.kill(wsFlow(1))
	net.kill(tcpFlow(2))
	second := life(2, "n")
	want := []string{"sip:tcp@h", "sip:udp@h"}
	if got := second.lookup(alice); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if bindings, err := second.reg.LookupStore(t.Context(), alice); err != nil || len(bindings) != 2 {
		t.Errorf("%v, %v", bindings, err)
	}
	// What can't be reached does not use up the number of contacts.
	got := second.send(wsFlow(3), regText("Contact: <sip:new@x.invalid>"))
	if find(statusOf, got) != "200 OK" || !slices.Equal(second.lookup(alice), append(want, "sip:new@x.invalid")) {
		t.Errorf("%s%q", got, second.lookup(alice))
	}
	if got = second.send(wsFlow(3), regText("Contact: <sip:more@x.invalid>")); find(statusOf, got) != "403 Too Many Contacts" {
		t.Error(got)
	}
	// Another node can't know; the one that owns the flow does.
	if got := life(9, "other").lookup(alice); len(got) != 3 {
		t.Errorf("%q", got)
	}
}
