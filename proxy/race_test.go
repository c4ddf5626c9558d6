package proxy

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sipway/sipway/sip"
)

// together has messages arrive at the same time, each on a goroutine of its own.
func (w *world) together(arrivals map[sip.Flow]*sip.Message) {
	var start, done sync.WaitGroup
	start.Add(1)
	for f, m := range arrivals {
		done.Go(func() {
			start.Wait()
			w.layer.Receive(f, m)
		})
	}
	start.Done()
	done.Wait()
	synctest.Wait()
}

// parsed is a message as the transport delivers it.
func (w *world) parsed(f sip.Flow, text string) *sip.Message {
	m, err := sip.Parse([]byte(strings.ReplaceAll(strings.TrimSpace(text), "\n", "\r\n") + "\r\n\r\n"))
	if err != nil {
		w.t.Fatal(err)
	}
	if m.IsRequest() {
		m.SetReceived(f.Remote)
	}
	return m
}

func (w *world) answer(f sip.Flow, req *sip.Message, status int) *sip.Message {
	m := sip.NewResponse(req, status, "", "tag-"+f.Remote.String())
	m.Append(sip.HContact, "<"+req.RequestURI()+">")
	return w.parsed(f, strings.ReplaceAll(strings.TrimSuffix(m.String(), "\r\n\r\n"), "\r\n", "\n"))
}

// sent counts what was sent to a flow, by method or status.
func (w *world) sent(f sip.Flow, start string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.wire {
		if p.to == f && strings.HasPrefix(p.m.String(), start) {
			n++
		}
	}
	return n
}

// Two phones answer in the same instant as the caller gives up: whoever is first, the caller
// hears of one call and of no failure besides, and the other phone's call is ended. Every
// goroutine of this test may be the first one; run it with -race.
func TestAnswersRace(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
			w.bind("bob", "sip:2@b.invalid;transport=ws", bobTab)
			text := newRequest("INVITE", "sip:bob@example.test", alice, viaWS)
			w.receive(aliceWS, text)
			w.next(aliceWS, "SIP/2.0 100")
			first, second := w.next(bobWS, "INVITE"), w.next(bobTab, "INVITE")
			w.respond(bobWS, first, 180)
			w.respond(bobTab, second, 180)
			cancel := strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(text)
			w.together(map[sip.Flow]*sip.Message{
				bobWS: w.answer(bobWS, first, 200), bobTab: w.answer(bobTab, second, 200),
				aliceWS: w.parsed(aliceWS, cancel),
			})
			if n := w.sent(aliceWS, "SIP/2.0 200"); n != 2 { // one of them to the CANCEL
				t.Errorf("%d times 200 upstream", n)
			}
			if n := w.sent(aliceWS, "SIP/2.0 4"); n != 0 {
				t.Error("a failure beside the answer")
			}
			ended := w.sent(bobWS, "BYE") + w.sent(bobTab, "BYE")
			if acked := w.sent(bobWS, "ACK") + w.sent(bobTab, "ACK"); ended != 1 || acked != 1 {
				t.Errorf("%d calls ended, %d acknowledged", ended, acked)
			}
		})
	}
}

// One phone declines for all as the other one answers: the caller hears one of the two.
func TestDeclineRace(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
			w.bind("bob", "sip:2@b.invalid;transport=ws", bobTab)
			w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
			w.next(aliceWS, "SIP/2.0 100")
			first, second := w.next(bobWS, "INVITE"), w.next(bobTab, "INVITE")
			w.together(map[sip.Flow]*sip.Message{
				bobWS: w.answer(bobWS, first, 603), bobTab: w.answer(bobTab, second, 200),
			})
			if n := w.sent(aliceWS, "SIP/2.0"); n != 1 || w.sent(aliceWS, "SIP/2.0 200") != 1 {
				t.Errorf("%d final responses, %d of them 200", n, w.sent(aliceWS, "SIP/2.0 200"))
			}
		})
	}
}

// A phone's connection breaks as it answers.
func TestCloseRace(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.bind("bob", "sip:1@b.invalid;transport=ws", bobWS)
			w.receive(aliceWS, newRequest("INVITE", "sip:bob@example.test", alice, viaWS))
			w.next(aliceWS, "SIP/2.0 100")
			invite := w.next(bobWS, "INVITE")
			go w.closeFlow(bobWS)
			w.together(map[sip.Flow]*sip.Message{bobWS: w.answer(bobWS, invite, 200)})
			if n := w.sent(aliceWS, "SIP/2.0"); n != 1 {
				t.Errorf("%d final responses", n)
			}
		})
	}
}
