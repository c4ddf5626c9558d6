package transaction

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

// The tests of this file let events meet that come at the same instant of virtual time on
// goroutines of their own; the race detector watches, and whoever comes first, what the user
// sees must be one of the orders that the machine allows.

const rounds = 200

// together runs the functions at once and returns when they and all they caused are done.
func together(events ...func()) {
	var wg sync.WaitGroup
	for _, event := range events {
		wg.Go(event)
	}
	wg.Wait()
	synctest.Wait()
}

// only returns the lines of a log that begin with prefix.
func only(log []string, prefix string) (lines []string) {
	for _, line := range log {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestRaceResponseCancel(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		for i := range rounds {
			req := newRequest(t, sip.INVITE, ws, fmt.Sprintf("z9hG4bK%d", i))
			c, err := r.Layer.Request(ws, req.Clone(), clientRecorder{r})
			if err != nil {
				t.Fatal(err)
			}
			together(
				func() { r.Receive(ws, newResponse(req, 180)) },
				func() { c.Cancel("") },
				func() { c.Cancel("") },
			)
			log := r.taken()
			if told, cancels := only(log, "tell"), only(log, "send CANCEL"); len(told) != 1 || len(cancels) != 1 {
				t.Fatalf("got %q", log)
			}
			together(
				func() { r.Receive(ws, newResponse(req, 487)) },
				func() { r.Receive(ws, newResponse(req, 183)) },
			)
			// The ACK goes out before its own goroutine tells, but another may tell for it.
			log = r.taken()
			told := strings.Join(only(log, "tell"), " ")
			if told != "tell 487" && told != "tell 183 tell 487" || len(only(log, "send ACK")) != 1 {
				t.Fatalf("got %q", log)
			}
		}
	})
}

func TestRaceFinalCancel(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		for i := range rounds {
			req := newRequest(t, sip.INVITE, ws, fmt.Sprintf("z9hG4bK%d", i))
			c, err := r.Layer.Request(ws, req.Clone(), clientRecorder{r})
			if err != nil {
				t.Fatal(err)
			}
			r.Receive(ws, newResponse(req, 180))
			r.taken()
			together(
				func() { r.Receive(ws, newResponse(req, 200)) },
				func() { c.Cancel("") },
				func() { r.Closed(ws, errBroken) },
			)
			log := r.taken()
			told := only(log, "tell")
			if len(told) != 1 || len(only(log, "send CANCEL")) > 1 {
				t.Fatalf("got %q", log)
			}
		}
	})
}

// A response that comes at the instant of a timer.
func TestRaceTimerResponse(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		for i := range rounds {
			for _, at := range []time.Duration{500 * time.Millisecond, 32 * time.Second} {
				req := newRequest(t, sip.OPTIONS, udp, fmt.Sprintf("z9hG4bK%d-%v", i, at))
				if _, err := r.Layer.Request(udp, req, clientRecorder{r}); err != nil {
					t.Fatal(err)
				}
				together(
					func() { elapseAlone(at); r.Receive(udp, newResponse(req, 200)) },
					func() { elapseAlone(at); r.Receive(udp, newResponse(req, 404)) },
				)
				if told := only(r.taken(), "tell"); len(told) != 1 {
					t.Fatalf("got %q", told)
				}
			}
		}
	})
}

// elapseAlone lets time pass on one of several goroutines.
func elapseAlone(d time.Duration) { <-time.After(d) }

// An ACK that comes at the instant of Timer G or H.
func TestRaceTimerAck(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		for i := range rounds {
			for _, at := range []time.Duration{500 * time.Millisecond, 32 * time.Second} {
				branch := fmt.Sprintf("z9hG4bK%d-%v", i, at)
				r.onUser = func(tx *Server) { r.reply(tx, 486) }
				r.Receive(udp, newRequest(t, sip.INVITE, udp, branch))
				ack := newRequest(t, sip.ACK, udp, branch)
				together(func() { elapseAlone(at); r.Receive(udp, ack) })
				log := r.taken()
				if len(only(log, "tell"))+len(only(log, "ack")) > 2 {
					t.Fatalf("got %q", log)
				}
			}
		}
	})
}

func TestRaceClosedRespond(t *testing.T) {
	for _, f := range []sip.Flow{ws, tcp} {
		bubble(t, Config{}, func(r *rig) {
			for i := range rounds {
				branch := fmt.Sprintf("z9hG4bK%d", i)
				r.Receive(f, newRequest(t, sip.INVITE, f, branch))
				tx := r.requests[i]
				together(
					func() { r.Closed(f, errBroken) },
					func() { _ = tx.Reply(180, "") },
					func() { _ = tx.Reply(200, "") },
					func() { r.Receive(f, newRequest(t, sip.CANCEL, f, branch)) },
					func() { r.Receive(f, newRequest(t, sip.INVITE, f, branch)) },
				)
				log := r.taken()
				if n := len(only(log, "send 200")); n != 2 { // the INVITE's and the CANCEL's
					t.Fatalf("got %q", log)
				}
				if len(only(log, "tell transport")) > 1 || len(only(log, "tell CANCEL")) > 1 {
					t.Fatalf("got %q", log)
				}
			}
		})
	}
}

// Copies of a request that arrive at once make one transaction.
func TestRaceCopies(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		for i := range rounds {
			branch := fmt.Sprintf("z9hG4bK%d", i)
			receive := func() { r.Receive(udp, newRequest(t, sip.INFO, udp, branch)) }
			together(receive, receive, receive, receive)
			r.want("request INFO")
			r.reply(r.requests[i], 200)
			r.want("send 200")
		}
	})
}

// The calls for one transaction come one at a time.
func TestHandlerIsNotConcurrent(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		req := newRequest(t, sip.INVITE, udp, "z9hG4bKc")
		h := &exclusive{t: t}
		if _, err := r.Layer.Request(udp, req.Clone(), h); err != nil {
			t.Fatal(err)
		}
		var events []func()
		for range 50 {
			events = append(events, func() { r.Receive(udp, newResponse(req, 180)) })
		}
		together(events...)
		together(func() { r.Receive(udp, newResponse(req, 486)) }, func() { r.Receive(udp, newResponse(req, 180)) })
		if h.last != 486 || h.calls < 51 {
			t.Errorf("%d calls, the last with %d", h.calls, h.last)
		}
	})
}

// exclusive fails where two calls meet.
type exclusive struct {
	t     *testing.T
	busy  sync.Mutex
	calls int
	last  int
}

func (h *exclusive) Response(_ *Client, m *sip.Message) {
	if !h.busy.TryLock() {
		h.t.Error("called while it is called")
		return
	}
	defer h.busy.Unlock()
	h.calls++
	h.last = m.Status()
	elapseAlone(time.Millisecond)
}

func (h *exclusive) Error(*Client, error) {}
