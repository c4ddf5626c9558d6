package sip

import (
	"bytes"
	"math"
	"strings"
	"sync"
)

// Frame says what a [Framer] found.
type Frame uint8

const (
	// NoFrame: more bytes are needed.
	NoFrame Frame = iota
	// MessageFrame: a whole message.
	MessageFrame
	// PingFrame: a double CRLF, which asks for a CRLF in return (RFC 5626 §4.4.1).
	PingFrame
)

// Framer cuts the byte stream of one connection into messages by their Content-Length
// (RFC 3261 §18.3). It is fed: read into what [Framer.Space] returns, say how much with
// [Framer.Filled], and take what there is with [Framer.Next] until it has no more.
//
// It holds at most one message and the read-ahead of one buffer, and no buffer at all
// between messages, so an idle connection costs nothing here. Not safe for concurrent use.
type Framer struct {
	max int // a message's size limit

	pooled *[readSize]byte // buf while it has the usual size
	buf    []byte          // unread bytes are buf[start:end]
	start  int
	end    int

	scanned int // of the unread bytes, how many are known to have no end of head
	crlf    int // CRLFs passed over since the last message or ping
	size    int // of the message at start, 0 while its head is not complete
}

// readSize is the buffer of a connection that is being read: a browser's INVITE fits.
const readSize = 4 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// NewFramer returns a framer for messages of at most max bytes; 0 means [MaxMessage].
func NewFramer(max int) *Framer {
	if max <= 0 {
		max = MaxMessage
	}
	return &Framer{max: max}
}

// Space returns room for at least one more byte.
func (f *Framer) Space() []byte {
	if f.buf == nil {
		f.pooled = readBuffers.Get().(*[readSize]byte)
		f.buf = f.pooled[:]
	}
	need := f.max + 1 // as much as shows that the limit is passed
	if f.size > 0 {
		need = f.size
	}
	if f.start > 0 && len(f.buf)-f.start < min(need, len(f.buf)) {
		f.end = copy(f.buf, f.buf[f.start:f.end])
		f.start = 0
	}
	if f.end == len(f.buf) {
		// Not to the size that the message claims: a peer has to send half of what it
		// makes us hold.
		grown := make([]byte, min(2*len(f.buf), f.max+readSize))
		copy(grown, f.buf[:f.end])
		f.release()
		f.buf = grown
	}
	return f.buf[f.end:]
}

// Filled says that n bytes were read into the last [Framer.Space].
func (f *Framer) Filled(n int) { f.end += n }

// Partial reports whether a message has begun and not ended: a peer that leaves it so for
// long holds memory.
func (f *Framer) Partial() bool { return f.end > f.start }

// Release gives the buffer back when the connection is closed.
func (f *Framer) Release() {
	f.release()
	f.start, f.end = 0, 0
}

func (f *Framer) release() {
	if f.pooled != nil {
		readBuffers.Put(f.pooled)
		f.pooled = nil
	}
	f.buf = nil
}

// Next returns the next message in an exact-size buffer that is the caller's. An error is
// an [*Error] and means that the stream can't be followed any further: it is to be closed.
// With an error comes the head, where there is a whole one, so that it can be answered.
func (f *Framer) Next() ([]byte, Frame, error) {
	if f.size == 0 {
		if f.skipCRLF() {
			return nil, PingFrame, nil
		}
		head := f.headLength()
		switch {
		case head > f.max || head == 0 && f.end-f.start > f.max:
			return nil, NoFrame, tooLarge()
		case head > 0:
			size, err := f.messageSize(head)
			if err != nil {
				return f.take(head), NoFrame, err
			}
			f.size = size
		}
	}
	if f.size > 0 && f.end-f.start >= f.size {
		b := f.take(f.size)
		f.size, f.crlf = 0, 0
		f.drained()
		return b, MessageFrame, nil
	}
	f.drained()
	return nil, NoFrame, nil
}

// drained gives the buffer back when nothing is left in it.
func (f *Framer) drained() {
	if f.start == f.end {
		f.Release()
	}
}

func (f *Framer) take(n int) []byte {
	b := make([]byte, n)
	copy(b, f.buf[f.start:])
	f.start += n
	f.scanned = 0
	return b
}

// skipCRLF passes over the CRLFs that may stand before a message (RFC 3261 §7.5) and
// reports whether two of them make a ping.
func (f *Framer) skipCRLF() bool {
	for f.end-f.start >= 2 && f.buf[f.start] == '\r' && f.buf[f.start+1] == '\n' {
		f.start += 2
		f.scanned = 0
		if f.crlf++; f.crlf == 2 {
			f.crlf = 0
			return true
		}
	}
	return false
}

// headLength returns the length of the head with the empty line behind it, 0 while that
// has not come. Each byte is looked at once, however small the pieces it comes in.
func (f *Framer) headLength() int {
	unread := f.buf[f.start:f.end]
	from := max(f.scanned-3, 0) // the end of the head may lie across two reads
	if i := bytes.Index(unread[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	f.scanned = len(unread)
	return 0
}

// messageSize finds the Content-Length, without which a message on a stream does not end
// (RFC 3261 §20.14). Two of them are refused, or what follows could be smuggled past one
// of two hops that choose differently.
func (f *Framer) messageSize(head int) (int, error) {
	s := view(f.buf[f.start : f.start+head])
	length, found := uint64(0), false
	at := strings.Index(s, "\r\n") + 2
	for at < len(s)-2 {
		end := at + strings.IndexByte(s[at:], '\n') + 1
		for end < len(s)-2 && (s[end] == ' ' || s[end] == '\t') { // folded
			end += strings.IndexByte(s[end:], '\n') + 1
		}
		if mayBeLength(s[at:end]) {
			if value, ok := contentLength(s[at:end]); ok {
				n, isNumber := parseUint(value, math.MaxUint32)
				if !isNumber || found {
					return 0, &Error{Status: 400, Header: "Content-Length", Offset: at, Reason: "no single number"}
				}
				length, found = n, true
			}
		}
		at = end
	}
	switch {
	case !found:
		return 0, &Error{Status: 400, Header: "Content-Length", Offset: -1, Reason: "missing on a stream"}
	case length > uint64(f.max-head):
		return 0, tooLarge()
	}
	return head + int(length), nil
}

// mayBeLength spares looking closer at most lines: it knows "l" by its first letter, and of
// "Content-Length" the first and the ninth.
func mayBeLength(line string) bool {
	switch line[0] {
	case 'l', 'L':
		return true
	case 'c', 'C':
		return len(line) > len("Content-Length") && lower(line[len("Content-")]) == 'l'
	}
	return false
}

// contentLength returns the value of a header line that is a Content-Length.
func contentLength(line string) (string, bool) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || LookupHeader(trimSpace(name)) != HContentLength {
		return "", false
	}
	return trimSpace(value), true
}

func tooLarge() error {
	return &Error{Status: 513, Offset: -1, Reason: "message too large"}
}
