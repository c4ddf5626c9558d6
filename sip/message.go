package sip

import (
	"iter"
	"strings"
	"sync"
)

// Message is a request or a response. It must not be copied; see [Message.Clone].
type Message struct {
	// src is the message as received, without what follows its body. Lines of the index
	// are views of it, or of edit where they were edited. Bytes of edit are only ever
	// appended, never changed, so views of it stay valid when it grows.
	src  string
	edit []byte

	lines  []line
	inline [inlineLines]line
	seen   uint64 // the bit of every HeaderID that the index has or once had
	// startEnd is the length of the start line in src, 0 where it was edited or built, and
	// releasedEnd in a message that was released, under the race detector.
	startEnd    uint32
	status      int16
	maxForwards int16 // -1 where there is none

	method Method // "" in a response
	uri    string
	reason string

	via      Via
	from, to Address
	fromTag  string
	toTag    string
	callID   string
	cseq     CSeq
	length   int64 // the Content-Length, -1 where there is none
	body     string
}

// messages holds what was released.
var messages = sync.Pool{New: func() any { return new(Message) }}

// Release says that nobody uses m any more, so that its memory can be another message's.
// Clones and responses made of it stay what they are, and so do strings taken from it, but for
// those of lines that were edited. It need not be called, and must be called but once, by the
// owner of a message that nobody else has kept.
//
// Whoever is given a message is its owner, unless it is said to be read only; a server
// transaction's request has two owners, the transaction and its user. Under the race detector
// no memory is used again: a second Release then panics, as does writing or cloning what was
// released.
func (m *Message) Release() { m.retire() }

// keptEdit bounds the room for edits that a message keeps for the next one.
const keptEdit = 4 << 10

// releasedEnd is less than any start line has, and beyond an empty source.
const releasedEnd = 1

// inlineLines is the number of header lines that a message holds without a further
// allocation: a browser's INVITE has 13 to 15, a desk phone's rarely over 20, and a proxy
// adds three.
const inlineLines = 24

// line is one header line, in src or edit: name, colon and value, continuation lines and
// the line's end.
type line struct {
	start, value, valueEnd, end uint32

	id    HeaderID
	flags lineFlags
}

type lineFlags uint8

const (
	edited lineFlags = 1 << iota // the line is in Message.edit
	folded                       // the value goes on over a line's end (RFC 3261 §7.3.1)
)

// CSeq is the value of the CSeq header field (RFC 3261 §20.16).
type CSeq struct {
	Seq    uint32
	Method Method
}

// IsRequest reports whether the message is a request.
func (m *Message) IsRequest() bool { return m.method != "" }

// Method returns a request's method, and a response's CSeq method.
func (m *Message) Method() Method {
	if m.method != "" {
		return m.method
	}
	return m.cseq.Method
}

// RequestURI returns a request's Request-URI as written, "" for a response.
func (m *Message) RequestURI() string { return m.uri }

// Status returns a response's status code, 0 for a request.
func (m *Message) Status() int { return int(m.status) }

// Reason returns a response's reason phrase.
func (m *Message) Reason() string { return m.reason }

// Via returns the topmost Via, nil where there is none. It must not be modified.
func (m *Message) Via() *Via {
	if m.via.Transport == "" {
		return nil
	}
	return &m.via
}

// From returns the From header field.
func (m *Message) From() Address { return m.from }

// To returns the To header field.
func (m *Message) To() Address { return m.to }

// FromTag returns From's tag, "" where there is none.
func (m *Message) FromTag() string { return m.fromTag }

// ToTag returns To's tag, "" where there is none: the message is then outside a dialog.
func (m *Message) ToTag() string { return m.toTag }

// CallID returns the Call-ID.
func (m *Message) CallID() string { return m.callID }

// CSeq returns the CSeq.
func (m *Message) CSeq() CSeq { return m.cseq }

// MaxForwards returns the Max-Forwards, and whether there is one.
func (m *Message) MaxForwards() (hops int, ok bool) {
	return max(int(m.maxForwards), 0), m.maxForwards >= 0
}

// ContentLength returns the Content-Length, and whether there is one. It is never more than
// the length of the body that came with it.
func (m *Message) ContentLength() (n int, ok bool) {
	return int(max(m.length, 0)), m.length >= 0
}

// SourceSize returns how many bytes the message had as it was received, 0 for one that was built.
func (m *Message) SourceSize() int { return len(m.src) }

// Body returns the body, which must not be modified. It is nil where there is none.
func (m *Message) Body() []byte { return bytesView(m.body) }

// Has reports whether there is a header field with this ID.
func (m *Message) Has(id HeaderID) bool { return m.find(id) >= 0 }

// Get returns the value of the first line of a header field, unfolded.
func (m *Message) Get(id HeaderID) (value string, ok bool) {
	if i := m.find(id); i >= 0 {
		return m.value(&m.lines[i]), true
	}
	return "", false
}

// GetNamed returns the value of the first line of a header field by its name, unfolded.
func (m *Message) GetNamed(name string) (value string, ok bool) {
	if id := LookupHeader(name); id != HUnknown {
		return m.Get(id)
	}
	for n, v := range m.Headers() {
		if equalFold(n, name) {
			return v, true
		}
	}
	return "", false
}

// Lines yields the values of a header field line by line, unfolded: the challenges of
// WWW-Authenticate, for one, in which a comma separates no values.
func (m *Message) Lines(id HeaderID) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !m.mayHave(id) {
			return
		}
		for i := range m.lines {
			if l := &m.lines[i]; l.id == id && !yield(m.value(l)) {
				return
			}
		}
	}
}

// Values yields the values of a list header field over all its lines, split at commas
// (RFC 3261 §7.3.1). Empty elements are passed over.
func (m *Message) Values(id HeaderID) iter.Seq[string] {
	return func(yield func(string) bool) {
		for value := range m.Lines(id) {
			for more := true; more; {
				var element string
				element, value, more = nextElement(value)
				if element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// Headers yields the name, as written, and the value of every header line in order.
func (m *Message) Headers() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for i := range m.lines {
			if l := &m.lines[i]; !yield(m.name(l), m.value(l)) {
				return
			}
		}
	}
}

// mayHave reports whether the index had a line of this kind at any time, which spares most
// look-ups for a header field that is not there.
func (m *Message) mayHave(id HeaderID) bool { return m.seen&(1<<id) != 0 }

func (m *Message) find(id HeaderID) int {
	if m.mayHave(id) {
		for i := range m.lines {
			if m.lines[i].id == id {
				return i
			}
		}
	}
	return -1
}

// text is where the line's offsets point into.
func (m *Message) text(l *line) string {
	if l.flags&edited != 0 {
		return view(m.edit)
	}
	return m.src
}

func (m *Message) name(l *line) string {
	name, _, _ := strings.Cut(m.text(l)[l.start:l.value], ":")
	return trimSpace(name)
}

func (m *Message) value(l *line) string {
	if l.flags == 0 {
		return m.src[l.value:l.valueEnd]
	}
	return m.oddValue(l)
}

// oddValue is the value of a line that is folded or edited.
func (m *Message) oddValue(l *line) string {
	v := m.text(l)[l.value:l.valueEnd]
	if l.flags&folded != 0 {
		return unfold(v)
	}
	return v
}

// unfold replaces every line's end with the white space around it by one space (RFC 3261
// §7.3.1).
func unfold(v string) string {
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); {
		if v[i] != '\r' {
			b = append(b, v[i])
			i++
			continue
		}
		for len(b) > 0 && isSpace(b[len(b)-1]) {
			b = b[:len(b)-1]
		}
		b = append(b, ' ')
		i = skipSpace(v, i)
	}
	return string(b)
}
