//go:build linux

package load

import (
	"bytes"
	"fmt"
)

// openCallers opens the callers of a transport that are challenged. They have
// the names of those that are not, and register nowhere: they only call.
func (l *Load) openCallers(tr Transport) error {
	var shared *conn
	for i := range l.pairs {
		a, err := l.newAgent(tr, 2*i, ChallengedSource, shared)
		if err != nil {
			return err
		}
		shared = a.conn
		l.callers[tr] = append(l.callers[tr], a)
	}
	return nil
}

// askNonces has every caller of the operation ask for a new nonce.
func (l *Load) askNonces(op Op) error {
	var xs []exchange
	for _, x := range l.ready[op] {
		xs = append(xs, &challenge{call: x.(*call)})
	}
	result := l.drive(xs, len(xs), Pace{Window: registerWindow}, func() error { return nil })
	if err := result.Err(); err != nil {
		return fmt.Errorf("asking for nonces over %s: %w", op.Caller, err)
	}
	return nil
}

// challenge is the INVITE of a call without credentials, which a proxy must
// refuse with a challenge (RFC 3261 §22.3): INVITE 407 ACK.
type challenge struct {
	call *call
	want expectation
}

func (x *challenge) start(seq uint32) error {
	c := x.call
	x.want = expectation{
		callID: c.ids[0].fill(nil, seq), cseq: []byte("1 INVITE"), fromTag: c.ids[3].fill(nil, seq),
		sentBy: c.caller.sentBy, branch: c.ids[1].fill(nil, seq),
	}
	return c.caller.conn.send(append(c.invite.fill(c.load.out, seq), c.offered...))
}

func (x *challenge) receive(from *conn, m *message) (bool, error) {
	c := x.call
	if !bytes.Equal(m.callID, x.want.callID) {
		return false, errExtra // of the call before
	}
	switch {
	case m.status == 0:
		return false, errUnchallenged
	case from != c.caller.conn:
		return false, errConn
	}
	if err := x.want.check(m); err != nil {
		return false, err
	}
	switch {
	case m.status == 100:
		return false, nil
	case m.status != 407:
		return false, statusError(m, 407)
	case !c.caller.challenged(m):
		return false, fmt.Errorf("no MD5 challenge with qop for realm %s", c.caller.realm)
	}
	return true, c.caller.conn.send(x.acknowledge(m))
}

// acknowledge builds the ACK to a response that is no 2xx: RFC 3261 §17.1.1.3.
func (x *challenge) acknowledge(m *message) []byte {
	c := x.call
	b := append(c.load.out, "ACK "+c.uri+" SIP/2.0\r\n"...)
	b = append(b, "Via: "+c.caller.sentBy...)
	b = appendHeader(b, "", append(x.want.branch, c.caller.viaTail...))
	b = appendHeader(b, "From: ", m.from)
	b = appendHeader(b, "To: ", m.to)
	b = appendHeader(b, "Call-ID: ", m.callID)
	return append(b, "CSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"...)
}

func (x *challenge) String() string {
	return fmt.Sprintf("call %s -> %s, waiting for a challenge", x.call.caller.user, x.call.callee.user)
}
