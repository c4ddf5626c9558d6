package proxy

import (
	"net/netip"
	"testing"

	"github.com/sipway/sipway/sip"
)

func TestMayReach(t *testing.T) {
	w := newWorldFor(t)
	for _, tc := range []struct {
		from, to string
		want     bool
	}{
		{"203.0.113.9:5060", "192.0.2.7:5060", true},
		{"203.0.113.9:5060", "10.0.0.7:5060", true}, // an intranet's phones are called from outside
		{"203.0.113.9:5060", "127.0.0.1:6379", false},
		{"203.0.113.9:5060", "[::1]:6379", false},
		{"203.0.113.9:5060", "[::ffff:127.0.0.1]:6379", false},
		{"203.0.113.9:5060", "0.0.0.0:5060", false},
		{"203.0.113.9:5060", "169.254.169.254:80", false},
		{"203.0.113.9:5060", "[fe80::1]:5060", false},
		{"203.0.113.9:5060", "224.0.1.75:5060", false},
		{"127.0.0.1:5060", "127.0.0.2:5080", true},
		{"[::ffff:127.0.0.1]:5060", "[::1]:5080", true},
		{"127.0.0.1:5060", "169.254.1.2:5060", true},
		{"169.254.1.1:5060", "169.254.1.2:5060", true},
		{"169.254.1.1:5060", "127.0.0.1:5060", false},
	} {
		s := sip.Server{Transport: sip.TCP, Addr: netip.MustParseAddrPort(tc.to)}
		err := w.proxy.mayReach(sip.Flow{Remote: netip.MustParseAddrPort(tc.from)}, s)
		if (err == nil) != tc.want {
			t.Errorf("from %s to %s: %v", tc.from, tc.to, err)
		}
	}
}

// A name that points to this machine is passed over for who calls from outside.
func TestNameOfThisMachine(t *testing.T) {
	run(t, func(w *world) {
		outside := aliceWS
		outside.ID, outside.Remote = 77, netip.MustParseAddrPort("203.0.113.9:4001")
		w.open(outside)
		w.auth.Bind(outside, alice, farFuture())
		w.receive(outside, newRequest("MESSAGE", "sip:x@odd.example.net;transport=tcp", alice, viaWS))
		to := serverFlow(sip.TCP, "192.0.2.21")
		w.respond(to, w.next(to, "MESSAGE"), 200)
		w.next(outside, "SIP/2.0 200")
		w.receive(outside, newRequest("INFO", "sip:x@127.0.0.1:6379;transport=tcp", alice, viaWS))
		w.next(outside, "SIP/2.0 500")
	})
}
