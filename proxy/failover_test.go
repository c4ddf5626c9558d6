package proxy

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

// serverFlow is the flow to a server of pool.example.net.
func serverFlow(t sip.Transport, host string) sip.Flow {
	f := sip.Flow{Transport: t, Local: addr(5060), Remote: netip.MustParseAddrPort(host + ":5060")}
	if t.Reliable() {
		f.ID = dialledID(f.Remote)
	}
	return f
}

// pool are the flows to the servers of pool.example.net.
func pool(t sip.Transport) (flows [3]sip.Flow) {
	for i, host := range names["pool.example.net"] {
		flows[i] = serverFlow(t, host)
	}
	return flows
}

// retransmitted takes off the wire what was sent to f again, and returns how often.
func (w *world) retransmitted(f sip.Flow) (n int) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.wire[:0]
	for _, p := range w.wire {
		if p.to == f {
			n++
		} else {
			rest = append(rest, p)
		}
	}
	w.wire = rest
	return n
}

// call has alice send a request to pool.example.net and returns what the first server gets.
func (w *world) call(method, transport string, first sip.Flow) *sip.Message {
	w.t.Helper()
	w.receive(aliceWS, newRequest(method, "sip:x@pool.example.net;transport="+transport, alice, viaWS))
	if method == "INVITE" {
		w.next(aliceWS, "SIP/2.0 100")
	}
	return w.next(first, method)
}

// Each way in which a server can fail leads to the next one, soon, by a transaction of its
// own; what that one says is the answer.
func TestFailover(t *testing.T) {
	for _, tc := range []struct {
		name, method, transport string
		fail                    func(w *world, s sip.Flow, m *sip.Message)
		told                    string // to the locator
		resent                  int    // retransmissions to the server that failed
	}{
		{"INVITE, silent", "INVITE", "udp", func(w *world, _ sip.Flow, _ *sip.Message) { w.wait(4 * time.Second) }, "udp 192.0.2.20:5060 failed", 3},
		{"INVITE over TCP, silent", "INVITE", "tcp", func(w *world, _ sip.Flow, _ *sip.Message) { w.wait(4 * time.Second) }, "tcp 192.0.2.20:5060 failed", 0},
		{"MESSAGE, silent", "MESSAGE", "udp", func(w *world, _ sip.Flow, _ *sip.Message) {
			w.wait(7500 * time.Millisecond)
			w.next(aliceWS, "SIP/2.0 100") // RFC 4320 §4.1
		}, "udp 192.0.2.20:5060 failed", 4},
		{"503", "INVITE", "udp", func(w *world, s sip.Flow, m *sip.Message) { w.respond(s, m, 503); w.next(s, "ACK") }, "", 0},
		{"503 after 100", "INVITE", "udp", func(w *world, s sip.Flow, m *sip.Message) {
			w.respond(s, m, 100)
			w.wait(10 * time.Second) // it is there, so it has time
			w.respond(s, m, 503, "Retry-After: 20 (busy)")
			w.next(s, "ACK")
		}, "udp 192.0.2.20:5060 declined 20s", 0},
		{"503 for a year", "MESSAGE", "udp", func(w *world, s sip.Flow, m *sip.Message) { w.respond(s, m, 503, "Retry-After: 31536000") }, "udp 192.0.2.20:5060 declined 10m0s", 0},
		{"connection breaks", "INVITE", "tcp", func(w *world, s sip.Flow, _ *sip.Message) { w.crash(s) }, "tcp 192.0.2.20:5060 failed", 0},
		{"connection breaks after 100", "INVITE", "tcp", func(w *world, s sip.Flow, m *sip.Message) { w.respond(s, m, 100); w.crash(s) }, "tcp 192.0.2.20:5060 failed", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(w *world) {
				transport, _ := sip.ParseTransport(tc.transport)
				servers := pool(transport)
				first := w.call(tc.method, tc.transport, servers[0])
				tc.fail(w, servers[0], first)
				if n := w.retransmitted(servers[0]); n != tc.resent {
					t.Errorf("%d retransmissions", n)
				}
				second := w.next(servers[1], tc.method)
				if first.Via().Branch == second.Via().Branch {
					t.Error("the second server got the branch of the first")
				}
				if hops, _ := second.MaxForwards(); hops != 69 || strings.Count(second.String(), "\r\nVia:") != 2 {
					t.Errorf("the second server got\n%s", second)
				}
				w.respond(servers[1], second, 200, "Contact: <sip:x@192.0.2.21>")
				w.next(aliceWS, "SIP/2.0 200")
				w.expectTold(tc.told)
				w.wait(time.Minute)
				w.retransmitted(servers[0])
			})
		})
	}
}

// crash ends a connection and takes no other one from then on.
func (w *world) crash(f sip.Flow) {
	w.refuse(f.Remote)
	w.closeFlow(f)
}

// refuse has an address take no connections from now on.
func (w *world) refuse(addr netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused[addr] = true
}

// A connection that breaks before anything was answered was perhaps one that its server had
// just closed: it gets the request over a new one, once. The log says what became of both.
func TestFailoverClosedConnection(t *testing.T) {
	run(t, func(w *world) {
		var log strings.Builder
		w.proxy.Logger = slog.New(slog.NewTextHandler(&log, nil))
		servers := pool(sip.TCP)
		w.call("INVITE", "tcp", servers[0])
		w.closeFlow(servers[0])
		again := servers[0]
		again.ID += 1 << 32
		w.next(again, "INVITE")
		w.expectTold("")
		w.closeFlow(again)
		m := w.next(servers[1], "INVITE")
		w.expectTold("tcp 192.0.2.20:5060 failed")
		for _, again := range []string{"true", "false"} {
			if line := `server="tcp 192.0.2.20:5060" again=` + again + " error="; !strings.Contains(log.String(), line) {
				t.Errorf("no %s in %s", line, log.String())
			}
		}
		w.respond(servers[1], m, 486)
		w.next(servers[1], "ACK")
		w.next(aliceWS, "SIP/2.0 486")
	})
}

func (w *world) expectTold(want string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, told := range w.told {
		if told == want || want == "" && strings.Contains(told, "failed") {
			if want == "" {
				w.t.Errorf("the locator was told %q", told)
			}
			return
		}
	}
	if want != "" {
		w.t.Errorf("the locator was told %q, not %q", w.told, want)
	}
}

// A server that takes no connection costs nothing but the attempt.
func TestFailoverRefused(t *testing.T) {
	run(t, func(w *world) {
		servers := pool(sip.TCP)
		w.refused[servers[0].Remote] = true
		w.refused[servers[1].Remote] = true
		m := w.call("INVITE", "tcp", servers[2])
		w.respond(servers[2], m, 486)
		w.next(servers[2], "ACK")
		w.next(aliceWS, "SIP/2.0 486")
		w.expectTold("tcp 192.0.2.20:5060 failed")
		w.expectTold("tcp 192.0.2.21:5060 failed")
	})
}

// When all have failed the caller hears of the last one: silence is 408, a 503 becomes 500,
// for it would say that nothing at all can be served here (RFC 3261 §16.7 step 6).
func TestFailoverExhausted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fail   [3]int // status, 0 for silence, -1 for a connection that breaks
		status string
	}{
		{"503 from all", [3]int{503, 503, 503}, "SIP/2.0 500 Next Hop Unavailable"},
		{"silence of all", [3]int{0, 0, 0}, "SIP/2.0 408"},
		{"broken connections", [3]int{-1, -1, -1}, "SIP/2.0 500"},
		{"503, then silence", [3]int{503, 503, 0}, "SIP/2.0 408"},
		{"silence, then 503", [3]int{0, 0, 503}, "SIP/2.0 500"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(w *world) {
				servers := pool(sip.TCP)
				m := w.call("INVITE", "tcp", servers[0])
				for i, status := range tc.fail {
					if i > 0 {
						m = w.next(servers[i], "INVITE")
					}
					switch status {
					case 0:
						w.wait(4 * time.Second)
					case -1:
						w.crash(servers[i])
					default:
						w.respond(servers[i], m, status)
						w.next(servers[i], "ACK")
					}
				}
				if tc.fail[2] == 0 {
					w.expectNothing() // the last one has all the time of Timer B
					w.wait(28 * time.Second)
				}
				w.next(aliceWS, tc.status)
			})
		})
	}
}

// A server that was given up may answer after all. Of a 2xx the caller hears, and the
// server that was tried instead is cancelled; anything below is cancelled itself.
func TestFailoverLate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
	}{{"ringing", 180}, {"answer", 200}, {"refusal", 404}} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(w *world) {
				servers := pool(sip.UDP)
				first := w.call("INVITE", "udp", servers[0])
				w.wait(4 * time.Second)
				w.retransmitted(servers[0])
				second := w.next(servers[1], "INVITE")
				w.respond(servers[1], second, 180)
				w.next(aliceWS, "SIP/2.0 180")

				w.respond(servers[0], first, tc.status)
				winner, last := servers[1], second
				switch tc.status {
				case 180:
					cancel := w.next(servers[0], "CANCEL")
					if cancel.Via().Branch != first.Via().Branch {
						t.Error("the CANCEL has another branch than its INVITE")
					}
					w.respond(servers[0], cancel, 200)
					w.respond(servers[0], first, 487)
					w.next(servers[0], "ACK")
				case 404:
					w.next(servers[0], "ACK")
				case 200:
					w.next(aliceWS, "SIP/2.0 200")
					w.respond(servers[1], w.next(servers[1], "CANCEL"), 200)
					w.respond(servers[1], second, 487)
					w.next(servers[1], "ACK")
					return
				}
				w.respond(winner, last, 200)
				w.next(aliceWS, "SIP/2.0 200")
			})
		})
	}
}

// Once somebody rings there is no going back: two servers would ring one phone.
func TestNoFailoverAfterRinging(t *testing.T) {
	run(t, func(w *world) {
		servers := pool(sip.TCP)
		m := w.call("INVITE", "tcp", servers[0])
		w.respond(servers[0], m, 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.closeFlow(servers[0])
		w.next(aliceWS, "SIP/2.0 500")
	})
}

// A CANCEL goes to the server that is being tried, and no further one is.
func TestCancelDuringFailover(t *testing.T) {
	run(t, func(w *world) {
		servers := pool(sip.UDP)
		first := w.call("INVITE", "udp", servers[0])
		w.respond(servers[0], first, 503)
		w.next(servers[0], "ACK")
		second := w.next(servers[1], "INVITE")
		w.respond(servers[1], second, 100)

		invite := newRequest("INVITE", "sip:x@pool.example.net;transport=udp", alice, viaWS)
		w.receive(aliceWS, strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(invite))
		w.next(aliceWS, "SIP/2.0 200")
		w.respond(servers[1], w.next(servers[1], "CANCEL"), 200)
		w.respond(servers[1], second, 503) // instead of a 487
		w.next(servers[1], "ACK")
		w.next(aliceWS, "SIP/2.0 500")
	})
}

// A server that was given up answers while the next one is being sent to: that one is
// cancelled, though nobody could tell its transaction yet.
func TestAnswerWhileSendingToTheNext(t *testing.T) {
	run(t, func(w *world) {
		server := func(host string) sip.Flow {
			f, err := w.Dial(t.Context(), sip.Server{Transport: sip.TCP, Addr: netip.MustParseAddrPort(host + ":5060")})
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		first, second := server("192.0.2.20"), server("192.0.2.21")
		w.receive(aliceWS, newRequest("INVITE", "sip:x@pbx.example.net;transport=tcp", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		answer := w.answer(first, w.next(first, "INVITE"), 200)
		w.during(func(packet) { w.layer.Receive(first, answer) })
		w.wait(defaultFailoverAfter)
		w.next(aliceWS, "SIP/2.0 200")
		invite := w.next(second, "INVITE")
		w.respond(second, invite, 180)
		w.respond(second, w.next(second, "CANCEL"), 200)
		w.respond(second, invite, 487)
		w.next(second, "ACK")
	})
}

// Once the caller has given up nobody is connected to any more.
func TestCancelWhileConnecting(t *testing.T) {
	run(t, func(w *world) {
		for _, f := range pool(sip.TCP) {
			w.deaf[f.Remote] = true
		}
		invite := newRequest("INVITE", "sip:x@pool.example.net;transport=tcp", alice, viaWS)
		w.receive(aliceWS, invite)
		w.next(aliceWS, "SIP/2.0 100")
		w.wait(time.Second)
		w.receive(aliceWS, strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(invite))
		w.next(aliceWS, "SIP/2.0 200")
		w.wait(defaultFailoverAfter - time.Second)
		w.next(aliceWS, "SIP/2.0 487")
		if w.dials != 1 {
			t.Errorf("%d attempts to connect", w.dials)
		}
	})
}
