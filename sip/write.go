package sip

import "strings"

const version = "SIP/2.0"

// Bytes writes the message into a buffer of its exact size, which is the caller's.
func (m *Message) Bytes() []byte { return m.AppendTo(make([]byte, 0, m.Size())) }

// Size returns the number of bytes that the message is written in.
func (m *Message) Size() int {
	n := m.startSize() + len("\r\n") + len(m.body)
	for i := range m.lines {
		n += int(m.lines[i].end - m.lines[i].start)
	}
	return n
}

func (m *Message) startSize() int {
	switch {
	case m.startEnd > 0:
		return int(m.startEnd)
	case m.method != "":
		return len(m.method) + len(" ") + len(m.uri) + len(" "+version+"\r\n")
	}
	return len(version+" 200 ") + len(m.reason) + len("\r\n")
}

// AppendTo writes the message behind b. Lines that were not edited are written from the
// bytes they were received in, neighbours in one piece.
func (m *Message) AppendTo(b []byte) []byte {
	switch {
	case m.startEnd > 0:
		b = append(b, m.src[:m.startEnd]...)
	case m.method != "":
		b = append(append(b, m.method...), ' ')
		b = append(append(b, m.uri...), " "+version+"\r\n"...)
	default:
		b = appendUint(append(b, version+" "...), uint64(m.status))
		b = append(append(append(b, ' '), m.reason...), "\r\n"...)
	}
	lines := m.lines
	for i := 0; i < len(lines); {
		first := &lines[i]
		end := first.end
		for i++; i < len(lines) && lines[i].start == end && lines[i].flags&edited == first.flags&edited; i++ {
			end = lines[i].end
		}
		b = append(b, m.text(first)[first.start:end]...)
	}
	b = append(b, "\r\n"...)
	return append(b, m.body...)
}

// Clone returns a message with the same bytes and an index and edits of its own.
func (m *Message) Clone() *Message {
	if m.startEnd == releasedEnd {
		panic("sip: clone of a message that was released")
	}
	c := messages.Get().(*Message)
	edit := append(c.edit[:0], m.edit...)
	*c = *m
	c.edit = edit
	if len(m.lines) <= inlineLines {
		c.lines = c.inline[:copy(c.inline[:], m.lines)]
	} else {
		c.lines = append([]line(nil), m.lines...)
	}
	c.decodeEdited()
	return c
}

// String returns the message as text, for logs and tests.
func (m *Message) String() string {
	var b strings.Builder
	b.Write(m.Bytes())
	return b.String()
}
