package sip

import (
	"bytes"
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
	for _, line := range nearlyPlain {
		f.Add([]byte("OPTIONS sip:a SIP/2.0\r\n" + line + "\r\nVia: SIP/2.0/UDP a\r\n\r\n"))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { agree(t, string(raw)) })
}

// TestPlainCut: the short ways do not look at what is behind the end of a message.
func TestPlainCut(t *testing.T) {
	for _, raw := range corpus(t, "messages") {
		for n := range raw[:bytes.Index(raw, []byte("\r\n\r\n"))+4] {
			agree(t, string(raw)[:n])
		}
	}
}

// agree reads every line of a message by both ways.
func agree(t *testing.T, message string) {
	eachLine(message, func(s string, i int, general line, next int) {
		var plain [1]line
		n, end := plainLines(plain[:], 0, s, i)
		if n > 0 && (plain[0] != general || end != next) {
			t.Fatalf("%q at %d is %+v and ends at %d, want %+v and %d", s, i, plain[0], end, general, next)
		}
		value := s[general.value:general.valueEnd]
		agreeVia(t, value)
		agreeAddress(t, value)
	})
}

// nearlyPlain has lines that the short ways could take for what they are not.
var nearlyPlain = []string{
	"Via\x00: SIP/2.0/UDP a",
	"Content-ent-Type: of the first and the last letters of Content-Type",
	"Subject:", "Subject: ", "Subject:\t", "Subject: \t a", "Subject: a ", "Subject: a\tb", "Subject: \x7f", "Subject: \xff~\xff\x7f",
	"Subject: a\r\n b", "Subject : a", ": a", "a",
	`From: "a\" <sip:b>" <sip:c>;tag=1`, `From: "a\" <sip:b>`, `From: "a" "b" <sip:c>`, "From: a b <sip:c>", "From: < sip:c>", "From: <>", "From: <sip:c>;tag=",
	"Via: SIP/2.0/UDP " + strings.Repeat("a", maxHost+1),
	"Via: SIP/2.0/UDP a:0", "Via: SIP/2.0/UDP a:65536", "Via: SIP/2.0/UDP a:", "Via: SIP/2.0/UDP ", "Via: SIP/2.0/ a",
	"Via: SIP/2.0/UDP a ;branch=b", "Via: SIP/2.0/UDP a;branch=b , SIP/2.0/UDP c", "Via: SIP/2.0/UDP a;branch=", "Via: SIP/2.0/UDP a;branch=[b]",
	"Via: SIP/2.0/UDP a;rport=5", "Via: SIP/2.0/UDP a;rport=x", "Via: SIP/2.0/UDP a;rports", "Via: SIP/2.0/UDP a;rport, b", "Via: SIP/2.0/UDP a,b",
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
