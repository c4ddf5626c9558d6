package proxy

import (
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipway/sipway/store"
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

// A caller's list of values for a feature meets a contact's. Where both fill a message they
// would be compared a billion times.
func TestCostOfPreferences(t *testing.T) {
	values := func(letter string) string { return strings.TrimSuffix(strings.Repeat(letter+",", 25000), ",") }
	p := newRequest("MESSAGE", "sip:bob@example.test", "eve@evil.test", viaStranger, `Accept-Contact: *;+x="`+values("a")+`";require`)
	run(t, func(w *world) {
		w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
		w.rebind("bob@example.test", func(list []store.Binding) []store.Binding {
			list[0].Params = `;+x="` + values("b") + `"`
			return list
		})
		m := w.parsed(stranger, p)
		began := cpuTime(t)
		w.layer.Receive(stranger, m)
		w.next(stranger, "SIP/2.0 480")
		if took := cpuTime(t) - began; took > 500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}
