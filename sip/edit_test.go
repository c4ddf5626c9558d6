package sip_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// TestEdits applies one edit each and compares the whole message: what was not edited must
// stay byte for byte.
func TestEdits(t *testing.T) {
	const message = `INVITE sip:bob@example.test SIP/2.0
Via: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKa , SIP/2.0/TCP 192.0.2.6;branch=z9hG4bKb
v:SIP/2.0/WS c.invalid;branch=z9hG4bKc
Max-Forwards:  70
Route: <sip:p1;lr>, <sip:p2;lr>
f: "Alice"  <sip:alice@example.test>;tag=f1
ROUTE : <sip:p3;lr>
To: <sip:bob@example.test>
Call-ID: c1
CSeq: 7   INVITE
X-Folded: a
  b
Content-Length: 5

hello`
	via := sip.Via{Transport: "TCP", Host: "192.0.2.1", Port: 5060, Branch: "z9hG4bKs", RPort: -1}
	tests := []struct {
		name string
		edit func(*sip.Message)
		// old and its replacement, in pairs
		changes []string
	}{
		{"Request-URI", func(m *sip.Message) { m.SetRequestURI("sip:bob@192.0.2.9") },
			[]string{"INVITE sip:bob@example.test", "INVITE sip:bob@192.0.2.9"}},
		{"PushVia", func(m *sip.Message) { m.PushVia(via) },
			[]string{"Via: ", "Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKs\nVia: "}},
		{"PushVia with parameters", func(m *sip.Message) {
			m.PushVia(sip.Via{Transport: "WS", Host: "h", Branch: "z9hG4bKs", RPort: 7, Received: "a", Params: ";alias;received=::1"})
		}, []string{"Via: ", "Via: SIP/2.0/WS h;branch=z9hG4bKs;alias;received=::1\nVia: "}},
		{"PushVia with what is not written", func(m *sip.Message) {
			m.PushVia(sip.Via{Transport: "WS", Host: "h", RPort: 7, Received: "a"})
		}, []string{"Via: ", "Via: SIP/2.0/WS h\nVia: "}},
		{"PopVia of two on a line", func(m *sip.Message) { m.PopVia() },
			[]string{"SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKa , ", ""}},
		{"PopVia twice", func(m *sip.Message) { m.PopVia(); m.PopVia() },
			[]string{"Via: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKa , SIP/2.0/TCP 192.0.2.6;branch=z9hG4bKb\n", ""}},
		{"Push and Pop", func(m *sip.Message) { m.PushVia(via); m.PopVia() }, nil},
		{"Max-Forwards", func(m *sip.Message) { m.SetMaxForwards(69) },
			[]string{"Max-Forwards:  70", "Max-Forwards: 69"}},
		{"Prepend behind the Vias", func(m *sip.Message) { m.Prepend(sip.HRecordRoute, "<sip:p;lr>") },
			[]string{"Max-Forwards", "Record-Route: <sip:p;lr>\nMax-Forwards"}},
		{"Prepend before its kind", func(m *sip.Message) { m.Prepend(sip.HRoute, "<sip:p0;lr>") },
			[]string{"Route: <sip:p1", "Route: <sip:p0;lr>\nRoute: <sip:p1"}},
		{"Append behind its kind", func(m *sip.Message) { m.Append(sip.HRoute, "<sip:p4;lr>") },
			[]string{"To: ", "Route: <sip:p4;lr>\nTo: "}},
		{"Append at the end", func(m *sip.Message) { m.Append(sip.HSupported, "path") },
			[]string{"Length: 5\n", "Length: 5\nSupported: path\n"}},
		{"AppendNamed", func(m *sip.Message) { m.AppendNamed("X-New", "1") },
			[]string{"Length: 5\n", "Length: 5\nX-New: 1\n"}},
		{"AppendNamed of a known one", func(m *sip.Message) { m.AppendNamed("route", "<sip:p4;lr>") },
			[]string{"To: ", "Route: <sip:p4;lr>\nTo: "}},
		{"Set of several lines", func(m *sip.Message) { m.Set(sip.HRoute, "<sip:p9;lr>") },
			[]string{"Route: <sip:p1;lr>, <sip:p2;lr>", "Route: <sip:p9;lr>", "ROUTE : <sip:p3;lr>\n", ""}},
		{"Set of none", func(m *sip.Message) { m.Set(sip.HExpires, "60") },
			[]string{"Length: 5\n", "Length: 5\nExpires: 60\n"}},
		{"Remove", func(m *sip.Message) { m.Remove(sip.HRoute) },
			[]string{"Route: <sip:p1;lr>, <sip:p2;lr>\n", "", "ROUTE : <sip:p3;lr>\n", ""}},
		{"Remove of none", func(m *sip.Message) { m.Remove(sip.HPath) }, nil},
		{"PopValue", func(m *sip.Message) { m.PopValue(sip.HRoute) },
			[]string{"<sip:p1;lr>, ", ""}},
		{"PopValues", func(m *sip.Message) { m.PopValues(sip.HRoute, 2) },
			[]string{"Route: <sip:p1;lr>, <sip:p2;lr>\n", ""}},
		{"PopValues of more than there are", func(m *sip.Message) { m.PopValues(sip.HRoute, 4) },
			[]string{"Route: <sip:p1;lr>, <sip:p2;lr>\n", "", "ROUTE : <sip:p3;lr>\n", ""}},
		{"PopValue of none", func(m *sip.Message) { m.PopValue(sip.HPath) }, nil},
		{"SetBody", func(m *sip.Message) { m.SetBody("text/plain", []byte("bye")) },
			[]string{"Length: 5\n\nhello", "Length: 3\nContent-Type: text/plain\n\nbye"}},
		{"SetBody to none", func(m *sip.Message) { m.SetBody("", nil) }, []string{"5\n\nhello", "0\n\n"}},
		{"EnsureContentLength", func(m *sip.Message) { m.EnsureContentLength() }, nil},
		{"EnsureContentLength of none", func(m *sip.Message) { m.Remove(sip.HContentLength); m.EnsureContentLength() }, nil},
		{"received", func(m *sip.Message) { m.SetReceived(netip.MustParseAddrPort("198.51.100.1:9")) },
			[]string{"branch=z9hG4bKa , SIP", "branch=z9hG4bKa;received=198.51.100.1, SIP"}},
		{"received is sent-by", func(m *sip.Message) { m.SetReceived(netip.MustParseAddrPort("192.0.2.5:9")) }, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := message
			for i := 0; i < len(test.changes); i += 2 {
				want = strings.Replace(want, test.changes[i], test.changes[i+1], 1)
			}
			m := mustParse(t, message)
			clone := m.Clone()
			test.edit(m)
			equal(t, "edited message", m.String(), string(crlf(want)))
			equal(t, "size", m.Size(), len(m.Bytes()))
			equal(t, "the clone", clone.String(), string(crlf(message)))
			test.edit(clone)
			equal(t, "edited clone", clone.String(), m.String())
			sameEager(t, m)
		})
	}
}

// sameEager checks that what an edited message says is what a parser reads from its print.
func sameEager(t *testing.T, m *sip.Message) {
	t.Helper()
	again, err := sip.Parse(m.Bytes())
	if err != nil {
		t.Fatalf("edited message can't be read: %v\n%s", err, m)
	}
	equal(t, "Via", *m.Via(), *again.Via())
	equal(t, "From", m.From(), again.From())
	equal(t, "To", m.To(), again.To())
	equal(t, "tags", m.FromTag()+"/"+m.ToTag(), again.FromTag()+"/"+again.ToTag())
	equal(t, "Call-ID", m.CallID(), again.CallID())
	equal(t, "CSeq", m.CSeq(), again.CSeq())
	hops, ok := m.MaxForwards()
	hops2, ok2 := again.MaxForwards()
	equal(t, "Max-Forwards", hops == hops2 && ok == ok2, true)
	equal(t, "body", string(m.Body()), string(again.Body()))
}

func TestPopValues(t *testing.T) {
	m := mustParse(t, strings.Replace(basic, "X-Odd :", "Route: ,, <sip:a;x=\",\">,,<sip:b>, \nRoute: ,\nroute: <sip:c>\nX-Odd :", 1))
	for _, want := range []string{`<sip:a;x=",">`, "<sip:b>", "<sip:c>"} {
		got, ok := m.PopValue(sip.HRoute)
		equal(t, "value", got, want)
		equal(t, "ok", ok, true)
	}
	_, ok := m.PopValue(sip.HRoute)
	equal(t, "a fourth", ok || m.Has(sip.HRoute), false)
	equal(t, "message", m.String(), string(crlf(basic)))
}

// TestSetReceived has the cases of RFC 3261 §18.2.1 and RFC 3581 §4.
func TestSetReceived(t *testing.T) {
	for _, test := range []struct{ via, src, want string }{
		{"SIP/2.0/UDP 192.0.2.5", "192.0.2.5:5060", "SIP/2.0/UDP 192.0.2.5"},
		{"SIP/2.0/UDP 192.0.2.5", "[::ffff:192.0.2.5]:5060", "SIP/2.0/UDP 192.0.2.5"},
		{"SIP/2.0/UDP 192.0.2.5:5062;branch=z9hG4bKa", "192.0.2.9:4711",
			"SIP/2.0/UDP 192.0.2.5:5062;branch=z9hG4bKa;received=192.0.2.9"},
		{"SIP/2.0/UDP 192.0.2.5;rport;branch=z9hG4bKa", "192.0.2.5:4711",
			"SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKa;received=192.0.2.5;rport=4711"},
		{"SIP/2.0/UDP pc.example.test;branch=z9hG4bKa", "192.0.2.5:5060",
			"SIP/2.0/UDP pc.example.test;branch=z9hG4bKa;received=192.0.2.5"},
		{"SIP/2.0/WS a.invalid;RPORT=1;Received=203.0.113.1;x=\"a;b\"", "192.0.2.5:5060",
			"SIP/2.0/WS a.invalid;x=\"a;b\";received=192.0.2.5;rport=5060"},
		{"SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKa", "[2001:db8:0::1]:5060",
			"SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKa"},
		{"SIP/2.0/UDP [2001:db8::2];branch=z9hG4bKa", "[fe80::1%eth0]:5060",
			"SIP/2.0/UDP [2001:db8::2];branch=z9hG4bKa;received=fe80::1"},
		{"SIP/2.0/UDP 192.0.2.5;rport,SIP/2.0/TCP a;x=\",\"", "192.0.2.9:7",
			"SIP/2.0/UDP 192.0.2.5;received=192.0.2.9;rport=7, SIP/2.0/TCP a;x=\",\""},
	} {
		m := mustParse(t, strings.Replace(basic, "SIP/2.0/UDP 192.0.2.5:5062;branch=z9hG4bKa;rport", test.via, 1))
		m.SetReceived(netip.MustParseAddrPort(test.src))
		got, _ := m.Get(sip.HVia)
		equal(t, test.via+" from "+test.src, got, test.want)
		sameEager(t, m)
	}
	sip.NewRequest(sip.OPTIONS, "sip:a").SetReceived(netip.MustParseAddrPort("192.0.2.9:7")) // has no Via
}

func TestNewRequest(t *testing.T) {
	m := sip.NewRequest(sip.OPTIONS, "sip:bob@192.0.2.9")
	if m.Via() != nil || m.Body() != nil {
		t.Error("a new request has a Via or a body")
	}
	m.PushVia(sip.Via{Transport: "UDP", Host: "192.0.2.1", Branch: "z9hG4bK1", RPort: 0})
	m.Append(sip.HFrom, "<sip:p@example.test>;tag=1")
	m.Append(sip.HTo, "<sip:bob@example.test>")
	m.Append(sip.HCallID, "c")
	m.Append(sip.HCSeq, "1 OPTIONS")
	m.SetMaxForwards(70)
	m.EnsureContentLength()
	equal(t, "message", m.String(), string(crlf(`OPTIONS sip:bob@192.0.2.9 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport
Max-Forwards: 70
From: <sip:p@example.test>;tag=1
To: <sip:bob@example.test>
Call-ID: c
CSeq: 1 OPTIONS
Content-Length: 0

`)))
	sameEager(t, m)
}

func TestNewResponse(t *testing.T) {
	request := mustParse(t, strings.Replace(basic, "X-Odd :   kept  as it is  ", "Timestamp: 54\nRecord-Route: <sip:p;lr>", 1))
	before := request.String()
	const head = `Via: SIP/2.0/UDP 192.0.2.5:5062;branch=z9hG4bKa;rport
Via: SIP/2.0/TCP 192.0.2.6;branch=z9hG4bKb
From: "Alice" <sip:alice@example.test>;tag=f1
To: <sip:bob@example.test>%
Call-ID: c1@192.0.2.5
CSeq: 7 INVITE
`
	for _, test := range []struct {
		status      int
		reason, tag string
		want        string
	}{
		{100, "", "t1", "SIP/2.0 100 Trying\n" + strings.Replace(head, "%", "", 1) + "Timestamp: 54\nContent-Length: 0\n\n"},
		{180, "", "t1", "SIP/2.0 180 Ringing\n" + strings.Replace(head, "%", ";tag=t1", 1) + "Content-Length: 0\n\n"},
		{486, "Not now", "", "SIP/2.0 486 Not now\n" + strings.Replace(head, "%", "", 1) + "Content-Length: 0\n\n"},
		{499, "", "t1", "SIP/2.0 499 Request Failure\n" + strings.Replace(head, "%", ";tag=t1", 1) + "Content-Length: 0\n\n"},
	} {
		m := sip.NewResponse(request, test.status, test.reason, test.tag)
		equal(t, "response", m.String(), string(crlf(test.want)))
		equal(t, "method", m.Method(), sip.INVITE)
		sameEager(t, m)
	}

	equal(t, "request", request.String(), before)

	inDialog := mustParse(t, strings.Replace(basic, "To: <sip:bob@example.test>", "To: <sip:bob@example.test>;tag=old", 1))
	equal(t, "tag in a dialog", sip.NewResponse(inDialog, 200, "", "new").ToTag(), "old")

	edited := mustParse(t, basic)
	edited.PushVia(sip.Via{Transport: "TCP", Host: "h", Branch: "z9hG4bKs", RPort: -1})
	response := sip.NewResponse(edited, 200, "", "t1")
	edited.SetMaxForwards(3)
	response.Append(sip.HSupported, "path")
	equal(t, "topmost Via", response.Via().Branch, "z9hG4bKs")
	hops, _ := edited.MaxForwards()
	equal(t, "request stays", hops, 3)
	sameEager(t, edited)
	sameEager(t, response)
}

func TestReasonPhrase(t *testing.T) {
	for status, want := range map[int]string{
		200: "OK", 430: "Flow Failed", 199: "Early Dialog Terminated", 198: "Session Progress",
		299: "OK", 399: "Redirection", 499: "Request Failure", 599: "Server Failure", 699: "Global Failure",
	} {
		equal(t, "phrase", sip.ReasonPhrase(status), want)
	}
}

// TestResponseBytes: it is what NewResponse writes, the spelling of a tagged To apart.
func TestResponseBytes(t *testing.T) {
	for _, s := range readAll(t) {
		request, _ := sip.Parse(s.raw)
		if request == nil || !request.IsRequest() {
			continue
		}
		for _, status := range []int{100, 180, 486} {
			got := sip.ResponseBytes(request, status, "", "t1")
			want := sip.NewResponse(request, status, "", "t1")
			equal(t, s.name+" capacity", cap(got), len(got))
			same := func(got, want []byte) {
				a, errA := sip.Parse(got)
				b, errB := sip.Parse(want)
				equal(t, s.name+" verdict", verdict(errA), verdict(errB))
				if errA == nil {
					equal(t, s.name, readEverything(a), readEverything(b))
				}
			}
			same(got, want.Bytes())
			fields := sip.AppendField(sip.AppendField(nil, sip.HContact, "<sip:a@b>;q=1"), sip.HSupported, "path")
			got = sip.AppendResponse([]byte("kept "), request, status, "", "t1", fields)
			want.Append(sip.HContact, "<sip:a@b>;q=1")
			want.Append(sip.HSupported, "path")
			equal(t, s.name+" room", string(got[:5]), "kept ")
			same(got[5:], want.Bytes())
		}
	}
}
