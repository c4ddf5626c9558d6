package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

// Every client that a call is sent to is probed once the INVITE is on its way, if the
// transport finds that it was silent for long.
func TestForkProbes(t *testing.T) {
	run(t, func(w *world) {
		w.bind("bob", "sip:one@b.invalid;transport=ws", bobWS)
		w.bind("bob", "sip:two@b.invalid;transport=ws", bobTab)
		w.during(func(packet) {
			if len(w.probed) > 0 {
				t.Error("probed before the INVITE was sent")
			}
		})
		w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		one, two := w.next(bobWS, "INVITE"), w.next(bobTab, "INVITE")
		if !slices.Equal(w.probed, []sip.Flow{bobWS, bobTab}) {
			t.Errorf("probed %v", w.probed)
		}
		w.respond(bobWS, one, 486)
		w.next(bobWS, "ACK")
		w.respond(bobTab, two, 486)
		w.next(bobTab, "ACK")
		w.next(aliceWS, "SIP/2.0 486")
	})
}

// bobNew is the connection of bob's page after it was loaded anew.
var bobNew = wsFlow(10, 4010)

const newContact = "sip:new@b.invalid;transport=ws"

// parked runs a test of calls from alice to bob, who has come and gone. Nobody may be
// waited for in the end.
func parked(t *testing.T, f func(w *world)) {
	t.Helper()
	run(t, func(w *world) {
		w.proxy.Park = 2 * time.Second
		w.open(bobNew)
		f(w)
		w.wait(5 * time.Second)
		if n := w.proxy.parked.Load(); n != 0 || len(w.waiters) != 0 {
			t.Errorf("%d wait, of %d waiters", n, len(w.waiters))
		}
	})
}

// callBob has alice call bob, and returns when that was and the request's text.
func (w *world) callBob() (began time.Time, text string) {
	w.t.Helper()
	text = newRequest("INVITE", "sip:bob@example.test", alice, viaWS)
	w.receive(aliceWS, text)
	w.next(aliceWS, "SIP/2.0 100")
	return time.Now(), text
}

// breaks closes a connection of bob's.
func (w *world) breaks(f sip.Flow) {
	w.lost["bob@example.test"] = true
	w.closeFlow(f)
}

// answersAfter expects a final response to alice, and when it comes.
func (w *world) answersAfter(began time.Time, want time.Duration, status string) {
	w.t.Helper()
	if due := time.Until(began.Add(want)); due > 0 {
		w.wait(due - time.Millisecond)
		w.expectNothing()
		w.wait(time.Millisecond)
	}
	w.next(aliceWS, "SIP/2.0 "+status)
	if took := time.Since(began); took != want {
		w.t.Errorf("%s after %v, want %v", status, took, want)
	}
}

// The page is back within the time, and is called.
func TestParkedUntilReturn(t *testing.T) {
	parked(t, func(w *world) {
		w.lost["bob@example.test"] = true
		began, _ := w.callBob()
		w.wait(1999 * time.Millisecond)
		w.comeBack("bob", newContact, bobNew)
		w.respond(bobNew, w.next(bobNew, "INVITE "+newContact), 486)
		w.next(bobNew, "ACK")
		w.answersAfter(began, 1999*time.Millisecond, "486")
		if s := w.proxy.Stats(); s.CameBack != 1 || s.InVain != 0 || s.Parked != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

// Nobody comes back, and the caller knows within the time.
func TestParkedInVain(t *testing.T) {
	parked(t, func(w *world) {
		w.lost["bob@example.test"] = true
		began, _ := w.callBob()
		if s := w.proxy.Stats(); s.Parked != 1 {
			t.Errorf("counted %+v", s)
		}
		w.answersAfter(began, 2*time.Second, "480")
		if s := w.proxy.Stats(); s.CameBack != 0 || s.InVain != 1 || s.Parked != 0 {
			t.Errorf("counted %+v", s)
		}
		w.comeBack("bob", newContact, bobNew) // too late
	})
}

// Who was not there before is not waited for, nor is a request worth it that nobody sees.
func TestNotParked(t *testing.T) {
	parked(t, func(w *world) {
		began := time.Now()
		w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
		w.answersAfter(began, 0, "480")
		w.lost["bob@example.test"] = true
		w.receive(aliceWS, newRequest("OPTIONS", "sip:bob@example.test", alice, viaWS))
		w.answersAfter(began, 0, "480")
	})
}

// More than may wait don't wait.
func TestParkedAreBounded(t *testing.T) {
	parked(t, func(w *world) {
		w.lost["bob@example.test"] = true
		w.proxy.parked.Store(maxParked)
		began, _ := w.callBob()
		w.answersAfter(began, 0, "480")
		w.proxy.parked.Store(0)
	})
}

func TestParkedMessage(t *testing.T) {
	parked(t, func(w *world) {
		w.lost["bob@example.test"] = true
		w.receive(aliceWS, newRequest("MESSAGE", "sip:bob@example.test", alice, viaWS))
		w.wait(time.Second)
		w.expectNothing() // RFC 4320 §4.1: no 100
		w.comeBack("bob", newContact, bobNew)
		w.respond(bobNew, w.next(bobNew, "MESSAGE "+newContact), 200)
		w.next(aliceWS, "SIP/2.0 200")
	})
}

// The caller gives up, by CANCEL or by leaving: it is over at once, and a page that comes
// back later does not ring.
func TestParkedAndCancelled(t *testing.T) {
	parked(t, func(w *world) {
		w.lost["bob@example.test"] = true
		began, text := w.callBob()
		w.wait(time.Second)
		w.receive(aliceWS, strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(text))
		w.next(aliceWS, "SIP/2.0 200")
		w.answersAfter(began, time.Second, "487")
		w.comeBack("bob", newContact, bobNew)
	})
	parked(t, func(w *world) {
		w.lost["bob@example.test"] = true
		w.callBob()
		w.closeFlow(aliceWS)
		w.comeBack("bob", newContact, bobNew)
	})
}

// While bob's desk rings his page is loaded anew: it rings too, with all that follows.
func TestLateFork(t *testing.T) {
	parked(t, func(w *world) {
		w.bind("bob", "sip:page@b.invalid;transport=ws", bobWS)
		w.bind("bob", "sip:desk@b.invalid;transport=ws", bobTab)
		w.callBob()
		w.respond(bobWS, w.next(bobWS, "INVITE"), 180)
		w.next(aliceWS, "SIP/2.0 180")
		desk := w.next(bobTab, "INVITE")
		w.respond(bobTab, desk, 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.wait(20 * time.Second)
		w.breaks(bobWS)
		w.wait(1500 * time.Millisecond)
		w.comeBack("bob", newContact, bobNew)
		page := w.next(bobNew, "INVITE "+newContact)
		if n := len(slices.Collect(page.Lines(sip.HRecordRoute))); n != 1 {
			t.Errorf("%d lines of Record-Route", n)
		}
		w.respond(bobNew, page, 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.comeBack("bob", newContact, bobNew) // a refresh rings nothing
		w.respond(bobTab, desk, 200)
		w.next(aliceWS, "SIP/2.0 200")
		w.respond(bobNew, w.next(bobNew, "CANCEL"), 200)
		w.respond(bobNew, page, 487)
		w.next(bobNew, "ACK")
	})
}

// Bob's page breaks while it rings beside his desk; the desk declines. How long is the page
// waited for?
func TestParkedBesideOthers(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		back   time.Duration // after the break; 0: never
		want   time.Duration
		answer string
	}{
		{"busy, nobody comes back", 486, 0, 2 * time.Second, "486"},
		{"busy, and so is who comes back", 486, time.Second, time.Second, "486"},
		{"declined for all", 603, 0, 0, "603"},
	} {
		t.Run(test.name, func(t *testing.T) {
			parked(t, func(w *world) {
				w.bind("bob", "sip:page@b.invalid;transport=ws", bobWS)
				w.bind("bob", "sip:desk@b.invalid;transport=ws", bobTab)
				w.callBob()
				w.respond(bobWS, w.next(bobWS, "INVITE"), 180)
				w.next(aliceWS, "SIP/2.0 180")
				w.wait(20 * time.Second)
				w.breaks(bobWS)
				began := time.Now()
				w.respond(bobTab, w.next(bobTab, "INVITE"), test.status)
				w.next(bobTab, "ACK")
				if test.back > 0 {
					w.wait(test.back)
					w.comeBack("bob", newContact, bobNew)
					w.respond(bobNew, w.next(bobNew, "INVITE"), 486)
					w.next(bobNew, "ACK")
				}
				w.answersAfter(began, test.want, test.answer)
			})
		})
	}
}

// A client is found dead by a probe, one second after the INVITE: together that and the wait
// for its successor last no longer than the wait alone.
func TestParkedAfterProbe(t *testing.T) {
	for _, test := range []struct {
		name   string
		back   time.Duration // when the successor registers; 0: never
		rings  time.Duration // when it is called
		want   time.Duration
		answer string
	}{
		{"nobody comes back", 0, 0, 2 * time.Second, "480"},
		{"back before the probe says that the other is dead", 300 * time.Millisecond, time.Second, time.Second, "486"},
		{"back after it", 1500 * time.Millisecond, 1500 * time.Millisecond, 1500 * time.Millisecond, "486"},
	} {
		t.Run(test.name, func(t *testing.T) {
			parked(t, func(w *world) {
				w.bind("bob", "sip:ghost@b.invalid;transport=ws", bobWS)
				began, _ := w.callBob()
				w.next(bobWS, "INVITE")
				time.AfterFunc(time.Second, func() { w.breaks(bobWS) })
				if test.back > 0 {
					w.wait(test.back)
					w.comeBack("bob", newContact, bobNew)
					w.wait(test.rings - test.back)
					w.respond(bobNew, w.next(bobNew, "INVITE"), 486)
					w.next(bobNew, "ACK")
				}
				w.answersAfter(began, test.want, test.answer)
			})
		})
	}
}

// A client whose connection broke before the call, beside another one that is there: both
// ring, the first as soon as it is back.
func TestParkedAtFirst(t *testing.T) {
	parked(t, func(w *world) {
		w.bind("bob", "sip:desk@b.invalid;transport=ws", bobTab)
		w.lost["bob@example.test"] = true
		began, _ := w.callBob()
		desk := w.next(bobTab, "INVITE") // at once
		w.wait(time.Second)
		w.comeBack("bob", newContact, bobNew)
		w.respond(bobNew, w.next(bobNew, "INVITE"), 486)
		w.next(bobNew, "ACK")
		w.respond(bobTab, desk, 404)
		w.next(bobTab, "ACK")
		w.answersAfter(began, time.Second, "486")
	})
}

// A phone that can't be connected to is switched off, not on its way back.
func TestRefusedIsNotParked(t *testing.T) {
	parked(t, func(w *world) {
		w.bind("bob", "sip:bob@192.0.2.30:5070;transport=tcp", carolTCP)
		w.closeFlow(carolTCP)
		w.refused[netip.MustParseAddrPort("192.0.2.30:5070")] = true
		began, _ := w.callBob()
		w.answersAfter(began, 0, "480")
	})
}

// Within a dialog a request waits for the client whose dialog it is, and for no other one of
// the same user.
func TestParkedInDialog(t *testing.T) {
	for _, test := range []struct {
		name     string
		method   string
		instance string // that comes back after a second
		under    bool   // the flow breaks when the request was sent on it
		cancel   bool   // the caller gives up before
		want     string
		after    time.Duration
	}{
		{"BYE", "BYE", "i", false, false, "200", time.Second},
		{"BYE under way", "BYE", "i", true, false, "200", time.Second},
		{"re-INVITE", "INVITE", "i", false, false, "200", time.Second},
		{"re-INVITE under way", "INVITE", "i", true, false, "200", time.Second},
		{"re-INVITE that is cancelled", "INVITE", "i", false, true, "487", 500 * time.Millisecond},
		{"re-INVITE under way that is cancelled", "INVITE", "i", true, true, "487", 500 * time.Millisecond},
		{"another instance", "BYE", "j", false, false, "480", 2 * time.Second},
		{"another instance, under way", "BYE", "j", true, false, "480", 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			parked(t, func(w *world) {
				to := w.proxy.tokens.owner("bob@example.test", "i")
				text := inDialog(test.method, "sip:one@b.invalid;transport=ws", viaWS, string(w.proxy.appendRoute(nil, route{bobWS, to}, false)))
				if !test.under {
					w.breaks(bobWS)
				}
				began := time.Now()
				w.receive(aliceWS, text)
				if test.under {
					w.next(bobWS, test.method)
					w.breaks(bobWS)
				}
				if test.method == "INVITE" {
					w.next(aliceWS, "SIP/2.0 100")
				}
				w.wait(500 * time.Millisecond)
				if test.cancel {
					w.receive(aliceWS, strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(text))
					w.next(aliceWS, "SIP/2.0 200")
					w.answersAfter(began, test.after, test.want)
				}
				w.wait(500 * time.Millisecond)
				w.comeBackAs("bob", "sip:one@b.invalid;transport=ws", bobNew, test.instance)
				if test.want == "200" {
					w.respond(bobNew, w.next(bobNew, test.method+" sip:one@b.invalid"), 200)
				}
				if !test.cancel {
					w.answersAfter(began, test.after, test.want)
				}
			})
		})
	}
}

// A call to a GRUU waits for that instance, and for no other.
func TestParkedForInstance(t *testing.T) {
	for _, test := range []struct {
		name     string
		instance string
		want     string
		after    time.Duration
	}{
		{"the instance", "i", "486", time.Second},
		{"another one", "j", "480", 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			parked(t, func(w *world) {
				w.lost["bob@example.test"] = true
				began := time.Now()
				w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test;gr=i", alice, viaWS))
				w.next(aliceWS, "SIP/2.0 100")
				w.wait(time.Second)
				w.comeBackAs("bob", newContact, bobNew, test.instance)
				if test.want == "486" {
					w.respond(bobNew, w.next(bobNew, "INVITE "+newContact), 486)
					w.next(bobNew, "ACK")
				}
				w.answersAfter(began, test.after, test.want)
			})
		})
	}
}

// RFC 3841 §9.1: who wants no fork is not given a second target by a page that is back, unless
// the first was that page.
func TestNoForkOfParked(t *testing.T) {
	for _, lost := range []bool{false, true} {
		parked(t, func(w *world) {
			w.bind("bob", "sip:one@b.invalid", bobWS)
			w.lost["bob@example.test"] = !lost
			w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS, "Request-Disposition: no-fork"))
			w.next(aliceWS, "SIP/2.0 100")
			at, m := bobWS, w.next(bobWS, "INVITE")
			if lost {
				w.breaks(bobWS)
			}
			w.comeBack("bob", newContact, bobNew)
			if lost {
				at, m = bobNew, w.next(bobNew, "INVITE")
			}
			w.expectNothing()
			w.respond(at, m, 404)
			w.next(at, "ACK")
			w.wait(2 * time.Second)
			w.next(aliceWS, "SIP/2.0 404")
		})
	}
}
