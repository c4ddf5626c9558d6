package registrar

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/dsn"
	"github.com/sipway/sipway/store/postgres/pgtest"
)

const (
	tabA = "Contact: <sip:tab@x.invalid>"
	tabB = "Contact: <sip:other@x.invalid>"
)

// elsewhere is a browser's connection from another address than wsFlow's.
func elsewhere(id uint64) sip.Flow {
	f := wsFlow(id)
	f.Remote = udpFlow.Remote
	return f
}

// A user is lost for a moment whose flow broke, and only then.
func TestLost(t *testing.T) {
	ua := func(name string) string { return "User-Agent: " + name }
	for _, test := range []struct {
		name string
		act  func(s *server)
		lost bool
	}{
		{"never seen", func(s *server) {}, false},
		{"here", func(s *server) { s.send(wsFlow(1), regText(tabA)) }, false},
		{"broken now", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.closed(wsFlow(1))
		}, true},
		{"broken almost 2 s ago", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.closed(wsFlow(1))
			<-time.After(1999 * time.Millisecond)
		}, true},
		{"broken 2 s ago", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.closed(wsFlow(1))
			<-time.After(2 * time.Second)
		}, false},
		{"back again", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.closed(wsFlow(1))
			s.send(wsFlow(2), regText(tabA))
		}, false},
		{"back again, and that broke too", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.closed(wsFlow(1))
			s.send(wsFlow(2), regText(tabA))
			s.closed(wsFlow(2))
		}, true},
		{"one of two came back", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.send(wsFlow(2), regText(tabB))
			<-time.After(10 * time.Second)
			s.closed(wsFlow(1))
			s.closed(wsFlow(2))
			s.send(wsFlow(3), regText(tabA))
		}, true},
		{"a refresh of another tab brings nobody back", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.send(wsFlow(2), regText(tabB))
			<-time.After(10 * time.Second)
			s.closed(wsFlow(1))
			s.send(wsFlow(2), regText(tabB))
		}, true},
		{"unregistered, then closed", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.send(wsFlow(1), regText(tabA+";expires=0"))
			s.closed(wsFlow(1))
		}, false},
		{"moved to another flow before the close", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.send(wsFlow(2), regText(tabA))
			s.closed(wsFlow(1))
		}, false},
		{"the successor was there before the close", func(s *server) {
			s.send(wsFlow(1), regText(tabA, ua("a")))
			s.send(wsFlow(2), regText(tabB, ua("a")))
			s.closed(wsFlow(1))
		}, false},
		{"another client was there before the close", func(s *server) {
			s.send(wsFlow(1), regText(tabA, ua("a")))
			s.send(wsFlow(2), regText(tabB, ua("b")))
			s.closed(wsFlow(1))
		}, true},
		{"another place was there before the close", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.send(elsewhere(2), regText(tabB))
			s.closed(wsFlow(1))
		}, true},
		{"an older tab is no successor", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.send(wsFlow(2), regText(tabB))
			s.closed(wsFlow(2))
		}, true},
		{"a tab that has long been there is no successor", func(s *server) {
			s.send(wsFlow(1), regText(tabA))
			s.send(wsFlow(2), regText(tabB))
			<-time.After(time.Minute)
			s.closed(wsFlow(1))
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inline(t)
				test.act(s)
				if lost := s.reg.Lost(alice); lost != test.lost {
					t.Errorf("lost %v", lost)
				}
				if s.reg.Lost(bob) {
					t.Error("bob was never there")
				}
			})
		})
	}
}

// What is remembered of broken flows is bounded and goes by itself.
func TestLostIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := new(returns)
		x.init(2 * time.Second)
		for i := range maxLost + 100 {
			x.broke(fmt.Sprint(i), time.Now())
		}
		if len(x.lost) != maxLost || len(x.oldest) != maxLost || x.lost["99"] != nil || x.lost["100"] == nil {
			t.Errorf("%d users, %d flows", len(x.lost), len(x.oldest))
		}
		<-time.After(2 * time.Second)
		x.tidy(time.Now())
		if len(x.lost) != 0 || x.oldest != nil {
			t.Errorf("%d users, %d flows", len(x.lost), len(x.oldest))
		}
	})
}

// Who waits for a user hears of each REGISTER that binds one, with what it bound, until he
// leaves.
func TestAwait(t *testing.T) {
	s := inline(t)
	s.send(wsFlow(1), regText(tabA))
	var got [2][]string
	await := func(i int) func() {
		return s.reg.Await(alice, func(bindings []store.Binding) {
			for _, b := range bindings {
				got[i] = append(got[i], b.Contact+b.Flow.Transport.String())
			}
		})
	}
	leave := [...]func(){await(0), await(1)}
	s.send(wsFlow(2), regText(tabB))
	s.send(wsFlow(3), regText(of(1, tabA)...)) // another user
	leave[0]()
	leave[0]() // does nothing
	s.send(udpFlow, regText("Contact: <sip:phone@h>"))
	s.send(wsFlow(2), regText(tabB+";expires=0"))
	leave[1]()
	s.send(wsFlow(4), regText(tabA))
	want := [2][]string{{"sip:other@x.invalidWS"}, {"sip:other@x.invalidWS", "sip:phone@hUDP"}}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("waiter %d heard of %q; want %q", i, got[i], want[i])
		}
	}
	if x := &s.reg.returns; x.waiting.Load() != 0 || len(x.waiters) != 0 {
		t.Error("somebody still waits")
	}
}

// The user comes back at another node.
func TestAwaitElsewhere(t *testing.T) {
	database := pgtest.Database(t)
	here, elsewhere := onStore(t, database), onStore(t, database)
	here.reg.cfg.Node, elsewhere.reg.cfg.Node = "here", "elsewhere"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { here.reg.Run(ctx); close(ended) }()
	heard := make(chan store.Binding, 100)
	leave := here.reg.Await(alice, func(bindings []store.Binding) { heard <- bindings[len(bindings)-1] })
	// Run may not listen yet when the first of them registers.
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	limit := time.After(10 * time.Second)
	for id := uint64(1); ; id++ {
		elsewhere.deliver(wsFlow(id), regText("Call-ID: "+fmt.Sprint(id), fmt.Sprintf("Contact: <sip:%d@x.invalid>", id)))
		select {
		case b := <-heard:
			if b.AOR != alice || b.Flow.Transport != sip.WS {
				t.Errorf("heard of %+v", b)
			}
			leave()
			cancel()
			<-ended
			return
		case <-again.C:
		case <-limit:
			t.Fatal("nobody heard of it")
		}
	}
}

// Waiters come and go while the user registers.
func TestAwaitConcurrently(t *testing.T) {
	s := inline(t)
	var all sync.WaitGroup
	for id := range uint64(20) {
		all.Go(func() {
			heard := make(chan bool, 100)
			leave := s.reg.Await(alice, func([]store.Binding) { heard <- true })
			s.deliver(wsFlow(id+1), regText("Call-ID: "+fmt.Sprint(id), fmt.Sprintf("Contact: <sip:%d@x.invalid>", id)))
			<-heard
			leave()
		})
	}
	all.Wait()
	if s.reg.returns.waiting.Load() != 0 {
		t.Error("somebody still waits")
	}
}

// When a user has registered over a new connection, those that look like the same client
// must soon show that they are there, all others within the time of a ping.
func TestOthersAreProbed(t *testing.T) {
	s := inline(t)
	s.send(wsFlow(1), regText(tabA, "User-Agent: a"))
	s.send(wsFlow(1), regText("Contact: <sip:second@x.invalid>", "User-Agent: a"))
	s.send(wsFlow(2), regText("Contact: <sip:b@x.invalid>", "User-Agent: b"))
	s.send(elsewhere(3), regText("Contact: <sip:c@x.invalid>", "User-Agent: a"))
	s.send(udpFlow, regText("Contact: <sip:phone@h>", "User-Agent: a"))
	s.send(wsFlow(9), regText(of(1, tabA, "User-Agent: a")...)) // another user
	s.net.probes = nil
	s.send(wsFlow(4), regText("Contact: <sip:d@x.invalid>", "User-Agent: a"))
	want := []probe{{1, time.Second}, {1, time.Second}, {2, 10 * time.Second}, {3, 10 * time.Second}}
	if !slices.Equal(s.net.probes, want) {
		t.Errorf("probed %v", s.net.probes)
	}
	s.net.probes = nil
	s.send(wsFlow(4), regText("Contact: <sip:d@x.invalid>", "User-Agent: a")) // a refresh
	if len(s.net.probes) > 0 {
		t.Errorf("probed %v", s.net.probes)
	}
}

// Ghosts that take up all room must show themselves when somebody finds none.
func TestOthersAreProbedForRoom(t *testing.T) {
	s := newServer(t, options{reg: Config{Inline: true, AnyUser: true, MaxContacts: 2}, auth: auth.Config{Mode: auth.None}})
	s.send(wsFlow(1), regText(tabA))
	s.send(wsFlow(2), regText(tabB))
	s.net.probes = nil
	if got := s.send(wsFlow(3), regText("Contact: <sip:c@x.invalid>")); find(statusOf, got) != "403 Too Many Contacts" {
		t.Error(got)
	}
	if want := []probe{{1, time.Second}, {2, time.Second}}; !slices.Equal(s.net.probes, want) {
		t.Errorf("probed %v", s.net.probes)
	}
	s.closed(wsFlow(1)) // no pong
	if got := s.send(wsFlow(3), regText("Contact: <sip:c@x.invalid>")); find(statusOf, got) != "200 OK" {
		t.Error(got)
	}
}

// The close of an old connection and the registration over a new one, in every order, with
// either store: the new binding is there in the end, and nothing else.
func TestReloadInEveryOrder(t *testing.T) {
	const (
		register = "register" // over the new flow
		dies     = "dies"     // the old flow is dead, and nobody told
		told     = "told"     // the registrar is
	)
	orders := [][]string{
		{dies, told, register}, {dies, register, told}, {register, dies, told},
	}
	for _, dsn := range stores {
		for _, contacts := range [][2]string{{tabA, tabA}, {tabA, tabB}} {
			for _, order := range orders {
				t.Run(fmt.Sprint(dsn, contacts[0] == contacts[1], order), func(t *testing.T) {
					s := onStore(t, dsn)
					await := func(f sip.Flow, contact string) {
						done := make(chan bool, 1)
						defer s.reg.Await(alice, func([]store.Binding) { done <- true })()
						s.deliver(f, regText(contact))
						<-done
					}
					await(wsFlow(1), contacts[0])
					for _, step := range order {
						switch step {
						case register:
							await(wsFlow(2), contacts[1])
						case dies:
							s.net.kill(wsFlow(1))
						case told:
							s.reg.Closed(wsFlow(1))
						}
					}
					// Shutdown waits until the store has done what it was asked to.
					if err := s.reg.Shutdown(t.Context()); err != nil {
						t.Fatal(err)
					}
					bindings, err := s.store.Lookup(t.Context(), alice, time.Now())
					if err != nil || len(bindings) != 1 || bindings[0].Flow.ID != 2 || "Contact: <"+bindings[0].Contact+">" != contacts[1] {
						t.Errorf("%+v, %v", bindings, err)
					}
					if s.left() != 1 {
						t.Errorf("%d flows in the index", s.left())
					}
				})
			}
		}
	}
}

// The same with the close at any moment of the new registration's way through the store.
func TestReloadWhileRegistering(t *testing.T) {
	ends := func(s *server) { s.net.kill(wsFlow(1)); s.reg.Closed(wsFlow(1)) }
	for _, dsn := range stores {
		for _, moment := range []string{"before the commit", "after the commit"} {
			t.Run(dsn+" "+moment, func(t *testing.T) {
				s := onStore(t, dsn)
				done := make(chan bool, 1)
				defer s.reg.Await(alice, func([]store.Binding) { done <- true })()
				s.deliver(wsFlow(1), regText(tabA))
				<-done
				slow := s.store.(*slowStore)
				if moment == "before the commit" {
					slow.before = func() { ends(s) }
				} else {
					slow.after = func() { ends(s) }
				}
				s.deliver(wsFlow(2), regText(tabA))
				<-done
				if err := s.reg.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				bindings, err := s.store.Lookup(t.Context(), alice, time.Now())
				if err != nil || len(bindings) != 1 || bindings[0].Flow.ID != 2 {
					t.Errorf("%+v, %v", bindings, err)
				}
				if got := s.lookup(alice); len(got) != 1 {
					t.Errorf("reachable: %q", got)
				}
			})
		}
	}
}

// stores are the kinds of onStore.
var stores = []string{"memory:", "sqlite:", "postgres:"}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// onStore is a server that waits for a store of that kind.
func onStore(t *testing.T, kind string) *server {
	t.Helper()
	switch kind {
	case "sqlite:":
		kind += t.TempDir() + "/sipway.db"
	case "postgres:":
		kind = pgtest.Database(t)
	}
	st, err := dsn.Open(context.Background(), kind, dsn.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return newServer(t, options{reg: Config{AnyUser: true}, auth: auth.Config{Mode: auth.None}, store: &slowStore{Store: st}})
}

// Who waits for one user among thousands leaves at no more cost than one among few.
func TestManyWaitForOne(t *testing.T) {
	const many = 1 << 14
	r := &Registrar{}
	r.returns.init(time.Second)
	var order []int
	var leave []func()
	for i := range many {
		leave = append(leave, r.Await(alice, func([]store.Binding) { order = append(order, i) }))
	}
	r.returns.tell(alice, []store.Binding{{AOR: alice}})
	if len(order) != many || !slices.IsSorted(order) {
		t.Errorf("%d were told, in their order: %t", len(order), slices.IsSorted(order))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, f := range leave {
		f()
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("%d bytes were allocated", after.TotalAlloc-before.TotalAlloc)
	}
	if len(r.returns.waiters) != 0 || r.returns.waiting.Load() != 0 {
		t.Error("some are left")
	}
}
