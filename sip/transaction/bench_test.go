package transaction

import (
	"context"
	"fmt"
	"testing"

	"github.com/sipway/sipway/sip"
)

// sink is a transport that takes everything and a core that answers with what it was given.
type sink struct {
	request func(*Server)
	sent    int
}

func (s *sink) Send(sip.Flow, []byte) error { s.sent++; return nil }

func (s *sink) Dial(context.Context, sip.Server) (sip.Flow, error) {
	return sip.Flow{}, errBroken
}

func (s *sink) Request(tx *Server)         { s.request(tx) }
func (s *sink) Ack(sip.Flow, *sip.Message) {}

type responses struct{ n int }

func (r *responses) Response(*Client, *sip.Message) { r.n++ }
func (r *responses) Error(*Client, error)           {}

// distinct makes n requests that differ in their branch.
func distinct(b *testing.B, n int, method sip.Method, f sip.Flow) []*sip.Message {
	b.Helper()
	list := make([]*sip.Message, n)
	for i := range list {
		list[i] = newRequest(b, method, f, fmt.Sprintf("z9hG4bK%d", i))
	}
	return list
}

// pool is the number of different messages that a benchmark goes round in. Over UDP it ends
// each transaction before its branch comes again.
const pool = 4096

// Server is a whole non-INVITE server transaction: a request that is looked up, given to the
// user, answered with a ready response and, over UDP, kept for Timer J.
func BenchmarkServer(b *testing.B) {
	for _, f := range []sip.Flow{udp, ws} {
		b.Run(f.Transport.Param(), func(b *testing.B) {
			reqs := distinct(b, pool, sip.OPTIONS, f)
			resp := sip.NewResponse(reqs[0], 200, "", "b1")
			var last *Server
			s := &sink{request: func(tx *Server) { last = tx; _ = tx.Respond(resp) }}
			l := New(Config{}, s, s)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				l.Receive(f, reqs[i%pool])
				last.expireNow()
				i++
			}
			if s.sent != i {
				b.Fatalf("sent %d of %d", s.sent, i)
			}
		})
	}
}

// Retransmission is a request that is absorbed.
func BenchmarkRetransmission(b *testing.B) {
	reqs := distinct(b, pool, sip.OPTIONS, udp)
	s := &sink{request: func(tx *Server) { _ = tx.Reply(200, "") }}
	l := New(Config{}, s, s)
	for _, m := range reqs {
		l.Receive(udp, m)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		l.Receive(udp, reqs[i%pool].Clone())
		i++
	}
}

// Invite is a call as it passes a proxy: an INVITE server transaction with its 100, an
// INVITE client transaction, and 180 and 200 back. Making and reading the messages is not
// part of it, but for the 100.
func BenchmarkInvite(b *testing.B) {
	for _, f := range []sip.Flow{udp, ws} {
		b.Run(f.Transport.Param(), func(b *testing.B) {
			in, out := distinct(b, pool, sip.INVITE, f), distinct(b, pool, sip.INVITE, f)
			var ringing, ok []*sip.Message
			for _, m := range out {
				ringing, ok = append(ringing, newResponse(m, 180)), append(ok, newResponse(m, 200))
			}
			var server *Server
			var client *Client
			h := new(responses)
			i := 0
			s := new(sink)
			l := New(Config{}, s, s)
			s.request = func(tx *Server) {
				server = tx
				var err error
				if client, err = l.Request(f, out[i%pool].Clone(), h); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				l.Receive(f, in[i%pool])
				l.Receive(f, ringing[i%pool])
				_ = server.Respond(ringing[i%pool])
				l.Receive(f, ok[i%pool])
				_ = server.Respond(ok[i%pool])
				server.expireNow()
				client.expireNow()
				i++
			}
			if h.n != 2*i || s.sent != 4*i {
				b.Fatalf("%d responses, %d sent in %d calls", h.n, s.sent, i)
			}
		})
	}
}

// expireNow is the lifetime timer, where the transaction has not ended.
func (s *Server) expireNow() {
	if s.now() != terminated {
		s.mu.Lock()
		s.settle(s.machine().timeout())
	}
}

func (c *Client) expireNow() {
	if c.now() != terminated {
		c.mu.Lock()
		c.finish(c.machine().timeout())
	}
}
