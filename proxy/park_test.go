package proxy

import (
	"slices"
	"testing"

	"github.com/sipway/sipway/sip"
)

// Every client that a call is sent to is probed once the INVITE is on its way, if the
// transport finds that it was silent for long.
func TestForkProbes(t *testing.T) {
	run(t, func(w *world) {
		w.bind("bob", "sip:one@b.invalid;transport=ws", bobWS)
		w.bind("bob", "sip:two@b.invalid;transport=ws", bobTab)
		w.onSend = func(packet) {
			if len(w.probed) > 0 {
				t.Error("probed before the INVITE was sent")
			}
		}
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
