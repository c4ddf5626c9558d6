//go:build linux

package load

import (
	"strings"
	"testing"
)

func wire(text string) []byte { return []byte(strings.ReplaceAll(text, "\n", "\r\n")) }

func TestScanRequest(t *testing.T) {
	b := wire(`INVITE sip:bob@h.invalid;transport=ws SIP/2.0
Record-Route: <sip:127.0.0.1;lr>
record-route:<sip:127.0.0.1;transport=ws;lr>
Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx.0
VIA:  SIP/2.0/WS a.invalid;branch=z9hG4bKi1;received=127.0.0.1
Max-Forwards: 69
From: <sip:alice@example.test>;tag=a00000001
To: <sip:bob@example.test>
Call-ID: 00000000-0001-00000001
CSeq: 1 INVITE
Contact: <sip:alice@a.invalid>
Content-Length: 4

v=0
`)
	var m message
	if err := m.scan(b[:len(b)-1]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, got, want string }{
		{"method", string(m.method), "INVITE"},
		{"uri", string(m.uri), "sip:bob@h.invalid;transport=ws"},
		{"second Record-Route", string(m.recordRoute.v[1]), "<sip:127.0.0.1;transport=ws;lr>"},
		{"second Via", string(m.via.v[1]), "SIP/2.0/WS a.invalid;branch=z9hG4bKi1;received=127.0.0.1"},
		{"Max-Forwards", string(m.maxForwards), "69"},
		{"From", string(m.from), "<sip:alice@example.test>;tag=a00000001"},
		{"To", string(m.to), "<sip:bob@example.test>"},
		{"Call-ID", string(m.callID), "00000000-0001-00000001"},
		{"CSeq", string(m.cseq), "1 INVITE"},
		{"Contact", string(m.contact), "<sip:alice@a.invalid>"},
		{"body", string(m.body), "v=0\r"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
	if m.status != 0 || m.via.n != 2 || m.recordRoute.n != 2 || m.routes != 0 {
		t.Errorf("status %d, %d Via, %d Record-Route, %d Route", m.status, m.via.n, m.recordRoute.n, m.routes)
	}
}

// A message must not inherit anything from the one scanned before it.
func TestScanAgain(t *testing.T) {
	var m message
	if err := m.scan(wire("BYE sip:a SIP/2.0\nVia: x\nRoute: y\nWWW-Authenticate: z\nRecord-Route: r\nTo: t\nContact: c\n\nbody")); err != nil {
		t.Fatal(err)
	}
	if err := m.scan(wire("SIP/2.0 200 OK\nContent-Length: 0\n\n")); err != nil {
		t.Fatal(err)
	}
	if m.status != 200 || m.method != nil || m.via.n+m.routes+m.challenge.n+m.recordRoute.n != 0 || m.to != nil || m.contact != nil || len(m.body) != 0 {
		t.Errorf("left over: %+v", m)
	}
}

func TestScanErrors(t *testing.T) {
	tests := []struct {
		text string
		want error
	}{
		{"SIP/2.0 200 OK\nVia: x\n", errNoHead},
		{"SIP/2.0 2\n\n", errStartLine},
		{"SIP/2.0 999 No\n\n", errStartLine},
		{"HELLO\n\n", errStartLine},
		{"INVITE SIP/2.0\n\n", errStartLine},
		{"SIP/2.0 200 OK\nno colon\n\n", errHeaderLine},
		{"SIP/2.0 200 OK\nContent-Length: x\n\n", errHeaderLine},
		{"SIP/2.0 200 OK\nContent-Length: -1\n\n", errHeaderLine},
		{"SIP/2.0 200 OK\n" + strings.Repeat("Via: x\n", maxLines+1) + "\n", errHeaderLine},
		{"SIP/2.0 200 OK\nContent-Length: 5\n\nbody", errLength},
		{"SIP/2.0 200 OK\nContent-Length: 3\n\nbody", errLength},
	}
	for _, tt := range tests {
		var m message
		if err := m.scan(wire(tt.text)); err != tt.want {
			t.Errorf("scan(%q) = %v, want %v", tt.text, err, tt.want)
		}
	}
}

func TestBareURI(t *testing.T) {
	for in, want := range map[string]string{
		"<sip:a@h;transport=ws>;expires=60": "sip:a@h;transport=ws",
		`"A <b" <sip:a@h>`:                  "b\" <sip:a@h", // no quoted names in the benchmark
		"sip:a@h;expires=60":                "sip:a@h",
		"":                                  "",
	} {
		if got := string(bareURI([]byte(in))); got != want {
			t.Errorf("bareURI(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParameter(t *testing.T) {
	const challenge = `Digest realm="example.test", nonce="a,b=c==", algorithm=MD5,qop="auth" , stale=true`
	for name, want := range map[string]string{
		"realm": "example.test", "nonce": "a,b=c==", "algorithm": "MD5", "QOP": "auth", "stale": "true", "opaque": "",
	} {
		if got := string(parameter([]byte(challenge), name)); got != want {
			t.Errorf("parameter %s = %q, want %q", name, got, want)
		}
	}
}

func TestRouteSet(t *testing.T) {
	values := [][]byte{[]byte("<sip:c;lr>, <sip:b;lr>"), []byte("<sip:a;lr>")}
	var got []string
	for _, r := range routeSet(nil, values) {
		got = append(got, string(r))
	}
	if want := "<sip:a;lr> <sip:b;lr> <sip:c;lr>"; strings.Join(got, " ") != want {
		t.Errorf("route set %q, want %q", got, want)
	}
}

func BenchmarkScan(b *testing.B) {
	text := append(wire("SIP/2.0 200 OK\nVia: SIP/2.0/WS a.invalid;branch=z9hG4bKi1\nRecord-Route: <sip:127.0.0.1;lr>\n"+
		"From: <sip:alice@example.test>;tag=a1\nTo: <sip:bob@example.test>;tag=b1\nCall-ID: 00000000-0001-00000001\nCSeq: 1 INVITE\n"+
		"Contact: <sip:bob@b.invalid>\n"+browserHeaders+"Content-Type: application/sdp\n\n"), browserSDP(1, "active")...)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var m message
	for b.Loop() {
		if err := m.scan(text); err != nil {
			b.Fatal(err)
		}
	}
}
