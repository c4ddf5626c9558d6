package proxy

import (
	"crypto/md5"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
)

func farFuture() time.Time { return time.Now().Add(24 * time.Hour) }

const (
	viaWS       = "WS a.invalid"
	viaUDP      = "UDP 192.0.2.7:5060;rport"
	viaStranger = "UDP 203.0.113.9:5060"
	alice       = "alice@example.test"
)

// A browser calls a UDP phone; both sides then send within the dialog, by the routes they
// were given and over the dialog's flows.
func TestCallBetweenTransports(t *testing.T) {
	run(t, func(w *world) {
		w.bind("dave", "sip:dave@192.0.2.7:5062;line=1", daveUDP)
		phone := daveUDP
		phone.Remote = netip.MustParseAddrPort("192.0.2.7:5062") // as its contact says

		w.receive(aliceWS, newRequest("INVITE", "sip:dave@example.test", alice, viaWS, "X-Odd  :  kept  as it is"))
		w.next(aliceWS, "SIP/2.0 100")
		invite := w.next(phone, "INVITE sip:dave@192.0.2.7:5062;line=1 SIP/2.0")
		if hops, _ := invite.MaxForwards(); hops != 69 {
			t.Errorf("Max-Forwards %d", hops)
		}
		if !strings.Contains(invite.String(), "\r\nX-Odd  :  kept  as it is\r\n") {
			t.Error("an unknown header field was changed")
		}
		w.respond(phone, invite, 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.respond(phone, invite, 200, "Contact: <sip:dave@192.0.2.7:5062>")
		ok := w.next(aliceWS, "SIP/2.0 200")
		if via := ok.Via(); via.Host != "a.invalid" {
			t.Errorf("topmost Via of the response is %v", via)
		}
		if vias := slices.Collect(ok.Values(sip.HVia)); len(vias) != 1 {
			t.Errorf("Vias of the response: %q", vias)
		}

		routes := slices.Collect(ok.Values(sip.HRecordRoute))
		if len(routes) != 2 || !strings.Contains(routes[1], "transport=ws") || strings.Contains(routes[0], "transport") {
			t.Fatalf("Record-Route: %q", routes)
		}
		forPhone := strings.Join(routes, ", ")
		slices.Reverse(routes)
		forBrowser := strings.Join(routes, ", ")

		w.receive(aliceWS, inDialog("ACK", "sip:dave@192.0.2.7:5062", viaWS, forBrowser))
		ack := w.next(phone, "ACK sip:dave@192.0.2.7:5062")
		if ack.Has(sip.HRoute) {
			t.Error("our own Route was left in the ACK")
		}
		w.receive(phone, inDialog("BYE", "sip:x@a.invalid;transport=ws", viaUDP, forPhone))
		bye := w.next(aliceWS, "BYE sip:x@a.invalid;transport=ws")
		w.respond(aliceWS, bye, 200)
		w.next(phone, "SIP/2.0 200")
		w.receive(aliceWS, inDialog("INFO", "sip:dave@192.0.2.7:5062", viaWS, forBrowser))
		w.next(phone, "INFO sip:dave@192.0.2.7:5062")
	})
}

func inDialog(method, uri, via, routes string) string {
	text := newRequest(method, uri, alice, via, "Route: "+routes)
	return strings.Replace(text, "To: <"+uri+">", "To: <sip:other@example.test>;tag=to", 1)
}

// Two phones ring; who answers first has the call, the other is cancelled.
func TestForkAnswered(t *testing.T) {
	run(t, func(w *world) {
		w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
		w.bind("bob", "sip:2@b.invalid;transport=ws", bobTab)
		w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		first := w.next(bobWS, "INVITE sip:1@b.invalid")
		second := w.next(bobTab, "INVITE sip:2@b.invalid")
		if first.Via().Branch == second.Via().Branch {
			t.Error("two branches bear one branch parameter")
		}
		w.respond(bobWS, first, 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.respond(bobTab, second, 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.respond(bobTab, second, 200)
		w.next(aliceWS, "SIP/2.0 200")
		cancel := w.next(bobWS, "CANCEL sip:1@b.invalid")
		if reason, _ := cancel.Get(sip.HReason); !strings.Contains(reason, "Call completed elsewhere") {
			t.Errorf("Reason %q", reason)
		}
		w.respond(bobWS, cancel, 200)
		w.respond(bobWS, first, 487)
		w.next(bobWS, "ACK sip:1@b.invalid")
	})
}

// Two answer at once: both 200s go upstream (RFC 3261 §16.7 step 5).
func TestForkAnsweredTwice(t *testing.T) {
	run(t, func(w *world) {
		w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
		w.bind("bob", "sip:2@b.invalid;transport=ws", bobTab)
		w.receive(stranger, newRequest("INVITE", "sip:bob@example.test", "eve@evil.test", viaStranger))
		w.next(stranger, "SIP/2.0 100")
		first, second := w.next(bobWS, "INVITE"), w.next(bobTab, "INVITE")
		w.respond(bobWS, first, 200)
		w.next(stranger, "SIP/2.0 200")
		w.respond(bobTab, second, 200)
		w.next(stranger, "SIP/2.0 200")
		w.respond(bobWS, first, 200) // its retransmission passes as well
		w.next(stranger, "SIP/2.0 200")
	})
}

func TestCancelByCaller(t *testing.T) {
	run(t, func(w *world) {
		w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
		text := newRequest("INVITE", "sip:bob@example.test", alice, viaWS)
		w.receive(aliceWS, text)
		w.next(aliceWS, "SIP/2.0 100")
		invite := w.next(bobWS, "INVITE")
		w.receive(aliceWS, strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(text)+
			"Reason: SIP;cause=200;text=\"elsewhere\"")
		w.next(aliceWS, "SIP/2.0 200")
		w.expectNothing() // RFC 3261 §9.1: no CANCEL before a provisional response
		w.respond(bobWS, invite, 180)
		cancel := w.next(bobWS, "CANCEL")
		if reason, _ := cancel.Get(sip.HReason); !strings.Contains(reason, "elsewhere") {
			t.Errorf("the caller's Reason was not passed on: %q", reason)
		}
		w.next(aliceWS, "SIP/2.0 180")
		w.respond(bobWS, cancel, 200)
		w.respond(bobWS, invite, 487)
		w.next(bobWS, "ACK")
		w.next(aliceWS, "SIP/2.0 487")
	})
}

// A CANCEL that comes while the INVITE is being sent, over a connection that had to be
// opened, is not lost.
func TestCancelWhileSending(t *testing.T) {
	run(t, func(w *world) {
		w.bind("carol", "sip:carol@192.0.2.30:5070;transport=tcp", carolTCP)
		w.closeFlow(carolTCP)
		text := newRequest("INVITE", "sip:carol@example.test", alice, viaWS)
		cancel := strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(text)
		m, err := sip.Parse([]byte(strings.ReplaceAll(strings.TrimSpace(cancel), "\n", "\r\n") + "\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		m.SetReceived(aliceWS.Remote)
		w.during(func(packet) { w.layer.Receive(aliceWS, m) })
		w.receive(aliceWS, text)
		w.next(aliceWS, "SIP/2.0 100")
		w.next(aliceWS, "SIP/2.0 200")
		phone, _ := w.Dial(t.Context(), sip.Server{Transport: sip.TCP, Addr: netip.MustParseAddrPort("192.0.2.30:5070")})
		invite := w.next(phone, "INVITE")
		w.respond(phone, invite, 180)
		w.respond(phone, w.next(phone, "CANCEL"), 200)
		w.next(aliceWS, "SIP/2.0 180")
		w.respond(phone, invite, 487)
		w.next(phone, "ACK")
		w.next(aliceWS, "SIP/2.0 487")
	})
}

// A caller whose connection breaks while it rings leaves no phone ringing.
func TestCallerGone(t *testing.T) {
	run(t, func(w *world) {
		w.bind("dave", "sip:dave@192.0.2.7:5060", daveUDP)
		w.receive(aliceWS, newRequest("INVITE", "sip:dave@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		invite := w.next(daveUDP, "INVITE")
		w.respond(daveUDP, invite, 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.closeFlow(aliceWS)
		cancel := w.next(daveUDP, "CANCEL")
		w.respond(daveUDP, cancel, 200)
		w.respond(daveUDP, invite, 487)
		w.next(daveUDP, "ACK")
	})
}

// A callee whose connection breaks while it rings fails at once, not after a time-out.
func TestCalleeGone(t *testing.T) {
	run(t, func(w *world) {
		w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
		began := time.Now()
		w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		w.respond(bobWS, w.next(bobWS, "INVITE"), 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.closeFlow(bobWS)
		w.next(aliceWS, "SIP/2.0 480")
		if waited := time.Since(began); waited > 0 {
			t.Errorf("it took %v", waited)
		}
	})
}

// The best of the final responses goes upstream (RFC 3261 §16.7 step 6).
func TestBestResponse(t *testing.T) {
	for _, tc := range []struct {
		a, b, want int
	}{
		{486, 404, 486}, {404, 486, 486}, {480, 486, 486}, {408, 486, 486}, {487, 404, 404},
		{603, 486, 603}, {486, 600, 600}, {503, 486, 486}, {503, 503, 500}, {302, 486, 302},
		{407, 486, 407}, {415, 486, 415}, {500, 404, 404}, {500, 503, 500}, {480, 480, 480},
	} {
		run(t, func(w *world) {
			w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
			w.bind("bob", "sip:2@b.invalid;transport=ws", bobTab)
			w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
			w.next(aliceWS, "SIP/2.0 100")
			first, second := w.next(bobWS, "INVITE"), w.next(bobTab, "INVITE")
			w.respond(bobWS, first, tc.a)
			w.next(bobWS, "ACK")
			w.respond(bobTab, second, tc.b)
			w.next(bobTab, "ACK")
			if got := w.next(aliceWS, "SIP/2.0 ").Status(); got != tc.want {
				w.t.Errorf("of %d and %d, %d was chosen, want %d", tc.a, tc.b, got, tc.want)
			}
		})
	}
}

func TestChallengesAggregated(t *testing.T) {
	run(t, func(w *world) {
		w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
		w.bind("bob", "sip:2@b.invalid;transport=ws", bobTab)
		w.receive(aliceWS, newRequest("MESSAGE", "sip:bob@example.test", alice, viaWS))
		first, second := w.next(bobWS, "MESSAGE"), w.next(bobTab, "MESSAGE")
		w.respond(bobWS, first, 407, `Proxy-Authenticate: Digest realm="one"`)
		w.respond(bobTab, second, 401, `WWW-Authenticate: Digest realm="two"`)
		m := w.next(aliceWS, "SIP/2.0 407")
		if v, _ := m.Get(sip.HWWWAuthenticate); v != `Digest realm="two"` {
			t.Errorf("WWW-Authenticate: %q", v)
		}
	})
}

// A branch that rings without end is cancelled by Timer C, and every provisional response
// starts that anew (RFC 3261 §16.8, §16.7 step 2).
func TestTimerC(t *testing.T) {
	run(t, func(w *world) {
		w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
		w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		invite := w.next(bobWS, "INVITE")
		w.wait(30 * time.Second)
		w.respond(bobWS, invite, 180)
		w.next(aliceWS, "SIP/2.0 180")
		w.wait(defaultTimerC - time.Second)
		w.expectNothing()
		w.wait(time.Second)
		w.respond(bobWS, w.next(bobWS, "CANCEL"), 200)
		w.respond(bobWS, invite, 487)
		w.next(bobWS, "ACK")
		w.next(aliceWS, "SIP/2.0 487")
	})
}

// What is answered without being forwarded (RFC 3261 §16.3 step 1 to begin with).
func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		flow sip.Flow
		text string
		want string
	}{
		"unknown user":        {aliceWS, newRequest("MESSAGE", "sip:nobody@example.test", alice, viaWS), "SIP/2.0 404"},
		"user is not here":    {aliceWS, newRequest("MESSAGE", "sip:carol@example.test", alice, viaWS), "SIP/2.0 480"},
		"user by our address": {aliceWS, newRequest("MESSAGE", "sip:carol@198.51.100.1", alice, viaWS), "SIP/2.0 480"},
		"telephone number":    {aliceWS, newRequest("MESSAGE", "tel:+49301234", alice, viaWS), "SIP/2.0 404"},
		"no user":             {aliceWS, newRequest("MESSAGE", "sip:example.test", alice, viaWS), "SIP/2.0 405"},
		"hops used up":        {aliceWS, strings.Replace(newRequest("MESSAGE", "sip:bob@example.test", alice, viaWS), ": 70", ": 0", 1), "SIP/2.0 483"},
		"scheme":              {aliceWS, newRequest("MESSAGE", "mailto:bob@example.test", alice, viaWS), "SIP/2.0 416"},
		"sips without TLS":    {aliceWS, newRequest("MESSAGE", "sips:bob@example.test", alice, viaWS), "SIP/2.0 416"},
		"bad URI":             {aliceWS, newRequest("MESSAGE", "sip:bob@@example.test", alice, viaWS), "SIP/2.0 400"},
		"extension":           {aliceWS, newRequest("MESSAGE", "sip:bob@example.test", alice, viaWS, "Proxy-Require: foo, bar"), "SIP/2.0 420"},
		"privacy": {aliceWS, newRequest("MESSAGE", "sip:bob@example.test", alice, viaWS, "Privacy: header;session;id;critical"),
			"SIP/2.0 500 Privacy Not Supported: header, session"},
		"bad Route":                {aliceWS, newRequest("MESSAGE", "sip:bob@example.test", alice, viaWS, "Route: <sip:>"), "SIP/2.0 400"},
		"relay":                    {stranger, newRequest("MESSAGE", "sip:x@elsewhere.test", "eve@evil.test", viaStranger), "SIP/2.0 403"},
		"relay by Route":           {stranger, newRequest("MESSAGE", "sip:dave@example.test", "eve@evil.test", viaStranger, "Route: <sip:192.0.2.99;lr>"), "SIP/2.0 403"},
		"relay by maddr":           {stranger, newRequest("MESSAGE", "sip:x@elsewhere.test;maddr=192.0.2.99", "eve@evil.test", viaStranger), "SIP/2.0 403"},
		"forged token":             {stranger, newRequest("MESSAGE", "sip:x@192.0.2.99", "eve@evil.test", viaStranger, "Route: <sip:AwAAAAAAAAABAAAAAAAAAAAAAA@198.51.100.1;lr>"), "SIP/2.0 403"},
		"our user from elsewhere":  {stranger, newRequest("MESSAGE", "sip:dave@example.test", alice, viaStranger), "SIP/2.0 407"},
		"other user on the flow":   {aliceWS, newRequest("MESSAGE", "sip:dave@example.test", "bob@example.test", viaWS), "SIP/2.0 407"},
		"header in a user part":    {stranger, newRequest("MESSAGE", "sip:dave@example.test", "x%40y%22%0D%0AX-Evil%3A%20z@example.test", viaStranger), "SIP/2.0 407"},
		"our user of a tag to try": {stranger, strings.Replace(newRequest("MESSAGE", "sip:dave@example.test", alice, viaStranger), "To: <sip:dave@example.test>", "To: <sip:dave@example.test>;tag=1", 1), "SIP/2.0 407"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world) {
				w.receive(tc.flow, tc.text)
				m := w.next(tc.flow, tc.want)
				if _, found := m.GetNamed("X-Evil"); found {
					t.Errorf("a header field was injected: %s", m)
				}
				if unsupported, ok := m.Get(sip.HUnsupported); (m.Status() == 420) != ok || ok && unsupported != "foo, bar" {
					t.Errorf("Unsupported: %q", unsupported)
				}
			})
		})
	}
}

// A user of ours is believed with his password, as himself alone, and the next hop does not
// see the credentials.
func TestAuthenticatedCall(t *testing.T) {
	run(t, func(w *world) {
		w.bind("dave", "sip:dave@192.0.2.7:5060", daveUDP)
		uri := "sip:dave@example.test"
		cseq := 0
		send := func(from string, headers ...string) {
			cseq++
			text := newRequest("MESSAGE", uri, from, viaWS, headers...)
			n := strconv.Itoa(cseq)
			w.receive(bobWS, strings.NewReplacer("z9hG4bK", "z9hG4bK"+n, "CSeq: 1", "CSeq: "+n).Replace(text))
		}
		// bobCredentials answers a fresh challenge as bob.
		bobCredentials := func() string {
			send("bob@example.test")
			values := slices.Collect(w.next(bobWS, "SIP/2.0 407").Lines(sip.HProxyAuthenticate))
			if len(values) != 2 || !strings.Contains(values[1], "MD5") {
				t.Fatalf("challenges %q: web clients take the last one and know MD5 alone", values)
			}
			_, nonce, _ := strings.Cut(values[1], `nonce="`)
			nonce, _, _ = strings.Cut(nonce, `"`)
			ha1 := digest.HA1(digest.MD5, "bob", "example.test", "secret")
			return `Proxy-Authorization: Digest username="bob", realm="example.test", nonce="` + nonce +
				`", uri="` + uri + `", algorithm=MD5, response="` + legacyResponse(ha1, nonce, "MESSAGE", uri) + `"`
		}
		send("alice@example.test", bobCredentials())
		w.next(bobWS, "SIP/2.0 403")
		send("bob@example.test", bobCredentials())
		if m := w.next(daveUDP, "MESSAGE"); m.Has(sip.HProxyAuthorization) {
			t.Error("the credentials were passed on")
		}
	})
}

func TestOptionsToUs(t *testing.T) {
	run(t, func(w *world) {
		w.receive(stranger, newRequest("OPTIONS", "sip:example.test", "eve@evil.test", viaStranger))
		m := w.next(stranger, "SIP/2.0 200")
		for _, id := range []sip.HeaderID{sip.HAllow, sip.HAccept, sip.HSupported} {
			if !m.Has(id) {
				t.Errorf("no %v", id)
			}
		}
		if got := w.proxy.Transactions.Stats().Servers; got != 0 {
			t.Errorf("it left %d transactions", got)
		}
		w.receive(stranger, newRequest("OPTIONS", "sip:example.test", "eve@evil.test", viaStranger))
		if again := w.next(stranger, "SIP/2.0 200"); again.String() != m.String() {
			t.Errorf("answered with\n%s\nand then with\n%s", m, again)
		}
	})
}

// What is asked of the proxy, but not as simply, has a transaction.
func TestOptionsWithTransaction(t *testing.T) {
	for _, test := range []struct{ name, uri, extra, want string }{
		{"route", "sip:example.test", "Route: <sip:192.0.2.99;lr>\n", "SIP/2.0 407"},
		{"extension", "sip:example.test", "Proxy-Require: foo\n", "SIP/2.0 420"},
		{"sips", "sips:example.test", "", "SIP/2.0 416"},
		{"user", "sip:nobody@example.test", "", "SIP/2.0 407"},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(w *world) {
				text := newRequest("OPTIONS", test.uri, "eve@example.test", viaStranger)
				w.receive(stranger, strings.Replace(text, "Max-Forwards", test.extra+"Max-Forwards", 1))
				w.next(stranger, test.want)
				if got := w.proxy.Transactions.Stats().Servers; got != 1 {
					t.Errorf("%d transactions", got)
				}
			})
		})
	}
}

// A request that comes back unchanged has looped; one that comes back with another
// Request-URI is a spiral (RFC 5393 §4.2.2, RFC 3261 §16.3 step 4).
func TestLoop(t *testing.T) {
	run(t, func(w *world) {
		w.bind("dave", "sip:dave@192.0.2.7:5060", daveUDP)
		w.bind("carol", "sip:carol@127.0.0.1:4004;transport=tcp", carolTCP)
		w.receive(aliceWS, newRequest("MESSAGE", "sip:dave@example.test", alice, viaWS))
		out := w.next(daveUDP, "MESSAGE")
		back := func(uri string) string {
			m := out.Clone()
			m.SetRequestURI(uri)
			m.PushVia(sip.Via{Transport: "UDP", Host: "192.0.2.7", Port: 5060, Branch: "z9hG4bK" + uri[4:8], RPort: -1})
			return strings.ReplaceAll(m.String(), "\r\n", "\n")
		}
		w.auth.Bind(carolTCP, alice, farFuture()) // so that it isn't challenged
		w.receive(carolTCP, back("sip:dave@example.test"))
		w.next(carolTCP, "SIP/2.0 482")
		w.receive(carolTCP, back("sip:carol@example.test"))
		w.next(carolTCP, "MESSAGE sip:carol@127.0.0.1:4004")
	})
}

// Without a connection to a phone that has an address one is opened; a host with two
// addresses is tried at both (RFC 3261 §16.6 step 7).
func TestConnect(t *testing.T) {
	run(t, func(w *world) {
		w.bind("carol", "sip:carol@192.0.2.30:5070;transport=tcp", carolTCP)
		w.closeFlow(carolTCP)
		w.receive(aliceWS, newRequest("MESSAGE", "sip:carol@example.test", alice, viaWS))
		phone, _ := w.Dial(t.Context(), sip.Server{Transport: sip.TCP, Addr: netip.MustParseAddrPort("192.0.2.30:5070")})
		w.respond(phone, w.next(phone, "MESSAGE"), 200)
		w.next(aliceWS, "SIP/2.0 200")

		w.refused[netip.MustParseAddrPort("192.0.2.20:5060")] = true
		w.receive(aliceWS, newRequest("MESSAGE", "sip:x@pbx.example.net;transport=tcp", alice, viaWS))
		pbx, _ := w.Dial(t.Context(), sip.Server{Transport: sip.TCP, Addr: netip.MustParseAddrPort("192.0.2.21:5060")})
		w.respond(pbx, w.next(pbx, "MESSAGE"), 200)
		w.next(aliceWS, "SIP/2.0 200")

		w.receive(aliceWS, newRequest("MESSAGE", "sip:x@no.such.host", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 500") // RFC 3261 §16.7: a 503 is not passed on
		w.receive(aliceWS, newRequest("MESSAGE", "sip:x@gone.invalid", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 480")
	})
}

// What is not in memory is asked of the store; a store that fails is 503 with Retry-After.
func TestStoreAsked(t *testing.T) {
	run(t, func(w *world) {
		w.cold = true
		w.bind("dave", "sip:dave@192.0.2.7:5060", daveUDP)
		w.receive(aliceWS, newRequest("MESSAGE", "sip:dave@example.test", alice, viaWS))
		w.next(daveUDP, "MESSAGE")
		w.receive(aliceWS, newRequest("MESSAGE", "sip:nobody@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 404")
		w.broken = true
		w.receive(aliceWS, newRequest("MESSAGE", "sip:carol@example.test", alice, viaWS))
		if m := w.next(aliceWS, "SIP/2.0 503"); !m.Has(sip.HRetryAfter) {
			t.Error("no Retry-After")
		}
	})
}

// A dialog whose browser has gone is answered with 480, which does not end a JsSIP call.
func TestDialogFlowGone(t *testing.T) {
	run(t, func(w *world) {
		route := string(w.proxy.appendRoute(nil, route{flow: bobWS}, false)) + ", " + string(w.proxy.appendRoute(nil, route{flow: aliceWS}, false))
		w.closeFlow(aliceWS)
		w.receive(bobWS, inDialog("INFO", "sip:x@a.invalid;transport=ws", viaWS, route))
		w.next(bobWS, "SIP/2.0 480")
		w.receive(bobWS, inDialog("ACK", "sip:x@a.invalid;transport=ws", viaWS, route))
	})
}

// A strict router has put our Record-Route into the Request-URI (RFC 3261 §16.4); a next
// hop that is one gets its own URI there (§16.6 step 6).
func TestStrictRouters(t *testing.T) {
	run(t, func(w *world) {
		own := strings.Trim(string(w.proxy.appendRoute(nil, route{flow: aliceWS}, false)), "<>")
		text := inDialog("INFO", own, viaUDP, "<sip:x@a.invalid;transport=ws>")
		w.receive(daveUDP, text)
		m := w.next(aliceWS, "INFO sip:x@a.invalid;transport=ws SIP/2.0")
		if m.Has(sip.HRoute) {
			t.Error("Route left")
		}
		w.respond(aliceWS, m, 200)
		w.next(daveUDP, "SIP/2.0 200")

		w.receive(aliceWS, newRequest("MESSAGE", "sip:x@elsewhere.test", alice, viaWS, "Route: <sip:192.0.2.7:5060>, <sip:192.0.2.8;lr>"))
		m = w.next(daveUDP, "MESSAGE sip:192.0.2.7:5060 SIP/2.0")
		if routes := slices.Collect(m.Values(sip.HRoute)); !slices.Equal(routes, []string{"<sip:192.0.2.8;lr>", "<sip:x@elsewhere.test>"}) {
			t.Errorf("Routes %q", routes)
		}
	})
}

// A browser may leave out the Content-Length, a stream needs it (RFC 3261 §16.6 step 9).
func TestContentLength(t *testing.T) {
	for _, tc := range []struct {
		contact string
		to      sip.Flow
		want    bool
	}{{"sip:c@127.0.0.1:4004;transport=tcp", carolTCP, true}, {"sip:c@c.invalid;transport=ws", bobWS, false}} {
		run(t, func(w *world) {
			w.bind("carol", tc.contact, tc.to)
			text := newRequest("MESSAGE", "sip:carol@example.test", alice, viaWS)
			w.receive(aliceWS, strings.Replace(text, "Content-Length: 0\n", "", 1))
			m := w.next(tc.to, "MESSAGE")
			if m.Has(sip.HContentLength) != tc.want {
				t.Errorf("to %v:\n%s", tc.to, m)
			}
			w.respond(tc.to, m, 200)
			w.next(aliceWS, "SIP/2.0 200")
		})
	}
}

// A token names the flow and its owner, and nothing else is accepted for it.
func TestToken(t *testing.T) {
	coder := newTokenCoder([]byte("key"), "example.test")
	v6 := sip.Flow{Transport: sip.UDP, Local: netip.MustParseAddrPort("[2001:db8::1]:5060"), Remote: netip.MustParseAddrPort("[2001:db8::2]:9")}
	long := strings.Repeat("x", maxAOR) + "@example.test"
	for _, r := range []route{
		{flow: daveUDP}, {flow: v6}, {flow: sip.Flow{Transport: sip.WS, ID: 77}}, {flow: sip.Flow{Transport: sip.TCP, ID: 1 << 63}},
		{sip.Flow{Transport: sip.WS, ID: 77}, coder.owner("a@example.test", "")},
		{v6, coder.owner("alice@other.test", "urn:uuid:1")}, {v6, coder.owner(long, "urn:uuid:1")},
	} {
		token := string(coder.encode(nil, r))
		if got, named, ok := coder.decode(token, nil); !ok || got != r.flow || coder.ownerOf(named) != r.owner {
			t.Errorf("%v became %v, %v, %v", r, got, coder.ownerOf(named), ok)
		}
		if raw, _ := tokenEncoding.DecodeString(token); r.owner.aor != "" && strings.Contains(string(raw), r.owner.aor[:5]) {
			t.Errorf("%v can be read in its token", r.owner)
		}
		if _, _, ok := newTokenCoder([]byte("other"), "example.test").decode(token, nil); ok {
			t.Error("a token signed with another key was accepted")
		}
		for i := range token {
			forged := token[:i] + string(token[i]^1) + token[i+1:]
			if _, named, ok := coder.decode(forged, nil); ok || named != nil {
				t.Errorf("forged token %q of %q was accepted", forged, token)
			}
		}
	}
	token := string(coder.encode(nil, route{flow: daveUDP, owner: coder.owner("x"+long, "")}))
	if got, named, ok := coder.decode(token, nil); !ok || got != daveUDP || coder.ownerOf(named) != (owner{}) {
		t.Errorf("a token for too long an AOR became %v, %v", got, ok)
	}
}

// legacyResponse is the digest of RFC 2069, without qop, as RFC 3261 §22.4 still allows.
func legacyResponse(ha1, nonce, method, uri string) string {
	hash := func(s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	return hash(ha1 + ":" + nonce + ":" + hash(method+":"+uri))
}
