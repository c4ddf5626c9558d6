package registrar

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/store"
)

// laterStore says later what became of a REGISTER, as a store in a database does.
type laterStore struct{ *slowStore }

func (s laterStore) RegisterLater(u store.Update, then func(store.Result, error)) bool {
	go func() { then(s.Register(context.Background(), u)) }()
	return true
}

// fullStore has no room for what is told later.
type fullStore struct{ *slowStore }

func (fullStore) RegisterLater(store.Update, func(store.Result, error)) bool { return false }

// The store tells later what became of a REGISTER, or can't and is waited for: the answers are
// the same.
func TestCommitLater(t *testing.T) {
	for _, test := range []struct {
		name  string
		later func(*slowStore) store.Later
	}{
		{"told later", func(s *slowStore) store.Later { return laterStore{s} }},
		{"no room for it", func(s *slowStore) store.Later { return fullStore{s} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := new(slowStore)
				s := waiting(t, Config{MaxContacts: 1}, slow)
				s.reg.later = test.later(slow)
				dead := wsFlow(7)
				for _, step := range []struct{ text, status, contacts string }{
					{regText("Contact: <sip:a@x.invalid>"), "200 OK", "sip:a@x.invalid"},
					{regText("Contact: <sip:a@x.invalid>"), "200 OK", "sip:a@x.invalid"},
					{register{uri: "sip:example.test", cseq: 1}.text("Contact: <sip:a@x.invalid>"), "500 CSeq Not Higher Than Before", "sip:a@x.invalid"},
					{regText("Contact: <sip:b@x.invalid>"), "403 Too Many Contacts", "sip:a@x.invalid"},
					{regText(), "200 OK", "sip:a@x.invalid"},
					{regText("Contact: *", "Expires: 0"), "200 OK", ""},
				} {
					s.deliver(dead, step.text)
					synctest.Wait()
					if got := find(statusOf, s.response(dead)); got != step.status {
						t.Errorf("answered with %q, want %q", got, step.status)
					}
					if got := strings.Join(s.lookup(alice), " "); got != step.contacts {
						t.Errorf("bound to %q, want %q", got, step.contacts)
					}
				}
				// What only takes up room makes it for who comes.
				s.deliver(dead, regText("Contact: <sip:a@x.invalid>"))
				synctest.Wait()
				s.net.kill(dead)
				s.deliver(wsFlow(8), regText("Contact: <sip:b@x.invalid>"))
				synctest.Wait()
				if got := find(statusOf, s.response(wsFlow(8))); got != "200 OK" {
					t.Errorf("where one is gone: %q", got)
				}
				if n := s.reg.tasks.running; n != 0 {
					t.Errorf("%d tasks are left", n)
				}
			})
		})
	}
}

// Shutdown waits for what is told later.
func TestShutdownWaitsForLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		slow := &slowStore{before: func() { <-hold }}
		s := newServer(t, options{reg: Config{AnyUser: true}, auth: auth.Config{Mode: auth.None}})
		slow.Store = s.store
		s.reg.later = laterStore{slow}
		s.deliver(udpFlow, regText("Contact: <sip:a@h>"))
		ended := false
		go func() {
			_ = s.reg.Shutdown(context.Background())
			ended = true
		}()
		synctest.Wait()
		if ended {
			t.Error("ended before the store was done")
		}
		close(hold)
		synctest.Wait()
		if !ended || find(statusOf, s.response(udpFlow)) != "200 OK" {
			t.Error("not ended, or not answered, when the store was done")
		}
	})
}
