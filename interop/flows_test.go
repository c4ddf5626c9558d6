package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// deadAir is how long a caller may hear nothing: a probe of a second and what is left of the
// two that a call waits for a page that is being loaded anew, from the INVITE to the answer.
const deadAir = 2500 * time.Millisecond

// reloads is how often a page is loaded anew in the storm, and how often that begins.
const (
	reloads     = 20
	reloadEvery = time.Second
)

// A page is loaded anew once a second while it is called all the time: each call rings or
// fails soon, and in the end there is one registration.
func TestWebReloadStorm(t *testing.T) {
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, settings{})
			alice, bob := openPage(t, s, jsSIP, "alice"), openPage(t, s, library, "bob")
			alice.register(t)
			bob.register(t)
			over := make(chan struct{})
			go func() {
				defer close(over)
				again := time.NewTicker(reloadEvery)
				defer again.Stop()
				for range reloads {
					<-again.C
					if err := bob.again(); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			rang, failed := 0, 0
			for calling := true; calling; {
				select {
				case <-over:
					calling = false // after one more
				default:
				}
				if ringsOrFails(t, alice, bob) {
					rang++
				} else {
					failed++
				}
			}
			t.Logf("%d calls rang, %d failed soon", rang, failed)
			if rang < reloads {
				t.Errorf("only %d calls rang in %d reloads, %d failed", rang, reloads, failed)
			}
			s.awaitContacts(t, "bob", 1, time.Second)
		})
	}
}

// again loads the page anew and registers, off the test's goroutine.
func (p *page) again() error {
	_, err := p.browser.do(command{Do: "reload", Page: p.name})
	if err == nil {
		_, err = p.browser.do(command{Do: "call", Page: p.name, Method: "register", Args: []any{p.account}})
	}
	limit := time.After(patience)
	for err == nil {
		_, registered, next := p.box.take(func(e event) bool { return e.Kind == "registered" })
		if registered {
			return nil
		}
		select {
		case <-next:
		case <-limit:
			err = fmt.Errorf("%s is not registered in %v", p.box.owner, patience)
		}
	}
	return err
}

// ringsOrFails makes a call, and gives it up when it rings. It reports whether it did; one
// that fails must do so soon.
func ringsOrFails(t *testing.T, from, to *page) bool {
	t.Helper()
	call := from.dial(t, to.user())
	limit := time.After(patience)
	for {
		_, in, next := to.box.take(func(e event) bool { return e.Kind == "incoming" })
		if in {
			from.hangup(t, call)
			from.box.await(t, "failed", call)
			return true
		}
		e, failed, nextToo := from.box.take(func(e event) bool { return e.Kind == "failed" && e.Call == call })
		if failed {
			if took := time.Duration(e.Took) * time.Millisecond; took > deadAir || e.Status != 480 {
				t.Errorf("the call failed with %d after %v", e.Status, took)
			}
			return false
		}
		select {
		case <-next:
		case <-nextToo:
		case <-limit:
			t.Fatalf("the call neither rings nor fails\n%s", from.box.history())
		}
	}
}

// contacts returns the number of a user's registrations.
func (s *server) contacts(t *testing.T, user string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	body, err := s.get(ctx, "/registrations?aor="+user+"@"+domain)
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Registrations []json.RawMessage `json:"registrations"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return len(page.Registrations)
}

// awaitContacts waits until a user has that many registrations, which must be so within the
// limit.
func (s *server) awaitContacts(t *testing.T, user string, want int, limit time.Duration) {
	t.Helper()
	began := time.Now()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for n := -1; ; <-again.C {
		if n = s.contacts(t, user); n == want {
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("%s has %d registrations after %v, want %d", user, n, time.Since(began), want)
		}
	}
}

// Two tabs of one user, which look the same from afar: both stay, though each registration
// has the other one probed, and both ring.
func TestWebTwoTabs(t *testing.T) {
	s := startServer(t, settings{more: "transport: {probe_timeout: 300ms}\n"})
	alice := openPage(t, s, jsSIP, "alice")
	one, two := openTab(t, s, jsSIP, "bob", "-1"), openTab(t, s, jsSIP, "bob", "-2")
	alice.register(t)
	one.register(t)
	two.register(t)
	one.reload(t)
	one.register(t)
	for range 3 {
		call := alice.dial(t, "bob")
		first := one.box.await(t, "incoming", 0).Call
		second := two.box.await(t, "incoming", 0).Call
		two.answer(t, second)
		alice.box.await(t, "established", call)
		two.box.await(t, "established", second)
		if e := one.box.await(t, "failed", first); e.Originator != "remote" {
			t.Errorf("the first tab stopped ringing for another reason than CANCEL: %v", e)
		}
		talk(t, alice, call, two, second) // takes longer than a probe
		release(t, alice, call, two, second)
	}
	if n := s.contacts(t, "bob"); n != 2 {
		t.Errorf("%d registrations, want 2", n)
	}
}

// A page is loaded anew while it rings beside another one: it rings again, and takes the call.
func TestWebLateFork(t *testing.T) {
	s := startServer(t, settings{})
	alice := openPage(t, s, jsSIP, "alice")
	page, desk := openTab(t, s, jsSIP, "bob", "-page"), openTab(t, s, sipJS, "bob", "-desk")
	alice.register(t)
	page.register(t)
	desk.register(t)
	call := alice.dial(t, "bob")
	page.box.await(t, "incoming", 0)
	desks := desk.box.await(t, "incoming", 0).Call

	page.reload(t)
	page.register(t)
	pages := page.box.await(t, "incoming", 0).Call
	page.answer(t, pages)
	alice.box.await(t, "established", call)
	page.box.await(t, "established", pages)
	if e := desk.box.await(t, "failed", desks); e.Originator != "remote" {
		t.Errorf("the desk stopped ringing for another reason than CANCEL: %v", e)
	}
	talk(t, alice, call, page, pages)
	release(t, alice, call, page, pages)
}

// The lid of bob's laptop is closed: its connection is dead, and has no end.
func TestWebLaptopLid(t *testing.T) {
	closed := func(t *testing.T, more string) (s *server, alice *page) {
		s = startServer(t, settings{more: more})
		alice = openPage(t, s, jsSIP, "alice")
		alice.register(t)
		bob, lid := openTab(t, s, jsSIP, "bob", "-laptop"), startRelay(t, s.ws)
		bob.account.Server = "ws://" + lid.addr + "/"
		bob.register(t)
		lid.freeze()
		return s, alice
	}
	const probes = "registrar: {probe_after: 1ms}\n"

	t.Run("found by a ping", func(t *testing.T) {
		t.Parallel()
		s, _ := closed(t, "transport: {ping_interval: 1s, ping_timeout: 500ms}\n")
		s.awaitContacts(t, "bob", 0, 1500*time.Millisecond+time.Second)
	})
	t.Run("found by a call", func(t *testing.T) {
		t.Parallel()
		s, alice := closed(t, probes)
		call := alice.dial(t, "bob")
		e := alice.box.await(t, "failed", call)
		if took := time.Duration(e.Took) * time.Millisecond; took > deadAir || e.Status != 480 {
			t.Errorf("the call failed with %d after %v", e.Status, took)
		}
		s.awaitContacts(t, "bob", 0, time.Second)
	})
	t.Run("answered elsewhere", func(t *testing.T) {
		t.Parallel()
		s, alice := closed(t, probes)
		desk := openTab(t, s, sipJS, "bob", "-desk")
		desk.register(t)
		began := time.Now()
		a, b := connect(t, alice, desk)
		if took := time.Since(began); took > deadAir {
			t.Errorf("it took %v", took)
		}
		talk(t, alice, a, desk, b)
		release(t, alice, a, desk, b)
		s.awaitContacts(t, "bob", 1, time.Second)
	})
	t.Run("found by its successor", func(t *testing.T) {
		t.Parallel()
		s, alice := closed(t, "")
		again := openTab(t, s, jsSIP, "bob", "-again") // with a fresh instance
		again.register(t)
		s.awaitContacts(t, "bob", 1, 2*time.Second)
		a, b := ring(t, alice, again)
		again.reject(t, b, 486)
		if e := alice.box.await(t, "failed", a); e.Status != 486 {
			t.Errorf("the call failed with %d", e.Status)
		}
	})
}

// A UDP phone behind a NAT is sent something, so that the NAT keeps the way to it open.
func TestNATKeepalive(t *testing.T) {
	for policy, want := range map[string]string{"crlf": "\r\n\r\n", "options": "OPTIONS sip:alice@10.9.8.7 SIP/2.0\r\n"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, settings{open: true, more: "registrar: {nat_keepalive: " + policy + ", nat_keepalive_interval: 1s}\n"})
			c, err := net.Dial("udp", s.udp)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			fmt.Fprintf(c, "REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.8.7;branch=z9hG4bK1;rport\r\n"+
				"From: <sip:alice@%[1]s>;tag=1\r\nTo: <sip:alice@%[1]s>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n"+
				"Max-Forwards: 70\r\nContact: <sip:alice@10.9.8.7>\r\nContent-Length: 0\r\n\r\n", domain)
			datagram := make([]byte, 2000)
			for _, want := range []string{"SIP/2.0 200 OK\r\n", want, want} {
				n, err := c.Read(datagram)
				if err != nil || !strings.HasPrefix(string(datagram[:n]), want) {
					t.Fatalf("%q, %v, want %q", datagram[:n], err, want)
				}
			}
		})
	}
}
