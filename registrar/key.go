package registrar

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// bindingKey returns what tells the binding from others of its AOR: instance and reg-id
// where there are both (RFC 5626 §6), else the contact URI. The two can't be confused, as
// a scheme begins with a letter.
func bindingKey(b *store.Binding, uri *sip.URI) string {
	var room [256]byte
	key := room[:0]
	if b.RegID > 0 {
		key = strconv.AppendInt(key, int64(b.RegID), 10)
		key = append(append(key, ';'), b.Instance...)
	} else {
		key = appendCanonical(key, uri)
	}
	return string(key)
}

// appendCanonical writes a URI so that URIs are written the same if they are equal by RFC
// 3261 §19.1.4. Equality there depends on the pair: a parameter that only one of two URIs
// has is not looked at, but for five. Here it is, since a client writes its contact the
// same each time and tells its instances apart by such parameters; only "ob" is not, which
// comes and goes (RFC 5626 §4.3).
//
// Where a contact was sent from is no part of it: a phone that has got another address
// from its NAT refreshes the binding it had. Two phones of one user that have the same
// private address behind different NATs need an instance each to be told apart.
func appendCanonical(b []byte, u *sip.URI) []byte {
	if u.IsSIPS() {
		b = append(b, "sip:"...) // one takes the other's place (RFC 5630 §5.1.1.1)
	} else {
		b = append(appendFolded(b, u.Scheme), ':')
	}
	switch {
	case u.IsTel():
		for i := range len(u.User) {
			if c := u.User[i]; strings.IndexByte("-.()", c) < 0 { // RFC 3966 §4
				b = append(b, fold(c))
			}
		}
		return appendParams(b, u.Params)
	case !u.IsSIP():
		return append(b, u.Opaque...)
	}
	if u.User != "" {
		b = appendUnescaped(b, u.User, false)
		if u.Password != "" {
			b = appendUnescaped(append(b, ':'), u.Password, false)
		}
		b = append(b, '@')
	}
	b = appendFolded(b, u.Host)
	if u.Port != 0 {
		b = strconv.AppendUint(append(b, ':'), uint64(u.Port), 10)
	}
	return appendParams(b, u.Params)
}

// appendParams writes parameters in lower case and in order.
func appendParams(b []byte, params sip.Params) []byte {
	begin, n := len(b), 0
	for name, value := range params.All() {
		if strings.EqualFold(name, "ob") {
			continue
		}
		n++
		b = appendUnescaped(append(b, ';'), name, true)
		if value != "" {
			b = appendUnescaped(append(b, '='), value, true)
		}
	}
	if n > 1 {
		list := strings.Split(string(b[begin:]), ";") // no other ';' is left without an escape
		slices.Sort(list)
		b = append(b[:begin], strings.Join(list, ";")...)
	}
	return b
}

// appendUnescaped writes text with its escapes in a normal form: none where the character
// can stand for itself anywhere, the same one in all other places.
func appendUnescaped(b []byte, s string, folded bool) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c = byte(n)
				i += 2
			}
		}
		if folded {
			c = fold(c)
		}
		if unreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// unreserved is the set of that name in RFC 3261 §25.1.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("-_.!~*'()", c) >= 0
}

func appendFolded(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, fold(s[i]))
	}
	return b
}

func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
