package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// Between two address families each side is given the address that it can reach, and both
// send by it what the other one gets over the dialog's flow (RFC 3261 §16.6 step 4).
func TestRecordRouteBetweenFamilies(t *testing.T) {
	run(t, func(w *world) {
		six := sip.Flow{
			Transport: sip.UDP,
			Local:     netip.MustParseAddrPort("[2001:db8::1]:5060"), Remote: netip.MustParseAddrPort("[2001:db8::7]:5060"),
		}
		w.proxy.SentBy = func(f sip.Flow) (string, uint16) {
			if f.Local.Addr().Is6() {
				return "[2001:db8::1]", 5060
			}
			return "198.51.100.1", 5060
		}
		w.bind("dave", "sip:dave@[2001:db8::7]:5060", six)
		w.receive(stranger, newRequest("INVITE", "sip:dave@example.test", "eve@evil.test", viaStranger))
		w.next(stranger, "SIP/2.0 100")
		invite := w.next(six, "INVITE sip:dave@[2001:db8::7]:5060")
		if via := invite.Via(); via.Host != "[2001:db8::1]" {
			t.Errorf("Via %v", via)
		}
		routes := slices.Collect(invite.Values(sip.HRecordRoute))
		if len(routes) != 2 || !strings.Contains(routes[0], "@[2001:db8::1]:5060;lr>") || !strings.Contains(routes[1], "@198.51.100.1:5060;lr>") {
			t.Fatalf("Record-Route: %q", routes)
		}
		w.respond(six, invite, 200, "Contact: <sip:dave@[2001:db8::7]:5060>")
		w.next(stranger, "SIP/2.0 200")
		w.receive(six, inDialog("INFO", "sip:eve@203.0.113.9:5060", "UDP [2001:db8::7]:5060", strings.Join(routes, ", ")))
		w.respond(stranger, w.next(stranger, "INFO sip:eve@203.0.113.9:5060"), 200)
		w.next(six, "SIP/2.0 200")
		slices.Reverse(routes)
		w.receive(stranger, inDialog("UPDATE", "sip:dave@[2001:db8::7]:5060", viaStranger, strings.Join(routes, ", ")))
		w.respond(six, w.next(six, "UPDATE sip:dave@[2001:db8::7]:5060"), 200)
		w.next(stranger, "SIP/2.0 200")
	})
}

// A dialog also outlives this process: the tokens that it gave out name clients by what they
// register again (RFC 3261 §16.12).
func TestDialogOutlivesProcess(t *testing.T) {
	run(t, func(w *world) {
		before := sip.Flow{Transport: sip.WS, ID: 999}
		routes := string(w.proxy.appendRoute(nil, route{before, w.proxy.tokens.owner("bob@example.test", "i")}, false))

		other := newWorld(t) // with the same key, as the store keeps it
		other.bindInstance("bob", "sip:one@b.invalid;transport=ws", bobTab, "i", 1, 0)
		other.receive(daveUDP, inDialog("BYE", "sip:one@b.invalid;transport=ws", viaUDP, routes))
		other.respond(bobTab, other.next(bobTab, "BYE sip:one@b.invalid"), 200)
		other.next(daveUDP, "SIP/2.0 200")
	})
}

// What was edited before it is forwarded is edited once for each flow that is tried.
func TestRequestForEachFlow(t *testing.T) {
	run(t, func(w *world) {
		w.bindInstance("bob", "sip:one@b.invalid", bobTab, "i", 1, 0)
		w.bindInstance("bob", "sip:one@b.invalid", bobWS, "i", 2, 60)
		w.receive(aliceWS, newRequest("MESSAGE", "sip:bob@example.test;gr=i", alice, viaWS, "Route: <sip:198.51.100.1;lr>"))
		w.respond(bobTab, w.next(bobTab, "MESSAGE"), 430)
		m := w.next(bobWS, "MESSAGE")
		if vias := slices.Collect(m.Values(sip.HVia)); len(vias) != 2 {
			t.Errorf("Vias %q", vias)
		}
		if hops, _ := m.MaxForwards(); hops != 69 {
			t.Errorf("Max-Forwards %d", hops)
		}
		w.respond(bobWS, m, 430)
		w.next(aliceWS, "SIP/2.0 480") // 430 is for us alone (RFC 5626 §7)
	})
}
