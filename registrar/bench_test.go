package registrar

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/transaction"
)

// lastSent is a network that keeps the last message only.
type lastSent struct{ b []byte }

func (n *lastSent) Send(_ sip.Flow, b []byte) error { n.b = b; return nil }
func (n *lastSent) Alive(sip.Flow) bool             { return true }
func (n *lastSent) Probe(sip.Flow, time.Duration)   {}

func (n *lastSent) Dial(context.Context, sip.Server) (sip.Flow, error) {
	return sip.Flow{}, nil
}

// BenchmarkRefresh is a browser's REGISTER that refreshes its binding: parsing, transaction,
// digest, store in memory, response. The message is as JsSIP sends it.
func BenchmarkRefresh(b *testing.B) {
	for _, mode := range []string{"digest", "believed"} {
		b.Run(mode, func(b *testing.B) {
			o := options{reg: Config{Inline: true, AnyUser: true}, auth: auth.Config{FlowCalls: true}}
			if mode == "believed" {
				o.auth.Mode = auth.None
			}
			s := newServer(b, o)
			net := new(lastSent)
			s.reg.flows = net
			s.layer = transaction.New(transaction.Config{}, net, s)
			requests := newRefreshes(b, s, net)
			b.ReportAllocs()
			for b.Loop() {
				raw := requests.next()
				m, err := sip.Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				s.layer.Receive(wsFlow(1), m)
				if len(net.b) < 12 || string(net.b[8:12]) != "200 " {
					b.Fatalf("%s", net.b)
				}
			}
		})
	}
}

// refreshes writes requests a batch at a time, while the clock stands still.
type refreshes struct {
	b         *testing.B
	challenge string
	n         int
	batch     [][]byte
}

func newRefreshes(b *testing.B, s *server, net *lastSent) *refreshes {
	r := &refreshes{b: b, challenge: `nonce="none"`}
	m, err := sip.Parse(r.write())
	if err != nil {
		b.Fatal(err)
	}
	s.layer.Receive(wsFlow(1), m)
	r.challenge = string(net.b)
	if !strings.Contains(r.challenge, "nonce") {
		r.challenge = `nonce="none"`
	}
	return r
}

func (r *refreshes) next() []byte {
	if len(r.batch) == 0 {
		r.b.StopTimer()
		for range 4096 {
			r.batch = append(r.batch, r.write())
		}
		r.b.StartTimer()
	}
	raw := r.batch[0]
	r.batch = r.batch[1:]
	return raw
}

func (r *refreshes) write() []byte {
	r.n++
	return []byte(strings.ReplaceAll(fmt.Sprintf(`REGISTER sip:example.test SIP/2.0
Via: SIP/2.0/WS rsi794v2v1ro.invalid;branch=z9hG4bK%d
Max-Forwards: 69
To: <sip:alice@example.test>
From: <sip:alice@example.test>;tag=6r62cu1p68
Call-ID: ogo1n0g4qp3h7ie30haj7a
CSeq: %d REGISTER
Authorization: %s
Expires: 600
Contact: <sip:ckvi0jeg@rsi794v2v1ro.invalid;transport=ws>;+sip.ice;reg-id=1;+sip.instance="<urn:uuid:a3febd48-29e4-4933-b7a6-1dbe66ee40bb>";expires=600
Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY,SUBSCRIBE
Supported: path,gruu,outbound
User-Agent: JsSIP 3.13.8
Content-Length: 0

`, r.n, r.n, answer(r.challenge, "alice", "secret", r.n)), "\n", "\r\n"))
}
