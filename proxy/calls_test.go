package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/sip/digest"
)

func (w *world) callEnded(c *dialog.Call) {
	r := c.Record()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = append(w.ended, r)
}

// checkEnded is a line "ended rejected callee 486 bob1:486 bob2:487": the cause of the next
// call that ended and who ended it, its final response where it failed, and how its legs
// ended.
func (s *script) checkEnded(want []string) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if len(s.w.ended) == 0 {
		s.fail("no call has ended")
	}
	r := s.w.ended[0]
	s.w.ended = s.w.ended[1:]
	got := []string{r.Cause.String(), r.By.String()}
	if r.Status != 0 {
		got = append(got, fmt.Sprint(r.Status))
	}
	for _, leg := range r.Legs {
		who := fmt.Sprint(leg.Party.Flow)
		for _, name := range s.names {
			if a := s.actors[name]; a.contact == leg.URI || a.flow == leg.Party.Flow {
				who = name
			}
		}
		if leg.Ours {
			who += ":ours"
		}
		got = append(got, fmt.Sprintf("%s:%d", who, leg.Status))
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		s.fail("the call ended %s", g)
	}
}

// checkLive is a line "live early confirmed": the states of the calls there are, oldest
// first.
func (s *script) checkLive(want []string) {
	var got []string
	list, _ := s.w.proxy.Calls.List("", 100, nil)
	for _, r := range list {
		got = append(got, r.State.String())
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		s.fail("live are %q", g)
	}
}

// A caller whose From names nobody is recorded as who he was authenticated as.
func TestAnonymousIsRecorded(t *testing.T) {
	run(t, func(w *world) {
		w.receive(aliceWS, newRequest("INVITE", "sip:nobody@example.test", "anonymous@anonymous.invalid", "WS a.invalid",
			"P-Preferred-Identity: <sip:alice@example.test>"))
		w.next(aliceWS, "SIP/2.0 404")
		if len(w.ended) != 1 || w.ended[0].Caller.Identity != "alice@example.test" {
			t.Errorf("%+v", w.ended)
		}
	})
}

// A call that goes through another proxy and back to us (RFC 3261 §16.3) is one between the
// caller and that proxy, also when its requests pass for the second time.
func TestSpiralIsRecorded(t *testing.T) {
	run(t, func(w *world) {
		pbx := sip.Flow{Transport: sip.UDP, Local: addr(5060), Remote: netip.MustParseAddrPort("192.0.2.130:5060")}
		w.bind("bob", "sip:bob@b.invalid;transport=ws", bobWS)
		turn := func(m *sip.Message) { // through the other proxy
			m = m.Clone()
			m.PopValues(sip.HRoute, 1)
			m.PushVia(sip.Via{Transport: "UDP", Host: "192.0.2.130", Port: 5060, Branch: "z9hG4bK-pbx-" + string(m.Method()), RPort: -1})
			if m.Method() == sip.INVITE {
				m.SetRequestURI("sip:bob@example.test")
				m.Prepend(sip.HRecordRoute, "<sip:192.0.2.130;lr>")
			}
			w.receive(pbx, strings.ReplaceAll(strings.TrimSpace(m.String()), "\r\n", "\n"))
		}
		back := func(m *sip.Message) {
			m.PopVia()
			w.receive(pbx, strings.ReplaceAll(strings.TrimSpace(m.String()), "\r\n", "\n"))
		}
		w.receive(aliceWS, newRequest("INVITE", "sip:100@192.0.2.130", alice, viaWS, "Contact: <sip:alice@a.invalid;transport=ws>"))
		w.next(aliceWS, "SIP/2.0 100")
		turn(w.next(pbx, "INVITE"))
		w.next(pbx, "SIP/2.0 100")
		invite := w.next(bobWS, "INVITE")
		w.respond(bobWS, invite, 200, "Contact: <sip:bob@b.invalid;transport=ws>")
		back(w.next(pbx, "SIP/2.0 200"))
		ok := w.next(aliceWS, "SIP/2.0 200")
		routes := slices.Collect(ok.Values(sip.HRecordRoute))
		slices.Reverse(routes)
		for _, method := range []string{"ACK", "INFO"} {
			text := newRequest(method, "sip:bob@b.invalid;transport=ws", alice, viaWS, "Route: "+strings.Join(routes, ", "))
			to, _ := ok.Get(sip.HTo)
			w.receive(aliceWS, strings.Replace(text, "To: <sip:bob@b.invalid;transport=ws>", "To: "+to, 1))
			turn(w.next(pbx, method))
			request := w.next(bobWS, method)
			if method != "ACK" {
				w.respond(bobWS, request, 200)
				back(w.next(pbx, "SIP/2.0 200"))
				w.next(aliceWS, "SIP/2.0 200")
			}
			if r := w.proxy.Calls.Find("call"); len(r) != 1 || r[0].Caller.Flow != aliceWS || r[0].Callee.Flow != pbx {
				t.Errorf("after %s: %+v", method, r)
			}
		}
	})
}

// A caller who gives up while the store is asked who he is has a record that says so.
func TestGivenUpEarly(t *testing.T) {
	for cause, giveUp := range map[string]func(w *world, invite string){
		"cancelled": func(w *world, invite string) {
			w.receive(bobWS, strings.NewReplacer("INVITE sip", "CANCEL sip", "2 INVITE", "2 CANCEL").Replace(invite))
			w.next(bobWS, "SIP/2.0 200")
		},
		"caller_lost": func(w *world, _ string) { w.closeFlow(bobWS) },
	} {
		run(t, func(w *world) {
			const uri = "sip:alice@example.test"
			w.bind("alice", "sip:alice@a.invalid;transport=ws", aliceWS)
			w.receive(bobWS, newRequest("INVITE", uri, "bob@example.test", viaWS))
			challenges := slices.Collect(w.next(bobWS, "SIP/2.0 407").Lines(sip.HProxyAuthenticate))
			_, nonce, _ := strings.Cut(challenges[len(challenges)-1], `nonce="`)
			nonce, _, _ = strings.Cut(nonce, `"`)
			ha1 := digest.HA1(digest.MD5, "bob", "example.test", "secret")
			invite := newRequest("INVITE", uri, "bob@example.test", viaWS, `Proxy-Authorization: Digest username="bob", realm="example.test", nonce="`+
				nonce+`", uri="`+uri+`", algorithm=MD5, response="`+legacyResponse(ha1, nonce, "INVITE", uri)+`"`)
			invite = strings.NewReplacer("z9hG4bK", "z9hG4bK2", "CSeq: 1", "CSeq: 2").Replace(invite)
			w.cold, w.usersAsked = true, make(chan struct{})
			w.receive(bobWS, invite)
			giveUp(w, invite)
			close(w.usersAsked)
			w.wait(time.Minute)
			w.mu.Lock()
			w.wire = nil // 487, as often as it is not acknowledged
			w.mu.Unlock()
			if len(w.ended) != 1 || w.ended[0].Cause.String() != cause || w.ended[0].By != dialog.ByCaller {
				t.Errorf("%s: %+v", cause, w.ended)
			}
		})
	}
}
