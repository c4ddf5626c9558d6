package sip

import (
	"iter"
	"strings"
)

// Params are the generic parameters behind a value or in a URI, as written: ";a=b;c", or
// "" for none. The zero value has none.
type Params string

// Get returns the value of the parameter with this name, in any case; a value in quotes is
// returned without them and with its escapes resolved. ok tells a parameter without a value
// from none.
func (p Params) Get(name string) (value string, ok bool) {
	for n, v := range p.All() {
		if equalFold(n, name) {
			return unquote(v), true
		}
	}
	return "", false
}

// Has reports whether there is a parameter with this name.
func (p Params) Has(name string) bool {
	_, ok := p.Get(name)
	return ok
}

// All yields every parameter in order, its value as written.
func (p Params) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := string(p); rest != ""; {
			var name, value string
			if name, value, rest = nextParam(rest); name != "" && !yield(name, value) {
				return
			}
		}
	}
}

// Without returns the parameters but for those with one of the names.
func (p Params) Without(names ...string) Params { return Params(p.appendWithout(nil, names...)) }

func (p Params) appendWithout(b []byte, names ...string) []byte {
	for n, v := range p.All() {
		if containsFold(names, n) {
			continue
		}
		b = append(append(b, ';'), n...)
		if v != "" {
			b = append(append(b, '='), v...)
		}
	}
	return b
}

func containsFold(names []string, name string) bool {
	for _, n := range names {
		if equalFold(n, name) {
			return true
		}
	}
	return false
}

// nextParam splits the first parameter off s, which begins with ';'. White space around
// ';' and '=' is not part of a name or a value (RFC 3261 §25.1, SEMI and EQUAL). Between
// two ';' without anything else is a parameter without a name.
func nextParam(s string) (name, value, rest string) {
	i := 1
	if i < len(s) && isSpace(s[i]) {
		i = skipSpace(s, i)
	}
	start := i
	for i < len(s) && s[i] != ';' && s[i] != '=' {
		i++
	}
	name = s[start:i]
	if name != "" && isSpace(name[len(name)-1]) {
		name = trimSpace(name)
	}
	if i == len(s) || s[i] == ';' {
		return name, "", s[i:]
	}
	if i++; i < len(s) && isSpace(s[i]) {
		i = skipSpace(s, i)
	}
	start = i
	if i < len(s) && s[i] == '"' {
		if i = quotedEnd(s, i); i < 0 {
			i = len(s)
		}
	}
	if end := strings.IndexByte(s[i:], ';'); end >= 0 {
		i += end
	} else {
		i = len(s)
	}
	value = s[start:i]
	if value != "" && isSpace(value[len(value)-1]) {
		value = trimSpace(value)
	}
	return name, value, s[i:]
}

// badParam says what makes a parameter behind a header field's value none: a name that is
// no token, a quoted string that does not end or has text behind it. It returns "" for a
// good one. The parameters of URIs have a grammar of their own, which it does not know.
func badParam(name, value string) string {
	if !isAll(name, tokenChar) {
		return "parameter name is no token"
	}
	if quote := strings.IndexByte(value, '"'); quote > 0 || quote == 0 && quotedEnd(value, 0) != len(value) {
		return "quote in a parameter that is no quoted string"
	}
	return ""
}

// headerParam reads the parameter at s[i], a ';', behind the value of a header field, and
// returns the index behind it; reason says what is wrong with it.
func headerParam(s string, i int) (name, value string, end int, reason string) {
	name, value, end, ok := plainParam(s, i)
	if ok {
		return name, value, end, ""
	}
	name, value, rest := nextParam(s[i:])
	return name, value, len(s) - len(rest), badParam(name, value)
}

// plainParam is headerParam for a parameter without white space or quotes, as nearly all are;
// ok is false for any other.
func plainParam(s string, i int) (name, value string, end int, ok bool) {
	start := i + 1
	end = skip(s, start, tokenChar)
	name = s[start:end]
	if end < len(s) && s[end] == '=' {
		start = end + 1
		end = skip(s, start, plainChar)
		value = s[start:end]
	}
	return name, value, end, name != "" && (end == len(s) || s[end] == ';')
}

// parseParams checks the parameters behind a header field's value and returns the tag
// among them. Parameters without a name are passed over: phones send a ';' too many.
func parseParams(s string) (tag string, err error) {
	if s != "" && s[0] != ';' {
		return "", badValue("text where a parameter should begin", 0)
	}
	for i := 0; i < len(s); {
		at := i
		var name, value, reason string
		name, value, i, reason = headerParam(s, i)
		if name == "" && value == "" {
			continue
		}
		if reason != "" {
			return "", badValue(reason, at)
		}
		if len(name) == len("tag") && tag == "" && equalFold(name, "tag") {
			tag = value
		}
	}
	return tag, nil
}

// unquote returns the text of a quoted string, its escapes resolved (RFC 3261 §25.1,
// quoted-pair), and any other value as it is.
func unquote(v string) string {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return v
	}
	v = v[1 : len(v)-1]
	if strings.IndexByte(v, '\\') < 0 {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		b = append(b, v[i])
	}
	return string(b)
}

// nextElement splits the first element off a comma-separated list; commas within quotes
// or angle brackets separate nothing, nor do those behind a quote that does not end. White
// space around the element is dropped.
func nextElement(s string) (element, rest string, more bool) {
	if strings.IndexByte(s, ',') < 0 {
		return trimSpace(s), "", false
	}
	inAngle := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			end := quotedEnd(s, i)
			if end < 0 {
				return trimSpace(s), "", false
			}
			i = end - 1
		case '<':
			inAngle = true
		case '>':
			inAngle = false
		case ',':
			if !inAngle {
				return trimSpace(s[:i]), s[i+1:], true
			}
		}
	}
	return trimSpace(s), "", false
}
