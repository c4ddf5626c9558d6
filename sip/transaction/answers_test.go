package transaction

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

// Each of many answers is repeated to its own request until its own time is over, and the
// memory is let go.
func TestAnswersOfMany(t *testing.T) {
	const n = 2000
	branch := func(i int) string { return fmt.Sprintf("z9hG4bK%d", i) }
	bubble(t, Config{}, func(r *rig) {
		for i := range n {
			r.Receive(udp, newRequest(t, sip.INFO, udp, branch(i)))
			r.reply(r.requests[i], 200+i%400)
			if i == n/2-1 {
				elapse(10 * time.Second)
			}
		}
		r.taken()
		for i := range n {
			r.Receive(udp, newRequest(t, sip.INFO, udp, branch(i)))
			switch status := 200 + i%400; {
			case status == 408:
				r.want()
			default:
				r.want(fmt.Sprintf("send %d", status))
			}
		}
		if got := r.Stats().Servers; got != n {
			t.Errorf("%d transactions, want %d", got, n)
		}
		elapse(22 * time.Second)
		if got := r.Stats().Servers; got != n/2 {
			t.Errorf("after 32 s of the first half: %d transactions, want %d", got, n/2)
		}
		r.Receive(udp, newRequest(t, sip.INFO, udp, branch(0))) // a new one
		r.want("request INFO")
		r.Receive(udp, newRequest(t, sip.INFO, udp, branch(n-1)))
		if got := r.taken(); len(got) != 1 || !strings.HasPrefix(got[0], "send ") {
			t.Errorf("of the second half: %q", got)
		}
		r.reply(r.requests[n], 200)
	})
}

// The answer goes to a request that is matched by what RFC 3261 §17.2.3 names and by its
// source, and to no other.
func TestAnswersMatch(t *testing.T) {
	other := udp
	other.Remote = netip.MustParseAddrPort("192.0.2.2:5070")
	port := udp
	port.Remote = netip.MustParseAddrPort("192.0.2.1:9999") // a NAT has changed it
	for _, test := range []struct {
		name   string
		flow   sip.Flow
		method sip.Method
		branch string
		edit   []string
		again  bool
	}{
		{name: "same", flow: udp, method: sip.INFO, branch: "z9hG4bKs", again: true},
		{name: "another port of the source", flow: port, method: sip.INFO, branch: "z9hG4bKs", again: true},
		{name: "another source", flow: other, method: sip.INFO, branch: "z9hG4bKs"},
		{name: "another method", flow: udp, method: sip.OPTIONS, branch: "z9hG4bKs"},
		{name: "another branch", flow: udp, method: sip.INFO, branch: "z9hG4bKt"},
		{name: "another sent-by", flow: udp, method: sip.INFO, branch: "z9hG4bKs", edit: []string{"192.0.2.1:5070", "192.0.2.1:5071"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				r.Receive(udp, newRequest(t, sip.INFO, udp, "z9hG4bKs"))
				r.reply(r.requests[0], 200)
				r.taken()
				first := r.hash.request(udp, newRequest(t, sip.INFO, udp, "z9hG4bKs"), sip.INFO, "")
				m := variant(t, test.method, test.flow, test.branch, test.edit...)
				collides := r.hash.request(test.flow, m, test.method, "")
				collides.hash = first.hash
				if _, _, ok := r.answers.find(&collides); ok != test.again {
					t.Errorf("with the same hash: %v", ok)
				}
				r.Receive(test.flow, m)
				if test.again {
					r.want("send 200")
					return
				}
				r.want("request " + string(test.method))
				r.reply(r.requests[1], 200)
			})
		})
	}
}

// An answer's time is over at its end, though its memory goes with that of others.
func TestAnswersEnd(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.onUser = func(tx *Server) { r.reply(tx, 200) }
		r.Receive(udp, newRequest(t, sip.INFO, udp, "z9hG4bKs"))
		for i := range 10 * answerShards { // in all shards
			elapse(time.Millisecond)
			r.Receive(udp, newRequest(t, sip.INFO, udp, fmt.Sprintf("z9hG4bK%d", i)))
		}
		elapse(32*time.Second - 1)
		r.taken()
		r.Receive(udp, newRequest(t, sip.INFO, udp, fmt.Sprintf("z9hG4bK%d", 10*answerShards-1)))
		r.want("send 200")
		elapse(1)
		r.Receive(udp, newRequest(t, sip.INFO, udp, fmt.Sprintf("z9hG4bK%d", 10*answerShards-1)))
		r.want("request INFO", "send 200")
	})
}

// What an answer can't be kept of as bytes, or only by too many of them, its transaction
// keeps itself.
func TestNotKept(t *testing.T) {
	zoned := udp
	zoned.Remote = netip.MustParseAddrPort("[fe80::1%eth0]:5070")
	for _, test := range []struct {
		name string
		flow sip.Flow
		body int
	}{
		{"zone", zoned, 0},
		{"large", udp, blockSize},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				r.Receive(test.flow, newRequest(t, sip.INFO, test.flow, "z9hG4bKs"))
				resp := r.requests[0].NewResponse(200, "")
				resp.SetBody("text/plain", make([]byte, test.body))
				if err := r.requests[0].Respond(resp); err != nil {
					t.Fatal(err)
				}
				if got := r.requests[0].now(); got != completed {
					t.Errorf("in %v", got)
				}
				r.Receive(test.flow, newRequest(t, sip.INFO, test.flow, "z9hG4bKs"))
				r.want("request INFO", "send 200", "send 200")
			})
		})
	}
}

// A request of which two copies come at once is given to the user once, even if the first
// has been answered by the time the second is filed.
func TestAnsweredMeanwhile(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		m := newRequest(t, sip.INFO, udp, "z9hG4bKs")
		r.Receive(udp, m)
		r.reply(r.requests[0], 200)
		r.taken()
		late := r.hash.request(udp, newRequest(t, sip.INFO, udp, "z9hG4bKs"), sip.INFO, "")
		r.open(late) // as if it had looked for an answer before there was one
		r.want("send 200")
	})
}
