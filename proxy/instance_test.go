package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// The world's GRUUs are public ones, and temporary ones of bob that name the instance in
// their user part, "temp-I".

func (w *world) GRUU(u *sip.URI) (string, func([]store.Binding) ([]store.Binding, bool), bool) {
	instance, _ := u.Params.Get("gr")
	aor := u.User + "@" + u.Host
	temporary := instance == ""
	if temporary {
		var ok bool
		if instance, ok = strings.CutPrefix(u.User, "temp-"); !ok {
			return "", nil, false
		}
		aor = "bob@" + u.Host
	}
	return aor, func(all []store.Binding) (kept []store.Binding, valid bool) {
		for _, b := range all {
			if b.Instance == instance {
				kept = append(kept, b)
			}
		}
		return kept, !temporary || len(kept) > 0
	}, true
}

func (w *world) LookupContact(u *sip.URI) (string, bool) {
	aor, ok := w.contacts[u.User]
	return aor, ok
}

func (w *world) FlowFailed(b *store.Binding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, b.Contact)
}

// bindInstance registers a contact of an instance, refreshed so many seconds ago.
func (w *world) bindInstance(user, contact string, f sip.Flow, instance string, regID, age int) {
	w.bind(user, contact, f)
	all := w.bindings[user+"@example.test"]
	b := &all[len(all)-1]
	b.Instance, b.RegID = instance, regID
	b.Updated = time.Now().Add(-time.Duration(age) * time.Second)
}

// RFC 5626 §7: one flow of an instance at a time, the next one where a flow has failed, and
// none once the instance has answered.
func TestOneFlowOfAnInstance(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		goesOn bool
	}{
		{"430 Flow Failed", 430, true},
		{"408 Request Timeout", 408, true},
		{"486 Busy Here", 486, false},
		{"480 Temporarily Unavailable", 480, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.bindInstance("bob", "sip:one@b.invalid", bobWS, "<i>", 1, 30)
				w.bindInstance("bob", "sip:two@b.invalid", bobTab, "<I>", 2, 10) // refreshed last
				w.bindInstance("bob", "sip:desk@192.0.2.7:5060", daveUDP, "<other>", 0, 0)
				w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
				w.next(aliceWS, "SIP/2.0 100")
				desk := w.next(daveUDP, "INVITE sip:desk@192.0.2.7:5060")
				w.respond(bobTab, w.next(bobTab, "INVITE sip:two@b.invalid"), test.status)
				w.next(bobTab, "ACK")
				if test.goesOn {
					w.respond(bobWS, w.next(bobWS, "INVITE sip:one@b.invalid"), 486)
					w.next(bobWS, "ACK")
				}
				w.respond(daveUDP, desk, 486)
				w.next(daveUDP, "ACK")
				w.next(aliceWS, "SIP/2.0 486")
				if failed := strings.Join(w.failed, " "); (failed == "sip:two@b.invalid") != (test.status == 430) {
					t.Errorf("flows said to have failed: %q", failed)
				}
			})
		})
	}
}

// A flow of an instance that breaks while it rings is followed by the next one.
func TestFlowOfAnInstanceBreaks(t *testing.T) {
	run(t, func(w *world) {
		w.bindInstance("bob", "sip:one@b.invalid", bobWS, "<i>", 1, 30)
		w.bindInstance("bob", "sip:two@b.invalid", bobTab, "<i>", 2, 10)
		w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		w.next(bobTab, "INVITE")
		w.closeFlow(bobTab)
		w.respond(bobWS, w.next(bobWS, "INVITE"), 603)
		w.next(bobWS, "ACK")
		w.next(aliceWS, "SIP/2.0 603")
	})
}

// RFC 5627 §6.1: a GRUU leads to its instance, by its contact; to none is 480, and what is no
// GRUU, or a temporary one that has ended, is 404.
func TestGRUUTargets(t *testing.T) {
	for _, test := range []struct {
		name, uri, status string // status "" for: it arrives at the tab
	}{
		{"public", "sip:bob@example.test;gr=i", ""},
		{"temporary", "sip:temp-i@example.test;gr", ""},
		{"instance not here", "sip:bob@example.test;gr=k", "SIP/2.0 480"},
		{"no such user", "sip:nobody@example.test;gr=i", "SIP/2.0 404"},
		{"temporary, ended", "sip:temp-k@example.test;gr", "SIP/2.0 404"},
		{"never a GRUU", "sip:bob@example.test;gr", "SIP/2.0 404"},
	} {
		for _, cold := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				run(t, func(w *world) {
					w.cold = cold
					w.bindInstance("bob", "sip:one@b.invalid", bobWS, "j", 1, 0)
					w.bindInstance("bob", "sip:two@b.invalid", bobTab, "i", 1, 0)
					w.receive(aliceWS, newRequest("MESSAGE", test.uri, alice, viaWS))
					if test.status == "" {
						w.respond(bobTab, w.next(bobTab, "MESSAGE sip:two@b.invalid SIP/2.0"), 200)
						w.next(aliceWS, "SIP/2.0 200")
						return
					}
					w.next(aliceWS, test.status)
				})
			})
		}
	}
}

// RFC 5627 §6.1, the second case: contacts of an instance without reg-id, which has rebooted.
// The one refreshed last is tried, the next one on 408 or 430 alone.
func TestGRUUOfRebooted(t *testing.T) {
	run(t, func(w *world) {
		w.bindInstance("bob", "sip:new@b.invalid", bobTab, "i", 0, 5)
		w.bindInstance("bob", "sip:old@b.invalid", bobWS, "i", 0, 500)
		w.receive(aliceWS, newRequest("MESSAGE", "sip:bob@example.test;gr=i", alice, viaWS))
		w.respond(bobTab, w.next(bobTab, "MESSAGE sip:new@b.invalid"), 430)
		w.respond(bobWS, w.next(bobWS, "MESSAGE sip:old@b.invalid"), 200)
		w.next(aliceWS, "SIP/2.0 200")
	})
}

// Within a dialog the route says where a request goes, and the instance's contact takes the
// GRUU's place in the Request-URI, as browsers don't know their temporary GRUUs.
func TestGRUUInDialog(t *testing.T) {
	for _, uri := range []string{"sip:temp-i@example.test;gr", "sip:bob@example.test;gr=i"} {
		run(t, func(w *world) {
			route := string(w.proxy.appendRoute(nil, route{flow: bobWS}, false))
			w.bindInstance("bob", "sip:two@b.invalid", bobTab, "i", 2, 0)
			w.bindInstance("bob", "sip:one@b.invalid", bobWS, "i", 1, 60)
			w.receive(daveUDP, inDialog("ACK", uri, viaUDP, route))
			w.next(bobWS, "ACK sip:one@b.invalid SIP/2.0")
			w.receive(daveUDP, inDialog("INFO", uri, viaUDP, route))
			w.respond(bobWS, w.next(bobWS, "INFO sip:one@b.invalid SIP/2.0"), 200)
			w.next(daveUDP, "SIP/2.0 200")
		})
	}
	// One that has ended meanwhile is left as it is: the route is good still.
	run(t, func(w *world) {
		w.receive(daveUDP, inDialog("INFO", "sip:temp-i@example.test;gr", viaUDP, string(w.proxy.appendRoute(nil, route{flow: bobWS}, false))))
		w.respond(bobWS, w.next(bobWS, "INFO sip:temp-i@example.test;gr SIP/2.0"), 200)
		w.next(daveUDP, "SIP/2.0 200")
	})
}

// A dialog outlives the browser's connection: what its route names has closed, and its token,
// or the GRUU, tells whose it was.
func TestDialogOutlivesConnection(t *testing.T) {
	for _, uri := range []string{"sip:bob@example.test;gr=i", "sip:one@b.invalid;transport=ws", "sip:one@B.invalid;transport=ws;ob"} {
		for _, method := range []string{"BYE", "ACK"} {
			run(t, func(w *world) {
				to := w.proxy.tokens.owner("bob@example.test", "i")
				routes := string(w.proxy.appendRoute(nil, route{bobWS, to}, false))
				w.closeFlow(bobWS)
				w.bindInstance("bob", "sip:one@b.invalid;transport=ws", bobTab, "i", 1, 0)
				w.receive(daveUDP, inDialog(method, uri, viaUDP, routes))
				m := w.next(bobTab, method+" sip:one@")
				if m.Has(sip.HRoute) {
					t.Error("Route left")
				}
				if method == "BYE" {
					w.respond(bobTab, m, 200)
					w.next(daveUDP, "SIP/2.0 200")
				}
			})
		}
	}
}

// A request to a browser's contact without a Route goes where that is bound now; to one that
// is bound no more is 480, which ends no dialog.
func TestContactWithoutRoute(t *testing.T) {
	for _, cold := range []bool{false, true} {
		run(t, func(w *world) {
			w.cold = cold
			w.bind("bob", "sip:one@b.invalid;transport=ws", bobWS)
			w.bind("bob", "sip:two@c.invalid;transport=ws", bobTab)
			w.contacts = map[string]string{"two": "bob@example.test", "three": "bob@example.test"}
			w.receive(aliceWS, newRequest("NOTIFY", "sip:two@C.invalid;ob", alice, viaWS))
			w.respond(bobTab, w.next(bobTab, "NOTIFY sip:two@C.invalid;ob SIP/2.0"), 200)
			w.next(aliceWS, "SIP/2.0 200")
			w.receive(aliceWS, newRequest("NOTIFY", "sip:three@c.invalid", alice, viaWS))
			w.next(aliceWS, "SIP/2.0 480")
			w.receive(aliceWS, newRequest("NOTIFY", "sip:four@c.invalid", alice, viaWS))
			w.next(aliceWS, "SIP/2.0 480")
			w.receive(stranger, newRequest("NOTIFY", "sip:two@c.invalid", "x@far.test", "UDP far.test"))
			w.next(stranger, "SIP/2.0 403")
		})
	}
}

// RFC 5627 §6.2: nobody begins a dialog with another user's GRUU for contact.
func TestForeignGRUU(t *testing.T) {
	run(t, func(w *world) {
		w.bind("bob", "sip:one@b.invalid", bobWS)
		for contact, refused := range map[string]bool{
			"<sip:alice@example.test;gr=x>":                      false,
			"<sip:bob@example.test;gr=i>":                        true,
			"<sip:temp-i@example.test;gr>":                       true, // bob's
			"<sip:bob@far.test;gr=i>":                            false,
			`<sip:bob@example.test>;+sip.instance="<;gr=alice>"`: false,
		} {
			w.receive(aliceWS, newRequest("SUBSCRIBE", "sip:bob@example.test", alice, viaWS, "Event: presence", "Contact: "+contact))
			if refused {
				w.next(aliceWS, "SIP/2.0 403 Contact Is Another User's GRUU")
				continue
			}
			w.respond(bobWS, w.next(bobWS, "SUBSCRIBE"), 200)
			w.next(aliceWS, "SIP/2.0 200")
		}
	})
}

// An instance that was passed over has had its turn, on whichever of its flows.
func TestFlowOfPassedOverInstanceBreaks(t *testing.T) {
	run(t, func(w *world) {
		w.proxy.NoAnswer = 20 * time.Second
		w.bindInstance("bob", "sip:one@b.invalid", bobWS, "<i>", 1, 30)
		w.bindInstance("bob", "sip:two@b.invalid", bobTab, "<i>", 2, 10)
		w.bind("bob", "sip:desk@192.0.2.7:5060", daveUDP)
		w.bindings["bob@example.test"][2].Q = 500
		w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		w.respond(bobTab, w.next(bobTab, "INVITE"), 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.wait(20 * time.Second)
		w.next(bobTab, "CANCEL")
		desk := w.next(daveUDP, "INVITE")
		w.closeFlow(bobTab)
		w.expectNothing()
		w.respond(daveUDP, desk, 486)
		w.next(daveUDP, "ACK")
		w.next(aliceWS, "SIP/2.0 486")
	})
}

// RFC 5627 §6.1: a redirection to a GRUU leads to that instance, and not to all of its user's.
func TestRedirectionToGRUU(t *testing.T) {
	for _, test := range []struct{ name, contact, status string }{
		{"public", "sip:carol@example.test;gr=i", "486"},
		{"temporary", "sip:temp-i@example.test;gr", "486"},
		{"one that has ended", "sip:temp-old@example.test;gr", "480"},
		{"never one", "sip:carol@example.test;gr", "302"},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.bind("dave", "sip:dave@192.0.2.7:5060", daveUDP)
				for _, user := range []string{"bob", "carol"} {
					w.bindInstance(user, "sip:one@b.invalid", bobTab, "i", 0, 0)
					w.bindInstance(user, "sip:two@b.invalid", bobWS, "other", 0, 0)
				}
				w.receive(aliceWS, newRequest("INVITE", "sip:dave@example.test", alice, viaWS))
				w.next(aliceWS, "SIP/2.0 100")
				w.respond(daveUDP, w.next(daveUDP, "INVITE"), 302, "Contact: <"+test.contact+">")
				w.next(daveUDP, "ACK")
				if test.status == "486" {
					w.respond(bobTab, w.next(bobTab, "INVITE sip:one@b.invalid"), 486)
					w.next(bobTab, "ACK")
				}
				w.next(aliceWS, "SIP/2.0 "+test.status)
			})
		})
	}
}

// Who rang until Timer C has had his turn, though he answers the CANCEL with nothing.
func TestInstanceThatIgnoresCancel(t *testing.T) {
	run(t, func(w *world) {
		w.bindInstance("bob", "sip:one@b.invalid", bobWS, "<i>", 1, 30)
		w.bindInstance("bob", "sip:two@b.invalid", bobTab, "<i>", 2, 10)
		w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		w.respond(bobTab, w.next(bobTab, "INVITE"), 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.wait(defaultTimerC)
		w.respond(bobTab, w.next(bobTab, "CANCEL"), 200)
		w.wait(32 * time.Second)
		w.next(aliceWS, "SIP/2.0 408")
	})
}

// A phone that has moved to another network is still bound at its old address. What is for its
// dialog goes to the new one.
func TestDialogOfMovedInstance(t *testing.T) {
	moved := daveUDP
	moved.Remote = netip.MustParseAddrPort("203.0.113.77:40001")
	for _, to := range []sip.Flow{moved, carolTCP} {
		run(t, func(w *world) {
			w.bindInstance("dave", "sip:dave@192.0.2.7", daveUDP, "<i>", 0, 60)
			w.receive(aliceWS, newRequest("INVITE", "sip:dave@example.test", alice, viaWS))
			w.next(aliceWS, "SIP/2.0 100")
			w.respond(daveUDP, w.next(daveUDP, "INVITE"), 200, "Contact: <sip:dave@192.0.2.7>")
			ok := w.next(aliceWS, "SIP/2.0 200")
			w.bindInstance("dave", "sip:dave@10.0.0.7", to, "<i>", 0, 0)
			routes := slices.Collect(ok.Values(sip.HRecordRoute))
			slices.Reverse(routes)
			info := newRequest("INFO", "sip:dave@192.0.2.7", alice, viaWS, "Route: "+strings.Join(routes, ", "))
			w.receive(aliceWS, strings.Replace(info, "\nTo: <sip:dave@192.0.2.7>", "\nTo: <sip:dave@192.0.2.7>;tag="+ok.ToTag(), 1))
			w.respond(to, w.next(to, "INFO"), 200)
			w.next(aliceWS, "SIP/2.0 200")
		})
	}
}
