package proxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// Who was a side of a dialog has route tokens. They lead to the other side, and nowhere else:
// what its URI alone would send elsewhere needs the same leave as any other request.
func TestTokensAreNoRelay(t *testing.T) {
	const elsewhere = "sip:+1900@gateway.test"
	for _, test := range []struct {
		name   string
		closed bool   // the other side's connection
		under  bool   // it closes under the request
		tokens int    // how many are shown, those nearest to the sender first
		onward string // and the Route behind them
	}{
		{"own flow", false, false, 1, ""},
		{"own flow, connection gone", true, false, 1, ""},
		{"connection gone", true, false, 2, ""},
		{"connection ends under the request", false, true, 2, ""},
		{"connection ends under the request, with a Route onward", false, true, 2, ", <sip:192.0.2.99;lr>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
				w.receive(stranger, newRequest("INVITE", "sip:bob@example.test", "eve@evil.test", viaStranger))
				w.next(stranger, "SIP/2.0 100")
				w.respond(bobWS, w.next(bobWS, "INVITE"), 200)
				routes := slices.Collect(w.next(stranger, "SIP/2.0 200").Values(sip.HRecordRoute))
				slices.Reverse(routes)
				if test.closed {
					w.closeFlow(bobWS)
				}
				shown := strings.Join(routes[:test.tokens], ", ") + test.onward
				from := strings.NewReplacer(alice, "eve@evil.test")
				w.receive(stranger, from.Replace(inDialog("MESSAGE", elsewhere, viaStranger, shown)))
				if test.under {
					w.next(bobWS, "MESSAGE") // the other side, where the token leads
					w.closeFlow(bobWS)
				}
				w.next(stranger, "SIP/2.0 403")
				w.receive(stranger, from.Replace(inDialog("ACK", "sip:192.0.2.99", viaStranger, shown)))
				w.expectNothing()
			})
		})
	}
}

// A user of ours who is believed on his connection goes on with a dialog whose other side has
// closed its connection: it is opened anew.
func TestAckOpensConnection(t *testing.T) {
	run(t, func(w *world) {
		w.bind("carol", "sip:carol@192.0.2.30:5070;transport=tcp", carolTCP)
		w.receive(aliceWS, newRequest("INVITE", "sip:carol@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		w.respond(carolTCP, w.next(carolTCP, "INVITE"), 200)
		routes := slices.Collect(w.next(aliceWS, "SIP/2.0 200").Values(sip.HRecordRoute))
		slices.Reverse(routes)
		w.closeFlow(carolTCP)
		for _, method := range []string{"ACK", "BYE"} {
			w.receive(aliceWS, inDialog(method, "sip:carol@192.0.2.30:5070;transport=tcp", viaWS, strings.Join(routes, ", ")))
			w.mu.Lock()
			sent := slices.ContainsFunc(w.wire, func(p packet) bool { return p.m.Method() == sip.Method(method) && p.to.Transport == sip.TCP })
			w.wire = nil
			w.mu.Unlock()
			if !sent {
				t.Errorf("no %s", method)
			}
		}
	})
}
