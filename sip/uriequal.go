package sip

import "strings"

// Equal compares by RFC 3261 §19.1.4: user and password with regard to case, all else
// without; an escape equals the character it stands for; a host name is not an address
// it resolves to; a port or a user, ttl, method, maddr or transport parameter of one only
// makes them differ; of other parameters only those that both have are compared; headers
// must be the same. Tel URIs are compared by RFC 3966 §4. URIs of other schemes are equal
// where they are written the same.
func (u URI) Equal(v URI) bool {
	if !equalFold(u.Scheme, v.Scheme) || u.Opaque != v.Opaque {
		return false
	}
	if u.IsTel() {
		return u.equalTel(&v)
	}
	return equalEscaped(u.User, v.User, false) &&
		equalEscaped(u.Password, v.Password, false) &&
		equalHost(u.Host, v.Host) && u.Port == v.Port &&
		(u.Params == v.Params || equalParams(u.Params, v.Params) && equalParams(v.Params, u.Params)) &&
		(u.Headers == v.Headers || equalHeaders(u.Headers, v.Headers))
}

// equalHost compares names without regard to case, and IPv6 references by the address they
// stand for (RFC 5954 §4.2).
func equalHost(a, b string) bool {
	if equalFold(a, b) {
		return true
	}
	x, ok := parseIPv6(a)
	y, ok2 := parseIPv6(b)
	return ok && ok2 && x == y
}

// maxCompared bounds the comparison of parameters and of headers, the time of which grows
// with the square of their length. Longer ones are equal only where they are the same.
const maxCompared = 2 << 10

// decisiveParams make two URIs differ where only one of them has it.
var decisiveParams = []string{"user", "ttl", "method", "maddr", "transport"}

// equalParams reports whether every parameter of a is compatible with b's.
func equalParams(a, b Params) bool {
	if len(a) > maxCompared {
		return a == b
	}
	for name, value := range a.All() {
		other, ok := lookupEscaped(b, name)
		if ok && !equalEscaped(unquote(value), other, true) {
			return false
		}
		if !ok && containsFold(decisiveParams, unescape(name)) {
			return false
		}
	}
	return true
}

func lookupEscaped(p Params, name string) (string, bool) {
	for n, v := range p.All() {
		if equalEscaped(n, name, true) {
			return unquote(v), true
		}
	}
	return "", false
}

// equalEscaped compares character by character, escapes resolved.
func equalEscaped(a, b string, fold bool) bool {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		c, n := unescapeAt(a, i)
		d, m := unescapeAt(b, j)
		if c != d && (!fold || lower(c) != lower(d)) {
			return false
		}
		i += n
		j += m
	}
	return i == len(a) && j == len(b)
}

// equalHeaders compares the headers of two URIs: the same set, in any order.
func equalHeaders(a, b string) bool {
	if len(a) > maxCompared || strings.Count(a, "&") != strings.Count(b, "&") {
		return false
	}
	for part := range strings.SplitSeq(a, "&") {
		name, value, _ := strings.Cut(part, "=")
		if countHeader(a, name, value) != countHeader(b, name, value) {
			return false
		}
	}
	return true
}

func countHeader(s, name, value string) (n int) {
	for part := range strings.SplitSeq(s, "&") {
		otherName, otherValue, _ := strings.Cut(part, "=")
		if equalEscaped(name, otherName, true) && equalEscaped(value, otherValue, false) {
			n++
		}
	}
	return n
}

// equalTel compares by RFC 3966 §4: the numbers without visual separators, and the same
// parameters whatever their order.
func (u *URI) equalTel(v *URI) bool {
	return telDigits(u.User) == telDigits(v.User) &&
		(u.Params == v.Params || sameParams(u.Params, v.Params) && sameParams(v.Params, u.Params))
}

func telDigits(number string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if strings.ContainsRune("-.()", r) {
			return -1
		}
		return r
	}, number))
}

func sameParams(a, b Params) bool {
	if len(a) > maxCompared {
		return a == b
	}
	for name, value := range a.All() {
		other, ok := lookupEscaped(b, name)
		if !ok {
			return false
		}
		value = unquote(value)
		if strings.HasPrefix(value, "+") || equalFold(name, "ext") { // a number, too
			value, other = telDigits(value), telDigits(other)
		}
		if !equalEscaped(value, other, true) {
			return false
		}
	}
	return true
}
