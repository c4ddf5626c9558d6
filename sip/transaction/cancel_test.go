package transaction

import (
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

// RFC 3261 §9.1.
func TestCancelRequest(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		c, req := r.call(udp)
		r.Receive(udp, newResponse(req, 180))
		c.Cancel(`SIP;cause=200;text="Call completed elsewhere"`)
		const want = `CANCEL sip:bob@example.test SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKcall;received=192.0.2.1;rport=5070
Max-Forwards: 70
Route: <sip:198.51.100.1;lr>, <sip:198.51.100.2;lr>
Route: <sip:198.51.100.3;lr>
From: "Alice" <sip:alice@example.test>;tag=a1
To: <sip:bob@example.test>
Call-ID: call-1
CSeq: 42 CANCEL
Content-Length: 0
Reason: SIP;cause=200;text="Call completed elsewhere"
`
		p := r.sent()
		if p.flow != udp {
			t.Errorf("sent on %v", p.flow)
		}
		cancel := p.m.Clone()
		compare(t, p.m, parse(t, want))
		r.Receive(udp, newResponse(cancel, 200))
		r.Receive(udp, newResponse(req, 487))
		r.want("send INVITE", "tell 180", "send CANCEL", "send ACK", "tell 487")
	})
}

// A CANCEL waits for a provisional response; a final one makes it needless.
func TestCancelWaits(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		c, req := r.call(tcp)
		c.Cancel("")
		c.Cancel("again")
		elapse(time.Second)
		r.want("send INVITE")
		r.Receive(tcp, newResponse(req, 100))
		r.Receive(tcp, newResponse(req, 180))
		c.Cancel("again")
		r.want("send CANCEL", "tell 100", "tell 180")
		if r.sent().m.Has(sip.HReason) {
			t.Errorf("sent %s", r.sent().m)
		}
		r.Receive(tcp, newResponse(req, 487))
		r.want("send ACK", "tell 487")
	})
	bubble(t, Config{}, func(r *rig) {
		c, req := r.call(tcp)
		c.Cancel("")
		r.Receive(tcp, newResponse(req, 200))
		r.want("send INVITE", "tell 200")
	})
}

// A CANCEL is a transaction of its own, repeated over UDP; where no final response comes
// within 64*T1 of it, the INVITE is taken for cancelled.
func TestCancelWithoutAnswer(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		c, req := r.call(udp)
		r.Receive(udp, newResponse(req, 180))
		elapse(10 * time.Second)
		c.Cancel("")
		r.Receive(udp, newResponse(r.sent().m, 200))
		elapse(32*time.Second - 1)
		r.Receive(udp, newResponse(req, 180))
		elapse(time.Minute)
		r.wantTimes("0s send INVITE", "0s tell 180", "10s send CANCEL", "41.999999999s tell 180", "42s tell timeout")
	})
	bubble(t, Config{}, func(r *rig) {
		c, req := r.call(tcp)
		c.Cancel("")
		elapse(10 * time.Second)
		r.Receive(tcp, newResponse(req, 100))
		r.Receive(tcp, newResponse(r.sent().m, 200))
		elapse(time.Minute)
		r.wantTimes("0s send INVITE", "10s send CANCEL", "10s tell 100", "42s tell timeout")
	})
	bubble(t, Config{}, func(r *rig) {
		c, req := r.call(udp)
		r.Receive(udp, newResponse(req, 180))
		c.Cancel("")
		elapse(4 * time.Second)
		r.wantTimes("0s send INVITE", "0s tell 180", "0s send CANCEL", "500ms send CANCEL",
			"1.5s send CANCEL", "3.5s send CANCEL")
		r.Receive(udp, newResponse(req, 487))
	})
}

// The layer answers a CANCEL with 200 and passes it on once, while there is no final
// response; its To tag is that of the INVITE's 487 (RFC 3261 §9.2).
func TestReceiveCancel(t *testing.T) {
	for _, f := range []sip.Flow{udp, tcp, ws} {
		for _, branch := range []string{"z9hG4bKs", "1"} {
			bubble(t, Config{}, func(r *rig) {
				r.Receive(f, newRequest(t, sip.INVITE, f, branch))
				tx := r.requests[0]
				r.reply(tx, 180)
				r.Receive(f, newRequest(t, sip.CANCEL, f, branch))
				answer := r.sent().m
				r.Receive(f, newRequest(t, sip.CANCEL, f, branch))
				r.want("request INVITE", "send 100", "send 180", "send 200", "tell CANCEL", "send 200")
				r.reply(tx, 487)
				if m := r.sent().m; m.ToTag() != answer.ToTag() || m.ToTag() == "" {
					t.Errorf("To tags %q and %q", m.ToTag(), answer.ToTag())
				}
				if cseq := answer.CSeq(); cseq.Method != sip.CANCEL || cseq.Seq != 42 {
					t.Errorf("CSeq %v", cseq)
				}
			})
		}
	}
}

// After a final response a CANCEL is answered and has no effect.
func TestCancelTooLate(t *testing.T) {
	for _, status := range []int{200, 486} {
		bubble(t, Config{}, func(r *rig) {
			r.invited(ws, status)
			r.Receive(ws, newRequest(t, sip.CANCEL, ws, "z9hG4bKs"))
			r.want("send 200")
		})
	}
}

func TestCancelOfNothing(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.Receive(udp, newRequest(t, sip.CANCEL, udp, "z9hG4bKs"))
		first := r.sent().m
		r.Receive(udp, newRequest(t, sip.CANCEL, udp, "z9hG4bKs"))
		r.want("send 481", "send 481")
		if tag := first.ToTag(); tag == "" || tag != r.sent().m.ToTag() {
			t.Errorf("To tags %q and %q (RFC 3261 §8.2.7)", tag, r.sent().m.ToTag())
		}
		r.wantEmpty()
	})
	// From another connection than the INVITE came by.
	bubble(t, Config{}, func(r *rig) {
		r.Receive(ws, newRequest(t, sip.INVITE, ws, "z9hG4bKs"))
		r.taken()
		elsewhere := ws
		elsewhere.ID++
		r.Receive(elsewhere, newRequest(t, sip.CANCEL, elsewhere, "z9hG4bKs"))
		r.want("send 481")
		r.reply(r.requests[0], 486)
	})
}

// What comes while the user is still looking at the request, or before it has set a handler,
// is told afterwards.
func TestCancelBeforeHandler(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.onUser = func(tx *Server) {
			r.Receive(ws, newRequest(t, sip.CANCEL, ws, "z9hG4bKs"))
			r.note("user returns")
		}
		r.Receive(ws, newRequest(t, sip.INVITE, ws, "z9hG4bKs"))
		r.want("request INVITE", "send 200", "user returns", "send 100", "tell CANCEL")
		r.reply(r.requests[0], 487)
	})
	bubble(t, Config{}, func(r *rig) {
		r.onUser = func(tx *Server) { tx.Handle(nil) }
		r.Receive(ws, newRequest(t, sip.INVITE, ws, "z9hG4bKs"))
		r.Receive(ws, newRequest(t, sip.CANCEL, ws, "z9hG4bKs"))
		r.Closed(ws, errBroken)
		r.want("request INVITE", "send 100", "send 200")
		r.requests[0].Handle(serverRecorder{r})
		r.want("tell CANCEL", "tell transport")
		r.reply(r.requests[0], 487)
	})
}
