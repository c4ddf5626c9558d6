//go:build linux

package load

import "fmt"

// options asks the server itself for its capabilities (RFC 3261 §11).
type options struct {
	agent   *agent
	request template
	ids     [3]template // Call-ID, branch, From tag
	want    expectation
}

func (l *Load) newOptions(i int, a *agent) *options {
	domain := l.target.Domain
	o := &options{agent: a}
	o.request = newTemplate("OPTIONS sip:" + domain + ` SIP/2.0
Via: ` + a.sentBy + branch + mark + a.viaTail + `
Max-Forwards: 70
From: <sip:` + a.user + "@" + domain + `>;tag=` + mark + `
To: <sip:` + domain + `>
Call-ID: ` + l.callIDText(i) + `
CSeq: 1 OPTIONS
Contact: <` + a.contact + `>
Accept: application/sdp
` + a.headers + `Content-Length: 0

`)
	o.ids = [3]template{newTemplate(l.callIDText(i)), newTemplate(branch + mark), newTemplate(";tag=" + mark)}
	o.want.cseq, o.want.sentBy = []byte("1 OPTIONS"), a.sentBy
	return o
}

func (o *options) start(seq uint32) error {
	o.want.callID = o.ids[0].fill(o.want.callID[:0], seq)
	o.want.branch = o.ids[1].fill(o.want.branch[:0], seq)
	o.want.fromTag = o.ids[2].fill(o.want.fromTag[:0], seq)
	return o.agent.conn.send(o.request.fill(o.agent.load.out, seq))
}

func (o *options) receive(from *conn, m *message) (bool, error) {
	if from != o.agent.conn {
		return false, errConn
	}
	if m.status != 200 {
		return false, statusError(m, 200)
	}
	return true, o.want.check(m)
}

func (o *options) String() string { return fmt.Sprintf("OPTIONS by %s", o.agent.user) }
