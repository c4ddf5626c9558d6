package sip_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// frames feeds a stream in pieces to a framer and returns what comes out: messages, "ping",
// and an error at last.
func frames(f *sip.Framer, pieces ...[]byte) (got []string, err error) {
	for _, piece := range pieces {
		for len(piece) > 0 {
			n := copy(f.Space(), piece)
			f.Filled(n)
			piece = piece[n:]
			for {
				b, kind, err := f.Next()
				if err != nil {
					return append(got, "error "+verdict(err)+" "+firstLine(b)), err
				}
				if kind == sip.NoFrame {
					break
				}
				if kind == sip.PingFrame {
					b = []byte("ping")
				}
				got = append(got, string(b))
			}
		}
	}
	return got, nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\r\n")
	return line
}

func bytewise(s string) (pieces [][]byte) {
	for i := range len(s) {
		pieces = append(pieces, []byte{s[i]})
	}
	return pieces
}

const options = "OPTIONS sip:a SIP/2.0\r\nVia: x\r\n"

// TestFramer feeds every stream in one piece, in bytes and in two pieces cut everywhere.
func TestFramer(t *testing.T) {
	small := options + "Content-Length: 0\r\n\r\n"
	body := options + "l : 5\r\n\r\n\r\n\r\nx"
	folded := options + "CONTENT-LENGTH:\r\n\t 2\r\nX: y\r\n l: 9\r\n\r\nhi"
	large := options + "Content-Length: 20000\r\n\r\n" + strings.Repeat("0123456789", 2000)
	many := options + strings.Repeat("X-Long: 0123456789012345678901234567890123456789\r\n", 400) + "l: 1\r\n\r\n!"
	for _, test := range []struct {
		name, stream string
		want         []string
	}{
		{"nothing", "", nil},
		{"one", small, []string{small}},
		{"body of line ends", body, []string{body}},
		{"folded length", folded, []string{folded}},
		{"several", small + body + folded + small, []string{small, body, folded, small}},
		{"CRLF between", "\r\n" + small + "\r\n" + small, []string{small, small}},
		{"ping", "\r\n\r\n", []string{"ping"}},
		{"pings and messages", "\r\n\r\n\r\n\r\n" + small + "\r\n\r\n" + small + "\r\n", []string{"ping", "ping", small, "ping", small}},
		{"greater than a buffer", large + small, []string{large, small}},
		{"head greater than a buffer", many + small, []string{many, small}},
		{"not yet", small[:len(small)-1], nil},
		{"length missing", options + "X: y\r\n\r\n" + small, []string{"error 400 Content-Length OPTIONS sip:a SIP/2.0"}},
		{"length twice", options + "l: 1\r\nContent-Length: 1\r\n\r\n" + small, []string{"error 400 Content-Length OPTIONS sip:a SIP/2.0"}},
		{"length no number", small + options + "l: 1 1\r\n\r\n", []string{small, "error 400 Content-Length OPTIONS sip:a SIP/2.0"}},
		{"length negative", options + "l: -1\r\n\r\n", []string{"error 400 Content-Length OPTIONS sip:a SIP/2.0"}},
		{"length too great", options + "l: 70000\r\n\r\n", []string{"error 513 - OPTIONS sip:a SIP/2.0"}},
		{"length overflows", options + "l: 18446744073709551617\r\n\r\n", []string{"error 400 Content-Length OPTIONS sip:a SIP/2.0"}},
		{"endless head", strings.Repeat("a", sip.MaxMessage+2), []string{"error 513 - "}},
		{"head greater than the limit", options + strings.Repeat("X: y\r\n", sip.MaxMessage/6) + "l: 0\r\n\r\n", []string{"error 513 - "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			check := func(how string, pieces ...[]byte) {
				t.Helper()
				f := sip.NewFramer(0)
				defer f.Release()
				got, _ := frames(f, pieces...)
				if !deepEqual(got, test.want) {
					t.Errorf("%s: got %.200q, want %.200q", how, got, test.want)
				}
			}
			check("in one piece", []byte(test.stream))
			check("in bytes", bytewise(test.stream)...)
			if len(test.stream) < 500 {
				for i := range test.stream {
					check("in two pieces", []byte(test.stream[:i]), []byte(test.stream[i:]))
				}
			}
		})
	}
}

// TestFramerSmuggling: what the framer takes for the end of a message must be what Parse,
// and a peer that reads by the book, take for it.
func TestFramerSmuggling(t *testing.T) {
	for _, head := range []string{
		"X: a\nContent-Length: 4\r\nl: 0\r\n",
		"X: a\rContent-Length: 4\r\nl: 0\r\n",
		"Content-Length\r\n : 4\r\n",
		"Content-Length : 4\r\nCONTENT-LENGTH: 0\r\n",
		"l: 4, 0\r\n", "l: 4;x\r\n", "l: 0x4\r\n", "l: \r\n", "l: 4\x00\r\n",
	} {
		f := sip.NewFramer(0)
		message := "OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/TCP h;branch=z9hG4bK1\r\nf: <sip:a>;tag=1\r\nt: <sip:a>\r\ni: 1\r\nCSeq: 1 OPTIONS\r\n" +
			head + "\r\nabcd"
		got, err := frames(f, []byte(message))
		if err != nil {
			continue // the connection is closed
		}
		for _, frame := range got {
			if m, err := sip.Parse([]byte(frame)); err == nil {
				t.Errorf("%q: passed with body %q", head, m.Body())
			}
		}
	}
}

func TestFramerLimit(t *testing.T) {
	message := options + "l: 100\r\n\r\n" + strings.Repeat("x", 100)
	got, err := frames(sip.NewFramer(len(message)), []byte(message))
	if err != nil || len(got) != 1 {
		t.Errorf("a message of the greatest size: %q, %v", got, err)
	}
	_, err = frames(sip.NewFramer(len(message)-1), []byte(message))
	if fault, ok := errors.AsType[*sip.Error](err); !ok || fault.Status != 513 {
		t.Errorf("a message above it: %v", err)
	}
}

// TestFramerMemory: a peer makes us hold at most twice what it sent, one buffer more, and
// nothing between messages.
func TestFramerMemory(t *testing.T) {
	const readAhead = 4 << 10
	f := sip.NewFramer(1 << 20)
	head := []byte(options + "Content-Length: 1000000\r\n\r\n")
	sent := 0
	feed := func(b []byte) {
		for len(b) > 0 {
			space := f.Space()
			if held := sent + len(space); held > 2*sent+2*readAhead {
				t.Fatalf("holds %d bytes for the %d that were sent", held, sent)
			}
			n := copy(space, b)
			f.Filled(n)
			b = b[n:]
			sent += n
			if _, kind, err := f.Next(); err != nil || kind == sip.PingFrame {
				t.Fatal(kind, err)
			}
		}
	}
	equal(t, "partial at first", f.Partial(), false)
	feed(head)
	equal(t, "partial", f.Partial(), true)
	feed(bytes.Repeat([]byte("x"), 1000000))
	equal(t, "partial at last", f.Partial(), false)
	if n := testing.AllocsPerRun(10, func() { frames(f, []byte("\r\n\r\n")) }); n > 2 {
		t.Errorf("a ping costs %v allocations", n)
	}
}
