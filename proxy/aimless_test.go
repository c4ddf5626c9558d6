package proxy

import (
	"testing"

	"github.com/sipway/sipway/sip"
)

// A phone that takes the caller's Via out of its response leaves nobody waiting, and no call
// counted.
func TestResponseWithoutVia(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE"} {
		for _, status := range []int{200, 486} {
			run(t, func(w *world) {
				w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
				w.receive(aliceWS, newRequest(method, "sip:bob@example.test", alice, viaWS))
				if method == "INVITE" {
					w.next(aliceWS, "SIP/2.0 100")
				}
				m := w.next(bobWS, method).Clone()
				top, _ := m.PopValue(sip.HVia)
				m.Remove(sip.HVia)
				m.Prepend(sip.HVia, top)
				w.respond(bobWS, m, status, "Contact: <sip:1@b.invalid;transport=ws>")
				w.next(aliceWS, "SIP/2.0 502")
				if method == "INVITE" {
					w.next(bobWS, "ACK")
				}
				if method == "INVITE" && status == 200 {
					w.respond(bobWS, w.next(bobWS, "BYE"), 200)
				}
				if n := w.proxy.Stats().Calls; n != 0 {
					t.Errorf("%d calls are counted", n)
				}
			})
		}
	}
}
