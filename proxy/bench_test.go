package proxy

import (
	"bytes"
	"context"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/sip/transaction"
)

// benchWorld is a world that keeps a copy of the last message only, and for which every flow
// is open.
type benchWorld struct {
	world
	last map[sip.Flow][]byte
}

func (w *benchWorld) Send(f sip.Flow, b []byte) error {
	w.last[f] = append(w.last[f][:0], b...)
	return nil
}

func (w *benchWorld) Alive(sip.Flow) bool  { return true }
func (w *benchWorld) ProbeSilent(sip.Flow) {}

func (w *benchWorld) Dial(context.Context, sip.Server) (sip.Flow, error) {
	panic("a benchmark dials")
}

// BenchmarkCall is a whole call through parser, transactions and proxy, without sockets:
// INVITE, 180, 200, ACK, BYE, 200. What the peers need is not counted, but for the six
// messages' own bytes, which a transport would allocate.
func BenchmarkCall(b *testing.B) {
	for _, bc := range []struct {
		name     string
		from, to sip.Flow
		contact  string
	}{
		{"udp-udp", daveUDP, bobUDP, "sip:bob@192.0.2.8:5060"},
		{"ws-ws", aliceWS, bobWS, "sip:x@b.invalid;transport=ws"},
	} {
		b.Run(bc.name, func(b *testing.B) { benchmarkCall(b, bc.from, bc.to, bc.contact) })
	}
}

var bobUDP = sip.Flow{Transport: sip.UDP, Local: addr(5060), Remote: netip.MustParseAddrPort("192.0.2.8:5060")}

func benchmarkCall(b *testing.B, from, to sip.Flow, contact string) {
	peer := newBenchPeer(b, from, to, contact)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		peer.call(b, strconv.Itoa(i))
	}
}

func newBenchPeer(t testing.TB, from, to sip.Flow, contact string) *benchPeer {
	w := &benchWorld{world: *newWorldFor(t), last: make(map[sip.Flow][]byte)}
	w.proxy.Network = w
	w.layer = transaction.New(transaction.Config{}, w, w)
	w.proxy.Transactions = w.layer
	w.proxy.Calls = dialog.New(dialog.Config{})
	w.auth.Bind(from, "alice@example.test", farFuture())
	w.bind("bob", contact, to)
	sdp := bytes.Repeat([]byte("a=rtpmap:0 PCMU/8000\r\n"), 12)
	return &benchPeer{w: w, from: from, to: to, sdp: sdp, contact: contact}
}

type benchPeer struct {
	w        *benchWorld
	from, to sip.Flow
	sdp      []byte
	contact  string

	received sip.Message  // the last one that was sent to them
	text     bytes.Buffer // room for what they write
}

func (p *benchPeer) receive(b testing.TB, f sip.Flow, text []byte) {
	m, err := sip.Parse(bytes.Clone(text))
	if err != nil {
		b.Fatal(err)
	}
	if m.IsRequest() {
		m.SetReceived(f.Remote)
	}
	p.w.layer.Receive(f, m)
}

func (p *benchPeer) request(method, uri, id, toTag, extra string, body []byte) []byte {
	m := &p.text
	m.Reset()
	for _, part := range [...]string{
		method, " ", uri, " SIP/2.0\r\nVia: SIP/2.0/", p.from.Transport.String(),
		" 192.0.2.7:5060;branch=z9hG4bK", method, id, ";rport\r\nMax-Forwards: 70\r\n",
		"From: <sip:alice@", p.domain(), ">;tag=f", id, "\r\nTo: <sip:bob@example.test>", toTag,
		"\r\nCall-ID: ", id, "\r\nCSeq: 1 ", method, "\r\nContact: <sip:alice@192.0.2.7:5060>\r\n", extra,
		"User-Agent: bench\r\nContent-Length: ",
	} {
		m.WriteString(part)
	}
	m.Write(strconv.AppendInt(m.AvailableBuffer(), int64(len(body)), 10))
	m.WriteString("\r\n\r\n")
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

// read reads the last message that was sent on f; it is good until the next one is.
func (p *benchPeer) read(b testing.TB, f sip.Flow) *sip.Message {
	if err := p.received.Parse(p.w.last[f]); err != nil {
		b.Fatal(err)
	}
	return &p.received
}

// respond answers the request that was read last.
func (p *benchPeer) respond(b testing.TB, status int) {
	req, m := &p.received, &p.text
	m.Reset()
	for _, part := range [...]string{"SIP/2.0 ", statusText[status], " ", sip.ReasonPhrase(status), "\r\n"} {
		m.WriteString(part)
	}
	for name, value := range req.Headers() {
		tag := ""
		switch name {
		case "To":
			if req.ToTag() == "" {
				tag = ";tag=to"
			}
		case "Via", "Record-Route", "From", "Call-ID", "CSeq":
		default:
			continue
		}
		for _, part := range [...]string{name, ": ", value, tag, "\r\n"} {
			m.WriteString(part)
		}
	}
	for _, part := range [...]string{"Contact: <", p.contact, ">\r\nContent-Length: 0\r\n\r\n"} {
		m.WriteString(part)
	}
	p.receive(b, p.to, m.Bytes())
}

var statusText = map[int]string{180: "180", 200: "200"}

func (p *benchPeer) call(b testing.TB, id string) {
	p.receive(b, p.from, p.request("INVITE", "sip:bob@example.test", id, "", "Content-Type: application/sdp\r\n", p.sdp))
	p.read(b, p.to)
	p.respond(b, 180)
	p.respond(b, 200)
	m := p.read(b, p.from)
	if m.Status() != 200 {
		b.Fatal(m)
	}
	rr, _ := m.Get(sip.HRecordRoute)
	first, second, _ := strings.Cut(rr, ", ")
	p.text.Reset()
	for _, part := range [...]string{"Route: ", second, ", ", first, "\r\n"} {
		p.text.WriteString(part)
	}
	route := p.text.String()
	p.receive(b, p.from, p.request("ACK", p.contact, id, ";tag=to", route, nil))
	p.receive(b, p.from, p.request("BYE", p.contact, id, ";tag=to", route, nil))
	p.read(b, p.to)
	p.respond(b, 200)
}
