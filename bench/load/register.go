//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// maxNonceCount is how often one nonce is used. Kamailio remembers the counts
// it has seen in eight bits and calls a nonce stale beyond them.
const maxNonceCount = 250

// register refreshes one agent's binding (RFC 3261 §10.2.4). The nonce is got
// by a challenge once and then counted up (RFC 7616 §3.4.5).
type register struct {
	agent      *agent
	head, tail template // around CSeq and Authorization
	subject    subject
	ids        [2]template // branch, From tag
	cseq       uint64
	want       expectation
	answered   bool // the challenge, in this operation
}

var errUnchallenged = errors.New("accepted without credentials")

func (l *Load) newRegister(a *agent) *register {
	domain := l.target.Domain
	r := &register{agent: a, subject: newSubject("Authorization", "REGISTER", "sip:"+domain)}
	// The Call-ID of all registrations of a client is the same (§10.2), so
	// the operation's number stands in the branch alone.
	callID := l.callIDText(a.index)
	callID = callID[:len(callID)-len(mark)] + "register"
	r.head = newTemplate("REGISTER sip:" + domain + ` SIP/2.0
Via: ` + a.sentBy + branch + mark + a.viaTail + `
Max-Forwards: 70
From: <sip:` + a.user + "@" + domain + `>;tag=` + mark + `
To: <sip:` + a.user + "@" + domain + `>
Call-ID: ` + callID + `
CSeq: `)
	r.tail = newTemplate("Contact: <" + a.contact + `>;expires=3600
` + a.headers + `Content-Length: 0

`)
	r.ids = [2]template{newTemplate(branch + mark), newTemplate(";tag=" + mark)}
	r.want.callID, r.want.sentBy = []byte(callID), a.sentBy
	return r
}

func (r *register) start(seq uint32) error {
	r.answered = r.agent.nonce != nil
	return r.send(seq)
}

func (r *register) send(seq uint32) error {
	r.cseq++
	r.want.branch = r.ids[0].fill(r.want.branch[:0], seq)
	r.want.fromTag = r.ids[1].fill(r.want.fromTag[:0], seq)
	r.want.cseq = append(strconv.AppendUint(r.want.cseq[:0], r.cseq, 10), " REGISTER"...)
	b := r.head.fill(r.agent.load.out, seq)
	b = append(b, r.want.cseq...)
	b = append(b, "\r\n"...)
	if r.agent.nonce != nil {
		b = r.agent.authorize(b, &r.subject)
	}
	return r.agent.conn.send(r.tail.fill(b, seq))
}

func (r *register) receive(from *conn, m *message) (bool, error) {
	if from != r.agent.conn {
		return false, errConn
	}
	if !bytes.Equal(m.cseq, r.want.cseq) {
		return false, errExtra // a retransmitted answer to the registration before
	}
	if err := r.want.check(m); err != nil {
		return false, err
	}
	switch {
	case m.status == 401 && !r.answered:
		if !r.agent.challenged(m) {
			return false, fmt.Errorf("no MD5 challenge with qop for realm %s", r.agent.realm)
		}
		r.answered = true
		r.agent.load.seq++
		return false, r.send(r.agent.load.seq)
	case m.status != 200:
		return false, statusError(m, 200)
	case !r.answered && !r.agent.trusted:
		return false, errUnchallenged
	}
	// The binding's own line must come back with its lifetime (§10.3 step 8).
	if string(bareURI(m.contact)) != r.agent.contact || !bytes.Contains(m.contact, []byte(";expires=")) {
		return false, errContact
	}
	return true, nil
}

func (r *register) String() string {
	return fmt.Sprintf("REGISTER %d by %s", r.cseq, r.agent.user)
}
