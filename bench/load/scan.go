//go:build linux

package load

import (
	"bytes"
	"errors"
	"strconv"
)

// maxLines is how many Via or Record-Route lines, and how many challenges, a
// message of the benchmark may have.
const maxLines = 8

// lines are the values of the header lines of one name, in order.
type lines struct {
	n int
	v [maxLines][]byte
}

func (l *lines) add(v []byte) bool {
	if l.n == maxLines {
		return false
	}
	l.v[l.n] = v
	l.n++
	return true
}

func (l *lines) all() [][]byte { return l.v[:l.n] }

// message is a scanned message: views into the bytes it was scanned from,
// which the next read overwrites.
type message struct {
	raw         []byte
	status      int    // 0 for a request
	method, uri []byte // of a request

	via, recordRoute, challenge lines
	routes                      int

	from, to, callID, cseq, contact, maxForwards []byte

	body []byte
}

var (
	errNoHead     = errors.New("no end of the header")
	errStartLine  = errors.New("bad start line")
	errHeaderLine = errors.New("bad or unexpected header line")
	errLength     = errors.New("Content-Length differs from the body received")
)

// scan fills m from the whole message b. It knows the long names of the
// headers it needs, in any case, and skips all others.
func (m *message) scan(b []byte) error {
	m.raw = b
	m.status, m.routes = 0, 0
	m.via.n, m.recordRoute.n, m.challenge.n = 0, 0, 0
	m.method, m.uri = nil, nil
	m.from, m.to, m.callID, m.cseq, m.contact, m.maxForwards = nil, nil, nil, nil, nil, nil
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return errNoHead
	}
	m.body = b[end+4:]
	eol := bytes.IndexByte(b, '\r')
	if err := m.startLine(b[:eol]); err != nil {
		return err
	}
	length := -1
	for head := b[eol:end]; len(head) > 0; {
		head = head[2:] // the CRLF of the line before
		line := head
		if i := bytes.IndexByte(head, '\r'); i >= 0 {
			line = head[:i]
		}
		head = head[len(line):]
		if !m.header(line, &length) {
			return errHeaderLine
		}
	}
	if length >= 0 && length != len(m.body) {
		return errLength
	}
	return nil
}

func (m *message) startLine(line []byte) error {
	if bytes.HasPrefix(line, []byte("SIP/2.0 ")) {
		if len(line) < 11 {
			return errStartLine
		}
		m.status = int(line[8]-'0')*100 + int(line[9]-'0')*10 + int(line[10]-'0')
		if m.status < 100 || m.status > 699 {
			return errStartLine
		}
		return nil
	}
	rest, ok := bytes.CutSuffix(line, []byte(" SIP/2.0"))
	if !ok {
		return errStartLine
	}
	m.method, m.uri, ok = bytes.Cut(rest, []byte(" "))
	if !ok {
		return errStartLine
	}
	return nil
}

// header files one line. It reports false for a line that no message of the
// benchmark may have: no colon, too many of a kind, a Content-Length that is
// no number.
func (m *message) header(line []byte, length *int) bool {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return false
	}
	name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
	switch colon {
	case 2:
		if bytes.EqualFold(name, []byte("To")) {
			m.to = value
		}
	case 3:
		if bytes.EqualFold(name, []byte("Via")) {
			return m.via.add(value)
		}
	case 4:
		if bytes.EqualFold(name, []byte("From")) {
			m.from = value
		} else if bytes.EqualFold(name, []byte("CSeq")) {
			m.cseq = value
		}
	case 5:
		if bytes.EqualFold(name, []byte("Route")) {
			m.routes++
		}
	case 7:
		if bytes.EqualFold(name, []byte("Call-ID")) {
			m.callID = value
		} else if bytes.EqualFold(name, []byte("Contact")) {
			m.contact = value
		}
	case 12:
		if bytes.EqualFold(name, []byte("Record-Route")) {
			return m.recordRoute.add(value)
		} else if bytes.EqualFold(name, []byte("Max-Forwards")) {
			m.maxForwards = value
		}
	case 14:
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, err := strconv.Atoi(string(value))
			*length = n
			return err == nil && n >= 0
		}
	case 16:
		if bytes.EqualFold(name, []byte("WWW-Authenticate")) {
			return m.challenge.add(value)
		}
	case 18:
		if bytes.EqualFold(name, []byte("Proxy-Authenticate")) {
			return m.challenge.add(value)
		}
	}
	return true
}

// bareURI returns what stands between the angle brackets of an address.
func bareURI(address []byte) []byte {
	open := bytes.IndexByte(address, '<')
	if open < 0 {
		uri, _, _ := bytes.Cut(address, []byte(";"))
		return uri
	}
	uri, _, _ := bytes.Cut(address[open+1:], []byte(">"))
	return uri
}

// parameter returns the value of a challenge's parameter without its quotes,
// nil where there is none.
func parameter(challenge []byte, name string) []byte {
	for rest := challenge; len(rest) > 0; {
		key, value, ok := bytes.Cut(rest, []byte("="))
		if !ok {
			return nil
		}
		if space := bytes.LastIndexAny(key, " ,\t"); space >= 0 {
			key = key[space+1:]
		}
		if len(value) > 0 && value[0] == '"' {
			value, rest, _ = bytes.Cut(value[1:], []byte(`"`))
		} else {
			value, rest, _ = bytes.Cut(value, []byte(","))
		}
		if bytes.EqualFold(key, []byte(name)) {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}
