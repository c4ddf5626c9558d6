package sip

import (
	"net/netip"
	"slices"
)

// An edit writes the new line behind those in m.edit and puts it into the index; the line
// it replaces is forgotten. editRoom is made for the first one where nobody has said by Grow
// what there is to come.
const editRoom = 512

// Grow makes room for edits of about n bytes in all.
func (m *Message) Grow(n int) {
	if cap(m.edit)-len(m.edit) < n {
		m.edit = slices.Grow(m.edit, n)
	}
}

// add writes a line into m.edit and returns its entry.
func (m *Message) add(id HeaderID, name, value string) line {
	l := m.begin(id, name)
	m.edit = append(m.edit, value...)
	return m.end(l)
}

func (m *Message) begin(id HeaderID, name string) line {
	if len(m.edit) == cap(m.edit) { // the first edit, or the first one of a clone
		m.Grow(editRoom)
	}
	l := line{start: uint32(len(m.edit)), id: id, flags: edited}
	m.edit = append(append(m.edit, name...), ": "...)
	l.value = uint32(len(m.edit))
	if id != HUnknown {
		m.seen |= 1 << id
	}
	return l
}

func (m *Message) end(l line) line {
	l.valueEnd = uint32(len(m.edit))
	m.edit = append(m.edit, "\r\n"...)
	l.end = uint32(len(m.edit))
	return l
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

func (m *Message) insert(at int, l line) {
	m.newLine()
	copy(m.lines[at+1:], m.lines[at:])
	m.lines[at] = l
}

// Prepend puts a new line before the first of its kind, or behind the Vias where there is
// none: the place of a Record-Route, a Route or a Path that comes first.
func (m *Message) Prepend(id HeaderID, value string) { m.PrependBytes(id, bytesView(value)) }

// PrependBytes is [Message.Prepend] of a value that is the caller's again when it returns.
func (m *Message) PrependBytes(id HeaderID, value []byte) {
	at := m.find(id)
	if at < 0 {
		at = m.behindVias()
	}
	m.insert(at, m.add(id, id.String(), view(value)))
	m.refresh(id)
}

// behindVias returns the index behind the first Vias that follow one another.
func (m *Message) behindVias() int {
	at := m.find(HVia) + 1
	for at > 0 && at < len(m.lines) && m.lines[at].id == HVia {
		at++
	}
	return at
}

// Append puts a new line behind the last of its kind, or at the end of the head.
func (m *Message) Append(id HeaderID, value string) { m.AppendBytes(id, bytesView(value)) }

// AppendBytes is [Message.Append] of a value that is the caller's again when it returns.
func (m *Message) AppendBytes(id HeaderID, value []byte) {
	at := len(m.lines)
	if m.Has(id) {
		at = m.behind(id)
	}
	m.insert(at, m.add(id, id.String(), view(value)))
	m.refresh(id)
}

// AppendNamed puts a new line at the end of the head, of a header field that need not be
// known. The caller sees to it that name is a token and value has no line's end.
func (m *Message) AppendNamed(name, value string) {
	if id := LookupHeader(name); id != HUnknown {
		m.Append(id, value)
		return
	}
	m.insert(len(m.lines), m.add(HUnknown, name, value))
}

// behind returns the index behind the last line of a kind, 0 where there is none.
func (m *Message) behind(id HeaderID) int {
	for i := len(m.lines); i > 0; i-- {
		if m.lines[i-1].id == id {
			return i
		}
	}
	return 0
}

// Set replaces the header field by one line, at the place of its first one.
func (m *Message) Set(id HeaderID, value string) {
	at := m.find(id)
	if at < 0 {
		m.Append(id, value)
		return
	}
	l := m.add(id, id.String(), value)
	others := slices.DeleteFunc(m.lines[at+1:], func(l line) bool { return l.id == id })
	m.lines = m.lines[:at+1+len(others)]
	m.lines[at] = l
	m.refresh(id)
}

// Remove drops every line of a header field.
func (m *Message) Remove(id HeaderID) {
	if !m.mayHave(id) {
		return
	}
	m.lines = slices.DeleteFunc(m.lines, func(l line) bool { return l.id == id })
	m.refresh(id)
}

// RemoveNamed drops every line of a header field by its name.
func (m *Message) RemoveNamed(name string) {
	if id := LookupHeader(name); id != HUnknown {
		m.Remove(id)
		return
	}
	m.lines = slices.DeleteFunc(m.lines, func(l line) bool { return l.id == HUnknown && equalFold(m.name(&l), name) })
}

// PopValue removes the first value of a list header field and returns it.
func (m *Message) PopValue(id HeaderID) (value string, ok bool) {
	value = m.PopValues(id, 1)
	return value, value != ""
}

// PopValues removes the first n values of a list header field and returns the last of them, ""
// where there was none.
func (m *Message) PopValues(id HeaderID, n int) (last string) {
	for at := m.find(id); at >= 0 && n > 0; at = m.find(id) {
		l := &m.lines[at]
		rest, more := m.value(l), true
		for more && n > 0 {
			var value string
			if value, rest, more = nextElement(rest); value != "" { // an empty element is no value
				last, n = value, n-1
			}
		}
		if rest = trimSpace(rest); rest != "" {
			*l = m.add(id, m.name(l), rest)
		} else {
			m.lines = slices.Delete(m.lines, at, at+1)
		}
	}
	m.refresh(id)
	return last
}

// PushVia puts a Via before all others.
func (m *Message) PushVia(v Via) {
	l := m.begin(HVia, "Via")
	m.edit = v.appendSender(m.edit)
	params := len(m.edit)
	m.edit = v.appendParams(m.edit)
	l = m.end(l)
	m.insert(max(m.find(HVia), 0), l)
	if v.Params != "" { // which may say more than the fields do
		_ = m.via.parse(m.value(&l))
		return
	}
	m.via = v
	m.via.Params = Params(view(m.edit)[params:l.valueEnd])
	m.via.Received = ""
	if v.RPort != 0 {
		m.via.RPort = -1
	}
}

// PopVia removes the topmost Via.
func (m *Message) PopVia() { m.PopValue(HVia) }

// SetRequestURI replaces the Request-URI. It must not be a string of a line that was edited.
func (m *Message) SetRequestURI(uri string) {
	m.uri = uri
	m.startEnd = 0
}

// SetMaxForwards replaces or adds the Max-Forwards.
func (m *Message) SetMaxForwards(hops int) {
	at := m.find(HMaxForwards)
	l := m.begin(HMaxForwards, "Max-Forwards")
	m.edit = appendUint(m.edit, uint64(hops))
	if l = m.end(l); at >= 0 {
		m.lines[at] = l
	} else {
		m.insert(m.behindVias(), l)
	}
	m.maxForwards = int16(hops)
}

// SetBody replaces the body with its Content-Type and Content-Length. The message takes
// ownership of body. An empty content type removes the header field.
func (m *Message) SetBody(contentType string, body []byte) {
	m.body = view(body)
	if contentType == "" {
		m.Remove(HContentType)
	} else {
		m.Set(HContentType, contentType)
	}
	m.setContentLength()
}

// EnsureContentLength adds the Content-Length where there is none: streams need it
// (RFC 3261 §18.3), WebSocket clients may leave it out (RFC 7118 §5.3).
func (m *Message) EnsureContentLength() {
	if !m.Has(HContentLength) {
		m.setContentLength()
	}
}

func (m *Message) setContentLength() {
	var digits [20]byte
	m.Set(HContentLength, string(appendUint(digits[:0], uint64(len(m.body)))))
}

// SetReceived notes on the topmost Via where a request came from: the received parameter
// by RFC 3261 §18.2.1, and rport by RFC 3581 §4, which asks for both where the client set
// the flag. Parameters of that name that the client filled in itself are not believed.
func (m *Message) SetReceived(src netip.AddrPort) {
	v := m.Via()
	if v == nil {
		return
	}
	addr := src.Addr().Unmap().WithZone("") // a zone means nothing to the peer
	if v.RPort < 0 && v.Received == "" && v.sentByIs(addr) {
		return
	}
	at := m.find(HVia)
	old := &m.lines[at]
	_, others, more := nextElement(m.value(old))
	m.Grow(int(old.end-old.start) + receivedRoom)
	l := m.begin(HVia, m.name(old))
	m.edit = v.appendSender(m.edit)
	params := len(m.edit)
	m.edit = append(v.Params.appendWithout(m.edit, "received", "rport"), ";received="...)
	received := len(m.edit)
	m.edit = addr.AppendTo(m.edit)
	v.Received = view(m.edit)[received:]
	if v.RPort >= 0 {
		v.RPort = int(src.Port())
		m.edit = appendUint(append(m.edit, ";rport="...), uint64(src.Port()))
	}
	v.Params = Params(view(m.edit)[params:])
	if more {
		m.edit = append(append(m.edit, ", "...), trimSpace(others)...)
	}
	m.lines[at] = m.end(l)
}

// receivedRoom is what SetReceived writes at most, with an IPv6 address, besides the line.
const receivedRoom = len("SIP/2.0/;received=;rport=65535") + 40

func (v *Via) sentByIs(addr netip.Addr) bool {
	if v.Host[0] == '[' {
		sentBy, _ := parseIPv6(v.Host)
		return sentBy.Unmap() == addr
	}
	sentBy, _ := netip.ParseAddr(v.Host)
	return sentBy == addr
}

// decodeEdited decodes anew what was decoded of another message's edits, which m has copied.
func (m *Message) decodeEdited() {
	for i := range m.lines {
		if l := &m.lines[i]; l.flags&edited != 0 {
			m.refresh(l.id)
		}
	}
}

// refresh decodes anew what is decoded eagerly, after an edit of its header field. What an
// edit writes is right by construction, and what was below the topmost Via is the peer's;
// a value that can't be read counts as none.
func (m *Message) refresh(id HeaderID) {
	if id == HUnknown || id > lastEager {
		return
	}
	value, _ := m.Get(id)
	if m.decode(id, value) != nil && id == HVia {
		m.via = Via{RPort: -1}
	}
}
