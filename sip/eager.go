package sip

import (
	"math"
	"strings"
)

// decode reads the header fields that every layer needs, each from its first line.
func (p *parser) decode() {
	m := p.m
	if n := p.first[HVia]; n > 0 {
		p.check(n, m.via.decode(m.value(&m.lines[n-1])))
	}
	if n := p.first[HFrom]; n > 0 {
		var err error
		m.fromTag, err = m.from.decode(m.value(&m.lines[n-1]))
		p.check(n, err)
	}
	if n := p.first[HTo]; n > 0 {
		var err error
		m.toTag, err = m.to.decode(m.value(&m.lines[n-1]))
		p.check(n, err)
	}
	if n := p.first[HCallID]; n > 0 {
		p.check(n, m.parseCallID(m.value(&m.lines[n-1])))
	}
	if n := p.first[HCSeq]; n > 0 {
		p.check(n, m.parseCSeq(m.value(&m.lines[n-1])))
	}
	if n := p.first[HMaxForwards]; n > 0 {
		p.check(n, m.parseMaxForwards(m.value(&m.lines[n-1])))
	}
	if n := p.first[HContentLength]; n > 0 {
		p.check(n, m.parseContentLength(m.value(&m.lines[n-1])))
	}
}

func (p *parser) check(n uint16, err error) {
	if err != nil {
		p.failValue(&p.m.lines[n-1], err)
	}
}

// failValue notes a fault in the value of a line.
func (p *parser) failValue(l *line, err error) {
	status, reason, at := 400, err.Error(), int(l.value)
	switch e := err.(type) {
	case *syntaxError:
		reason, at = e.reason, at+e.at
	case *Error:
		status, reason, at = e.Status, e.Reason, at+e.Offset
	}
	p.failEarlier(status, l.id.String(), at, reason)
}

// failEarlier notes a fault that may lie before one that was found already: the first in
// the message counts, and the lines were all read before their values.
func (p *parser) failEarlier(status int, header string, offset int, reason string) {
	if p.err != nil && offset < p.err.Offset {
		p.err = nil
	}
	p.fail(status, header, offset, reason)
}

// decode reads a header field that every layer needs anew, after an edit.
func (m *Message) decode(id HeaderID, value string) (err error) {
	switch id {
	case HVia:
		err = m.via.decode(value)
	case HFrom:
		m.fromTag, err = m.from.decode(value)
	case HTo:
		m.toTag, err = m.to.decode(value)
	case HCallID:
		err = m.parseCallID(value)
	case HCSeq:
		err = m.parseCSeq(value)
	case HMaxForwards:
		err = m.parseMaxForwards(value)
	case HContentLength:
		err = m.parseContentLength(value)
	}
	return err
}

func (m *Message) parseCallID(s string) error {
	if m.callID = s; s == "" || strings.IndexByte(s, ' ') >= 0 {
		return badValue("no Call-ID", 0)
	}
	return nil
}

func (m *Message) parseMaxForwards(s string) error {
	hops, ok := parseUint(s, 255)
	if m.maxForwards = int16(hops); !ok {
		m.maxForwards = -1
		return badValue("no number from 0 to 255", 0)
	}
	return nil
}

func (m *Message) parseContentLength(s string) error {
	n, ok := parseUint(s, math.MaxUint32)
	if m.length = int64(n); !ok {
		m.length = -1
		return badValue("no number", 0)
	}
	return nil
}

// parseCSeq reads a sequence number below 2^31 and a method (RFC 3261 §8.1.1.5).
func (m *Message) parseCSeq(s string) error {
	m.cseq = CSeq{}
	digits := skip(s, 0, digitChar)
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
