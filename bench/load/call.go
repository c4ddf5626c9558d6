//go:build linux

package load

import (
	"bytes"
	"fmt"
)

// callState is what a call waits for.
type callState int

const (
	waitInvite  callState = iota // the callee for the INVITE
	waitRinging                  // the caller for the 180
	waitAnswer                   // the caller for the 200
	waitAck                      // the callee for the ACK
	waitBye                      // the callee for the BYE
	waitByeOK                    // the caller for the 200 to BYE
	over
)

var callStates = [...]string{"INVITE", "180", "200 to INVITE", "ACK", "BYE", "200 to BYE", "nothing"}

func (s callState) String() string { return callStates[s] }

// call is a call between two agents, hung up by the caller:
// INVITE 100 INVITE 180 180 200 200 ACK ACK BYE BYE 200 200. Where subject is
// set, the INVITE carries the caller's credentials, for the nonce that he has.
type call struct {
	load           *Load
	index          int
	caller, callee *agent
	offer, answer  []byte
	subject        *subject

	uri      string      // of the INVITE
	invite   template    // up to where credentials may follow
	offered  []byte      // what follows them, the offer included
	ack, bye template    // what follows the routes
	ids      [5]template // as start fills them
	contact  []byte      // what follows To in the callee's responses to INVITE
	okTail   []byte      // the same with the answer

	state     callState
	trying    bool // 100 has come
	want      expectation
	byeBranch []byte
	toTag     []byte
	head      []byte // of the callee's responses to INVITE, below the status line
	hangUp    []byte // the BYE, complete
	routes    [][]byte
	target    []byte
	remote    []byte // To with the callee's tag
	seqUsed   uint32
}

func (l *Load) newCall(i int, caller, callee *agent, credentials bool) *call {
	c := &call{
		load: l, index: i, caller: caller, callee: callee,
		offer: caller.offer(), answer: callee.answer(), state: over,
	}
	domain, id := l.target.Domain, l.callIDText(i)
	from := "From: <sip:" + caller.user + "@" + domain + ">;tag=a" + mark + "\n"
	top := func(kind string) string {
		return "Via: " + caller.sentBy + branch + kind + mark + caller.viaTail + "\nMax-Forwards: 70\n" + from + "Call-ID: " + id + "\n"
	}
	c.uri = "sip:" + callee.user + "@" + domain
	if credentials {
		s := newSubject("Proxy-Authorization", "INVITE", c.uri)
		c.subject = &s
	}
	c.invite = newTemplate("INVITE " + c.uri + " SIP/2.0\n" + top("i") +
		"To: <" + c.uri + ">\nCSeq: 1 INVITE\nContact: <" + caller.contact + ">\n" + caller.headers)
	c.offered = append(newTemplate(bodyHeaders(c.offer)).text, c.offer...)
	c.ack = newTemplate(top("a") + "CSeq: 1 ACK\n" + caller.headers + "Content-Length: 0\n\n")
	c.bye = newTemplate(top("b") + "CSeq: 2 BYE\n" + caller.headers + "Content-Length: 0\n\n")
	c.ids = [5]template{
		newTemplate(id), newTemplate(branch + "i" + mark), newTemplate(branch + "b" + mark),
		newTemplate(";tag=a" + mark), newTemplate(";tag=b" + mark),
	}
	c.want.sentBy = caller.sentBy
	contact := "Contact: <" + callee.contact + ">\n" + callee.headers
	ringing, ok := newTemplate(contact+"Content-Length: 0\n\n"), newTemplate(contact+bodyHeaders(c.answer))
	c.contact = ringing.text
	c.okTail = append(ok.text, c.answer...)
	return c
}

// appendInvite appends the whole INVITE.
func (c *call) appendInvite(dst []byte, seq uint32) []byte {
	dst = c.invite.fill(dst, seq)
	if c.subject != nil {
		dst = c.caller.authorize(dst, c.subject)
	}
	return append(dst, c.offered...)
}

func (c *call) start(seq uint32) error {
	c.state, c.trying, c.seqUsed = waitInvite, false, seq
	c.want.callID = c.ids[0].fill(c.want.callID[:0], seq)
	c.want.branch = c.ids[1].fill(c.want.branch[:0], seq)
	c.byeBranch = c.ids[2].fill(c.byeBranch[:0], seq)
	c.want.fromTag = c.ids[3].fill(c.want.fromTag[:0], seq)
	c.toTag = c.ids[4].fill(c.toTag[:0], seq)
	c.want.cseq = append(c.want.cseq[:0], "1 INVITE"...)
	return c.caller.conn.send(c.appendInvite(c.load.out, seq))
}

func (c *call) receive(from *conn, m *message) (bool, error) {
	if !bytes.Equal(m.callID, c.want.callID) {
		return false, errExtra // of the call before
	}
	if m.status != 0 {
		if from != c.caller.conn {
			return false, errConn
		}
		return c.response(m)
	}
	if from != c.callee.conn {
		return false, errConn
	}
	return false, c.request(m)
}

// request is the callee's side.
func (c *call) request(m *message) error {
	switch string(m.method) {
	case "INVITE":
		if c.state != waitInvite {
			return errExtra
		}
		return c.ring(m)
	case "ACK":
		if c.state != waitAck {
			return errExtra
		}
		if err := c.checkRequest(m, "1 ACK"); err != nil {
			return err
		}
		if !bytes.HasSuffix(m.to, c.toTag) {
			return errTo
		}
		c.state = waitBye
		return c.caller.conn.send(c.hangUp)
	case "BYE":
		if c.state != waitBye {
			return errExtra
		}
		return c.answerBye(m)
	}
	return fmt.Errorf("unexpected method %s", m.method)
}

// checkRequest insists on what a proxy owes the called agent: RFC 3261 §16.5
// (the contact as Request-URI), §16.6 steps 3 and 8 (Max-Forwards, Via) and
// §16.4 (its own Route removed).
func (c *call) checkRequest(m *message, cseq string) error {
	switch {
	case string(m.uri) != c.callee.contact:
		return errURI
	case m.via.n != 2:
		return errVias
	case m.routes != 0:
		return errRoute
	case string(m.maxForwards) != "69":
		return errMaxForwards
	case string(m.cseq) != cseq:
		return errCSeq
	case !bytes.HasSuffix(m.from, c.want.fromTag):
		return errFrom
	}
	return nil
}

// ring answers 180 and keeps the response's head for the 200 (RFC 3261
// §8.2.6.2, and §12.1.1 for Record-Route and Contact).
func (c *call) ring(m *message) error {
	if err := c.checkRequest(m, "1 INVITE"); err != nil {
		return err
	}
	switch {
	case !c.want.own(m.via.v[1], c.want.branch):
		return errVias
	case !bytes.Equal(m.body, c.offer):
		return errBody
	case m.recordRoute.n == 0:
		return errRecordRoute
	case len(m.contact) == 0:
		return errContact
	}
	h := appendHeaders(c.head[:0], "Via: ", m.via.all())
	h = appendHeaders(h, "Record-Route: ", m.recordRoute.all())
	h = appendHeader(h, "From: ", m.from)
	h = append(append(h, "To: "...), m.to...)
	h = appendHeader(h, "", c.toTag)
	h = appendHeader(h, "Call-ID: ", m.callID)
	c.head = appendHeader(h, "CSeq: ", m.cseq)
	c.state = waitRinging
	return c.respond("SIP/2.0 180 Ringing\r\n", c.contact)
}

func (c *call) respond(statusLine string, tail []byte) error {
	b := append(c.load.out, statusLine...)
	b = append(b, c.head...)
	return c.callee.conn.send(append(b, tail...))
}

func (c *call) answerBye(m *message) error {
	if err := c.checkRequest(m, "2 BYE"); err != nil {
		return err
	}
	if !bytes.HasSuffix(m.to, c.toTag) {
		return errTo
	}
	if !c.want.own(m.via.v[1], c.byeBranch) {
		return errVias
	}
	c.state = waitByeOK
	b := append(c.load.out, "SIP/2.0 200 OK\r\n"...)
	b = appendHeaders(b, "Via: ", m.via.all())
	b = appendHeader(b, "From: ", m.from)
	b = appendHeader(b, "To: ", m.to)
	b = appendHeader(b, "Call-ID: ", m.callID)
	b = appendHeader(b, "CSeq: ", m.cseq)
	return c.callee.conn.send(append(b, "Content-Length: 0\r\n\r\n"...))
}

// response is the caller's side.
func (c *call) response(m *message) (bool, error) {
	if c.state > waitAnswer && bytes.HasSuffix(m.cseq, []byte(" INVITE")) {
		return false, errExtra
	}
	if err := c.want.check(m); err != nil {
		return false, err
	}
	if m.status == 100 {
		if c.trying {
			return false, errExtra
		}
		c.trying = true
		return false, nil
	}
	want := 200
	if c.state == waitRinging || c.state == waitInvite {
		want = 180
	}
	switch {
	case m.status == 180 && c.state == waitAnswer:
		return false, errExtra
	case m.status != want || c.state == waitInvite:
		return false, statusError(m, want)
	case !bytes.HasSuffix(m.to, c.toTag):
		return false, errTo
	}
	switch c.state {
	case waitRinging:
		if !c.trying {
			return false, fmt.Errorf("180 before any 100")
		}
		c.state = waitAnswer
		return false, c.respond("SIP/2.0 200 OK\r\n", c.okTail)
	case waitAnswer:
		return false, c.acknowledge(m)
	}
	c.state = over
	return true, nil
}

// acknowledge makes the dialog out of the 200 (RFC 3261 §12.1.2), sends the
// ACK within it (§13.2.2.4) and keeps the BYE ready.
func (c *call) acknowledge(m *message) error {
	if !bytes.Equal(m.body, c.answer) {
		return errBody
	}
	c.target = append(c.target[:0], bareURI(m.contact)...)
	if !bytes.HasPrefix(c.target, []byte("sip:")) {
		return errContact
	}
	c.routes = routeSet(c.routes[:0], m.recordRoute.all())
	if len(c.routes) == 0 || !bytes.Contains(c.routes[0], []byte(";lr")) {
		return errRecordRoute
	}
	c.remote = append(c.remote[:0], m.to...)
	if cap(c.hangUp) == 0 {
		c.hangUp = make([]byte, headroom, 4<<10)
	}
	c.hangUp = c.inDialog(c.hangUp[:headroom], "BYE ", &c.bye)
	c.want.branch = append(c.want.branch[:0], c.byeBranch...)
	c.want.cseq = append(c.want.cseq[:0], "2 BYE"...)
	c.state = waitAck
	return c.caller.conn.send(c.inDialog(c.load.out, "ACK ", &c.ack))
}

// inDialog builds a request of the caller: remote target as Request-URI, the
// route set as Route (RFC 3261 §12.2.1.1, loose routers only).
func (c *call) inDialog(dst []byte, method string, rest *template) []byte {
	dst = append(dst, method...)
	dst = append(dst, c.target...)
	dst = append(dst, " SIP/2.0\r\n"...)
	dst = appendHeaders(dst, "Route: ", c.routes)
	dst = appendHeader(dst, "To: ", c.remote)
	return rest.fill(dst, c.seqUsed)
}

// routeSet is the reverse of the Record-Route values (RFC 3261 §12.1.2). The
// result refers to the message's bytes.
func routeSet(dst [][]byte, values [][]byte) [][]byte {
	for i := len(values) - 1; i >= 0; i-- {
		for rest := values[i]; len(rest) > 0; {
			comma := bytes.LastIndexByte(rest, ',')
			dst = append(dst, bytes.TrimSpace(rest[comma+1:]))
			rest = rest[:max(comma, 0)]
		}
	}
	return dst
}

func (c *call) String() string {
	return fmt.Sprintf("call %s -> %s, waiting for %v", c.caller.user, c.callee.user, c.state)
}
