package interop

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Two of bob's phones answer in the same moment: the 200 of one crosses the CANCEL that the
// other's 200 has brought about. A JsSIP caller that heard of both would end the call that
// it goes on to show; the server acknowledges and ends the second one itself.
func TestWebSecondAnswer(t *testing.T) {
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library, func(t *testing.T) {
			s := startServer(t, settings{open: true, memory: true})
			alice, bob := openPage(t, s, library, "alice"), openPage(t, s, jsSIP, "bob")
			alice.register(t)
			bob.register(t)
			slow := startSlowPhone(t, s, "bob")

			call := alice.dial(t, "bob")
			its := bob.box.await(t, "incoming", 0).Call
			invite := slow.request(t, "INVITE")
			slow.respond(t, invite, 180)
			bob.answer(t, its)
			alice.box.await(t, "established", call)
			slow.respond(t, slow.request(t, "CANCEL"), 200)
			slow.respond(t, invite, 200)
			slow.request(t, "ACK")
			slow.respond(t, slow.request(t, "BYE"), 200)

			talk(t, alice, call, bob, its)
			release(t, alice, call, bob, its)
		})
	}
}

// slowPhone is a UDP phone of which the test writes every message.
type slowPhone struct {
	conn   net.Conn
	server *server
}

// startSlowPhone registers one, which needs no password.
func startSlowPhone(t *testing.T, s *server, user string) *slowPhone {
	t.Helper()
	conn, err := net.Dial("udp", s.udp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &slowPhone{conn, s}
	p.send(t, fmt.Sprintf("REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bKslow\r\n"+
		"From: <sip:%[2]s@%[1]s>;tag=s\r\nTo: <sip:%[2]s@%[1]s>\r\nCall-ID: slow\r\nCSeq: 1 REGISTER\r\n"+
		"Contact: <sip:slow@%[3]s>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", domain, user, conn.LocalAddr()))
	if b := p.next(t, "SIP/2.0 "); statusOf(b) != 200 {
		t.Fatalf("REGISTER: %s", b)
	}
	return p
}

func (p *slowPhone) send(t *testing.T, text string) {
	t.Helper()
	if _, err := p.conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// next returns the next message that begins with start; others are repetitions.
func (p *slowPhone) next(t *testing.T, start string) []byte {
	t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 64<<10)
	for {
		n, err := p.conn.Read(b)
		if err != nil {
			t.Fatalf("no %s: %v", start, err)
		}
		if bytes.HasPrefix(b[:n], []byte(start)) {
			return bytes.Clone(b[:n])
		}
	}
}

func (p *slowPhone) request(t *testing.T, method string) []byte {
	t.Helper()
	return p.next(t, method+" ")
}

// respond answers a request; a 200 to an INVITE has a Contact.
func (p *slowPhone) respond(t *testing.T, request []byte, status int) {
	t.Helper()
	var m strings.Builder
	fmt.Fprintf(&m, "SIP/2.0 %d So\r\n", status)
	for line := range strings.SplitSeq(string(request), "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "to":
			if !strings.Contains(line, "tag=") {
				line += ";tag=slow"
			}
			m.WriteString(line + "\r\n")
		case "via", "from", "call-id", "cseq", "record-route":
			m.WriteString(line + "\r\n")
		case "":
			fmt.Fprintf(&m, "Contact: <sip:slow@%s>\r\nContent-Length: 0\r\n\r\n", p.conn.LocalAddr())
			p.send(t, m.String())
			return
		}
	}
}
