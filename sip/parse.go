package sip

import (
	"math"
	"math/bits"
	"strings"
)

const (
	// MaxMessage is the default limit of a message's size in bytes. A browser's INVITE has
	// 3 KB, one with video and many ICE candidates 10 KB; a UDP datagram can't be larger.
	MaxMessage = 64 << 10

	// MaxHeaderLines bounds the index. A message that crossed 70 proxies, the initial value
	// of Max-Forwards, has 140 lines of Via and Record-Route and some 30 more.
	MaxHeaderLines = 256
)

// Parse reads a message. It takes ownership of b, which must hold exactly one message and
// must never be modified again. Without a Content-Length the body is all that follows the
// head (RFC 3261 §18.3 for datagrams, RFC 7118 §5.3 for WebSocket messages); what follows
// a body of the length it says is dropped.
//
// The error is an [*Error]. The message is returned with it where the start line could be
// read, holding what was understood of it, so that a request can be answered.
//
// There is no limit of nesting, because nothing is read by recursion.
func Parse(b []byte) (*Message, error) {
	m := messages.Get().(*Message)
	err := m.Parse(b)
	if err != nil && m.method == "" && m.status == 0 {
		return nil, err
	}
	return m, err
}

// Parse reads a message into m without an allocation for a message of usual size. What m
// was before is gone, and with it the clones and responses made from it and the strings of
// its edited lines. It is [Parse] in all else.
func (m *Message) Parse(b []byte) error {
	m.reset(view(b))
	if len(b) > math.MaxUint32 {
		return &Error{Status: 513, Offset: -1, Reason: "message too large"}
	}
	p := parser{m: m}
	start := 0
	for strings.HasPrefix(m.src[start:], "\r\n") { // RFC 3261 §7.5
		start += 2
	}
	m.src = m.src[start:]
	if head := p.startLine(); head > 0 {
		if body := p.head(head); body > 0 {
			p.body(body)
			p.complete()
		}
	}
	if p.err != nil {
		if p.err.Offset >= 0 {
			p.err.Offset += start
		}
		return p.err
	}
	return nil
}

// parser is the state of one Parse. It keeps the first fault and goes on where it can, for
// the answer needs the header fields that come later.
type parser struct {
	m   *Message
	err *Error
}

// reset empties m for another message. It leaves inline as it is: lines says how much of
// it counts, and clearing it would cost as much as indexing a few lines.
func (m *Message) reset(src string) {
	m.src, m.edit = src, m.edit[:0]
	m.lines = m.inline[:0]
	m.startEnd, m.seen = 0, 0
	m.method, m.uri, m.status, m.reason = "", "", 0, ""
	m.via = Via{RPort: -1}
	m.from, m.to = Address{}, Address{}
	m.fromTag, m.toTag, m.callID = "", "", ""
	m.cseq, m.maxForwards, m.length, m.body = CSeq{}, -1, -1, ""
}

func (p *parser) fail(status int, header string, offset int, reason string) int {
	if p.err == nil {
		p.err = &Error{status, header, offset, reason}
	}
	return 0
}

// startLine reads the first line and returns the index behind it, 0 where it is no start
// line at all.
func (p *parser) startLine() int {
	s := p.m.src
	end := indexControl(s, 0)
	isStatus := len(s) > len(version) && s[len(version)] == ' ' && equalFold(s[:len(version)], version)
	if isStatus { // there may be tabs in a reason phrase
		end = indexLineEnd(s, 0)
	}
	if end+1 >= len(s) || s[end] != '\r' || s[end+1] != '\n' {
		return p.fail(400, "Request-Line", end, "first line does not end with CRLF")
	}
	p.m.startEnd = uint32(end + 2)
	if isStatus {
		return p.statusLine(s[:end])
	}
	return p.requestLine(s[:end])
}

// requestLine reads "INVITE sip:bob@example.test SIP/2.0". White space within the
// Request-URI, or more than one space between the parts (RFC 3261 §7.1), is not passed
// over: guessing could route the request elsewhere.
func (p *parser) requestLine(first string) int {
	end := 0
	for end < len(first) && classes[first[end]]&tokenChar != 0 {
		end++
	}
	if end == 0 || end+1 >= len(first) || first[end] != ' ' {
		return p.fail(400, "Request-Line", 0, "not a method, a URI and a version")
	}
	uri, ver, _ := strings.Cut(first[end+1:], " ")
	if ver != version && !equalFold(ver, version) || uri == "" {
		if len(ver) > 4 && equalFold(ver[:4], "SIP/") && strings.IndexByte(ver, ' ') < 0 {
			p.fail(505, "Request-Line", len(first)-len(ver), "unknown SIP version")
		} else {
			p.fail(400, "Request-Line", end, "not a method, a URI and a version")
		}
	}
	p.m.method, p.m.uri = Method(first[:end]), uri
	return len(first) + 2
}

// statusLine reads "SIP/2.0 200 OK". The reason phrase may be missing, and with it the
// space before it.
func (p *parser) statusLine(first string) int {
	code, reason, _ := strings.Cut(first[len(version)+1:], " ")
	status, ok := parseUint(code, 699)
	if !ok || status < 100 || len(code) != 3 {
		return p.fail(400, "Status-Line", len(version)+1, "no status code from 100 to 699")
	}
	p.m.status, p.m.reason = int16(status), reason
	return len(first) + 2
}

// head indexes the header lines from s[i] on and returns the index of the body, 0 where
// the head is broken so that lines can't be told apart.
func (p *parser) head(i int) int {
	m := p.m
	s := m.src
	for {
		if i+1 >= len(s) {
			return p.fail(400, "", len(s), "head does not end with an empty line")
		}
		if s[i] == '\r' && s[i+1] == '\n' {
			return i + 2
		}
		if len(m.lines) == MaxHeaderLines {
			return p.fail(513, "", i, "too many header lines")
		}
		colon, end := indexLine(s, i)
		if colon < 0 {
			return p.fail(400, "", i, "header line without a name")
		}
		id := HUnknown
		if i+8 <= len(s) {
			id = lookupHeader(s, i, colon)
		}
		if id == HUnknown {
			var ok bool
			if id, ok = oddName(s[i:colon]); !ok {
				return p.fail(400, "", i, "header name is no token")
			}
		}
		l := m.newLine()
		l.start, l.id, l.flags = uint32(i), id, 0
		value := colon + 1
		if value < end && s[value] == ' ' {
			value++
		}
		if end+2 < len(s) && s[end] == '\r' && s[end+1] == '\n' && s[end+2] != ' ' && s[end+2] != '\t' && s[end-1] > ' ' && s[value] > ' ' {
			i = end + 2
			l.value, l.valueEnd, l.end = uint32(value), uint32(end), uint32(i)
		} else if i = p.fieldValue(l, value, end); i == 0 {
			m.lines = m.lines[:len(m.lines)-1]
			return 0
		}
		bit := uint64(1) << id
		switch {
		case id == HUnknown:
		case m.seen&bit == 0:
			m.seen |= bit
			if id <= lastEager {
				if err := m.decode(id, m.value(l)); err != nil {
					p.failValue(l, err)
				}
			}
		case singles&bit != 0:
			// Two values of what there is one of: whom to believe would be a guess, and
			// the next hop might guess otherwise.
			p.fail(400, id.String(), int(l.start), "stands more than once")
		}
	}
}

// newLine adds an entry to the index, whose fields are all to be set.
func (m *Message) newLine() *line {
	n := len(m.lines)
	if n == cap(m.lines) {
		m.lines = append(m.lines, line{})
	} else {
		m.lines = m.lines[:n+1]
	}
	return &m.lines[n]
}

// oddName looks up a name with white space between it and the colon (RFC 3261 §25.1,
// HCOLON), and sees to it that one that is not known is a token.
func oddName(name string) (id HeaderID, ok bool) {
	name = strings.TrimRight(name, " \t")
	return LookupHeader(name), isAll(name, tokenChar)
}

// fieldValue finds the value that begins at s[i] and returns the index of the next line;
// end is where the line ends if it is as it should be.
func (p *parser) fieldValue(l *line, i, end int) (next int) {
	s := p.m.src
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	if end+2 >= len(s) || s[end] != '\r' || s[end+1] != '\n' || s[end+2] == ' ' || s[end+2] == '\t' {
		if end = p.oddValue(l, i); end == 0 {
			return 0
		}
		i = min(skipSpace(s, i), end) // the value may begin on the continuation line
	}
	l.end = uint32(end + 2)
	for end > i && isSpace(s[end-1]) {
		end--
	}
	l.value, l.valueEnd = uint32(i), uint32(end)
	return int(l.end)
}

// oddValue finds the end of a value that is folded or has control characters in it, byte
// by byte. Such a character may only stand behind the backslash of a quoted string
// (RFC 3261 §25.1, quoted-pair); a bare CR or LF may not even there, for peers disagree on
// what it ends.
func (p *parser) oddValue(l *line, i int) int {
	s := p.m.src
	quoted, escape := false, false
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\r' || c == '\n':
			if c == '\n' || i+1 >= len(s) || s[i+1] != '\n' {
				return p.fail(400, l.id.String(), i, "bare CR or LF")
			}
			if i+2 >= len(s) || s[i+2] != ' ' && s[i+2] != '\t' {
				return i
			}
			l.flags |= folded
			escape = false
			i++
		case escape:
			escape = false
		case c == '"':
			quoted = !quoted
		case c == '\\':
			escape = quoted
		case c != '\t' && (c < 0x20 || c == 0x7f):
			return p.fail(400, l.id.String(), i, "control character")
		}
	}
	return p.fail(400, l.id.String(), len(s), "header line does not end with CRLF")
}

// decode reads a header field that every layer needs, in the parser and after an edit.
func (m *Message) decode(id HeaderID, value string) (err error) {
	switch id {
	case HVia:
		err = m.via.parse(firstElement(value))
	case HFrom:
		m.fromTag, err = m.from.parse(value)
	case HTo:
		m.toTag, err = m.to.parse(value)
	case HCallID:
		if m.callID = value; value == "" || strings.IndexByte(value, ' ') >= 0 {
			err = badValue("no Call-ID", 0)
		}
	case HCSeq:
		err = m.parseCSeq(value)
	case HMaxForwards:
		hops, ok := parseUint(value, 255)
		if m.maxForwards = int16(hops); !ok {
			m.maxForwards = -1
			err = badValue("no number from 0 to 255", 0)
		}
	case HContentLength:
		n, ok := parseUint(value, math.MaxUint32)
		if m.length = int64(n); !ok {
			m.length = -1
			err = badValue("no number", 0)
		}
	}
	return err
}

func (p *parser) failValue(l *line, err error) {
	status, reason, at := 400, err.Error(), 0
	switch e := err.(type) {
	case *syntaxError:
		reason, at = e.reason, e.at
	case *Error:
		status, reason, at = e.Status, e.Reason, e.Offset
	}
	p.fail(status, l.id.String(), int(l.value)+at, reason)
}

// parseCSeq reads a sequence number below 2^31 and a method (RFC 3261 §8.1.1.5).
func (m *Message) parseCSeq(s string) error {
	m.cseq = CSeq{}
	digits := 0
	for digits < len(s) && s[digits]-'0' <= 9 {
		digits++
	}
	seq, ok := parseUint(s[:digits], math.MaxInt32)
	if !ok {
		return badValue("no sequence number below 2^31", 0)
	}
	at := skipSpace(s, digits)
	method := Method(s[at:])
	if at == digits || method != m.method && !isAll(s[at:], tokenChar) {
		return badValue("no method", digits)
	}
	m.cseq = CSeq{uint32(seq), method}
	return nil
}

// body cuts the body out by the Content-Length.
func (p *parser) body(i int) {
	m := p.m
	end := len(m.src)
	switch {
	case m.length > int64(end-i):
		p.fail(400, "Content-Length", int(m.lines[m.find(HContentLength)].value), "greater than what follows")
	case m.length >= 0:
		end = i + int(m.length)
	}
	m.body = m.src[i:end]
	m.src = m.src[:i]
}

// mandatory has the bits of the header fields that every message must have (RFC 3261
// §8.1.1). Max-Forwards is not among them: elements of RFC 2543 don't send it (§16.3).
const mandatory = 1<<HVia | 1<<HFrom | 1<<HTo | 1<<HCallID | 1<<HCSeq

// complete checks what can only be said of the whole head.
func (p *parser) complete() {
	m := p.m
	if missing := mandatory &^ m.seen; missing != 0 {
		p.fail(400, HeaderID(bits.TrailingZeros64(missing)).String(), -1, "missing")
	}
	if m.method != "" && m.method != m.cseq.Method {
		p.fail(400, "CSeq", -1, "method is not that of the request")
	}
}
