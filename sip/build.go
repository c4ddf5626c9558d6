package sip

// NewRequest returns a request with a start line and nothing else.
func NewRequest(method Method, uri string) *Message {
	m := &Message{method: method, uri: uri, maxForwards: -1}
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
	m := &Message{
		src:  req.src,
		edit: req.edit[:len(req.edit):len(req.edit)],

		status: status, reason: reason,
		via: req.via, from: req.from, to: req.to, fromTag: req.fromTag, toTag: req.toTag,
		callID: req.callID, cseq: req.cseq, maxForwards: -1,
	}
	m.lines = m.inline[:0]
	copied := uint64(mandatory)
	if status == 100 {
		copied |= 1 << HTimestamp
	}
	for _, l := range req.lines {
		bit := uint64(1) << l.id
		if copied&bit == 0 || m.seen&bit&singles != 0 { // of a duplicate the first
			continue
		}
		m.seen |= bit
		if l.id == HTo && req.toTag == "" && toTag != "" && status > 100 {
			l = m.tagTo(&l, toTag)
		}
		m.lines = append(m.lines, l)
	}
	m.insert(len(m.lines), m.add(HContentLength, HContentLength.String(), "0"))
	return m
}

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
