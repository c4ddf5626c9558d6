package sip

import (
	"net/netip"
	"strings"
)

// URI is a parsed URI (RFC 3261 §19.1, RFC 3966). Its fields are views of the text it was
// read from, escapes kept; it has no memory of its own.
type URI struct {
	// Scheme is the scheme as written. Of a scheme other than sip, sips and tel only
	// Scheme and Opaque are set.
	Scheme string
	Opaque string

	// User is the user part, or the number of a tel URI; Password is discouraged by RFC
	// 3261 §19.1.1 and carried all the same.
	User, Password string
	// Host is a name or an address; an IPv6 reference has its brackets.
	Host string
	// Port is 0 where none is written.
	Port   uint16
	Params Params
	// Headers is what stands behind the '?', without it.
	Headers string
}

// IsSIP reports whether the scheme is sip or sips.
func (u *URI) IsSIP() bool { return equalFold(u.Scheme, "sip") || u.IsSIPS() }

// IsSIPS reports whether the scheme is sips.
func (u *URI) IsSIPS() bool { return equalFold(u.Scheme, "sips") }

// IsSIPS reports whether the scheme of a URI, which is not read further, is sips.
func IsSIPS(uri string) bool {
	const scheme = "sips:"
	return len(uri) >= len(scheme) && equalFold(uri[:len(scheme)], scheme)
}

// IsTel reports whether the scheme is tel.
func (u *URI) IsTel() bool { return equalFold(u.Scheme, "tel") }

// ParseURI reads a URI. A scheme that sipway does not know is no error: a Request-URI with
// one is answered with 416, elsewhere it is carried.
func ParseURI(s string) (URI, error) {
	var u URI
	colon := strings.IndexByte(s, ':')
	if colon <= 0 || !validScheme(s[:colon]) {
		return u, badValue("URI without a scheme", 0)
	}
	u.Scheme = s[:colon]
	rest := s[colon+1:]
	for i := range len(rest) {
		if classes[rest[i]]&uriChar == 0 {
			return u, badValue("character that can't stand in a URI", colon+1+i)
		}
	}
	var err error
	switch {
	case u.IsSIP():
		err = u.parseSIP(rest)
	case u.IsTel():
		err = u.parseTel(rest)
	default:
		if u.Opaque = rest; rest == "" {
			err = badValue("URI is empty behind its scheme", colon)
		}
	}
	if se, ok := err.(*syntaxError); ok {
		err = badValue(se.reason, colon+1+se.at)
	}
	return u, err
}

func validScheme(s string) bool {
	for i := range len(s) {
		c := lower(s[i])
		if (c < 'a' || c > 'z') && (i == 0 || c != '+' && c != '-' && c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

func (u *URI) parseSIP(s string) error {
	host := 0
	if at := strings.IndexByte(s, '@'); at >= 0 {
		// An '@' can't stand unescaped anywhere else (RFC 3261 §25.1); a second one would
		// leave it open which host is meant.
		if strings.IndexByte(s[at+1:], '@') >= 0 {
			return badValue("more than one @", at)
		}
		var hasPassword bool
		u.User, u.Password, hasPassword = strings.Cut(s[:at], ":")
		if u.User == "" {
			return badValue("empty user part", 0)
		}
		if i := badEscaped(u.User, userChar); i >= 0 {
			return badValue("character that can't stand in a user part", i)
		}
		if hasPassword && u.Password != "" {
			if i := badEscaped(u.Password, userChar); i >= 0 {
				return badValue("character that can't stand in a password", len(u.User)+1+i)
			}
		}
		host = at + 1
	}
	end := host
	if end < len(s) && s[end] == '[' {
		for end < len(s) && s[end] != ']' {
			end++
		}
	}
	for end < len(s) && s[end] != ':' && s[end] != ';' && s[end] != '?' {
		end++
	}
	if u.Host = s[host:end]; !validHost(u.Host) {
		return badValue("bad host", host)
	}
	if end < len(s) && s[end] == ':' {
		start := end + 1
		for end++; end < len(s) && s[end]-'0' <= 9; end++ {
		}
		port, ok := parseUint(s[start:end], 65535)
		if !ok || port == 0 {
			return badValue("bad port", start)
		}
		u.Port = uint16(port)
	}
	return u.parseTail(s, end)
}

// parseTail reads the parameters and headers behind host and port.
func (u *URI) parseTail(s string, i int) error {
	params := s[i:]
	if q := strings.IndexByte(params, '?'); q >= 0 {
		params, u.Headers = params[:q], params[q+1:]
	}
	if params != "" && params[0] != ';' {
		return badValue("text where a parameter should begin", i)
	}
	if bad := badEscapes(params); bad >= 0 {
		return badValue("bad escape", i+bad)
	}
	u.Params = Params(params)
	return nil
}

func (u *URI) parseTel(s string) error {
	number, _, _ := strings.Cut(s, ";")
	if number == "" {
		return badValue("empty number", 0)
	}
	for i := range len(number) {
		// RFC 3966 §3: digits, visual separators, and the letters, '*' and '#' of a local
		// number; '+' only in front.
		if c := number[i]; classes[c]&hexChar == 0 && !strings.ContainsRune("-.()*#", rune(c)) && (c != '+' || i > 0) {
			return badValue("character that can't stand in a number", i)
		}
	}
	u.User, u.Params = number, Params(s[len(number):])
	return nil
}

// maxHost is the longest host name (RFC 1035 §2.3.4).
const maxHost = 255

// validHost reports whether s is a host name, an IPv4 address or an IPv6 reference.
func validHost(s string) bool {
	if s != "" && s[0] == '[' {
		_, ok := parseIPv6(s)
		return ok
	}
	return isAll(s, hostChar) && len(s) <= maxHost
}

// parseIPv6 reads an IPv6 reference. One colon too many before an IPv4 address is passed
// over, as the grammar of RFC 3261 had it so (RFC 5118 §4.10).
func parseIPv6(s string) (addr netip.Addr, ok bool) {
	if len(s) <= 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return addr, false
	}
	addr, err := netip.ParseAddr(s[1 : len(s)-1])
	if err != nil {
		addr, err = netip.ParseAddr(strings.Replace(s[1:len(s)-1], ":::", "::", 1))
	}
	return addr, err == nil && addr.Is6() && addr.Zone() == ""
}

// HostAddr returns the address that a host of a URI or a sent-by is; ok is false for a name.
func HostAddr(host string) (addr netip.Addr, ok bool) {
	if host != "" && host[0] == '[' {
		return parseIPv6(host)
	}
	if host == "" || host[0] < '0' || host[0] > '9' {
		return addr, false
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil && addr.Is4()
}

// badEscapes returns the index of the first '%' of s that no two hexadecimal digits
// follow, -1 for none.
func badEscapes(s string) int {
	for i := strings.IndexByte(s, '%'); i >= 0 && i < len(s); i++ {
		if s[i] == '%' && (i+2 >= len(s) || classes[s[i+1]]&classes[s[i+2]]&hexChar == 0) {
			return i
		}
	}
	return -1
}

// badEscaped returns the index of the first character of s that is neither of class c nor
// an escape, -1 for none. Bytes above 0x7f pass: phones write UTF-8 user parts unescaped.
func badEscaped(s string, c charClass) int {
	for i := range len(s) {
		if ch := s[i]; classes[ch]&c == 0 && ch < 0x80 && ch != '%' {
			return i
		}
	}
	return badEscapes(s)
}

// UserUnescaped returns the user part with its escapes resolved; without escapes it costs
// nothing.
func (u *URI) UserUnescaped() string { return unescape(u.User) }

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		c, n := unescapeAt(s, i)
		b = append(b, c)
		i += n
	}
	return string(b)
}

// unescapeAt returns the character that s has at i, and the number of bytes it is written in.
func unescapeAt(s string, i int) (byte, int) {
	if s[i] == '%' && i+2 < len(s) && classes[s[i+1]]&classes[s[i+2]]&hexChar != 0 {
		return hexDigit(s[i+1])<<4 | hexDigit(s[i+2]), 3
	}
	return s[i], 1
}

func hexDigit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}

// String writes the URI.
func (u URI) String() string {
	b := make([]byte, 0, 64)
	b = append(append(b, u.Scheme...), ':')
	if u.Opaque != "" {
		return string(append(b, u.Opaque...))
	}
	b = append(b, u.User...)
	if u.Password != "" {
		b = append(append(b, ':'), u.Password...)
	}
	if u.Host != "" {
		if u.User != "" {
			b = append(b, '@')
		}
		b = append(b, u.Host...)
	}
	if u.Port != 0 {
		b = appendUint(append(b, ':'), uint64(u.Port))
	}
	b = append(b, u.Params...)
	if u.Headers != "" {
		b = append(append(b, '?'), u.Headers...)
	}
	return string(b)
}
