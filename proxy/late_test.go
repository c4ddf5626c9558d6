package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

// answerAs has one of several phones behind a contact answer: each has a tag of its own.
func (w *world) answerAs(f sip.Flow, invite *sip.Message, tag string) {
	m := sip.NewResponse(invite, 200, "", tag)
	m.Append(sip.HContact, "<sip:"+tag+"@192.0.2.7>")
	w.receive(f, strings.ReplaceAll(strings.TrimSuffix(m.String(), "\r\n\r\n"), "\r\n", "\n"))
}

// Three phones behind one contact answer. Where further answers are ended by us, each of them
// is, and once.
func TestLateAnswersOfOneBranch(t *testing.T) {
	run(t, func(w *world) {
		w.bind("dave", "sip:dave@192.0.2.7:5060", daveUDP)
		w.receive(aliceWS, newRequest("INVITE", "sip:dave@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		invite := w.next(daveUDP, "INVITE")
		w.answerAs(daveUDP, invite, "one")
		w.next(aliceWS, "SIP/2.0 200")
		for _, tag := range []string{"two", "three"} {
			w.answerAs(daveUDP, invite, tag)
			w.next(daveUDP, "ACK sip:"+tag)
			w.respond(daveUDP, w.next(daveUDP, "BYE sip:"+tag), 200)
		}
		w.answerAs(daveUDP, invite, "two")
		w.next(daveUDP, "ACK sip:two")
	})
}

// A phone that is picked up when the caller has been told that nobody did is not left with a
// call that has no other side.
func TestAnswerAfterFailure(t *testing.T) {
	run(t, func(w *world) {
		w.bind("dave", "sip:dave@192.0.2.7:5060", daveUDP)
		w.receive(stranger, newRequest("INVITE", "sip:dave@example.test", "eve@evil.test", viaStranger))
		w.next(stranger, "SIP/2.0 100")
		invite := w.next(daveUDP, "INVITE")
		w.respond(daveUDP, invite, 100)
		w.wait(defaultTimerC)
		w.next(stranger, "SIP/2.0 408")
		w.receive(stranger, strings.Replace(newRequest("ACK", "sip:dave@example.test", "eve@evil.test", viaStranger),
			fmt.Sprintf("%x", "ACKsip:dave@example.test"), fmt.Sprintf("%x", "INVITEsip:dave@example.test"), 1))
		w.next(daveUDP, "CANCEL")
		w.answerAs(daveUDP, invite, "late")
		w.next(daveUDP, "ACK sip:late")
		w.respond(daveUDP, w.next(daveUDP, "BYE sip:late"), 200)
		w.wait(time.Second / 4)
		w.mu.Lock()
		w.wire = nil // the CANCEL is not answered
		w.mu.Unlock()
	})
}

// Who redirects to himself by ever new names is left at some time, and one redirection leads
// to a bounded number of places.
func TestRedirectionsEnd(t *testing.T) {
	run(t, func(w *world) {
		w.proxy.Recurse = RecurseAny
		w.bind("dave", "sip:dave@192.0.2.7:5060", daveUDP)
		w.receive(aliceWS, newRequest("MESSAGE", "sip:dave@example.test", alice, viaWS))
		tried := 0
		for ; tried < 1000; tried++ {
			w.mu.Lock()
			var p packet
			if len(w.wire) > 0 {
				p, w.wire = w.wire[0], w.wire[1:]
			}
			w.mu.Unlock()
			if p.m == nil || !p.m.IsRequest() {
				break
			}
			contacts := make([]string, 50)
			for i := range contacts {
				contacts[i] = fmt.Sprintf("<sip:%d-%d@192.0.2.7>", tried, i)
			}
			w.respond(p.to, p.m, 302, "Contact: "+strings.Join(contacts, ", "))
		}
		if tried < 2*maxRedirected || tried > maxBranches {
			t.Errorf("%d requests were sent", tried)
		}
	})
}
