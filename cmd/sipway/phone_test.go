package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

// phone is a client on a connection of its own: TCP, or UDP by the same lines.
type phone struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	user string
	cseq int

	transport string // "UDP", "TCP", "TLS" or "WS"
	addr      string // sent-by
}

// dial connects a phone to a listener of the server.
func dial(t *testing.T, network, addr, user string) *phone {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// Nothing here takes that long: a test that hangs says where.
	conn.SetDeadline(time.Now().Add(time.Minute))
	return &phone{t: t, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), user: user, transport: strings.ToUpper(network), addr: conn.LocalAddr().String()}
}

// dialWS is dial over a WebSocket.
func dialWS(t *testing.T, addr, user string) *phone {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/", &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	conn := websocket.NetConn(context.Background(), ws, websocket.MessageText)
	conn.SetDeadline(time.Now().Add(time.Minute))
	return &phone{t: t, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), user: user, transport: "WS", addr: user + ".invalid"}
}

// contact is the URI that the phone registers.
func (p *phone) contact() string {
	switch p.transport {
	case "UDP":
		return "sip:" + p.user + "-phone@" + p.addr
	case "WS":
		return "sip:" + p.user + "-page@" + p.addr + ";transport=ws"
	}
	return "sip:" + p.user + "-phone@" + p.addr + ";transport=" + strings.ToLower(p.transport)
}

// send sends a request of the phone's user.
func (p *phone) send(method, uri, to, headers, body string) {
	p.t.Helper()
	p.cseq++
	text := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s%d;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s@a.test>;tag=%s\r\nTo: %s\r\nCall-ID: %s-%s\r\nCSeq: %d %s\r\nUser-Agent: Desk phone\r\n%sContent-Length: %d\r\n\r\n%s",
		method, uri, p.transport, p.addr, p.user, p.cseq, p.user, p.user, to, p.addr, p.user, p.cseq, method, headers, len(body), body)
	if _, err := p.conn.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// register registers the phone for some seconds and expects a 200.
func (p *phone) register(expires int) {
	p.t.Helper()
	p.send("REGISTER", "sip:a.test", "<sip:"+p.user+"@a.test>", fmt.Sprintf("Contact: <%s>\r\nExpires: %d\r\n", p.contact(), expires), "")
	if m := p.receive(); m.Status() != 200 {
		p.t.Fatalf("REGISTER: %d %s", m.Status(), m.Reason())
	}
}

// receive returns the next message that is not a 100.
func (p *phone) receive() *sip.Message {
	p.t.Helper()
	for {
		m, err := p.read()
		if err != nil {
			p.t.Fatal(err)
		}
		if m.Status() != 100 {
			return m
		}
	}
}

func (p *phone) read() (*sip.Message, error) {
	var text strings.Builder
	length := 0
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if text.Len() == 0 && line == "\r\n" {
			continue
		}
		text.WriteString(line)
		if value, ok := strings.CutPrefix(line, "Content-Length:"); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return nil, err
			}
		}
		if line == "\r\n" {
			break
		}
	}
	if _, err := io.CopyN(&text, p.in, int64(length)); err != nil {
		return nil, err
	}
	return sip.Parse([]byte(text.String()))
}

// closed waits until the server has closed the connection.
func (p *phone) closed() {
	p.t.Helper()
	if m, err := p.read(); err == nil {
		p.t.Errorf("expects the end of the connection, not %s", m.Bytes())
	}
}

// answer responds to a request.
func (p *phone) answer(req *sip.Message, status int, headers string) {
	p.t.Helper()
	m := sip.NewResponse(req, status, "", p.user)
	for route := range req.Lines(sip.HRecordRoute) { // RFC 3261 §12.1.1
		m.Append(sip.HRecordRoute, route)
	}
	for line := range strings.Lines(headers) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		m.AppendNamed(name, value)
	}
	m.EnsureContentLength()
	if _, err := p.conn.Write(m.Bytes()); err != nil {
		p.t.Fatal(err)
	}
}
