package transaction

import (
	"errors"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

var serverEvents = []string{
	"request", "ACK", "CANCEL", "100", "180", "200", "408", "486",
	"retransmission timer", "lifetime timer", "transport error", "failing 200", "failing 486",
}

// reachServer brings a server transaction for method into a state. Its last response in
// Proceeding is a 180 for an INVITE, a 100 else, in Completed a 486.
func reachServer(method sip.Method, branch string, f sip.Flow) func(*rig, state) subject {
	return func(r *rig, s state) subject {
		req := newRequest(r.t, method, f, branch)
		r.Receive(f, req)
		tx := r.requests[0]
		switch s {
		case proceeding:
			if method == sip.INVITE {
				r.reply(tx, 180)
			} else {
				elapse(3500 * time.Millisecond)
			}
		case accepted:
			r.reply(tx, 200)
		case completed:
			r.reply(tx, 486)
		case confirmed:
			r.reply(tx, 486)
			tx.receiveAck()
		case terminated:
			r.reply(tx, 486)
			elapse(time.Minute)
		}
		return subject{
			base: &tx.transaction,
			fire: func(event string) { r.fireServer(tx, event) },
			end:  func() { _ = tx.Reply(500, "") },
		}
	}
}

func (r *rig) reply(tx *Server, status int) {
	r.t.Helper()
	if err := r.answer(tx, status); err != nil {
		r.t.Fatal(err)
	}
}

// answer is Reply, but for a further 2xx, which the user passes as a message: the
// transaction doesn't hold the request any more.
func (r *rig) answer(tx *Server, status int) error {
	if tx.Request() != nil || status < 200 || status >= 300 {
		return tx.Reply(status, "")
	}
	return tx.Respond(sip.NewResponse(newRequest(r.t, sip.INVITE, tx.Flow(), "z9hG4bKs"), status, "", "tag"))
}

func (r *rig) fireServer(tx *Server, event string) {
	respond := func(status int) {
		if err := r.answer(tx, status); errors.Is(err, ErrAnswered) {
			r.note("answered")
		} else if err != nil {
			r.note("%s", errWord(err))
		}
	}
	switch event {
	case "request":
		tx.receive()
	case "ACK":
		if tx.receiveAck() {
			r.note("ack")
		}
	case "CANCEL":
		tx.receiveCancel(newRequest(r.t, sip.CANCEL, tx.flow, "z9hG4bKs"))
	case "100":
		respond(100)
	case "180":
		respond(180)
	case "200":
		respond(200)
	case "408":
		respond(408)
	case "486":
		respond(486)
	case "retransmission timer":
		tx.mu.Lock()
		tx.settle(tx.machine().retransmit())
	case "lifetime timer":
		tx.mu.Lock()
		tx.settle(tx.machine().timeout())
	case "transport error":
		tx.failed(errBroken)
	case "failing 200":
		r.breaks(tx.flow)
		respond(200)
	case "failing 486":
		r.breaks(tx.flow)
		respond(486)
	default:
		r.t.Fatal(event)
	}
}

// RFC 6026 §8.6, figure 7.
func TestInviteServer(t *testing.T) {
	states := []state{proceeding, completed, accepted, confirmed, terminated}
	unreliable := machineTest{flow: udp, states: states, reach: reachServer(sip.INVITE, "z9hG4bKs", udp), rows: []row{
		{"request", []string{"Proceeding send 180", "Completed send 486", "-", "-", "-"}},
		{"ACK", []string{"-", "Confirmed", "Accepted ack", "-", "-"}},
		{"CANCEL", []string{"Proceeding tell CANCEL", "-", "-", "-", "-"}},
		{"100", []string{"-", "Completed answered", "Accepted answered", "Confirmed answered", "Terminated answered"}},
		{"180", []string{"Proceeding send 180", "Completed answered", "Accepted answered", "Confirmed answered", "Terminated answered"}},
		{"200", []string{"Accepted send 200", "Completed answered", "Accepted send 200", "Confirmed answered", "Terminated answered"}},
		{"408", []string{"Completed send 408", "Completed answered", "Accepted answered", "Confirmed answered", "Terminated answered"}},
		{"486", []string{"Completed send 486", "Completed answered", "Accepted answered", "Confirmed answered", "Terminated answered"}},
		{"retransmission timer", []string{"-", "Completed send 486", "-", "-", "-"}},
		{"lifetime timer", []string{"-", "Terminated tell timeout", "Terminated", "Terminated", "-"}},
		{"transport error", []string{"Proceeding tell transport", "Completed tell transport", "Accepted tell transport", "-", "-"}},
		{"failing 200", []string{"Accepted fail 200 transport", "Completed answered", "Accepted fail 200 transport", "Confirmed answered", "Terminated answered"}},
		{"failing 486", []string{"Completed fail 486 transport", "Completed answered", "Accepted answered", "Confirmed answered", "Terminated answered"}},
	}}
	unreliable.covers(t, serverEvents)
	unreliable.run(t)
	reliable := machineTest{flow: ws, states: states, reach: reachServer(sip.INVITE, "z9hG4bKs", ws), rows: []row{
		{"request", []string{"Proceeding send 180", "Completed send 486", "-", "", "-"}},
		{"ACK", []string{"-", "Terminated", "Accepted ack", "", "-"}},
		{"CANCEL", []string{"Proceeding tell CANCEL", "-", "-", "", "-"}},
		{"100", []string{"-", "Completed answered", "Accepted answered", "", "Terminated answered"}},
		{"180", []string{"Proceeding send 180", "Completed answered", "Accepted answered", "", "Terminated answered"}},
		{"200", []string{"Accepted send 200", "Completed answered", "Accepted send 200", "", "Terminated answered"}},
		{"408", []string{"Completed send 408", "Completed answered", "Accepted answered", "", "Terminated answered"}},
		{"486", []string{"Completed send 486", "Completed answered", "Accepted answered", "", "Terminated answered"}},
		{"retransmission timer", []string{"-", "Completed send 486", "-", "", "-"}},
		{"lifetime timer", []string{"-", "Terminated tell timeout", "Terminated", "", "-"}},
		{"transport error", []string{"Proceeding tell transport", "Completed tell transport", "Accepted tell transport", "", "-"}},
		{"failing 200", []string{"Accepted fail 200 transport", "Completed answered", "Accepted fail 200 transport", "", "Terminated answered"}},
		{"failing 486", []string{"Completed fail 486 transport", "Completed answered", "Accepted answered", "", "Terminated answered"}},
	}}
	reliable.covers(t, serverEvents, confirmed)
	reliable.run(t)
}

// The 100 goes out as soon as the user has returned without a response, and when it is due
// where it is put off; and not at all where there is a response by then.
func TestTrying(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name        string
		delay       time.Duration
		at          time.Duration // when the user responds; 0: before it returns
		status      int
		retransmits bool
		want        []string
	}{
		{"at once", 0, time.Second, 486, false, []string{"0s request INVITE", "0s send 100", "1s send 486"}},
		{"needless", 0, 0, 486, false, []string{"0s request INVITE", "0s send 486"}},
		{"needless after 180", 0, 0, 180, false, []string{"0s request INVITE", "0s send 180"}},
		{"put off", 150 * ms, time.Second, 486, false, []string{"0s request INVITE", "150ms send 100", "1s send 486"}},
		{"put off too far", time.Second, 2 * time.Second, 486, false, []string{"0s request INVITE", "200ms send 100", "2s send 486"}},
		{"put off and needless", 200 * ms, 100 * ms, 183, false, []string{"0s request INVITE", "100ms send 183"}},
		{"put off and accepted", 200 * ms, 100 * ms, 200, false, []string{"0s request INVITE", "100ms send 200"}},
		{"retransmission before it", 200 * ms, time.Second, 200, true, []string{"0s request INVITE", "200ms send 100", "1s send 200"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, Config{TryingDelay: test.delay}, func(r *rig) {
				r.onUser = func(tx *Server) {
					if test.at == 0 {
						r.reply(tx, test.status)
					}
				}
				r.Receive(ws, newRequest(t, sip.INVITE, ws, "z9hG4bKs"))
				if test.retransmits {
					r.Receive(ws, newRequest(t, sip.INVITE, ws, "z9hG4bKs"))
				}
				tx := r.requests[0]
				if test.at > 0 {
					elapse(test.at)
					r.reply(tx, test.status)
				} else {
					elapse(2 * time.Second)
				}
				r.wantTimes(test.want...)
				_ = tx.Reply(500, "")
			})
		})
	}
}

func TestTryingHasNoTag(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.Receive(udp, newRequest(t, sip.INVITE, udp, "z9hG4bKs"))
		if m := r.sent().m; m.Status() != 100 || m.ToTag() != "" {
			t.Errorf("sent %s", m)
		}
		r.reply(r.requests[0], 486)
		if m := r.sent().m; m.ToTag() == "" {
			t.Errorf("sent %s", m)
		}
	})
}

// invited receives an INVITE and answers it.
func (r *rig) invited(f sip.Flow, status int) *Server {
	r.t.Helper()
	r.Receive(f, newRequest(r.t, sip.INVITE, f, "z9hG4bKs"))
	tx := r.requests[0]
	r.reply(tx, status)
	r.want("request INVITE", "send 100", "send "+word(tx.NewResponse(status, "")))
	r.restart()
	return tx
}

func TestTimersGH(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.invited(udp, 486)
		first := r.sent()
		elapse(time.Minute)
		r.wantTimes("500ms send 486", "1.5s send 486", "3.5s send 486", "7.5s send 486",
			"11.5s send 486", "15.5s send 486", "19.5s send 486", "23.5s send 486",
			"27.5s send 486", "31.5s send 486", "32s tell timeout")
		if &first.b[0] != &r.sent().b[0] {
			t.Error("the response was made again")
		}
		r.wantEmpty()
	})
	bubble(t, Config{}, func(r *rig) {
		r.invited(tcp, 486)
		elapse(time.Minute)
		r.wantTimes("32s tell timeout")
		r.wantEmpty()
	})
}

// The ACK stops Timer G, and Timer I absorbs further ones for T4 over UDP, for no time over
// the others.
func TestTimerI(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.invited(udp, 486)
		elapse(time.Second)
		r.Receive(udp, newRequest(t, sip.ACK, udp, "z9hG4bKs"))
		elapse(5*time.Second - 1)
		r.Receive(udp, newRequest(t, sip.ACK, udp, "z9hG4bKs"))
		r.Receive(udp, newRequest(t, sip.INVITE, udp, "z9hG4bKs"))
		r.wantTimes("500ms send 486")
		elapse(1)
		r.wantEmpty()
		r.Receive(udp, newRequest(t, sip.ACK, udp, "z9hG4bKs"))
		r.want("ack")
	})
	for _, f := range []sip.Flow{tcp, ws} {
		bubble(t, Config{}, func(r *rig) {
			r.invited(f, 486)
			r.Receive(f, newRequest(t, sip.ACK, f, "z9hG4bKs"))
			r.want()
			r.wantEmpty()
		})
	}
}

// In Accepted an INVITE is absorbed, further 2xx go out and nothing is repeated, for 64*T1
// over any transport (RFC 6026 §7.1). The ACK of a 2xx has a branch of its own.
func TestTimerL(t *testing.T) {
	for _, f := range []sip.Flow{udp, tcp, ws} {
		bubble(t, Config{}, func(r *rig) {
			tx := r.invited(f, 200)
			elapse(10 * time.Second)
			r.Receive(f, newRequest(t, sip.INVITE, f, "z9hG4bKs"))
			r.want()
			r.reply(tx, 200)
			r.Receive(f, newRequest(t, sip.ACK, f, "z9hG4bKack"))
			r.want("send 200", "ack")
			elapse(22*time.Second - 1)
			if s := r.Stats(); s.InviteServers != 1 {
				t.Errorf("%+v", s)
			}
			elapse(1)
			r.wantEmpty()
			if err := tx.Reply(200, ""); err != ErrAnswered {
				t.Error(err)
			}
			r.want()
		})
	}
}
