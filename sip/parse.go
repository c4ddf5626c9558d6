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
	if uint64(len(b)) > math.MaxUint32 {
		return &Error{Status: 513, Offset: -1, Reason: "message too large"}
	}
	p := parser{m: m}
	start := 0
	for strings.HasPrefix(m.src[start:], "\r\n") { // RFC 3261 §7.5
		start += 2
	}
	m.src = m.src[start:]
	if head := p.startLine(); head > 0 {
		body := p.head(head)
		p.note()
		p.decode()
		if body > 0 {
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
	// first has, of each header field that is decoded at once, the number of its first line,
	// 0 for none, 1 for the first.
	first [lastEager + 1]uint16
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
	end := skip(first, 0, tokenChar)
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
