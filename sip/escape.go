package sip

import "strings"

// UserChars are the characters that can stand unescaped in the user part of a URI, ParamChars
// those in a parameter, besides the unreserved ones (RFC 3261 §25.1).
const (
	UserChars  = "&=+$,;?/"
	ParamChars = "[]/:&+$"
)

// AppendEscaped writes text as part of a URI: characters that are unreserved or among also
// stand for themselves, all others are escaped.
func AppendEscaped(b []byte, text, also string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		if c := text[i]; unreservedChar(c) || strings.IndexByte(also, c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

func unreservedChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.!~*'()", c) >= 0
}
