package sip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzPlain: what the short ways read (plainLines, and parsePlain of Via and Address), the
// general ones read as well and the same.
func FuzzPlain(f *testing.F) {
	for _, raw := range corpus(f, "*") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		eachLine(string(raw), func(s string, i int, general line, next int) {
			var plain [1]line
			n, end := plainLines(plain[:], 0, s, i)
			if n > 0 && (plain[0] != general || end != next) {
				t.Fatalf("%q is %+v and ends at %d, want %+v and %d", s[i:end], plain[0], end, general, next)
			}
			value := s[general.value:general.valueEnd]
			agreeVia(t, value)
			agreeAddress(t, value)
		})
	})
}

// eachLine calls f for every header line of a message, with what oddLine reads and the index
// of the next line, 0 where it reads nothing.
func eachLine(s string, f func(s string, i int, l line, next int)) {
	i := strings.IndexByte(s, '\n') + 1
	for i > 0 && i+1 < len(s) && s[i:i+2] != "\r\n" {
		p := parser{m: &Message{src: s}}
		var l line
		next := p.oddLine(&l, i)
		f(s, i, l, next)
		i = next
	}
}

func agreeVia(t *testing.T, list string) {
	var plain Via
	if !plain.parsePlain(list) {
		return
	}
	element, _, _ := nextElement(list)
	var general Via
	if err := general.parse(element); err != nil || plain != general {
		t.Fatalf("Via %q is %+v, want %+v (%v)", list, plain, general, err)
	}
}

func agreeAddress(t *testing.T, value string) {
	var plain, general Address
	tag, ok := plain.parsePlain(value)
	if !ok {
		return
	}
	if want, err := general.parse(value); err != nil || plain != general || tag != want {
		t.Fatalf("address %q is %+v, tag %q, want %+v, tag %q (%v)", value, plain, tag, general, want, err)
	}
}

// TestPlain sees to it that usual messages take the short ways, which is what makes reading
// them cheap.
func TestPlain(t *testing.T) {
	for name, raw := range corpus(t, "messages") {
		if strings.HasPrefix(filepath.Base(name), "odd-") {
			continue
		}
		eachLine(string(raw), func(s string, i int, l line, next int) {
			var plain [1]line
			value := s[l.value:l.valueEnd]
			if n, _ := plainLines(plain[:], 0, s, i); n == 0 && value != "" {
				t.Errorf("%s: line is not plain: %q", name, s[i:next])
			}
			ok := true
			switch l.id {
			case HVia:
				ok = new(Via).parsePlain(value)
			case HFrom, HTo:
				_, ok = new(Address).parsePlain(value)
				ok = ok || strings.HasPrefix(value, "sip:") // a bare URI is rare, and seldom long
			}
			if !ok {
				t.Errorf("%s: value is not plain: %q", name, value)
			}
		})
	}
}

func corpus(tb testing.TB, folder string) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "testdata", folder, "*.sip"))
	if err != nil || len(paths) == 0 {
		tb.Fatal("no messages in testdata: ", err)
	}
	messages := map[string][]byte{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		messages[path] = raw
	}
	return messages
}
