package sip

import "iter"

// NewRequest returns a request with a start line and nothing else.
func NewRequest(method Method, uri string) *Message {
	m := &Message{method: method, uri: uri, maxForwards: -1, length: -1}
	m.lines = m.inline[:0]
	m.via.RPort = -1
	return m
}

// NewResponse returns a response to req by RFC 3261 §8.2.6: the Vias, From, To, Call-ID
// and CSeq of the request, and its Timestamp in a 100. An empty reason stands for the
// standard phrase. toTag is added to a To without a tag, except in a 100, which has none
// of its own. Lines are shared with the request, not copied; the request must not be
// edited while the response is in use.
//
// req may be what [Parse] returned with an error: what is there is copied.
func NewResponse(req *Message, status int, reason, toTag string) *Message {
	if reason == "" {
		reason = ReasonPhrase(status)
	}
	m := messages.Get().(*Message)
	m.reset(req.src)
	m.edit = append(m.edit, req.edit...)
	m.Grow(replyRoom)
	m.status, m.reason, m.length = int16(status), reason, 0
	m.via, m.from, m.to, m.fromTag, m.toTag = req.via, req.from, req.to, req.fromTag, req.toTag
	m.callID, m.cseq = req.callID, req.cseq
	for l := range req.answered(status) {
		m.seen |= 1 << l.id
		own := *l
		if l.id == HTo && req.toTag == "" && toTag != "" && status > 100 {
			own = m.tagTo(l, toTag)
		}
		m.lines = append(m.lines, own)
	}
	m.decodeEdited()
	m.insert(len(m.lines), m.add(HContentLength, HContentLength.String(), "0"))
	return m
}

// replyRoom is what a response has to say of its own: a To with a tag, a Content-Length, and
// one more line.
const replyRoom = 192

// tagTo writes the To line of a request with a tag behind it.
func (m *Message) tagTo(l *line, tag string) line {
	value := m.value(l)
	fresh := m.begin(HTo, m.name(l))
	m.edit = append(append(append(m.edit, value...), ";tag="...), tag...)
	fresh = m.end(fresh)
	m.toTag = tag
	_, _ = m.to.parse(m.value(&fresh))
	return fresh
}

// ResponseBytes returns the bytes of [NewResponse] without making the message: for an
// answer that nothing is added to.
func ResponseBytes(req *Message, status int, reason, toTag string) []byte {
	if reason == "" {
		reason = ReasonPhrase(status)
	}
	tagged := req.toTag == "" && toTag != "" && status > 100
	size := len(version+" 200 \r\nContent-Length: 0\r\n\r\n") + len(reason)
	for l := range req.answered(status) {
		size += int(l.end - l.start)
		if l.id == HTo && tagged {
			size += len(";tag=") + len(toTag)
		}
	}
	return AppendResponse(make([]byte, 0, size), req, status, reason, toTag, nil)
}

// AppendField writes a line of a header field behind b, as [Message.Append] does: the caller
// sees to it that the value has no line's end.
func AppendField(b []byte, id HeaderID, value string) []byte {
	b = append(append(b, id.String()...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// AppendResponse writes the bytes of [NewResponse] behind b, and fields, which are whole lines
// of header fields, at the end of its head.
func AppendResponse(b []byte, req *Message, status int, reason, toTag string, fields []byte) []byte {
	if reason == "" {
		reason = ReasonPhrase(status)
	}
	tagged := req.toTag == "" && toTag != "" && status > 100
	b = appendUint(append(b, version+" "...), uint64(status))
	b = append(append(append(b, ' '), reason...), "\r\n"...)
	for l := range req.answered(status) {
		text := req.text(l)
		if l.id == HTo && tagged {
			b = append(append(append(b, text[l.start:l.valueEnd]...), ";tag="...), toTag...)
			b = append(b, "\r\n"...)
			continue
		}
		b = append(b, text[l.start:l.end]...)
	}
	b = append(b, "Content-Length: 0\r\n"...)
	return append(append(b, fields...), "\r\n"...)
}

// answered yields the lines of a request that its responses repeat (RFC 3261 §8.2.6), of
// what there must be one of the first.
func (m *Message) answered(status int) iter.Seq[*line] {
	return func(yield func(*line) bool) {
		copied := uint64(mandatory)
		if status == 100 {
			copied |= 1 << HTimestamp
		}
		var seen uint64
		for i := range m.lines {
			l := &m.lines[i]
			bit := uint64(1) << l.id
			if copied&bit == 0 || seen&bit&singles != 0 {
				continue
			}
			if seen |= bit; !yield(l) {
				return
			}
		}
	}
}
