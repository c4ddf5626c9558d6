//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
)

// callIDText is the Call-ID of exchange i: the run, the exchange and, by
// mark, the operation. exchangeOf reads the exchange back.
func (l *Load) callIDText(i int) string { return fmt.Sprintf("%s-%04x-%s", l.run, i, mark) }

// branch begins the branch parameter of RFC 3261 §8.1.1.7.
const branch = ";branch=z9hG4bK"

const callIDLength = 8 + 1 + 4 + 1 + 8

func exchangeOf(callID []byte) (int, bool) {
	if len(callID) != callIDLength || callID[8] != '-' || callID[13] != '-' {
		return 0, false
	}
	n, ok := getHex(callID[9:13])
	return int(n), ok
}

// What is wrong with a received message.
var (
	errCallID      = errors.New("Call-ID is not the operation's")
	errConn        = errors.New("received on another agent's connection")
	errVia         = errors.New("the only Via of a response must be the sender's own")
	errCSeq        = errors.New("CSeq is not the request's")
	errFrom        = errors.New("the From tag is not the caller's")
	errTo          = errors.New("the To tag is not the callee's")
	errBody        = errors.New("body is not the one sent")
	errURI         = errors.New("Request-URI is not the registered contact")
	errMaxForwards = errors.New("Max-Forwards of 70 must arrive as 69")
	errRoute       = errors.New("a Route is left over")
	errRecordRoute = errors.New("no loose Record-Route")
	errContact     = errors.New("no usable Contact")
	errVias        = errors.New("a forwarded request must have the server's Via above the sender's")
)

// expectation is what every response to a request must bring back.
type expectation struct {
	callID, cseq, fromTag []byte
	sentBy                string // what its Via begins with
	branch                []byte
}

// own tells whether via is the sender's. A server may add received and rport
// to it and order the parameters anew (RFC 3261 §18.2.1, RFC 3581 §4).
func (e *expectation) own(via, branch []byte) bool {
	return len(via) > len(e.sentBy) && string(via[:len(e.sentBy)]) == e.sentBy && bytes.Contains(via, branch)
}

func (e *expectation) check(m *message) error {
	switch {
	case !bytes.Equal(m.callID, e.callID):
		return errCallID
	case m.via.n != 1 || !e.own(m.via.v[0], e.branch):
		return errVia
	case !bytes.Equal(m.cseq, e.cseq):
		return errCSeq
	case !bytes.HasSuffix(m.from, e.fromTag):
		return errFrom
	}
	return nil
}

// statusError is for a response that is not the one awaited.
func statusError(m *message, want int) error {
	return fmt.Errorf("status %d instead of %d", m.status, want)
}

func appendHeader(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func appendHeaders(dst []byte, name string, values [][]byte) []byte {
	for _, v := range values {
		dst = appendHeader(dst, name, v)
	}
	return dst
}
