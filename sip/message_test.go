package sip_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// crlf makes a message of lines that end as Go's do.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

// basic is an INVITE with what every message must have and a body.
const basic = `INVITE sip:bob@example.test SIP/2.0
Via: SIP/2.0/UDP 192.0.2.5:5062;branch=z9hG4bKa;rport
Via: SIP/2.0/TCP 192.0.2.6;branch=z9hG4bKb
From: "Alice" <sip:alice@example.test>;tag=f1
To: <sip:bob@example.test>
Call-ID: c1@192.0.2.5
CSeq: 7 INVITE
Max-Forwards: 70
Contact: <sip:alice@192.0.2.5:5062>
X-Odd :   kept  as it is  
Content-Type: text/plain
Content-Length: 5

hello`

func mustParse(tb testing.TB, s string) *sip.Message {
	tb.Helper()
	m, err := sip.Parse(crlf(s))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestParseRequest(t *testing.T) {
	m := mustParse(t, basic)
	equal(t, "IsRequest", m.IsRequest(), true)
	equal(t, "Method", m.Method(), sip.INVITE)
	equal(t, "RequestURI", m.RequestURI(), "sip:bob@example.test")
	equal(t, "Via", *m.Via(), sip.Via{
		Transport: "UDP", Host: "192.0.2.5", Port: 5062, Branch: "z9hG4bKa", RPort: 0,
		Params: ";branch=z9hG4bKa;rport",
	})
	equal(t, "From", m.From(), sip.Address{Display: `"Alice"`, URI: "sip:alice@example.test", Params: ";tag=f1"})
	equal(t, "From tag", m.FromTag(), "f1")
	equal(t, "To", m.To(), sip.Address{URI: "sip:bob@example.test"})
	equal(t, "To tag", m.ToTag(), "")
	equal(t, "Call-ID", m.CallID(), "c1@192.0.2.5")
	equal(t, "CSeq", m.CSeq(), sip.CSeq{Seq: 7, Method: sip.INVITE})
	hops, ok := m.MaxForwards()
	equal(t, "Max-Forwards", hops == 70 && ok, true)
	length, ok := m.ContentLength()
	equal(t, "Content-Length", length == 5 && ok, true)
	equal(t, "Body", string(m.Body()), "hello")
	value, ok := m.GetNamed("x-ODD")
	equal(t, "X-Odd", value, "kept  as it is")
	equal(t, "has X-Odd", ok, true)
	equal(t, "Has", m.Has(sip.HContact) && !m.Has(sip.HRoute), true)
	equal(t, "no unknown header field by ID", m.Has(sip.HUnknown), false)
	equal(t, "prints itself", m.String(), string(crlf(basic)))
}

func TestParseResponse(t *testing.T) {
	m := mustParse(t, "SIP/2.0 183 Session\tProgress\nVia: SIP/2.0/WS a.invalid;branch=z9hG4bK1\n"+
		"f: <sip:a@b>;tag=1\nt: <sip:c@d>;tag=2\ni: x\nCSeq: 4711 INVITE\nl: 0\n\n")
	equal(t, "IsRequest", m.IsRequest(), false)
	equal(t, "Status", m.Status(), 183)
	equal(t, "Reason", m.Reason(), "Session\tProgress")
	equal(t, "Method", m.Method(), sip.INVITE)
	equal(t, "RequestURI", m.RequestURI(), "")
	equal(t, "To tag", m.ToTag(), "2")
	_, ok := m.MaxForwards()
	equal(t, "Max-Forwards", ok, false)
	if m.Body() != nil {
		t.Errorf("body is %q, want none", m.Body())
	}
}

// TestParseErrors has every fault that the parser knows, and what it says of it. The offset
// is that of the text in at.
func TestParseErrors(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(basic, old) {
			t.Fatalf("%q is not in the message", old)
		}
		return strings.Replace(basic, old, new, 1)
	}
	tests := []struct {
		name, message string
		status        int
		header        string
		at            string // "" for an offset of -1
		unreadable    bool   // nothing of it is returned
	}{
		{"empty", "", 400, "Request-Line", "", true},
		{"no line", "INVITE sip:a@b SIP/2.0", 400, "Request-Line", "", true},
		{"no method", replace("INVITE sip", "sip"), 400, "Request-Line", "sip:bob", true},
		{"method no token", replace("INVITE sip", "IN@VITE sip"), 400, "Request-Line", "IN@VITE", true},
		{"no version", replace(" SIP/2.0\nVia", "\nVia"), 400, "Request-Line", " sip:bob", false},
		{"version", replace("SIP/2.0\nVia", "SIP/3.0\nVia"), 505, "Request-Line", "SIP/3.0", false},
		{"two spaces", replace("INVITE sip", "INVITE  sip"), 400, "Request-Line", "  sip", false},
		{"status", "SIP/2.0 99 X\n\n", 400, "Status-Line", "99", true},
		{"status 700", "SIP/2.0 700 X\n\n", 400, "Status-Line", "700", true},
		{"status of four digits", "SIP/2.0 0200 X\n\n", 400, "Status-Line", "0200", true},
		{"no end", strings.Split(basic, "\n\n")[0] + "\n", 400, "", "", false},
		{"line without colon", replace("X-Odd :", "X-Odd"), 400, "", "X-Odd   kept", false},
		{"name no token", replace("X-Odd", "X(Odd"), 400, "", "X(Odd", false},
		{"line begins with colon", replace("X-Odd :", ":"), 400, "", ":   kept", false},
		{"folded first line", replace("\nVia: SIP/2.0/UDP", "\n Via: SIP/2.0/UDP"), 400, "", " Via", false},
		{"control character", replace("kept", "ke\x01pt"), 400, "", "\x01", false},
		{"bare LF", replace("kept", "ke\x02pt"), 400, "", "\n" + "pt", false},
		{"no Via", strings.ReplaceAll(basic, "Via:", "X-V:"), 400, "Via", "", false},
		{"Via version", replace("SIP/2.0/UDP", "SIP/3.0/UDP"), 505, "Via", "3.0/UDP", false},
		{"Via protocol", replace("SIP/2.0/UDP", "HTTP/2.0/UDP"), 400, "Via", "HTTP/", false},
		{"Via transport", replace("SIP/2.0/UDP ", "SIP/2.0/ "), 400, "Via", "192.0.2.5:5062", false},
		{"Via host", replace("UDP 192.0.2.5:", "UDP :"), 400, "Via", ":5062", false},
		{"Via IPv6", replace("UDP 192.0.2.5:", "UDP [::1:"), 400, "Via", "[::1", false},
		{"Via IPv6 address", replace("UDP 192.0.2.5:", "UDP [::g]:"), 400, "Via", "[::g", false},
		{"Via port 0", replace("5062;b", "0;b"), 400, "Via", "0;branch", false},
		{"Via port", replace("5062;b", "65536;b"), 400, "Via", "65536", false},
		{"Via text", replace("5062;b", "5062 b"), 400, "Via", "branch", false},
		{"Via empty parameter", replace(";rport", ";;rport"), 400, "Via", ";;rport", false},
		{"Via branch", replace("z9hG4bKa", "z9hG4bK@"), 400, "Via", ";branch=z9hG4bK@", false},
		{"Via quote", replace(";rport", `;x="a`), 400, "Via", `;x="a`, false},
		{"From twice", replace("X-Odd :", "f:"), 400, "From", "f:   kept", false},
		{"no From", replace("From:", "X-F:"), 400, "From", "", false},
		{"From quote", replace(`"Alice"`, `"Alice`), 400, "From", `"Alice`, false},
		{"From no URI", replace(`"Alice" <sip:alice@example.test>`, "Alice"), 400, "From", "Alice;tag", false},
		{"From empty URI", replace("<sip:alice@example.test>", "<>"), 400, "From", "<>", false},
		{"From open", replace("<sip:alice@example.test>", "<sip:alice@example.test"), 400, "From", "<sip:alice", false},
		{"From text", replace(">;tag=f1", "> x;tag=f1"), 400, "From", "x;tag", false},
		{"From parameter", replace(";tag=f1", ";t@g=f1"), 400, "From", ";t@g", false},
		{"To comma", replace("To: <", "To: Doe, John <"), 400, "To", ", John", false},
		{"To bare with header", replace("To: <sip:bob@example.test>", "To: sip:bob@example.test?a=b"), 400, "To", "?a=b", false},
		{"Call-ID empty", replace("c1@192.0.2.5", ""), 400, "Call-ID", "\r\nCSeq", false},
		{"CSeq number", replace("7 INVITE", "x INVITE"), 400, "CSeq", "x INVITE", false},
		{"CSeq limit", replace("7 INVITE", "2147483648 INVITE"), 400, "CSeq", "2147483648", false},
		{"CSeq method", replace("7 INVITE", "7"), 400, "CSeq", "\r\nMax", false},
		{"CSeq mismatch", replace("7 INVITE", "7 BYE"), 400, "CSeq", "", false},
		{"Max-Forwards", replace("70", "256"), 400, "Max-Forwards", "256", false},
		{"Content-Length", replace("Length: 5", "Length: 5x"), 400, "Content-Length", "5x", false},
		{"Content-Length negative", replace("Length: 5", "Length: -5"), 400, "Content-Length", "-5", false},
		{"Content-Length too great", replace("Length: 5", "Length: 6"), 400, "Content-Length", "6\r\n\r\nhello", false},
		{"first of two, a value", strings.Replace(replace(`"Alice"`, `"Alice`), "X-Odd", "X Odd", 1), 400, "From", `"Alice`, false},
		{"first of two, a line", strings.Replace(replace("From:", "From: <sip:a>\nFrom:"), "c1@192.0.2.5", "", 1), 400, "From", `From: "Alice`, false},
		{"too many lines", replace("X-Odd", strings.Repeat("X-Y: z\n", sip.MaxHeaderLines)+"X-Odd"), 513, "", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			raw := bytes.ReplaceAll(crlf(test.message), []byte("\x02"), []byte("\n"))
			m, err := sip.Parse(raw)
			fault, ok := errors.AsType[*sip.Error](err)
			if !ok {
				t.Fatalf("error is %v", err)
			}
			if fault.Status != test.status || fault.Header != test.header {
				t.Errorf("got %d %q, want %d %q (%v)", fault.Status, fault.Header, test.status, test.header, err)
			}
			if test.at != "" && fault.Offset != bytes.Index(raw, []byte(test.at)) {
				t.Errorf("%v: want byte %d, that of %q", err, bytes.Index(raw, []byte(test.at)), test.at)
			}
			if (m == nil) != test.unreadable {
				t.Errorf("message is %v", m)
			}
			if fault.Error() == "" {
				t.Error("no text")
			}
		})
	}
}

// TestParseFaultKeepsTheRest: an answer needs what stands behind the fault.
func TestParseFaultKeepsTheRest(t *testing.T) {
	m, err := sip.Parse(crlf(strings.Replace(basic, "5062;branch", "5062;;branch", 1)))
	if err == nil {
		t.Fatal("no error")
	}
	equal(t, "sent-by", m.Via().SentBy(), "192.0.2.5:5062")
	equal(t, "Call-ID", m.CallID(), "c1@192.0.2.5")
	equal(t, "To", m.To().URI, "sip:bob@example.test")
	r := sip.NewResponse(m, 400, "", "t1")
	equal(t, "response", r.String(), string(crlf(`SIP/2.0 400 Bad Request
Via: SIP/2.0/UDP 192.0.2.5:5062;;branch=z9hG4bKa;rport
Via: SIP/2.0/TCP 192.0.2.6;branch=z9hG4bKb
From: "Alice" <sip:alice@example.test>;tag=f1
To: <sip:bob@example.test>;tag=t1
Call-ID: c1@192.0.2.5
CSeq: 7 INVITE
Content-Length: 0

`)))
}

func TestParseBody(t *testing.T) {
	head := strings.Split(basic, "\n\n")[0]
	for _, test := range []struct {
		name, message, body string
		hasLength           bool
	}{
		{"cut by Content-Length", strings.Replace(head, "Length: 5", "Length: 2", 1) + "\n\nhello", "he", true},
		{"all that follows", strings.Replace(head, "\nContent-Length: 5", "", 1) + "\n\nhello", "hello", false},
		{"none", strings.Replace(head, "Length: 5", "Length: 000", 1) + "\n\n", "", true},
	} {
		m := mustParse(t, test.message)
		equal(t, test.name, string(m.Body()), test.body)
		length, ok := m.ContentLength()
		equal(t, test.name+": has a length", ok, test.hasLength)
		equal(t, test.name+": length", !ok || length == len(test.body), true)
	}
	m, err := sip.Parse(append([]byte("\r\n\r\n"), crlf(basic)...))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "leading CRLF", m.String(), string(crlf(basic)))
}

func TestLists(t *testing.T) {
	m := mustParse(t, strings.Replace(basic, "X-Odd :   kept  as it is  ", `Supported: 100rel , ,timer
k: path,
 gruu
Route: "a, b" <sip:x,y@p1;lr>,<sip:p2;lr>;x="c,\",d", sip:p3
WWW-Authenticate: Digest realm="a", nonce="b"
WWW-Authenticate: Digest realm="c", nonce="d"
Warning: 301 isi.edu "no \"net\"", 307 sipway "x"
Reason: SIP;cause=200;text="Call completed elsewhere", Q.850 ;cause=26`, 1))
	equal(t, "Supported", slices.Collect(m.Values(sip.HSupported)), []string{"100rel", "timer", "path", "gruu"})
	equal(t, "Route", slices.Collect(m.Values(sip.HRoute)),
		[]string{`"a, b" <sip:x,y@p1;lr>`, `<sip:p2;lr>;x="c,\",d"`, "sip:p3"})
	equal(t, "challenges", slices.Collect(m.Lines(sip.HWWWAuthenticate)),
		[]string{`Digest realm="a", nonce="b"`, `Digest realm="c", nonce="d"`})
	equal(t, "Warnings", slices.Collect(m.Warnings()), []sip.WarningValue{{301, "isi.edu", `no "net"`}, {307, "sipway", "x"}})
	equal(t, "Reasons", slices.Collect(m.Reasons()),
		[]sip.ReasonValue{{"SIP", 200, "Call completed elsewhere"}, {"Q.850", 26, ""}})
	equal(t, "HasToken", m.HasToken(sip.HSupported, "GRUU") && !m.HasToken(sip.HSupported, "outbound"), true)
	for range m.Values(sip.HSupported) {
		break // a consumer may stop
	}
}

// TestUnclosedQuote: what stands behind a quote that does not end is one value, and is
// looked at once.
func TestUnclosedQuote(t *testing.T) {
	m := mustParse(t, strings.Replace(basic, "X-Odd :   kept  as it is  ", `Route: <sip:a>, "`+strings.Repeat(`\",`, 20000), 1))
	equal(t, "values", len(slices.Collect(m.Values(sip.HRoute))), 2)
}

func TestFolding(t *testing.T) {
	raw := `OPTIONS sip:a@b SIP/2.0
v:
 SIP/2.0/UDP
	h ;
 branch=z9hG4bK1
f: "a
 b" <sip:a@b>
  ;tag=1
t: <sip:a@b>
i: x
CSeq: 1
 OPTIONS
Subject:  one  
	 two 
X-Fold:
 only
X-Blank:
 

`
	m := mustParse(t, raw)
	equal(t, "branch", m.Via().Branch, "z9hG4bK1")
	equal(t, "display", m.From().Display, `"a b"`)
	equal(t, "tag", m.FromTag(), "1")
	equal(t, "CSeq", m.CSeq(), sip.CSeq{Seq: 1, Method: sip.OPTIONS})
	value, _ := m.Get(sip.HSubject)
	equal(t, "Subject", value, "one two")
	value, _ = m.GetNamed("X-Fold")
	equal(t, "X-Fold", value, "only")
	value, ok := m.GetNamed("X-Blank")
	equal(t, "X-Blank", ok && value == "", true)
	equal(t, "prints itself", m.String(), string(crlf(raw)))
}

// TestHeaderNames looks every header field up in every spelling.
func TestHeaderNames(t *testing.T) {
	for id := sip.HVia; id.String() != ""; id++ {
		name := id.String()
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			equal(t, spelling, sip.LookupHeader(spelling), id)
		}
		equal(t, "nearly "+name, sip.LookupHeader(name+"x"), sip.HUnknown)
	}
	for _, pair := range []string{"vVia", "fFrom", "tTo", "iCall-ID", "lContent-Length", "mContact", "kSupported",
		"cContent-Type", "eContent-Encoding", "oEvent", "rRefer-To", "bReferred-By", "uAllow-Events", "sSubject",
		"xSession-Expires", "dRequest-Disposition", "yIdentity"} {
		equal(t, pair, sip.LookupHeader(pair[:1]).String(), pair[1:])
		equal(t, pair, sip.LookupHeader(strings.ToUpper(pair[:1])).String(), pair[1:])
	}
	for _, name := range []string{"", "z", "Call\rID", "Call\x0dID", "Via\x00", "\x00\x00\x00", "Unknown-Header-Field", "Call_ID"} {
		equal(t, name, sip.LookupHeader(name), sip.HUnknown)
	}
}

// TestAllocations: an index in the message and strings that are views cost nothing.
func TestAllocations(t *testing.T) {
	for _, s := range readMessages(t) {
		if bytes.Contains(s.raw, []byte("\r\n ")) || bytes.Contains(s.raw, []byte("\r\n\t")) {
			continue // unfolding makes new strings
		}
		var m sip.Message
		if n := testing.AllocsPerRun(20, func() { _ = m.Parse(s.raw) }); n != 0 {
			t.Errorf("%s: %v allocations into a message at hand", s.name, n)
		}
		if n := testing.AllocsPerRun(20, func() { sinkMessage, _ = sip.Parse(bytes.Clone(s.raw)) }); n > 2 {
			t.Errorf("%s: %v allocations for message and buffer", s.name, n)
		}
		if n := testing.AllocsPerRun(20, func() { sinkBytes = m.Bytes() }); n != 1 {
			t.Errorf("%s: %v allocations to write", s.name, n)
		}
	}
}

// TestMessagesParse: every message of a real client parses and prints itself.
func TestMessagesParse(t *testing.T) {
	for _, s := range readMessages(t) {
		m, err := sip.Parse(bytes.Clone(s.raw))
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		equal(t, s.name, m.String(), string(s.raw))
		equal(t, s.name+" size", m.Size(), len(s.raw))
		if _, err := m.Contacts(); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if _, err := m.URI(); m.IsRequest() && err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// TestReuse: nothing of the message before stays.
func TestReuse(t *testing.T) {
	m := mustParse(t, basic)
	m.Append(sip.HSupported, "path")
	response := crlf("SIP/2.0 200 OK\nv: SIP/2.0/UDP h\nf: <sip:a@b>\nt: <sip:a@b>\ni: x\nCSeq: 1 BYE\n\n")
	if err := m.Parse(response); err != nil {
		t.Fatal(err)
	}
	equal(t, "message", m.String(), string(response))
	equal(t, "left over", m.IsRequest() || m.Has(sip.HSupported) || m.FromTag() != "" || m.Via().Branch != "", false)
	_, ok := m.MaxForwards()
	equal(t, "Max-Forwards", ok, false)
}
