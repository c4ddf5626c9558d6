package sip

import (
	"errors"
	"strconv"
)

// ErrMissing says that a message does not have the header field that was asked for.
var ErrMissing = errors.New("sip: no such header field")

// Error says what is wrong with a message, where, and which response answers it.
type Error struct {
	// Status is the status code that answers a request with this fault.
	Status int
	// Header names the header field at fault; "" means the message as a whole and
	// "Request-Line" or "Status-Line" its first line.
	Header string
	// Offset is the byte of the message at which the fault was seen; -1 where there is
	// no such byte, as for a header field that is missing.
	Offset int
	// Reason says what is wrong. It holds no text of the message, so it can be sent as
	// a reason phrase.
	Reason string
}

// Error describes the fault for a log.
func (e *Error) Error() string {
	s := "sip: "
	if e.Header != "" {
		s += e.Header + ": "
	}
	s += e.Reason
	if e.Offset >= 0 {
		s += " at byte " + strconv.Itoa(e.Offset)
	}
	return s
}

// syntaxError is a fault in a value: what it is and how far into the value it was seen.
type syntaxError struct {
	reason string
	at     int
}

func (e *syntaxError) Error() string {
	return "sip: " + e.reason + " at byte " + strconv.Itoa(e.at) + " of the value"
}

func badValue(reason string, at int) error { return &syntaxError{reason, at} }
