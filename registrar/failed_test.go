package registrar

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// RFC 5626 §11.5: a binding whose edge proxy has lost the flow is not found any more, until
// its client registers anew; another flow of the client is.
func TestFlowFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inline(t)
		ctx, cancel := context.WithCancel(t.Context())
		go s.reg.Run(ctx)
		u := s.subscriber(9)
		u.expect("0 full init")
		bind := func(regID, contact string) {
			s.send(udpFlow, regText("Supported: path, outbound", "Via: SIP/2.0/UDP edge;branch=z9hG4bK"+regID, "Path: <sip:edge;lr;ob>",
				"Call-ID: "+regID, `Contact: <sip:`+contact+`>;reg-id=`+regID+`;+sip.instance="<urn:i>"`))
			<-time.After(time.Second)
		}
		want := func(contacts ...string) {
			t.Helper()
			if got := s.lookup(alice); !slices.Equal(got, contacts) {
				t.Errorf("%q, want %q", got, contacts)
			}
		}
		bind("1", "a@one.invalid")
		bind("2", "a@two.invalid")
		u.expect("1 partial active, a@one.invalid active registered")
		u.expect("2 partial active, a@two.invalid active registered")
		bindings, _ := s.reg.Lookup(alice)
		s.reg.FlowFailed(&bindings[0])
		s.reg.FlowFailed(&bindings[0])
		want("sip:a@two.invalid")
		u.expect("3 partial active, a@one.invalid terminated deactivated")
		bind("1", "a@one.invalid")
		want("sip:a@one.invalid", "sip:a@two.invalid")
		s.reg.FlowFailed(&bindings[0]) // late news of the flow before
		want("sip:a@one.invalid", "sip:a@two.invalid")
		s.send(udpFlow, regText("Call-ID: direct", "Contact: <sip:d@h>"))
		bindings, _ = s.reg.Lookup(alice)
		s.reg.FlowFailed(&bindings[2]) // it said so itself
		want("sip:a@one.invalid", "sip:a@two.invalid", "sip:d@h")
		<-time.After(time.Hour)
		if n := len(s.reg.failed.set); n != 0 {
			t.Errorf("%d failed flows are kept after their expiry", n)
		}
		s.notifier.Close()
		cancel()
		<-time.After(time.Minute)
	})
}
