//go:build race

package transaction

import (
	"context"
	"net/netip"
	"testing"

	"github.com/sipway/sipway/sip"
)

// Under the race detector a message shows that it was released.
func released(m *sip.Message) bool { return m.CallID() == "released" }

// The request is released when both have done with it, whoever is the first: the transaction,
// which then has sent the final response, and its user.
func TestRequestIsReleased(t *testing.T) {
	for _, method := range []sip.Method{sip.INVITE, sip.INFO} {
		for _, userFirst := range []bool{true, false} {
			bubble(t, Config{}, func(r *rig) {
				m := newRequest(t, method, udp, "z9hG4bKs")
				r.Receive(udp, m)
				tx := r.requests[0]
				steps := []func(){func() { tx.Release(m) }, func() { r.reply(tx, 200) }}
				if !userFirst {
					steps[0], steps[1] = steps[1], steps[0]
				}
				steps[0]()
				if released(m) {
					t.Errorf("%s, user first %v: released too soon", method, userFirst)
				}
				steps[1]()
				if !released(m) {
					t.Errorf("%s, user first %v: not released", method, userFirst)
				}
			})
		}
	}
}

// A request of RFC 2543 is kept as long as its retransmissions are told by it.
func TestLegacyRequestIsKept(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		m := newRequest(t, sip.INVITE, udp, "1")
		r.Receive(udp, m)
		r.requests[0].Release(m)
		r.reply(r.requests[0], 200)
		if released(m) {
			t.Error("released")
		}
		r.Receive(udp, newRequest(t, sip.INVITE, udp, "1"))
		r.want("request INVITE", "send 100", "send 200")
	})
}

// What the layer takes and gives to nobody is released, and an INVITE of ours as soon as
// neither an ACK nor a CANCEL can be made of it.
func TestAbsorbedIsReleased(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.Receive(udp, newRequest(t, sip.INVITE, udp, "z9hG4bKs"))
		again := newRequest(t, sip.INVITE, udp, "z9hG4bKs")
		r.Receive(udp, again)
		r.reply(r.requests[0], 486)
		ack := newRequest(t, sip.ACK, udp, "z9hG4bKs")
		r.Receive(udp, ack)
		stray := newResponse(newRequest(t, sip.INFO, udp, "z9hG4bKx"), 200)
		r.Receive(udp, stray)
		for i, m := range []*sip.Message{again, ack, stray} {
			if !released(m) {
				t.Errorf("message %d is not released", i)
			}
		}
		for _, status := range []int{200, 486} {
			invite := newRequest(t, sip.INVITE, ws, "z9hG4bKc")
			ringing, final := newResponse(invite, 180), newResponse(invite, status)
			if _, err := r.Layer.Request(ws, invite, clientRecorder{r}); err != nil {
				t.Fatal(err)
			}
			r.Receive(ws, ringing)
			if released(invite) {
				t.Errorf("%d: released while it rings", status)
			}
			r.Receive(ws, final)
			if !released(invite) {
				t.Errorf("%d: not released", status)
			}
			elapse(r.periods.timeout)
		}
	})
}

// What a request is matched by, and where its sender can be called, is known after it was
// released.
func TestReleasedRequestIsKnown(t *testing.T) {
	odd := udp // which is no address that answers would keep
	odd.Remote = netip.MustParseAddrPort("[fe80::1%eth0]:5070")
	bubble(t, Config{}, func(r *rig) {
		m := newRequest(t, sip.INFO, odd, "z9hG4bKs")
		r.Receive(odd, m)
		r.requests[0].Release(m)
		r.reply(r.requests[0], 200)
		r.Receive(odd, newRequest(t, sip.INFO, odd, "z9hG4bKs"))
		r.want("request INFO", "send 200", "send 200")
		elapse(r.periods.timeout)
	})
	asked := ""
	cfg := Config{Elsewhere: func(_ sip.Flow, host string, _ uint16) func(context.Context) (sip.Server, error) {
		asked = host
		return nil
	}}
	bubble(t, cfg, func(r *rig) {
		r.dial = func(context.Context, sip.Transport, netip.AddrPort) (sip.Flow, error) { return sip.Flow{}, errBroken }
		m := newRequest(t, sip.INFO, tcp, "z9hG4bKs")
		r.Receive(tcp, m)
		r.requests[0].Release(m)
		r.breaks(tcp)
		r.taken()
		r.reply(r.requests[0], 200)
		elapse(0)
		if !released(m) || asked != "192.0.2.1" {
			t.Errorf("released: %v, asked for %q", released(m), asked)
		}
	})
}
