package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

func TestContactOrSource(t *testing.T) {
	for _, tc := range []struct{ contact, source, want string }{
		{"sip:x@192.0.2.7", "192.0.2.7:5060", "192.0.2.7:5060"},
		{"sip:x@192.0.2.7", "192.0.2.7:40000", "192.0.2.7:5060"}, // sends from another port than it listens on
		{"sip:x@192.0.2.7:5070", "192.0.2.7:40000", "192.0.2.7:5070"},
		{"sip:x@192.0.2.7:5070", "[::ffff:192.0.2.7]:40000", "[::ffff:192.0.2.7]:5070"},
		{"sip:x@[2001:db8::7]:5070", "[2001:db8::7]:40000", "[2001:db8::7]:5070"},
		// A NAT stands between.
		{"sip:x@10.0.0.7:5070", "203.0.113.5:40000", "203.0.113.5:40000"},
		{"sip:x@phone.lan:5070", "203.0.113.5:40000", "203.0.113.5:40000"},
		{"sip:x@a.invalid", "203.0.113.5:40000", "203.0.113.5:40000"},
	} {
		u, err := sip.ParseURI(tc.contact)
		if err != nil {
			t.Fatal(err)
		}
		if got := contactOrSource(&u, netip.MustParseAddrPort(tc.source)); got.String() != tc.want {
			t.Errorf("%s from %s: %v, want %s", tc.contact, tc.source, got, tc.want)
		}
	}
}

// A phone behind a NAT is reached by what it sent from, with what is outside a dialog and
// within; and a NAT before us finds rport in what we send.
func TestPhoneBehindNAT(t *testing.T) {
	run(t, func(w *world) {
		nat := daveUDP
		nat.Remote = netip.MustParseAddrPort("203.0.113.5:40000")
		w.bind("dave", "sip:dave@10.0.0.7:5062", nat)
		w.receive(aliceWS, newRequest("INVITE", "sip:dave@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		invite := w.next(nat, "INVITE sip:dave@10.0.0.7:5062")
		if via := invite.String(); !strings.Contains(via, "\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=") || !invite.Via().Params.Has("rport") {
			t.Errorf("the Via has no rport:\n%s", via)
		}
		w.respond(nat, invite, 200, "Contact: <sip:dave@10.0.0.7:5062>")
		ok := w.next(aliceWS, "SIP/2.0 200")
		var routes []string
		for r := range ok.Values(sip.HRecordRoute) {
			routes = append([]string{"Route: " + r}, routes...)
		}
		bye := newRequest("BYE", "sip:dave@10.0.0.7:5062", alice, viaWS, routes...)
		w.receive(aliceWS, strings.Replace(bye, "5062>\nCall-ID", "5062>;tag="+ok.ToTag()+"\nCall-ID", 1))
		if m := w.next(nat, "BYE"); m != nil {
			w.respond(nat, m, 200)
		}
		w.next(aliceWS, "SIP/2.0 200")
	})
}
