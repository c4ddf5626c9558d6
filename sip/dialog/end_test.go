package dialog

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Two phones answer, and the caller ends one of the two calls that he has: the callee is who he
// goes on to talk to.
func TestTwoAnswers(t *testing.T) {
	for name, c := range map[string]struct{ ends, other, agent string }{
		"the second answer": {"c", "b", "desk"},
		"the first answer":  {"b", "c", "registered too"},
	} {
		t.Run(name, func(t *testing.T) {
			var ended []Record
			calls := New(Config{Ended: func(c *Call) { ended = append(ended, c.Record()) }})
			r := answered(t, calls, "1")
			flows := map[string]Party{"b": {Flow: bobFlow}, "c": {Flow: bobFlow}}
			second := flows["c"]
			second.Flow.ID, second.UserAgent = 3, "registered too"
			flows["c"] = second
			r.Response(r.Sent("sip:c@x.invalid", second), message(t, okLine, "1", "a", ";tag=c", "", ""))
			hangUp := func(tag string) {
				bye := calls.Within(message(t, byeLine, "1", "a", ";tag="+tag, "", ""), aliceFlow)
				bye.Sent("sip:"+tag+"@x.invalid", flows[tag])
				bye.Response(-1, message(t, okLine, "1", "a", ";tag="+tag, "", ""))
			}
			hangUp(c.ends)
			if len(ended) != 0 {
				t.Fatal("the call has ended with one of its dialogs")
			}
			if callee := calls.Find("1")[0].Callee; callee.UserAgent != c.agent || callee.Flow != flows[c.other].Flow {
				t.Errorf("the callee is %+v", callee)
			}
			hangUp(c.other)
			if len(ended) != 1 || ended[0].Callee.Flow != flows[c.other].Flow || ended[0].Cause != HungUp {
				t.Errorf("%+v", ended)
			}
		})
	}
}

// A call has ended when somebody hung up, not when the other side has answered or failed to
// (RFC 3261 §15.1.1); and who hung up is who did so first.
func TestHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []Record
		calls := New(Config{Ended: func(c *Call) { ended = append(ended, c.Record()) }})
		answered(t, calls, "1")
		<-time.After(time.Minute)
		bye := calls.Within(message(t, byeLine, "1", "a", ";tag=b", "Reason: SIP;cause=200\r\n", ""), aliceFlow)
		<-time.After(time.Second)
		other := calls.Within(message(t, byeLine, "1", "b", ";tag=a", "", ""), bobFlow)
		<-time.After(31 * time.Second)
		bye.Failed(408, "")
		other.Failed(481, "")
		if len(ended) != 1 {
			t.Fatalf("%d calls have ended", len(ended))
		}
		if e := ended[0]; e.Duration(time.Now()).Round(time.Millisecond) != time.Minute || e.Cause != HungUp || e.By != ByCaller || e.Reason != "SIP;cause=200" {
			t.Errorf("%v, %v by %v for %q", e.Duration(time.Now()), e.Cause, e.By, e.Reason)
		}
	})
}

// The caller gives up with a BYE in each early dialog, as he may (RFC 3261 §15).
func TestEarlyBye(t *testing.T) {
	var ended []Record
	calls := New(Config{Ended: func(c *Call) { ended = append(ended, c.Record()) }})
	r := begin(t, calls, "1")
	leg := r.Sent("sip:b@x.invalid", Party{Flow: bobFlow})
	r.Response(leg, message(t, ringLine, "1", "a", ";tag=b", "", ""))
	hangUp(t, calls, "1")
	if len(ended) != 0 {
		t.Fatal("the INVITE has no final response yet, and its call has ended")
	}
	r.Leg(leg, 487, false)
	r.Failed(487, "Request Terminated")
	if len(ended) != 1 || ended[0].Cause != Cancelled || ended[0].By != ByCaller || ended[0].Status != 487 {
		t.Errorf("%+v", ended)
	}
}

// What a CANCEL says that came too late is no reason of what follows.
func TestLateCancel(t *testing.T) {
	for name, cancel := range map[string]func(calls *Calls) Request{
		"before the 200": func(calls *Calls) Request {
			r := begin(t, calls, "1")
			r.Cancel("SIP;cause=487")
			r.Response(r.Sent("sip:b@x.invalid", Party{Flow: bobFlow}), message(t, okLine, "1", "a", ";tag=b", "", ""))
			return r
		},
		"after it": func(calls *Calls) Request {
			r := answered(t, calls, "1")
			r.Cancel("SIP;cause=487")
			return r
		},
	} {
		calls := New(Config{})
		if cancel(calls); calls.Find("1")[0].Reason != "" {
			t.Errorf("%s: %q", name, calls.Find("1")[0].Reason)
		}
	}
}

// However many phones ring, the call is that of the one that answers, and ends with all of its
// dialogs.
func TestManyRing(t *testing.T) {
	var ended []Record
	calls := New(Config{Ended: func(c *Call) { ended = append(ended, c.Record()) }})
	r := begin(t, calls, "1")
	const phones = 2 * maxDialogs
	for i := range phones {
		flow := bobFlow
		flow.ID = uint64(10 + i)
		leg := r.Sent("sip:b@x.invalid", Party{Flow: flow})
		r.Response(leg, message(t, ringLine, "1", "a", fmt.Sprint(";tag=", i), "", ""))
		if i == phones-1 {
			r.Response(leg, message(t, okLine, "1", "a", fmt.Sprint(";tag=", i), "", ""))
		}
	}
	rec := calls.Find("1")[0]
	if rec.State != Confirmed || rec.Callee.Flow.ID != 10+phones-1 {
		t.Errorf("%v with %v", rec.State, rec.Callee.Flow)
	}
	to := fmt.Sprint(";tag=", phones-1)
	calls.Within(message(t, byeLine, "1", "a", to, "", ""), aliceFlow).Response(-1, message(t, okLine, "1", "a", to, "", ""))
	if len(ended) != 1 {
		t.Fatal("the call has not ended")
	}
	for _, d := range ended[0].Dialogs {
		if d.State != Ended {
			t.Errorf("the dialog with %s is %v", d.CalleeTag, d.State)
		}
	}
}
