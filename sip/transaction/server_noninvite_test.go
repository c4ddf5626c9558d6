package transaction

import (
	"bytes"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

// RFC 3261 §17.2.2, figure 8, and RFC 4320 §4.
func TestNonInviteServer(t *testing.T) {
	states := []state{trying, proceeding, completed, terminated}
	// The transaction of an RFC 2543 client keeps its response itself.
	unreliable := machineTest{flow: udp, states: states, reach: reachServer(sip.OPTIONS, "2543", udp), rows: []row{
		{"request", []string{"-", "Proceeding send 100", "Completed send 486", "-"}},
		{"ACK", []string{"-", "-", "-", "-"}},
		{"CANCEL", []string{"-", "-", "-", "-"}},
		{"100", []string{"-", "Proceeding send 100", "Completed answered", "Terminated answered"}},
		{"180", []string{"-", "-", "Completed answered", "Terminated answered"}},
		{"200", []string{"Completed send 200", "Completed send 200", "Completed answered", "Terminated answered"}},
		{"408", []string{"Completed", "Completed", "Completed answered", "Terminated answered"}},
		{"486", []string{"Completed send 486", "Completed send 486", "Completed answered", "Terminated answered"}},
		// The table's events come at the instant of arrival, too early for a 100.
		{"retransmission timer", []string{"-", "-", "-", "-"}},
		{"lifetime timer", []string{"Terminated tell timeout", "Terminated tell timeout", "Terminated", "-"}},
		{"transport error", []string{"Trying tell transport", "Proceeding tell transport", "Completed tell transport", "Terminated tell transport"}},
		{"failing 200", []string{"Completed fail 200 transport", "Completed fail 200 transport", "Completed answered", "Terminated answered"}},
		{"failing 486", []string{"Completed fail 486 transport", "Completed fail 486 transport", "Completed answered", "Terminated answered"}},
	}}
	unreliable.covers(t, serverEvents)
	unreliable.run(t)
	// All others leave it to the answers.
	unreliable = machineTest{flow: udp, states: states, reach: reachServer(sip.OPTIONS, "z9hG4bKs", udp), rows: []row{
		{"request", []string{"-", "Proceeding send 100", "", "-"}},
		{"ACK", []string{"-", "-", "", "-"}},
		{"CANCEL", []string{"-", "-", "", "-"}},
		{"100", []string{"-", "Proceeding send 100", "", "Terminated answered"}},
		{"180", []string{"-", "-", "", "Terminated answered"}},
		{"200", []string{"Terminated send 200", "Terminated send 200", "", "Terminated answered"}},
		{"408", []string{"Terminated", "Terminated", "", "Terminated answered"}},
		{"486", []string{"Terminated send 486", "Terminated send 486", "", "Terminated answered"}},
		{"retransmission timer", []string{"-", "-", "", "-"}},
		{"lifetime timer", []string{"Terminated tell timeout", "Terminated tell timeout", "", "-"}},
		{"transport error", []string{"Trying tell transport", "Proceeding tell transport", "", "Terminated tell transport"}},
		{"failing 200", []string{"Terminated fail 200 transport", "Terminated fail 200 transport", "", "Terminated answered"}},
		{"failing 486", []string{"Terminated fail 486 transport", "Terminated fail 486 transport", "", "Terminated answered"}},
	}}
	unreliable.covers(t, serverEvents, completed)
	unreliable.run(t)
	reliable := machineTest{flow: ws, states: states, reach: reachServer(sip.OPTIONS, "z9hG4bKs", ws), rows: []row{
		{"request", []string{"-", "Proceeding send 100", "", "-"}},
		{"ACK", []string{"-", "-", "", "-"}},
		{"CANCEL", []string{"-", "-", "", "-"}},
		{"100", []string{"Proceeding send 100", "Proceeding send 100", "", "Terminated answered"}},
		{"180", []string{"-", "-", "", "Terminated answered"}},
		{"200", []string{"Terminated send 200", "Terminated send 200", "", "Terminated answered"}},
		{"408", []string{"Terminated", "Terminated", "", "Terminated answered"}},
		{"486", []string{"Terminated send 486", "Terminated send 486", "", "Terminated answered"}},
		{"retransmission timer", []string{"Proceeding send 100", "-", "", "-"}},
		{"lifetime timer", []string{"Terminated tell timeout", "Terminated tell timeout", "", "-"}},
		{"transport error", []string{"Trying tell transport", "Proceeding tell transport", "", "Terminated tell transport"}},
		{"failing 200", []string{"Terminated fail 200 transport", "Terminated fail 200 transport", "", "Terminated answered"}},
		{"failing 486", []string{"Terminated fail 486 transport", "Terminated fail 486 transport", "", "Terminated answered"}},
	}}
	reliable.covers(t, serverEvents, completed)
	reliable.run(t)
}

func (r *rig) asked(f sip.Flow) *Server {
	r.t.Helper()
	r.Receive(f, newRequest(r.t, sip.OPTIONS, f, "z9hG4bKs"))
	r.want("request OPTIONS")
	return r.requests[len(r.requests)-1]
}

// Over any transport a request that has no response gets a 100 when the client's Timer E
// reaches T2, and no sooner over UDP (RFC 4320 §4.1). No 408 follows (§4.2).
func TestLateTrying(t *testing.T) {
	for _, f := range []sip.Flow{udp, tcp, ws} {
		bubble(t, Config{}, func(r *rig) {
			r.asked(f)
			elapse(time.Minute)
			r.wantTimes("3.5s send 100", "32s tell timeout")
			r.wantEmpty()
		})
		bubble(t, Config{T1: 300 * time.Millisecond, T2: time.Second}, func(r *rig) {
			tx := r.asked(f)
			elapse(2 * time.Second)
			r.wantTimes("900ms send 100")
			r.reply(tx, 200)
		})
		bubble(t, Config{}, func(r *rig) {
			tx := r.asked(f)
			elapse(time.Second)
			r.reply(tx, 200)
			elapse(time.Minute)
			r.wantTimes("1s send 200")
		})
	}
}

func TestUntilT2(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct{ t1, t2, want time.Duration }{
		{500 * ms, 4000 * ms, 3500 * ms},
		{500 * ms, 3000 * ms, 3500 * ms},
		{500 * ms, 500 * ms, 500 * ms},
		{500 * ms, 1000 * ms, 500 * ms},
		{500 * ms, 100 * ms, 500 * ms},
	} {
		if got := untilT2(test.t1, test.t2); got != test.want {
			t.Errorf("%v, %v: got %v, want %v", test.t1, test.t2, got, test.want)
		}
	}
}

// Timer J repeats the response to a repeated request for 64*T1 over UDP, for no time over
// the others.
func TestTimerJ(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		tx := r.asked(udp)
		r.reply(tx, 200)
		first := r.sent()
		elapse(32*time.Second - 1)
		r.Receive(udp, newRequest(t, sip.OPTIONS, udp, "z9hG4bKs"))
		r.want("send 200", "send 200")
		if again := r.sent(); !bytes.Equal(first.b, again.b) || first.flow != again.flow {
			t.Errorf("%q on %v was repeated as %q on %v", first.b, first.flow, again.b, again.flow)
		}
		elapse(1)
		r.wantEmpty()
	})
	for _, f := range []sip.Flow{tcp, ws} {
		bubble(t, Config{}, func(r *rig) {
			tx := r.asked(f)
			r.reply(tx, 200)
			r.wantEmpty()
			if tx.timers.alarm != nil {
				t.Error("an alarm is kept")
			}
		})
	}
}

// A request that is answered with 408 is absorbed, and nothing is ever sent for it.
func TestNo408(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		tx := r.asked(udp)
		r.reply(tx, 408)
		r.Receive(udp, newRequest(t, sip.OPTIONS, udp, "z9hG4bKs"))
		elapse(time.Minute)
		r.want()
	})
}
