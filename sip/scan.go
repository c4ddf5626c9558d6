package sip

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"
	"unsafe"
)

// view returns b as a string without copying it. The caller must never modify b again.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// word returns the eight bytes of s from i on as a little-endian number; it is the caller
// that sees to 0 <= i and i+8 <= len(s).
func word(s string, i int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), i))[:])
}

// wordAt is word for an i from 0 to len(s), with zeros for what is behind the end of s; s
// must have eight bytes at least.
func wordAt(s string, i int) uint64 {
	if i+8 <= len(s) {
		return word(s, i)
	}
	return word(s, len(s)-8) >> (8 * uint(i+8-len(s)))
}

// word32 returns the four bytes of s from i on, as word does eight.
func word32(s string, i int) uint32 {
	return binary.LittleEndian.Uint32((*[4]byte)(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), i))[:])
}

// crlf is a line's end as a little-endian number.
const crlf = '\r' | '\n'<<8

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zeros returns a mask with the high bit of every byte of w that is zero. A borrow can only
// spoil bytes above the first hit, so the lowest bit of the mask is exact.
func zeros(w uint64) uint64 { return (w - ones) &^ w & highs }

// controls returns a mask with the high bit of every byte of w that is a control character
// (below 0x20, or 0x7f): of those where the byte minus 0x20 borrows, or the byte plus one
// overflows seven bits. Its lowest bit is exact, as that of zeros. A byte of 0x80 and above
// has its own high bit set and is masked.
func controls(w uint64) uint64 {
	return ((w - 0x20*ones) | (w&^highs + ones)) &^ w & highs
}

// firstByte returns the index of the first byte that has its bit in the mask.
func firstByte(mask uint64) int { return bits.TrailingZeros64(mask) >> 3 }

// mayBeControls is controls at half the cost, but for words with bytes of 0x80 and above,
// of which it may have any bit.
func mayBeControls(w uint64) uint64 { return ((w - 0x20*ones) | (w + ones)) & highs }

// indexControl returns the index of the first control character of s from i on, or len(s).
// Every byte of a head goes through it.
func indexControl(s string, i int) int {
	for ; i+8 <= len(s); i += 8 {
		w := word(s, i)
		if mayBeControls(w) == 0 {
			continue
		}
		if hit := controls(w); hit != 0 {
			return i + firstByte(hit)
		}
	}
	for i < len(s) && s[i] >= 0x20 && s[i] != 0x7f {
		i++
	}
	return i
}

// indexLineEnd returns the index of the first control character of s from i on that is no
// tab: the CR of a line that is as it should be.
func indexLineEnd(s string, i int) int {
	if i = indexControl(s, i); i < len(s) && s[i] == '\t' {
		return indexBehindTabs(s, i)
	}
	return i
}

func indexBehindTabs(s string, i int) int {
	for i < len(s) && s[i] == '\t' {
		i = indexControl(s, i+1)
	}
	return i
}

// indexColon returns the index of the first colon of s from i on, -1 where there is none.
func indexColon(s string, i int) int {
	for ; i+8 <= len(s); i += 8 {
		if hit := zeros(word(s, i) ^ ':'*ones); hit != 0 {
			return i + firstByte(hit)
		}
	}
	for ; i < len(s); i++ {
		if s[i] == ':' {
			return i
		}
	}
	return -1
}

// charClass says what RFC 3261 §25.1 lets a character stand in.
type charClass uint8

const (
	tokenChar charClass = 1 << iota
	hostChar
	digitChar
	hexChar
	plainChar // of a parameter's value that is a token or a host
	bareChar  // of a URI without angle brackets
	userChar  // of a user part, escapes apart
	uriChar   // of a URI, wherever in it
)

var classes = buildClasses()

func buildClasses() (t [256]charClass) {
	set := func(chars string, c charClass) {
		for i := range len(chars) {
			t[chars[i]] |= c
		}
	}
	const digits = "0123456789"
	const alpha = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const mark = "-_.!~*'()"
	for c := range 0x100 {
		if c <= 0x20 || c == 0x7f || strings.IndexByte("<>\"", byte(c)) >= 0 {
			continue
		}
		t[c] |= uriChar
		if strings.IndexByte("?,;", byte(c)) < 0 { // those would be the header field's (RFC 3261 §20.10)
			t[c] |= bareChar
		}
	}
	set(alpha+digits, tokenChar|hostChar|plainChar|userChar)
	set(digits, digitChar|hexChar)
	set("abcdefABCDEF", hexChar)
	set("-.!%*_+`'~", tokenChar|plainChar)
	set("[]:", plainChar)
	set("-._", hostChar) // the underscore is no host name's, but Windows machines have them
	// Phones write '#' of a feature code unescaped; it has no other meaning in a SIP URI.
	set(mark+"&=+$,;?/#", userChar)
	return t
}

// isAll reports whether s is not empty and all its characters are of class c.
func isAll(s string, c charClass) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return s != ""
}

// skip returns the index of the first character of s from i on that is not of class c.
func skip(s string, i int, c charClass) int {
	for uint(i) < uint(len(s)) && classes[s[i]]&c != 0 {
		i++
	}
	return i
}

// equalFold compares without regard to the case of ASCII letters, and only of those:
// strings.EqualFold also takes the Kelvin sign for a k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// skipSpace returns the index of the first character of s from i on that is no white space.
func skipSpace(s string, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

func trimSpace(s string) string {
	s = s[skipSpace(s, 0):]
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// quotedEnd returns the index behind the quoted string that begins at s[i], -1 if it does
// not end.
func quotedEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// parseUint reads s as a decimal number of at most limit. The limit keeps the number of
// digits small, leading zeros aside.
func parseUint(s string, limit uint64) (uint64, bool) {
	var n uint64
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		if n = n*10 + uint64(d); n > limit {
			return 0, false
		}
	}
	return n, s != ""
}

func appendUint(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }

// bytesView is the inverse of view; the bytes must not be modified.
func bytesView(s string) []byte {
	if s == "" {
		return nil
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
