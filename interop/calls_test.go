package interop

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// call is what the tests read of a call in the admin API.
type call struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	From   string `json:"from"`
	To     string `json:"to"`
	Codec  string `json:"codec"`
	Caller side   `json:"caller"`
	Callee side   `json:"callee"`

	SessionInterval int `json:"session_interval"`
}

type side struct {
	Transport string `json:"transport"`
	Flow      uint64 `json:"flow"`
	Media     string `json:"media"`
}

// calls returns the calls that go on.
func (s *server) calls(t *testing.T) []call {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	body, err := s.get(ctx, "/calls")
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Calls []call `json:"calls"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return page.Calls
}

// awaitCalls waits until as many calls go on. Nothing tells when but the answer itself.
func (s *server) awaitCalls(t *testing.T, want int, limit time.Duration) {
	t.Helper()
	began := time.Now()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for len(s.calls(t)) != want {
		if time.Since(began) > limit {
			t.Fatalf("after %v these calls go on, want %d: %+v", limit, want, s.calls(t))
		}
		<-again.C
	}
}

// Bob's connection breaks in a call that he has taken, and his page connects anew: the
// re-INVITE and the BYE arrive there, and the call is one all the time.
func TestWebCalleeReconnects(t *testing.T) {
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, settings{})
			alice, network := openPage(t, s, jsSIP, "alice"), startRelay(t, s.ws)
			bob := openPage(t, s, library, "bob")
			bob.account.Server = "ws://" + network.addr + "/"
			alice.register(t)
			bob.register(t)
			out, in := connect(t, alice, bob)
			before := s.calls(t)
			if len(before) != 1 || before[0].State != "confirmed" || before[0].From != "alice@"+domain || before[0].To != "bob@"+domain ||
				before[0].Codec != "opus" || !strings.HasPrefix(before[0].Callee.Media, "audio opus/48000/2 sendrecv UDP/TLS/RTP/SAVPF") ||
				before[0].Caller.Transport != "ws" || before[0].Callee.Transport != "ws" {
				t.Errorf("calls: %+v", before)
			}

			network.cut()
			bob.box.await(t, "registered", 0)
			hold(t, alice, out, bob, in)
			after := s.calls(t)
			if len(after) != 1 || after[0].ID != before[0].ID || after[0].State != "confirmed" || after[0].Codec != "opus" ||
				after[0].Callee.Flow == before[0].Callee.Flow {
				t.Errorf("calls after the reconnect: %+v", after)
			}
			release(t, alice, out, bob, in)
			s.awaitCalls(t, 0, patience)
		})
	}
}

// The policy has every call get a session timer (RFC 4028), and the browsers' libraries live
// with it: JsSIP, which knows them, and SIP.js, which doesn't.
func TestWebSessionTimers(t *testing.T) {
	for _, c := range []struct {
		from, to string
		interval int
	}{
		{jsSIP, jsSIP, 90}, // which JsSIP asks for
		{jsSIP, sipJS, 90},
		{sipJS, jsSIP, 180},
		{sipJS, sipJS, 0},
	} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, settings{more: "proxy: {session_expires: 3m}\n"})
			alice, bob := openPage(t, s, c.from, "alice"), openPage(t, s, c.to, "bob")
			alice.register(t)
			bob.register(t)
			out, in := connect(t, alice, bob)
			if calls := s.calls(t); len(calls) != 1 || calls[0].SessionInterval != c.interval {
				t.Errorf("want a session timer of %d s: %+v", c.interval, calls)
			}
			hold(t, alice, out, bob, in)
			hold(t, bob, in, alice, out)
			release(t, bob, in, alice, out)
		})
	}
}

// The connection of the only phone that rings breaks. If its page comes back it rings again,
// else the call fails soon.
func TestWebDropWhileRinging(t *testing.T) {
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library+" comes back", func(t *testing.T) {
			t.Parallel()
			s := startServer(t, settings{})
			alice, bob := openPage(t, s, jsSIP, "alice"), openPage(t, s, library, "bob")
			alice.register(t)
			bob.register(t)
			out, _ := ring(t, alice, bob)
			bob.reload(t)
			bob.register(t)
			in := bob.box.await(t, "incoming", 0).Call
			bob.answer(t, in)
			alice.box.await(t, "established", out)
			bob.box.await(t, "established", in)
			talk(t, alice, out, bob, in)
			release(t, alice, out, bob, in)
		})
		t.Run(library+" is gone", func(t *testing.T) {
			t.Parallel()
			s := startServer(t, settings{})
			alice, bob := openPage(t, s, jsSIP, "alice"), openPage(t, s, library, "bob")
			alice.register(t)
			bob.register(t)
			out, _ := ring(t, alice, bob)
			alice.box.await(t, "progress", out)
			dropped := time.Now()
			bob.reload(t)
			e := alice.box.await(t, "failed", out)
			if took := time.Since(dropped); took > deadAir || e.Status != 480 {
				t.Errorf("the call failed with %d after %v", e.Status, took)
			}
			s.awaitCalls(t, 0, patience)
		})
	}
}

// Both pages are closed in a call and nobody says BYE: the call is not listed for ever.
func TestWebBothGone(t *testing.T) {
	s := startServer(t, settings{more: "calls: {both_lost: 1s}\n"})
	alice, bob := openPage(t, s, jsSIP, "alice"), openPage(t, s, sipJS, "bob")
	alice.register(t)
	bob.register(t)
	connect(t, alice, bob)
	s.awaitCalls(t, 1, patience)
	alice.reload(t)
	bob.reload(t)
	s.awaitCalls(t, 0, patience)
	if err := s.terminate(); err != nil { // which writes what waits to be written
		t.Error(err)
	}
	for _, part := range []string{"call ended", "cause=connections_lost", "codec=opus", "callee_transport=ws"} {
		if !strings.Contains(s.output.String(), part) {
			t.Errorf("no %s in the log", part)
		}
	}
}
