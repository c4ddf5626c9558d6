package registrar

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/store"
)

// Who watches hears of every change that this node makes, once each.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, options{reg: Config{Inline: true, AnyUser: true}, auth: auth.Config{Mode: auth.None}})
		ctx, cancel := context.WithCancel(t.Context())
		go s.reg.Run(ctx)
		var mu sync.Mutex // the sweep has a goroutine of its own
		var events []store.Event
		var contacts []string
		stop := s.reg.Watch(func(e store.Event, b *store.Binding) {
			mu.Lock()
			defer mu.Unlock()
			events, contacts = append(events, e), append(contacts, b.Contact)
		})
		another := s.reg.Watch(func(store.Event, *store.Binding) {})
		want := func(contact string, want ...store.Event) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(events, want) || slices.ContainsFunc(contacts, func(c string) bool { return c != contact }) {
				t.Errorf("%v of %q, want %v of %s", events, contacts, want, contact)
			}
			events, contacts = nil, nil
		}
		const contact = "sip:a@a.invalid"
		s.send(wsFlow(1), regText("Contact: <"+contact+">"))
		want(contact, store.Added)
		<-time.After(time.Second)
		s.send(wsFlow(1), regText("Contact: <"+contact+">"))
		want(contact, store.Refreshed)
		s.send(wsFlow(1), regText())
		want(contact)
		s.send(wsFlow(1), regText("Contact: <"+contact+">;expires=0"))
		want(contact, store.Unregistered)
		s.send(wsFlow(1), regText("Contact: <"+contact+">"))
		s.closed(wsFlow(1))
		want(contact, store.Added, store.FlowClosed)
		s.send(udpFlow, regText("Contact: <sip:u@h>"))
		<-time.After(time.Hour)
		want("sip:u@h", store.Added, store.Expired)
		stop()
		s.send(udpFlow, regText("Contact: <sip:u@h>"))
		want("")
		another()
		cancel()
		synctest.Wait()
	})
}
