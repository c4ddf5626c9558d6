package sip

import (
	"iter"
	"math"
	"strings"
)

// URI parses the Request-URI.
func (m *Message) URI() (URI, error) { return ParseURI(m.uri) }

// Contacts decodes all Contact values. Without any it returns none and no error.
func (m *Message) Contacts() ([]Contact, error) {
	var contacts []Contact
	for value := range m.Values(HContact) {
		if value == "*" {
			contacts = append(contacts, Contact{Star: true})
			continue
		}
		a, err := ParseAddress(value)
		if err != nil {
			return nil, m.badHeader(HContact, err)
		}
		contacts = append(contacts, Contact{Address: a})
	}
	return contacts, nil
}

// Addresses yields the values of a header field that lists addresses: Route, Record-Route,
// Path, Service-Route, P-Asserted-Identity, P-Preferred-Identity. It ends with the first
// value that is none.
func (m *Message) Addresses(id HeaderID) iter.Seq2[Address, error] {
	return func(yield func(Address, error) bool) {
		for value := range m.Values(id) {
			a, err := ParseAddress(value)
			if err != nil {
				yield(Address{}, m.badHeader(id, err))
				return
			}
			if !yield(a, nil) {
				return
			}
		}
	}
}

// Address decodes a header field that holds one address, Refer-To or Referred-By.
func (m *Message) Address(id HeaderID) (Address, error) {
	value, ok := m.Get(id)
	if !ok {
		return Address{}, ErrMissing
	}
	a, err := ParseAddress(value)
	if err != nil {
		return Address{}, m.badHeader(id, err)
	}
	return a, nil
}

// Seconds decodes a header field that holds a number of seconds, parameters or a comment
// behind it passed over: Expires, Min-Expires, Min-SE, Retry-After, Flow-Timer. A number
// above 2^32-1 counts as that.
func (m *Message) Seconds(id HeaderID) (uint32, error) {
	value, ok := m.Get(id)
	if !ok {
		return 0, ErrMissing
	}
	if end := strings.IndexAny(value, "; \t("); end >= 0 {
		value = value[:end]
	}
	n, err := parseSeconds(value)
	if err != nil {
		return 0, m.badHeader(id, err)
	}
	return n, nil
}

// Expires decodes Expires, in seconds.
func (m *Message) Expires() (uint32, error) { return m.Seconds(HExpires) }

// MinExpires decodes Min-Expires, in seconds.
func (m *Message) MinExpires() (uint32, error) { return m.Seconds(HMinExpires) }

// MinSE decodes Min-SE, in seconds (RFC 4028 §5).
func (m *Message) MinSE() (uint32, error) { return m.Seconds(HMinSE) }

// RetryAfter decodes Retry-After, in seconds; its comment and parameters are passed over.
func (m *Message) RetryAfter() (uint32, error) { return m.Seconds(HRetryAfter) }

// FlowTimer decodes Flow-Timer, in seconds (RFC 5626 §4.4).
func (m *Message) FlowTimer() (uint32, error) { return m.Seconds(HFlowTimer) }

func parseSeconds(s string) (uint32, error) {
	if !isAll(s, digitChar) {
		return 0, badValue("no number of seconds", 0)
	}
	n, ok := parseUint(s, math.MaxUint32)
	if !ok {
		n = math.MaxUint32
	}
	return uint32(n), nil
}

// SessionExpires decodes Session-Expires (RFC 4028 §4): the interval in seconds and the
// refresher, "uac", "uas" or "".
func (m *Message) SessionExpires() (seconds uint32, refresher string, err error) {
	if seconds, err = m.Seconds(HSessionExpires); err != nil {
		return 0, "", err
	}
	_, params := m.valueAndParams(HSessionExpires)
	refresher, _ = params.Get("refresher")
	return seconds, refresher, nil
}

// Event decodes Event (RFC 6665 §8.2.1): the package and the id parameter.
func (m *Message) Event() (pkg, id string, err error) {
	pkg, params := m.valueAndParams(HEvent)
	if pkg == "" {
		return "", "", m.missingOrBad(HEvent, "no event package")
	}
	id, _ = params.Get("id")
	return pkg, id, nil
}

// SubscriptionState decodes Subscription-State (RFC 6665 §8.2.3): the state and its
// parameters, expires, reason and retry-after among them.
func (m *Message) SubscriptionState() (state string, params Params, err error) {
	state, params = m.valueAndParams(HSubscriptionState)
	if state == "" {
		return "", "", m.missingOrBad(HSubscriptionState, "no state")
	}
	return state, params, nil
}

// ContentType decodes Content-Type: "application/sdp" in lower case, and its parameters.
func (m *Message) ContentType() (media string, params Params, err error) {
	media, params = m.valueAndParams(HContentType)
	if media == "" {
		return "", "", m.missingOrBad(HContentType, "no media type")
	}
	return strings.ToLower(media), params, nil
}

// ReasonValue is a value of the Reason header field (RFC 3326 §2).
type ReasonValue struct {
	Protocol string // "SIP" or "Q.850"
	Cause    int    // 0 where there is none
	Text     string // without its quotes, escapes kept
}

// Reasons yields the values of Reason.
func (m *Message) Reasons() iter.Seq[ReasonValue] {
	return func(yield func(ReasonValue) bool) {
		for value := range m.Values(HReason) {
			protocol, params := cutParams(value)
			cause, _ := params.Get("cause")
			code, _ := parseUint(cause, 999)
			text, _ := params.Get("text")
			if !yield(ReasonValue{protocol, int(code), text}) {
				return
			}
		}
	}
}

// WarningValue is a value of the Warning header field (RFC 3261 §20.43).
type WarningValue struct {
	Code  int
	Agent string
	Text  string // without its quotes, escapes kept
}

// Warnings yields the values of Warning that can be read.
func (m *Message) Warnings() iter.Seq[WarningValue] {
	return func(yield func(WarningValue) bool) {
		for value := range m.Values(HWarning) {
			code, rest, _ := strings.Cut(value, " ")
			agent, text, ok := strings.Cut(trimSpace(rest), " ")
			n, isNumber := parseUint(code, 999)
			if ok && isNumber && !yield(WarningValue{int(n), agent, unquote(trimSpace(text))}) {
				return
			}
		}
	}
}

// HasToken reports whether a list header field, Supported or Require for one, has the
// token, in any case.
func (m *Message) HasToken(id HeaderID, token string) bool {
	for value := range m.Values(id) {
		if equalFold(value, token) {
			return true
		}
	}
	return false
}

// valueAndParams splits the first line of a header field at its first ';'.
func (m *Message) valueAndParams(id HeaderID) (string, Params) {
	value, _ := m.Get(id)
	return cutParams(value)
}

func cutParams(value string) (string, Params) {
	if i := strings.IndexByte(value, ';'); i >= 0 {
		return trimSpace(value[:i]), Params(value[i:])
	}
	return value, ""
}

func (m *Message) missingOrBad(id HeaderID, reason string) error {
	if !m.Has(id) {
		return ErrMissing
	}
	return m.badHeader(id, badValue(reason, 0))
}

// badHeader makes an [*Error] of a fault in the value of a header field. The offset is that
// of the header field's first line; -1 where the line was edited.
func (m *Message) badHeader(id HeaderID, err error) error {
	e := &Error{Status: 400, Header: id.String(), Offset: -1, Reason: err.Error()}
	if se, ok := err.(*syntaxError); ok {
		e.Reason = se.reason
	}
	if i := m.find(id); i >= 0 && m.lines[i].flags&edited == 0 {
		e.Offset = int(m.lines[i].value)
	}
	return e
}
