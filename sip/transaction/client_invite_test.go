package transaction

import (
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

var clientEvents = []string{
	"180", "200", "486", "retransmission timer", "lifetime timer", "transport error", "cancel",
}

// reachClient brings a client transaction for method into a state.
func reachClient(method sip.Method, f sip.Flow) func(*rig, state) subject {
	return func(r *rig, s state) subject {
		req := newRequest(r.t, method, f, "z9hG4bKc")
		c, err := r.Layer.Request(f, req.Clone(), clientRecorder{r})
		if err != nil {
			r.t.Fatal(err)
		}
		respond := func(status int) { c.receive(newResponse(req, status)) }
		switch s {
		case proceeding:
			respond(180)
		case accepted:
			respond(200)
		case completed:
			respond(486)
		case terminated:
			respond(486)
			elapse(time.Minute)
		}
		return subject{
			base: &c.transaction,
			fire: func(event string) { c.fire(respond, event) },
			end:  func() { c.flowClosed(errBroken) },
		}
	}
}

func (c *Client) fire(respond func(int), event string) {
	switch event {
	case "180":
		respond(180)
	case "200":
		respond(200)
	case "486":
		respond(486)
	case "retransmission timer":
		c.mu.Lock()
		c.finish(c.machine().retransmit())
	case "lifetime timer":
		c.mu.Lock()
		c.finish(c.machine().timeout())
	case "transport error":
		c.flowClosed(errBroken)
	case "cancel":
		c.Cancel("")
	}
}

// RFC 6026 §8.4, figure 5.
func TestInviteClient(t *testing.T) {
	states := []state{calling, proceeding, completed, accepted, terminated}
	unreliable := machineTest{flow: udp, states: states, reach: reachClient(sip.INVITE, udp), rows: []row{
		{"180", []string{"Proceeding tell 180", "Proceeding tell 180", "-", "-", "-"}},
		{"200", []string{"Accepted tell 200", "Accepted tell 200", "-", "Accepted tell 200", "-"}},
		{"486", []string{"Completed send ACK tell 486", "Completed send ACK tell 486", "Completed send ACK", "-", "-"}},
		{"retransmission timer", []string{"Calling send INVITE", "-", "-", "-", "-"}},
		{"lifetime timer", []string{"Terminated tell timeout", "Terminated tell timeout", "Terminated", "Terminated", "-"}},
		{"transport error", []string{"Terminated tell transport", "Terminated tell transport", "Terminated tell transport", "-", "-"}},
		{"cancel", []string{"-", "Proceeding send CANCEL", "-", "-", "-"}},
	}}
	unreliable.covers(t, clientEvents)
	unreliable.run(t)
	for _, f := range []sip.Flow{tcp, ws} {
		reliable := machineTest{flow: f, states: states, reach: reachClient(sip.INVITE, f), rows: []row{
			{"180", []string{"Proceeding tell 180", "Proceeding tell 180", "", "-", "-"}},
			{"200", []string{"Accepted tell 200", "Accepted tell 200", "", "Accepted tell 200", "-"}},
			{"486", []string{"Terminated send ACK tell 486", "Terminated send ACK tell 486", "", "-", "-"}},
			{"retransmission timer", []string{"-", "-", "", "-", "-"}}, // it never runs
			{"lifetime timer", []string{"Terminated tell timeout", "Terminated tell timeout", "", "Terminated", "-"}},
			{"transport error", []string{"Terminated tell transport", "Terminated tell transport", "", "-", "-"}},
			{"cancel", []string{"-", "Proceeding send CANCEL", "", "-", "-"}},
		}}
		reliable.covers(t, clientEvents, completed)
		reliable.run(t)
	}
}

func (r *rig) call(f sip.Flow) (*Client, *sip.Message) {
	r.t.Helper()
	req := newRequest(r.t, sip.INVITE, f, "z9hG4bKcall")
	c, err := r.Layer.Request(f, req.Clone(), clientRecorder{r})
	if err != nil {
		r.t.Fatal(err)
	}
	return c, req
}

func TestTimersAB(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.call(udp)
		elapse(time.Minute)
		r.wantTimes("0s send INVITE", "500ms send INVITE", "1.5s send INVITE", "3.5s send INVITE",
			"7.5s send INVITE", "15.5s send INVITE", "31.5s send INVITE", "32s tell timeout")
		r.wantEmpty()
	})
	bubble(t, Config{}, func(r *rig) {
		r.call(tcp)
		elapse(time.Minute)
		r.wantTimes("0s send INVITE", "32s tell timeout")
		r.wantEmpty()
	})
	bubble(t, Config{T1: 100 * time.Millisecond}, func(r *rig) {
		r.call(udp)
		elapse(time.Minute)
		r.wantTimes("0s send INVITE", "100ms send INVITE", "300ms send INVITE", "700ms send INVITE",
			"1.5s send INVITE", "3.1s send INVITE", "6.3s send INVITE", "6.4s tell timeout")
	})
}

// A provisional response stops Timers A and B; the call may ring for as long as the user
// likes.
func TestInviteClientRings(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		c, req := r.call(udp)
		elapse(time.Second)
		r.Receive(udp, newResponse(req, 100))
		elapse(time.Hour)
		r.wantTimes("0s send INVITE", "500ms send INVITE", "1s tell 100")
		if c.timers.alarm != nil {
			t.Error("an alarm is kept while no timer runs")
		}
		r.Receive(udp, newResponse(req, 486))
	})
}

// Timer D is 32 s even where 64*T1 is less (RFC 3261 §17.1.1.2), more where that is more.
func TestTimerD(t *testing.T) {
	for _, test := range []struct{ t1, want time.Duration }{
		{0, 32 * time.Second},
		{100 * time.Millisecond, 32 * time.Second},
		{time.Second, 64 * time.Second},
	} {
		bubble(t, Config{T1: test.t1}, func(r *rig) {
			_, req := r.call(udp)
			r.Receive(udp, newResponse(req, 486))
			first := r.sent()
			elapse(test.want - 1)
			r.Receive(udp, newResponse(req, 486))
			r.want("send INVITE", "send ACK", "tell 486", "send ACK")
			if &first.b[0] != &r.sent().b[0] {
				t.Error("the ACK was made again")
			}
			elapse(1)
			r.wantEmpty()
			r.Receive(udp, newResponse(req, 486))
			r.want()
		})
	}
	bubble(t, Config{}, func(r *rig) {
		_, req := r.call(tcp)
		r.Receive(tcp, newResponse(req, 486))
		r.want("send INVITE", "send ACK", "tell 486")
		r.wantEmpty()
	})
}

// Every 2xx goes up for 64*T1, over any transport, and none is acknowledged here (RFC 6026
// §7.2).
func TestTimerM(t *testing.T) {
	for _, f := range []sip.Flow{udp, tcp, ws} {
		bubble(t, Config{}, func(r *rig) {
			_, req := r.call(f)
			r.Receive(f, newResponse(req, 200))
			elapse(20 * time.Second)
			fork := sip.NewResponse(req, 200, "", "b2")
			r.Receive(f, fork)
			elapse(12*time.Second - 1)
			r.Receive(f, newResponse(req, 200))
			r.want("send INVITE", "tell 200", "tell 200", "tell 200")
			elapse(1)
			r.wantEmpty()
			r.Receive(f, newResponse(req, 200))
			r.want()
			if n := r.Stats().Strays; n != 1 {
				t.Errorf("%d strays", n)
			}
		})
	}
}

// RFC 3261 §17.1.1.3.
func TestAckOfNon2xx(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		_, req := r.call(udp)
		r.Receive(udp, newResponse(req, 486))
		p := r.sent()
		const want = `ACK sip:bob@example.test SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKcall;received=192.0.2.1;rport=5070
Max-Forwards: 70
Route: <sip:198.51.100.1;lr>, <sip:198.51.100.2;lr>
Route: <sip:198.51.100.3;lr>
From: "Alice" <sip:alice@example.test>;tag=a1
To: <sip:bob@example.test>;tag=b1
Call-ID: call-1
CSeq: 42 ACK
Content-Length: 0
`
		compare(t, p.m, parse(t, want))
		if p.flow != udp {
			t.Errorf("sent on %v", p.flow)
		}
	})
}

// compare compares messages, but for the order of a Via's parameters.
func compare(t *testing.T, got, want *sip.Message) {
	t.Helper()
	for _, m := range []*sip.Message{got, want} {
		via := *m.Via()
		via.Params = via.Params.Without("received", "rport")
		m.PopVia()
		m.PushVia(via)
	}
	if got.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
