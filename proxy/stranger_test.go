package proxy

import (
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// A stranger does not learn which names are users', nor which of them are here: by no answer
// but the ringing of a phone.
func TestStrangersLearnNoNames(t *testing.T) {
	for _, cold := range []bool{false, true} {
		for _, method := range []string{"INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "FROBNICATE"} {
			t.Run(method, func(t *testing.T) {
				run(t, func(w *world) {
					w.cold = cold
					w.bind("bob", "sip:bob@b.invalid", bobWS)
					var unknown []sip.Flow
					w.proxy.Unknown = func(f sip.Flow) { unknown = append(unknown, f) }
					users := []string{"nobody", "carol"} // of whom carol exists
					if method == "OPTIONS" {
						users = append(users, "bob")
					}
					var answers []string
					for _, user := range users {
						w.receive(stranger, newRequest(method, "sip:"+user+"@example.test", "eve@evil.test", viaStranger))
						answer := string(w.next(stranger, "SIP/2.0 480").Bytes())
						answer, _, _ = strings.Cut(answer, "\r\n")
						answers = append(answers, answer)
					}
					for _, a := range answers {
						if a != answers[0] {
							t.Errorf("%q", answers)
						}
					}
					w.expectNothing()
					if len(unknown) != 1 || unknown[0] != stranger {
						t.Errorf("heard of %v", unknown)
					}
				})
			})
		}
	}
}
