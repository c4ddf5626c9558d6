//go:build linux

package load

import (
	"bytes"
	"strings"
)

// mark stands in a template's text for the operation's number, written as
// eight hexadecimal digits.
const mark = "########"

// template is a message, or a part of one, that differs between operations
// only in the operation's number.
type template struct {
	text  []byte
	marks []int // offsets of mark
}

// newTemplate takes text with plain line feeds and gives it the CRLF of the
// wire. Every mark in it is patched by fill.
func newTemplate(text string) template {
	t := template{text: []byte(strings.ReplaceAll(text, "\n", "\r\n"))}
	for from := 0; ; {
		i := bytes.Index(t.text[from:], []byte(mark))
		if i < 0 {
			return t
		}
		t.marks = append(t.marks, from+i)
		from += i + len(mark)
	}
}

// fill appends the text for operation n to dst.
func (t *template) fill(dst []byte, n uint32) []byte {
	at := len(dst)
	dst = append(dst, t.text...)
	for _, m := range t.marks {
		putHex(dst[at+m:], n)
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// putHex writes n into the first eight bytes of dst.
func putHex(dst []byte, n uint32) {
	_ = dst[7]
	for i := 7; i >= 0; i-- {
		dst[i] = hexDigits[n&15]
		n >>= 4
	}
}

// getHex is the inverse of putHex for any number of digits up to eight.
func getHex(b []byte) (n uint32, ok bool) {
	if len(b) == 0 || len(b) > 8 {
		return 0, false
	}
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}
