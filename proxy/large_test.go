package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

// padded is a request with a body, as a browser's INVITE has one.
func padded(method, uri string, body int) string {
	text := newRequest(method, uri, alice, viaWS, "Content-Type: text/plain")
	return strings.Replace(text, "Content-Length: 0", fmt.Sprintf("Content-Length: %d", body), 1) +
		"\n\n" + strings.Repeat("x", body)
}

// receiveBody is receive for a text with a body.
func (w *world) receiveBody(f sip.Flow, text string) {
	w.t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	m, err := sip.Parse([]byte(strings.ReplaceAll(strings.TrimSpace(head), "\n", "\r\n") + "\r\n\r\n" + body))
	if err != nil {
		w.t.Fatal(err)
	}
	m.SetReceived(f.Remote)
	w.layer.Receive(f, m)
	w.wait(0)
}

// A UDP phone is called with a request that no datagram should carry.
func TestLargeRequestToPhone(t *testing.T) {
	phone := daveUDP
	tcp := serverFlow(sip.TCP, "192.0.2.7")
	for _, tc := range []struct {
		name, contact string
		body          int
		prepare       func(w *world)
		after         time.Duration // until it arrives
		over          sip.Transport
		dials         int // for two calls
	}{
		{"TCP", "sip:dave@192.0.2.7", 3000, nil, 0, sip.TCP, 2},
		{"small", "sip:dave@192.0.2.7", 300, nil, 0, sip.UDP, 0},
		{"small until we have added to it", "sip:dave@192.0.2.7", 900, nil, 0, sip.TCP, 2},
		{"no TCP", "sip:dave@192.0.2.7", 3000, func(w *world) { w.refused[phone.Remote] = true }, 0, sip.UDP, 1},
		{"TCP swallowed", "sip:dave@192.0.2.7", 3000, func(w *world) { w.deaf[phone.Remote] = true }, time.Second, sip.UDP, 1},
		{"behind a NAT", "sip:dave@10.0.0.7:5062", 3000, nil, 0, sip.UDP, 0},
		{"by policy", "sip:dave@192.0.2.7", 3000, func(w *world) { w.proxy.LargeOverUDP = true }, 0, sip.UDP, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.bind("dave", tc.contact, phone)
				if tc.prepare != nil {
					tc.prepare(w)
				}
				for call := range 2 {
					text := strings.NewReplacer("Call-ID: call", fmt.Sprint("Call-ID: call", call), "branch=", fmt.Sprint("branch=z9hG4bK", call)).
						Replace(padded("INVITE", "sip:dave@example.test", tc.body))
					w.receiveBody(aliceWS, text)
					w.next(aliceWS, "SIP/2.0 100")
					if call == 0 && tc.after > 0 {
						w.wait(tc.after)
					}
					to := phone
					if tc.over == sip.TCP {
						to = tcp
					}
					m := w.next(to, "INVITE")
					if m.Via().Transport != tc.over.String() || len(m.Body()) != tc.body {
						t.Errorf("call %d arrives as\n%s", call, m)
					}
					routes := slices.Collect(m.Values(sip.HRecordRoute))
					if strings.Contains(routes[0], ";transport=tcp") != (tc.over == sip.TCP) {
						t.Errorf("Record-Route: %q", routes)
					}
					w.respond(to, m, 486)
					w.next(to, "ACK")
					w.next(aliceWS, "SIP/2.0 486")
				}
				if w.dials != tc.dials {
					t.Errorf("%d attempts to connect", w.dials)
				}
			})
		})
	}
}

// A phone that takes the connection and then does nothing with it is called over UDP after
// all, and not over TCP again.
func TestLargeRequestLostOverTCP(t *testing.T) {
	tcp := serverFlow(sip.TCP, "192.0.2.7")
	for _, tc := range []struct {
		name string
		lose func(w *world, m *sip.Message)
	}{
		{"connection breaks", func(w *world, _ *sip.Message) { w.closeFlow(tcp) }},
		{"no answer", func(w *world, _ *sip.Message) { w.wait(4 * time.Second) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.bind("dave", "sip:dave@192.0.2.7", daveUDP)
				w.receiveBody(aliceWS, padded("INVITE", "sip:dave@example.test", 3000))
				w.next(aliceWS, "SIP/2.0 100")
				tc.lose(w, w.next(tcp, "INVITE"))
				m := w.next(daveUDP, "INVITE")
				if m.Via().Transport != "UDP" {
					t.Errorf("Via %v", m.Via())
				}
				w.respond(daveUDP, m, 200, "Contact: <sip:dave@192.0.2.7>")
				w.next(aliceWS, "SIP/2.0 200")
				w.expectTold("tcp 192.0.2.7:5060 failed 10m0s")
			})
		})
	}
}

// The servers of a name are each tried over TCP and then over UDP; one that declined over
// TCP is not asked over UDP.
func TestLargeRequestToServers(t *testing.T) {
	run(t, func(w *world) {
		udp, tcp := pool(sip.UDP), pool(sip.TCP)
		w.refused[tcp[1].Remote] = true
		for call := range 2 {
			text := padded("MESSAGE", "sip:x@pool.example.net", 3000)
			w.receiveBody(aliceWS, strings.NewReplacer("Call-ID: call", fmt.Sprint("Call-ID: call", call), "branch=", fmt.Sprint("branch=z9hG4bK", call)).Replace(text))
			w.respond(tcp[0], w.next(tcp[0], "MESSAGE"), 503)
			w.respond(udp[1], w.next(udp[1], "MESSAGE"), 200)
			w.next(aliceWS, "SIP/2.0 200")
		}
		if w.dials != 3 {
			t.Errorf("%d attempts to connect", w.dials) // two to the first, one to the second
		}
	})
}

// Within a dialog a large request to a phone that can be connected to is treated alike, an
// ACK with the answer to a late offer too; a NATed phone's flow is its only way.
func TestLargeRequestInDialog(t *testing.T) {
	for _, contact := range []string{"sip:dave@192.0.2.7", "sip:dave@10.0.0.7"} {
		run(t, func(w *world) {
			w.bind("dave", contact, daveUDP)
			w.receive(aliceWS, newRequest("INVITE", "sip:dave@example.test", alice, viaWS))
			w.next(aliceWS, "SIP/2.0 100")
			invite := w.next(daveUDP, "INVITE")
			w.respond(daveUDP, invite, 200, "Contact: <"+contact+">")
			ok := w.next(aliceWS, "SIP/2.0 200")
			routes := slices.Collect(ok.Values(sip.HRecordRoute))
			slices.Reverse(routes)
			to := serverFlow(sip.TCP, "192.0.2.7")
			if strings.Contains(contact, "10.0.0.7") {
				to = daveUDP
			}
			for _, method := range []string{"ACK", "MESSAGE"} {
				text := strings.Replace(padded(method, contact, 3000), "\nFrom:", "\nRoute: "+strings.Join(routes, ", ")+"\nFrom:", 1)
				text = strings.Replace(text, "\nTo: <"+contact+">", "\nTo: <"+contact+">;tag="+ok.ToTag(), 1)
				w.receiveBody(aliceWS, text)
				m := w.next(to, method)
				if len(m.Body()) != 3000 || m.Via().Transport != to.Transport.String() {
					t.Errorf("%s arrives as\n%s", method, m)
				}
				if method != "ACK" {
					w.respond(to, m, 200)
					w.next(aliceWS, "SIP/2.0 200")
				}
			}
		})
	}
}

// What no datagram can hold, to a phone that has no other way, is refused and not lost.
func TestTooLargeForUDP(t *testing.T) {
	run(t, func(w *world) {
		w.bind("dave", "sip:dave@10.0.0.7", daveUDP)
		w.receiveBody(aliceWS, padded("MESSAGE", "sip:dave@example.test", mostUDP))
		w.next(aliceWS, "SIP/2.0 513")
	})
}

func TestDirectly(t *testing.T) {
	f := sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.7:5060")}
	six := sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("[2001:db8::7]:5070")}
	for _, tc := range []struct {
		uri  string
		flow sip.Flow
		want bool
	}{
		{"sip:x@192.0.2.7", f, true},
		{"sip:x@192.0.2.7:5060;transport=udp", f, true},
		{"sip:x@192.0.2.7:5062", f, false},
		{"sip:x@192.0.2.8", f, false},
		{"sip:x@pbx.example.net", f, false},
		{"sip:x@192.0.2.7;maddr=192.0.2.9", f, false},
		{"sip:x@[2001:db8::7]:5070", six, true},
		{"sip:x@[2001:db8::8]:5070", six, false},
	} {
		if got := directly(tc.uri, tc.flow); got != tc.want {
			t.Errorf("%s over %v: %v", tc.uri, tc.flow, got)
		}
	}
}

// What goes to the next proxy by a Route is large for that one's UDP, wherever its target is.
func TestLargeRequestByRoute(t *testing.T) {
	for _, lr := range []string{";lr", ""} {
		run(t, func(w *world) {
			w.receive(aliceWS, newRequest("INVITE", "sip:x@192.0.2.7", alice, viaWS))
			w.next(aliceWS, "SIP/2.0 100")
			invite := w.next(daveUDP, "INVITE")
			invite.Prepend(sip.HRecordRoute, "<sip:192.0.2.7"+lr+">") // of the proxy there
			w.respond(daveUDP, invite, 200, "Contact: <sip:x@10.0.0.99>")
			ok := w.next(aliceWS, "SIP/2.0 200")
			routes := slices.Collect(ok.Values(sip.HRecordRoute))
			slices.Reverse(routes)
			to := serverFlow(sip.TCP, "192.0.2.7")
			for _, method := range []string{"ACK", "MESSAGE"} {
				text := strings.NewReplacer("\nFrom:", "\nRoute: "+strings.Join(routes, ", ")+"\nFrom:",
					"\nTo: <sip:x@10.0.0.99>", "\nTo: <sip:x@10.0.0.99>;tag="+ok.ToTag()).Replace(padded(method, "sip:x@10.0.0.99", 3000))
				w.receiveBody(aliceWS, text)
				if m := w.next(to, method); method != "ACK" {
					w.respond(to, m, 200)
					w.next(aliceWS, "SIP/2.0 200")
				}
			}
		})
	}
}

// A server that asks over TCP to be left alone gets no request over UDP either: it was TCP for
// the size of one request alone.
func TestLargeRequestDeclined(t *testing.T) {
	run(t, func(w *world) {
		tcp := pool(sip.TCP)
		w.receiveBody(aliceWS, padded("MESSAGE", "sip:x@192.0.2.20", 3000))
		w.respond(tcp[0], w.next(tcp[0], "MESSAGE"), 503, "Retry-After: 60")
		w.next(aliceWS, "SIP/2.0 500")
		w.expectTold("tcp 192.0.2.20:5060 declined 1m0s")
		w.expectTold("udp 192.0.2.20:5060 declined 1m0s")
	})
}
