package proxy

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sipway/sipway/sip"
)

// byCarolsFlow is a request of alice's within a dialog with carol, whose route leads over
// carol's connection.
func (w *world) byCarolsFlow(method string) string {
	route := string(w.proxy.appendRoute(nil, route{flow: carolTCP}, false))
	return inDialog(method, "sip:carol@192.0.2.30:5070;transport=tcp", viaWS, route)
}

// toAnew is the one request that was sent to carol's address over a connection that was opened
// for it, and its flow.
func (w *world) toAnew(method sip.Method) (f sip.Flow, m *sip.Message) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.wire {
		if p.m.IsRequest() && p.m.Method() == method && p.to != carolTCP && p.to.Remote.String() == "192.0.2.30:5070" {
			if m != nil {
				w.t.Fatalf("two of %s", method)
			}
			f, m = p.to, p.m
		}
	}
	if m == nil {
		w.t.Fatalf("no %s over a new connection in %v", method, w.wire)
	}
	w.wire = nil
	return f, m
}

// A connection that ends while a request is written to it leads nowhere, and the request goes
// over another one.
func TestFlowEndsWithinSend(t *testing.T) {
	run(t, func(w *world) {
		w.during(func(p packet) { w.closeFlow(p.to) })
		w.receive(aliceWS, w.byCarolsFlow("INVITE"))
		f, invite := w.toAnew("INVITE")
		w.respond(f, invite, 200)
		w.next(aliceWS, "SIP/2.0 200")
	})
}

// A connection ends in the very moment in which a request comes for it: whichever was first,
// the request arrives over another one. Run it with -race.
func TestFlowEndsRace(t *testing.T) {
	for range 50 {
		run(t, func(w *world) {
			bye := w.parsed(aliceWS, w.byCarolsFlow("BYE"))
			go w.closeFlow(carolTCP)
			go w.layer.Receive(aliceWS, bye)
			f, anew := w.toAnew("BYE")
			w.respond(f, anew, 200)
			w.next(aliceWS, "SIP/2.0 200")
		})
	}
}

// A connection ends in the very moment in which the answer comes by it: the caller hears that
// answer, or that to the request that went over another one, and never of a failure.
func TestFlowEndsUnderAnswerRace(t *testing.T) {
	for range 50 {
		run(t, func(w *world) {
			w.receive(aliceWS, w.byCarolsFlow("BYE"))
			ok := w.answer(carolTCP, w.next(carolTCP, "BYE"), 200)
			go w.closeFlow(carolTCP)
			go w.layer.Receive(carolTCP, ok)
			synctest.Wait()
			if w.sent(aliceWS, "SIP/2.0 200") == 0 {
				f, anew := w.toAnew("BYE")
				w.respond(f, anew, 200)
			}
			if m := w.next(aliceWS, "SIP/2.0 200"); !strings.Contains(m.String(), " BYE") {
				t.Errorf("%s", m)
			}
		})
	}
}

// A request that is routed once more is one message of its call.
func TestReroutedIsRecordedOnce(t *testing.T) {
	run(t, func(w *world) {
		w.bind("carol", "sip:carol@192.0.2.30:5070;transport=tcp", carolTCP)
		w.receive(aliceWS, newRequest("INVITE", "sip:carol@example.test", alice, viaWS))
		w.next(aliceWS, "SIP/2.0 100")
		w.respond(carolTCP, w.next(carolTCP, "INVITE"), 200)
		ok := w.next(aliceWS, "SIP/2.0 200")
		w.receive(aliceWS, strings.Replace(w.byCarolsFlow("BYE"), ";tag=to", ";tag="+ok.ToTag(), 1))
		w.next(carolTCP, "BYE")
		w.closeFlow(carolTCP)
		f, bye := w.toAnew("BYE")
		w.respond(f, bye, 200)
		w.next(aliceWS, "SIP/2.0 200")
		if len(w.ended) != 1 || w.ended[0].Messages != 4 {
			t.Errorf("ended %+v", w.ended)
		}
	})
}
