package transaction

import (
	"errors"
	"strconv"

	"github.com/sipway/sipway/sip"
)

// retryCall is the Retry-After of a 503 to an INVITE, in seconds: about the time in which T4
// empties the tables of what a burst has left over UDP, and short enough for a phone's user.
// What a program sends waits for retryOther.
const (
	retryCall  = 5
	retryOther = 30
)

// Malformed takes a message that could not be parsed, as far as it was, which may be nil. A
// request is answered with the status of err, an [*sip.Error], where that has one, and if it
// says to whom; an ACK and a response never are.
func (l *Layer) Malformed(f sip.Flow, m *sip.Message, err error) {
	fault, ok := errors.AsType[*sip.Error](err)
	if !ok || fault.Status < 300 {
		return
	}
	if m == nil || !m.IsRequest() || m.Method() == sip.ACK || m.Via() == nil {
		return
	}
	l.replyStateless(f, m, fault.Status, fault.Reason)
}

// refuse answers a request for which there is no room with 503 (RFC 3261 §21.5.4).
func (l *Layer) refuse(f sip.Flow, m *sip.Message) {
	l.refused.Add(1)
	resp := sip.NewResponse(m, 503, "", l.tag(m))
	after := retryOther
	if m.Method() == sip.INVITE {
		after = retryCall
	}
	resp.Append(sip.HRetryAfter, strconv.Itoa(after))
	l.sendStateless(f, m, resp.Bytes())
}

// NewResponse makes a response to a request as [Server.NewResponse] does, for an [Answerer].
func (l *Layer) NewResponse(m *sip.Message, status int, reason string) *sip.Message {
	return sip.NewResponse(m, status, reason, l.tag(m))
}

// answerStateless has the user answer a request without a transaction, if it does such.
func (l *Layer) answerStateless(f sip.Flow, m *sip.Message) bool {
	if l.answer == nil {
		return false
	}
	resp := l.answer(f, m)
	if resp == nil {
		return false
	}
	l.sendStateless(f, m, resp.Bytes())
	resp.Release()
	return true
}

// replyStateless answers a request without a transaction (RFC 3261 §8.2.7).
func (l *Layer) replyStateless(f sip.Flow, m *sip.Message, status int, reason string) {
	l.sendStateless(f, m, sip.ResponseBytes(m, status, reason, l.tag(m)))
}

// sendStateless sends a response once. If it is lost, the request comes again.
func (l *Layer) sendStateless(f sip.Flow, m *sip.Message, resp []byte) {
	_ = l.sender.Send(replyFlow(f, m.Via()), resp)
}
