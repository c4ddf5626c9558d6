package sip

import "strings"

// head indexes the header lines from s[i] on and returns the index of the body, 0 where
// the head is broken so that lines can't be told apart.
func (p *parser) head(i int) (body int) {
	m := p.m
	s := m.src
	for {
		n := len(m.lines)
		n, i = plainLines(m.lines[:min(cap(m.lines), MaxHeaderLines)], n, s, i)
		m.lines = m.lines[:n]
		switch {
		case i+1 < len(s) && s[i] == '\r' && s[i+1] == '\n':
			return i + 2
		case i+1 >= len(s):
			return p.fail(400, "", len(s), "head does not end with an empty line")
		case n == MaxHeaderLines:
			return p.fail(513, "", i, "too many header lines")
		}
		if i = p.oddLine(m.newLine(), i); i == 0 {
			m.lines = m.lines[:n]
			return 0
		}
	}
}

// plainLines reads header lines from s[i] on into lines[n:], as long as there is room and
// they are as nearly all lines are: a name that the colon follows at once, a value with no
// white space but spaces before it, no folding, no control characters. It returns how many
// lines there are now and the index of the next one.
func plainLines(lines []line, n int, s string, i int) (int, int) {
	for ; n < len(lines) && i+8 <= len(s) && s[i] > ' '; n++ {
		id, colon := plainName(s, i)
		if id == HUnknown {
			if colon < 0 || !isAll(s[i:colon], tokenChar) {
				break
			}
			id = LookupHeader(s[i:colon]) // in odd case, or unknown indeed
		}
		value := colon + 1
		end := indexControl(s, value)
		if end+4 > len(s) {
			break
		}
		for s[value] == ' ' {
			value++
		}
		tail := word32(s, end-1) // the last character, CR, LF and the first of the next line
		last, behind := byte(tail), byte(tail>>24)
		if uint16(tail>>8) != crlf || behind == ' ' || behind == '\t' || last <= ' ' {
			break
		}
		l := &lines[n]
		l.start, l.value, l.valueEnd, l.end = uint32(i), uint32(value), uint32(end), uint32(end+2)
		l.id, l.flags = id, 0
		i = end + 2
	}
	return n, i
}

// plainName looks up the name that begins at s[i], where at least eight bytes follow. It
// knows it in its canonical spelling only, and returns the index of the colon behind it as
// well, -1 where there is none.
func plainName(s string, i int) (id HeaderID, colon int) {
	words := nameWords{first: word(s, i)}
	if byte(words.first>>8) == ':' {
		return compactIDs[byte(words.first)], i + 1
	}
	if hit := zeros(words.first ^ ':'*ones); hit != 0 {
		colon = i + firstByte(hit)
		words.first &= hit&-hit>>7 - 1 // no more than what is before the colon
	} else if colon = indexColon(s, i+8); colon >= 0 {
		words.last = word(s, colon-8)
	}
	if known := &knownNames[words.slot()]; known.nameWords == words && int(known.length) == colon-i {
		id = known.id
	}
	return id, colon
}

// note finds the first line of every kind of header field.
func (p *parser) note() {
	m := p.m
	var seen uint64
	for i := range m.lines {
		l := &m.lines[i]
		bit := uint64(1) << (l.id & 63)
		if seen&bit == 0 {
			seen |= bit
			if l.id <= lastEager {
				p.first[l.id] = uint16(i + 1)
			}
		} else if singles&bit != 0 {
			// Two values of what there is one of: whom to believe would be a guess, and
			// the next hop might guess otherwise.
			p.failEarlier(400, l.id.String(), int(l.start), "stands more than once")
		}
	}
	m.seen = seen &^ (1 << HUnknown)
}

// oddLine reads the header line at s[i], whatever its form, and returns the index of the
// next one, 0 where it can't be told.
func (p *parser) oddLine(l *line, i int) (next int) {
	s := p.m.src
	colon := indexColon(s, i)
	if colon <= i {
		return p.fail(400, "", i, "header line without a name")
	}
	name := strings.TrimRight(s[i:colon], " \t") // RFC 3261 §25.1, HCOLON
	if !isAll(name, tokenChar) {
		return p.fail(400, "", i, "header name is no token")
	}
	*l = line{start: uint32(i), id: LookupHeader(name)}
	return p.fieldValue(l, colon+1, indexLineEnd(s, colon+1))
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
