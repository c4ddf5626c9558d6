package interop

import (
	"testing"
	"time"
)

// both runs a test of two registered browser phones in either direction: alice
// acts first, once with each library.
func both(t *testing.T, test func(t *testing.T, s *server, alice, bob *page)) {
	t.Helper()
	for _, pair := range [][2]string{{jsSIP, sipJS}, {sipJS, jsSIP}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			s := startServer(t, settings{})
			alice, bob := openPage(t, s, pair[0], "alice"), openPage(t, s, pair[1], "bob")
			alice.register(t)
			bob.register(t)
			test(t, s, alice, bob)
		})
	}
}

// talk checks that each side of a call hears the other.
func talk(t *testing.T, one *page, its int, other *page, others int) {
	t.Helper()
	one.hears(t, its)
	other.hears(t, others)
}

func TestWebCall(t *testing.T) {
	both(t, func(t *testing.T, _ *server, alice, bob *page) {
		a, b := connect(t, alice, bob)
		talk(t, alice, a, bob, b)
		release(t, alice, a, bob, b)

		a, b = connect(t, alice, bob)
		talk(t, alice, a, bob, b)
		release(t, bob, b, alice, a)
	})
}

func TestWebCancel(t *testing.T) {
	both(t, func(t *testing.T, _ *server, alice, bob *page) {
		a, b := ring(t, alice, bob)
		alice.box.await(t, "progress", a)
		alice.hangup(t, a)
		if e := bob.box.await(t, "failed", b); e.Originator != "remote" {
			t.Errorf("bob's phone stopped ringing for another reason than CANCEL: %v", e)
		}
		alice.box.await(t, "failed", a)
	})
}

func TestWebBusy(t *testing.T) {
	both(t, func(t *testing.T, _ *server, alice, bob *page) {
		a, b := ring(t, alice, bob)
		bob.reject(t, b, 486)
		if e := alice.box.await(t, "failed", a); e.Status != 486 {
			t.Errorf("alice hears of %d, not 486", e.Status)
		}
	})
}

// Either side holds and takes back: re-INVITEs of the caller and of the called
// party go through the same dialog's two route sets.
func TestWebHold(t *testing.T) {
	both(t, func(t *testing.T, _ *server, alice, bob *page) {
		a, b := connect(t, alice, bob)
		talk(t, alice, a, bob, b)
		hold(t, alice, a, bob, b)
		hold(t, bob, b, alice, a)
		release(t, alice, a, bob, b)
	})
}

func hold(t *testing.T, by *page, its int, other *page, others int) {
	t.Helper()
	by.invoke(t, nil, "hold", its)
	other.box.await(t, "hold", others)
	by.directionBecomes(t, its, "sendonly")
	other.directionBecomes(t, others, "recvonly")
	by.invoke(t, nil, "unhold", its)
	other.box.await(t, "unhold", others)
	by.directionBecomes(t, its, "sendrecv")
	other.directionBecomes(t, others, "sendrecv")
	talk(t, by, its, other, others)
}

// Blind transfer (RFC 3515, RFC 5589 §6.1): alice sends bob to carol, hears
// that carol took the call, and leaves.
func TestWebTransfer(t *testing.T) {
	both(t, func(t *testing.T, s *server, alice, bob *page) {
		carol := openPage(t, s, jsSIP, "carol")
		carol.register(t)
		a, b := connect(t, alice, bob)
		talk(t, alice, a, bob, b)

		alice.invoke(t, nil, "refer", a, "carol")
		alice.box.await(t, "referAccepted", a)
		toCarol := bob.box.await(t, "referred", 0).Call
		in := carol.box.await(t, "incoming", 0)
		if in.Peer != "bob" {
			t.Errorf("carol's phone rings for %q, not bob", in.Peer)
		}
		carol.answer(t, in.Call)
		bob.box.await(t, "established", toCarol)
		carol.box.await(t, "established", in.Call)
		for alice.box.await(t, "referNotify", a).Status != 200 {
		}
		release(t, alice, a, bob, b)
		talk(t, bob, toCarol, carol, in.Call)
		release(t, carol, in.Call, bob, toCarol)
	})
}

func TestWebMessage(t *testing.T) {
	both(t, func(t *testing.T, _ *server, alice, bob *page) {
		const text = "Grüße, 世界: \"quoted\" & <angled>"
		alice.invoke(t, nil, "message", "bob", text)
		if e := bob.box.await(t, "message", 0); e.Body != text || e.Peer != "alice" {
			t.Errorf("bob reads %q of %q, want %q of alice", e.Body, e.Peer, text)
		}
		alice.box.await(t, "messageSent", 0)
	})
}

// soon bounds what a person would call "at once": a call to where nobody is
// takes two round trips (challenge and answer) and the gathering of addresses
// in the page before them.
const soon = 2 * time.Second

// fails makes a call that must fail with that status, soon.
func fails(t *testing.T, from phone, target string, status int) {
	t.Helper()
	began := time.Now()
	call := from.dial(t, target)
	e := from.inbox().await(t, "failed", call)
	if e.Status != status {
		t.Errorf("the call to %s failed with %d, not %d", target, e.Status, status)
	}
	if took := time.Since(began); took > soon {
		t.Errorf("the call to %s failed after %v", target, took)
	}
}

func TestWebUnregister(t *testing.T) {
	both(t, func(t *testing.T, _ *server, alice, bob *page) {
		bob.unregister(t)
		fails(t, alice, "bob", 480)
		alice.invoke(t, nil, "message", "bob", "are you there?")
		if e := alice.box.await(t, "messageFailed", 0); e.Status != 480 {
			t.Errorf("the message failed with %d, not 480", e.Status)
		}
	})
}

func TestWebNobodyThere(t *testing.T) {
	both(t, func(t *testing.T, _ *server, alice, _ *page) {
		t.Run("offline", func(t *testing.T) { fails(t, alice, "nobody", 480) })
		t.Run("unknown", func(t *testing.T) { fails(t, alice, "stranger", 404) })
	})
}

func TestWebWrongPassword(t *testing.T) {
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library, func(t *testing.T) {
			p := openPage(t, startServer(t, settings{}), library, "alice")
			p.account.Password = "wrong"
			p.invoke(t, nil, "register", p.account)
			e := p.box.await(t, "registrationFailed", 0)
			if e.Status != 401 && e.Status != 403 {
				t.Errorf("registration failed with %d", e.Status)
			}
		})
	}
}

// A page that is loaded anew leaves a binding that nobody takes back and, with
// JsSIP, comes with a new instance id. The old flow's end must void the old
// binding: one ring, and no dead branch that holds back a final response.
func TestWebReload(t *testing.T) {
	both(t, func(t *testing.T, _ *server, alice, bob *page) {
		mark := bob.box.mark()
		bob.reload(t)
		bob.register(t)

		a, b := connect(t, alice, bob)
		talk(t, alice, a, bob, b)
		release(t, alice, a, bob, b)
		if n := bob.box.count("incoming", mark); n != 1 {
			t.Errorf("one call rang %d times", n)
		}

		a, b = ring(t, alice, bob)
		refused := time.Now()
		bob.reject(t, b, 486)
		if e := alice.box.await(t, "failed", a); e.Status != 486 {
			t.Errorf("alice hears of %d, not 486", e.Status)
		}
		if took := time.Since(refused); took > soon {
			t.Errorf("the refusal was held back for %v", took)
		}

		alice.reload(t)
		alice.register(t)
		a, b = connect(t, alice, bob)
		talk(t, alice, a, bob, b)
		release(t, bob, b, alice, a)
	})
}
