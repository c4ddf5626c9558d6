package interop

import (
	"strings"
	"testing"
)

// told waits until the page was told something of its user's registrations in which all of
// the texts stand.
func (p *page) told(t *testing.T, texts ...string) {
	t.Helper()
	for {
		body := p.box.await(t, "reginfo", 0).Body
		missing := 0
		for _, text := range texts {
			if !strings.Contains(body, text) {
				missing++
			}
		}
		if missing == 0 {
			return
		}
	}
}

// A page subscribes to its user's registrations (RFC 3680) and hears how another tab comes,
// goes without a word, comes back and says goodbye.
func TestWebRegistrationEvents(t *testing.T) {
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library, func(t *testing.T) {
			s := startServer(t, settings{})
			watcher, other := openTab(t, s, library, "alice", "-1"), openTab(t, s, jsSIP, "alice", "-2")
			watcher.register(t)
			watcher.invoke(t, nil, "watch")
			watcher.told(t, `state="full"`, `state="active" event="registered"`)
			other.register(t)
			watcher.told(t, `version="1" state="partial"`, `event="registered"`, `<gr:pub-gruu uri="sip:alice@`+domain+`;gr=urn:uuid:`)
			other.reload(t)
			watcher.told(t, `version="2"`, `state="terminated" event="deactivated"`)
			other.register(t)
			watcher.told(t, `version="3"`, `event="registered"`)
			other.unregister(t)
			watcher.told(t, `version="4"`, `state="terminated" event="unregistered"`)
		})
	}
}

// Bob's connection breaks in a call, and his page connects anew: what the other side says in
// the dialog reaches him there.
func TestWebDialogOutlivesConnection(t *testing.T) {
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library, func(t *testing.T) {
			s := startServer(t, settings{})
			alice, network := openPage(t, s, library, "alice"), startRelay(t, s.ws)
			bob := openPage(t, s, jsSIP, "bob")
			bob.account.Server = "ws://" + network.addr + "/"
			alice.register(t)
			bob.register(t)
			in, out := connect(t, bob, alice)
			network.cut()
			bob.box.await(t, "registered", 0)
			hold(t, alice, out, bob, in) // a re-INVITE, which JsSIP would not survive if it failed
			release(t, alice, out, bob, in)
		})
	}
}
