package transaction

import (
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

// RFC 3261 §17.1.2, figure 6.
func TestNonInviteClient(t *testing.T) {
	states := []state{trying, proceeding, completed, terminated}
	unreliable := machineTest{flow: udp, states: states, reach: reachClient(sip.OPTIONS, udp), rows: []row{
		{"180", []string{"Proceeding tell 180", "Proceeding tell 180", "-", "-"}},
		{"200", []string{"Completed tell 200", "Completed tell 200", "-", "-"}},
		{"486", []string{"Completed tell 486", "Completed tell 486", "-", "-"}},
		{"retransmission timer", []string{"Trying send OPTIONS", "Proceeding send OPTIONS", "-", "-"}},
		{"lifetime timer", []string{"Terminated tell timeout", "Terminated tell timeout", "Terminated", "-"}},
		{"transport error", []string{"Terminated tell transport", "Terminated tell transport", "-", "-"}},
		{"cancel", []string{"-", "-", "-", "-"}},
	}}
	unreliable.covers(t, clientEvents)
	unreliable.run(t)
	for _, f := range []sip.Flow{tcp, ws} {
		reliable := machineTest{flow: f, states: states, reach: reachClient(sip.OPTIONS, f), rows: []row{
			{"180", []string{"Proceeding tell 180", "Proceeding tell 180", "", "-"}},
			{"200", []string{"Terminated tell 200", "Terminated tell 200", "", "-"}},
			{"486", []string{"Terminated tell 486", "Terminated tell 486", "", "-"}},
			{"retransmission timer", []string{"-", "-", "", "-"}}, // it never runs
			{"lifetime timer", []string{"Terminated tell timeout", "Terminated tell timeout", "", "-"}},
			{"transport error", []string{"Terminated tell transport", "Terminated tell transport", "", "-"}},
			{"cancel", []string{"-", "-", "", "-"}},
		}}
		reliable.covers(t, clientEvents, completed)
		reliable.run(t)
	}
}

func (r *rig) ask(f sip.Flow, method sip.Method, branch string) *sip.Message {
	r.t.Helper()
	req := newRequest(r.t, method, f, branch)
	if _, err := r.Layer.Request(f, req, clientRecorder{r}); err != nil {
		r.t.Fatal(err)
	}
	return req
}

func TestTimersEF(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.ask(udp, sip.OPTIONS, "z9hG4bKask")
		elapse(time.Minute)
		r.wantTimes("0s send OPTIONS", "500ms send OPTIONS", "1.5s send OPTIONS", "3.5s send OPTIONS",
			"7.5s send OPTIONS", "11.5s send OPTIONS", "15.5s send OPTIONS", "19.5s send OPTIONS",
			"23.5s send OPTIONS", "27.5s send OPTIONS", "31.5s send OPTIONS", "32s tell timeout")
		r.wantEmpty()
	})
	bubble(t, Config{}, func(r *rig) {
		r.ask(tcp, sip.OPTIONS, "z9hG4bKask")
		elapse(time.Minute)
		r.wantTimes("0s send OPTIONS", "32s tell timeout")
	})
}

// In Proceeding Timer E goes on, at T2 once it has fired; Timer F is not put off (RFC 3261
// §17.1.2.2).
func TestTimersEFInProceeding(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		req := r.ask(udp, sip.OPTIONS, "z9hG4bKask")
		elapse(600 * time.Millisecond)
		r.Receive(udp, newResponse(req, 100))
		elapse(time.Minute)
		r.wantTimes("0s send OPTIONS", "500ms send OPTIONS", "600ms tell 100", "1.5s send OPTIONS",
			"5.5s send OPTIONS", "9.5s send OPTIONS", "13.5s send OPTIONS", "17.5s send OPTIONS",
			"21.5s send OPTIONS", "25.5s send OPTIONS", "29.5s send OPTIONS", "32s tell timeout")
	})
	bubble(t, Config{T1: 300 * time.Millisecond, T2: time.Second}, func(r *rig) {
		r.ask(udp, sip.OPTIONS, "z9hG4bKask")
		elapse(4 * time.Second)
		r.wantTimes("0s send OPTIONS", "300ms send OPTIONS", "900ms send OPTIONS",
			"1.9s send OPTIONS", "2.9s send OPTIONS", "3.9s send OPTIONS")
	})
}

// Timer K absorbs repeated responses for T4 over UDP, and for no time over the others.
func TestTimerK(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		req := r.ask(udp, sip.OPTIONS, "z9hG4bKask")
		r.Receive(udp, newResponse(req, 200))
		elapse(5*time.Second - 1)
		r.Receive(udp, newResponse(req, 200))
		r.want("send OPTIONS", "tell 200")
		if s := r.Stats(); s.Clients != 1 || s.Strays != 0 {
			t.Errorf("%+v", s)
		}
		elapse(1)
		r.wantEmpty()
	})
	for _, f := range []sip.Flow{tcp, ws} {
		bubble(t, Config{}, func(r *rig) {
			req := r.ask(f, sip.OPTIONS, "z9hG4bKask")
			r.Receive(f, newResponse(req, 200))
			r.wantEmpty()
		})
	}
}

// RFC 3261 §17.1.3: branch and CSeq method make the match, nothing else does.
func TestMatchResponses(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		invite := r.ask(udp, sip.INVITE, "z9hG4bKx")
		bye := r.ask(udp, sip.BYE, "z9hG4bKx")
		r.taken()
		r.Receive(udp, newResponse(newRequest(t, sip.INVITE, udp, "z9hG4bKy"), 180))
		r.Receive(udp, newResponse(newRequest(t, sip.INFO, udp, "z9hG4bKx"), 180))
		r.want()
		elsewhere := udp
		elsewhere.Remote = here
		r.Receive(elsewhere, newResponse(bye, 200))
		r.want("tell 200")
		r.Receive(tcp, newResponse(invite, 486))
		r.want("send ACK", "tell 486")
		if n := r.Stats().Strays; n != 2 {
			t.Errorf("%d strays", n)
		}
	})
	c := &Client{branch: "z9hG4bKx", method: sip.BYE}
	for _, test := range []struct {
		branch string
		method sip.Method
		want   bool
	}{
		{"z9hG4bKx", sip.BYE, true},
		{"z9hG4bKX", sip.BYE, false},
		{"z9hG4bKx", sip.INVITE, false},
	} {
		if got := c.matches(test.branch, test.method); got != test.want {
			t.Errorf("%s %s: %v", test.branch, test.method, got)
		}
	}
}

func TestRequestRefusesBranch(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		req := r.ask(udp, sip.OPTIONS, "z9hG4bKask")
		r.taken()
		for _, m := range []*sip.Message{
			req,
			newRequest(t, sip.OPTIONS, udp, "z9hG4bK"),
			newRequest(t, sip.OPTIONS, udp, "77"),
			newRequest(t, sip.ACK, udp, "z9hG4bKother"),
			sip.NewRequest(sip.OPTIONS, "sip:bob@example.test"),
		} {
			if c, err := r.Layer.Request(udp, m, nil); err != ErrBranch || c != nil {
				t.Errorf("%v, %v for %s", c, err, m)
			}
		}
		r.want()
	})
}
