package proxy

import (
	"bytes"
	"context"
	"net/netip"
	"strconv"
	"testing"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/sip/transaction"
)

// benchWorld is a world that keeps the last message only, and for which every flow is open.
type benchWorld struct {
	world
	last map[sip.Flow][]byte
}

func (w *benchWorld) Send(f sip.Flow, b []byte) error { w.last[f] = b; return nil }
func (w *benchWorld) Alive(sip.Flow) bool             { return true }
func (w *benchWorld) ProbeSilent(sip.Flow)            {}

func (w *benchWorld) Dial(context.Context, sip.Server) (sip.Flow, error) {
	panic("a benchmark dials")
}

// BenchmarkCall is a whole call through parser, transactions and proxy, without sockets:
// INVITE, 180, 200, ACK, BYE, 200.
func BenchmarkCall(b *testing.B) {
	for _, bc := range []struct {
		name     string
		from, to sip.Flow
		contact  string
	}{
		{"udp-udp", daveUDP, sip.Flow{Transport: sip.UDP, Local: addr(5060), Remote: netip.MustParseAddrPort("192.0.2.8:5060")}, "sip:bob@192.0.2.8:5060"},
		{"ws-ws", aliceWS, bobWS, "sip:x@b.invalid;transport=ws"},
	} {
		b.Run(bc.name, func(b *testing.B) { benchmarkCall(b, bc.from, bc.to, bc.contact) })
	}
}

func benchmarkCall(b *testing.B, from, to sip.Flow, contact string) {
	w := &benchWorld{world: *newWorldFor(b), last: make(map[sip.Flow][]byte)}
	w.proxy.Network = w
	w.layer = transaction.New(transaction.Config{}, w, w)
	w.proxy.Transactions = w.layer
	w.proxy.Calls = dialog.New(dialog.Config{})
	w.auth.Bind(from, "alice@example.test", farFuture())
	w.bind("bob", contact, to)
	sdp := bytes.Repeat([]byte("a=rtpmap:0 PCMU/8000\r\n"), 12)
	peer := benchPeer{w: w, from: from, to: to, sdp: sdp, contact: contact}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		peer.call(b, strconv.Itoa(i))
	}
}

type benchPeer struct {
	w        *benchWorld
	from, to sip.Flow
	sdp      []byte
	contact  string
}

func (p *benchPeer) receive(b *testing.B, f sip.Flow, raw []byte) {
	m, err := sip.Parse(raw)
	if err != nil {
		b.Fatal(err)
	}
	if m.IsRequest() {
		m.SetReceived(f.Remote)
	}
	p.w.layer.Receive(f, m)
}

func (p *benchPeer) request(method, uri, id, to, extra string, body []byte) []byte {
	var m bytes.Buffer
	m.WriteString(method + " " + uri + " SIP/2.0\r\nVia: SIP/2.0/" + p.from.Transport.String() +
		" 192.0.2.7:5060;branch=z9hG4bK" + method + id + ";rport\r\nMax-Forwards: 70\r\n" +
		"From: <sip:alice@" + p.domain() + ">;tag=f" + id + "\r\nTo: <sip:bob@example.test>" + to +
		"\r\nCall-ID: " + id + "\r\nCSeq: 1 " + method + "\r\nContact: <sip:alice@192.0.2.7:5060>\r\n" + extra +
		"User-Agent: bench\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n")
	m.Write(body)
	return m.Bytes()
}

// domain is a foreign one over UDP, where our own users are challenged each time.
func (p *benchPeer) domain() string {
	if p.from.Transport == sip.UDP {
		return "elsewhere.test"
	}
	return "example.test"
}

func (p *benchPeer) respond(b *testing.B, raw []byte, status int) {
	req, err := sip.Parse(raw)
	if err != nil {
		b.Fatal(err)
	}
	m := sip.NewResponse(req, status, "", "to")
	for rr := range req.Lines(sip.HRecordRoute) {
		m.Append(sip.HRecordRoute, rr)
	}
	m.Append(sip.HContact, "<"+p.contact+">")
	p.receive(b, p.to, m.Bytes())
}

func (p *benchPeer) call(b *testing.B, id string) {
	p.receive(b, p.from, p.request("INVITE", "sip:bob@example.test", id, "", "Content-Type: application/sdp\r\n", p.sdp))
	invite := p.w.last[p.to]
	p.respond(b, invite, 180)
	p.respond(b, invite, 200)
	m, err := sip.Parse(bytes.Clone(p.w.last[p.from]))
	if err != nil || m.Status() != 200 {
		b.Fatal(err, m)
	}
	rr, _ := m.Get(sip.HRecordRoute)
	first, second, _ := bytes.Cut([]byte(rr), []byte(", "))
	route := "Route: " + string(second) + ", " + string(first) + "\r\n"
	p.receive(b, p.from, p.request("ACK", p.contact, id, ";tag=to", route, nil))
	p.receive(b, p.from, p.request("BYE", p.contact, id, ";tag=to", route, nil))
	p.respond(b, p.w.last[p.to], 200)
}
