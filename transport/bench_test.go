package transport

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// echo answers every message with fixed bytes: what is measured is the transport.
type echo struct {
	layer  *Layer
	answer []byte
}

func (e *echo) Receive(f sip.Flow, _ *sip.Message)            { e.layer.Send(f, e.answer) }
func (e *echo) Malformed(_ sip.Flow, _ *sip.Message, _ error) {}
func (e *echo) Closed(sip.Flow, error)                        {}

// benchmarkEcho sends a message of 600 bytes and waits for an answer of as many. The time
// and the allocations are those of both ends, but the client's end allocates nothing.
func benchmarkEcho(b *testing.B, tr sip.Transport, dial func(at string) net.Conn, out, in string) {
	h := &echo{answer: []byte(in)}
	l := New(Config{}, h)
	h.layer = l
	defer l.Close()
	c := dial(listen(b, l, tr).String())
	defer c.Close()
	request, answer := []byte(out), make([]byte, len(in)+4)
	if tr != sip.WS {
		answer = answer[:len(in)]
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			b.Fatal(err)
		}
	}
}

func benchMessage(tr sip.Transport) string {
	return requestBody(tr, 1, strings.Repeat("b", 600-len(request(tr, 1))-2))
}

func BenchmarkEchoUDP(b *testing.B) {
	m := benchMessage(sip.UDP)
	dial := func(at string) net.Conn {
		c, err := net.Dial("udp", at)
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	benchmarkEcho(b, sip.UDP, dial, m, m)
}

func BenchmarkEchoTCP(b *testing.B) {
	m := benchMessage(sip.TCP)
	dial := func(at string) net.Conn {
		c, err := net.Dial("tcp", at)
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	benchmarkEcho(b, sip.TCP, dial, m, m)
}

func BenchmarkEchoWS(b *testing.B) {
	m := benchMessage(sip.WS)
	dial := func(at string) net.Conn { return rawWS(b, mustAddrPort(b, at), "") }
	benchmarkEcho(b, sip.WS, dial, clientFrame(final|opText, m), m)
}
