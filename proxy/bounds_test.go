package proxy

import (
	"runtime"
	"strings"
	"testing"
)

// What a request of the largest size costs before anybody is asked who sent it grows with its
// size and no faster: lists of a kind that fills it take the memory of some copies of it.
func TestCostOfLongLists(t *testing.T) {
	const size = 60000
	fill := func(value, separator string) string {
		return value + strings.Repeat(separator+value, size/len(separator+value))
	}
	for _, test := range []struct{ name, header, want string }{
		{"own Routes", "Route: " + fill("<sip:example.test;lr>", ","), "SIP/2.0 400"},
		{"other Routes", "Route: " + fill("<sip:192.0.2.1;lr>", ","), "SIP/2.0 403"},
		{"tokens", "Route: " + fill("<sip:AwAAAAAAAAABAAAAAAAAAAAAAA@198.51.100.1;lr>", ","), "SIP/2.0 403"},
		{"Vias of ours", "Via: " + fill("SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKsw.1", ","), "SIP/2.0 480"},
		{"Privacy", "Privacy: critical;" + fill("x", ";"), "SIP/2.0 500"},
		{"Proxy-Require", "Proxy-Require: " + fill("x", ","), "SIP/2.0 420"},
		{"Accept-Contact", "Accept-Contact: " + fill("*;audio", ","), "SIP/2.0 480"},
		{"features", "Accept-Contact: *;" + fill("audio", ";"), "SIP/2.0 480"},
		{"Request-Disposition", "Request-Disposition: " + fill("fork", ","), "SIP/2.0 480"},
		{"credentials", `Proxy-Authorization: Digest ` + fill(`realm="x"`, ","), "SIP/2.0 480"},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(w *world) {
				m := w.parsed(stranger, newRequest("MESSAGE", "sip:carol@example.test", "eve@evil.test", viaStranger, test.header))
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				w.layer.Receive(stranger, m)
				runtime.ReadMemStats(&after)
				answer := w.next(stranger, test.want)
				if test.name != "Vias of ours" && len(answer.String()) > 2*size {
					t.Errorf("the answer has %d bytes", len(answer.String()))
				}
				if used := after.TotalAlloc - before.TotalAlloc; used > 120*size {
					t.Errorf("%d bytes were allocated", used)
				}
			})
		})
	}
}
