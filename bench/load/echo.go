//go:build linux

package load

import (
	"bytes"
	"fmt"
)

// echo sends messages of an operation's sizes to a server that sends each one
// back, an INVITE twice: the traffic of the operation without its work.
type echo struct {
	load  *Load
	steps []step
	seq   uint32
	at    int // the step in flight
	left  int // its echoes still to come
	want  []byte
}

type step struct {
	conn   *conn
	text   template
	echoes int
}

func (e *echo) start(seq uint32) error {
	e.seq, e.at = seq, 0
	return e.send()
}

func (e *echo) send() error {
	s := &e.steps[e.at]
	e.left = s.echoes
	e.want = s.text.fill(e.want[:0], e.seq)
	return s.conn.send(s.text.fill(e.load.out, e.seq))
}

func (e *echo) receive(from *conn, m *message) (bool, error) {
	if from != e.steps[e.at].conn {
		return false, errConn
	}
	if !bytes.Equal(m.raw, e.want) {
		return false, errBody
	}
	if e.left--; e.left > 0 {
		return false, nil
	}
	if e.at++; e.at < len(e.steps) {
		return false, e.send()
	}
	return true, nil
}

func (e *echo) String() string { return fmt.Sprintf("echo, step %d of %d", e.at+1, len(e.steps)) }

// newCallEcho has the six messages that a call's two agents send. The ones
// built from what the server answered are given their usual size: some 350
// bytes of routes and Vias beside the agent's own headers.
func (l *Load) newCallEcho(c *call) *echo {
	small := func(first string, a *agent) template {
		return newTemplate(first + `
Via: ` + a.sentBy + branch + mark + `
Call-ID: ` + l.callIDText(c.index) + `
` + a.headers + "Padding: " + string(bytes.Repeat([]byte{'x'}, 350)) + `
Content-Length: 0

`)
	}
	ok := newTemplate("SIP/2.0 200 OK\nCall-ID: " + l.callIDText(c.index) + "\nPadding: " +
		string(bytes.Repeat([]byte{'x'}, 350)) + "\n" + c.callee.headers + bodyHeaders(c.answer))
	ok.text = append(ok.text, c.answer...)
	invite := template{text: c.appendInvite(nil, 0), marks: c.invite.marks}
	bye := "BYE " + c.callee.contact + " SIP/2.0"
	return &echo{load: l, steps: []step{
		{c.caller.conn, invite, 2},
		{c.callee.conn, small("SIP/2.0 180 Ringing", c.callee), 1},
		{c.callee.conn, ok, 1},
		{c.caller.conn, small("ACK "+c.callee.contact+" SIP/2.0", c.caller), 1},
		{c.caller.conn, small(bye, c.caller), 1},
		{c.callee.conn, small("SIP/2.0 200 OK", c.callee), 1},
	}}
}

// newRegisterEcho has one request of a registration's size.
func (l *Load) newRegisterEcho(r *register) *echo {
	text := append(r.head.fill(nil, 0), "1 REGISTER\r\n"...)
	text = r.tail.fill(r.agent.authorize(text, &r.subject), 0)
	return &echo{load: l, steps: []step{{r.agent.conn, template{text: text}, 1}}}
}
