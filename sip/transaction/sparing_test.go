package transaction

import (
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

// RFC 3261 §26.3.2.4: who has proven nothing is sent one answer for one INVITE, over UDP too.
func TestSparing(t *testing.T) {
	tests := []struct {
		name     string
		statuses []int
		want     []string
	}{
		{"first response", []int{407}, []string{"0s request INVITE", "0s send 407", "10s send 407", "32s tell timeout"}},
		{"after a provisional one", []int{180, 486}, []string{
			"0s request INVITE", "0s send 180", "0s send 486", "500ms send 486", "1.5s send 486", "3.5s send 486", "7.5s send 486",
			"10s send 486", "11.5s send 486", "15.5s send 486", "19.5s send 486", "23.5s send 486", "27.5s send 486", "31.5s send 486", "32s tell timeout",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				r.onUser = func(tx *Server) {
					tx.Sparing(true)
					for _, status := range test.statuses {
						tx.Reply(status, "")
					}
				}
				r.Receive(udp, newRequest(t, sip.INVITE, udp, "z9hG4bKs"))
				<-time.After(10 * time.Second)
				r.Receive(udp, newRequest(t, sip.INVITE, udp, "z9hG4bKs"))
				<-time.After(time.Minute)
				r.wantTimes(test.want...)
			})
		})
	}
}
