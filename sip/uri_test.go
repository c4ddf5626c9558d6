package sip_test

import (
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

func TestParseURI(t *testing.T) {
	for _, test := range []struct {
		uri  string
		want sip.URI
	}{
		// The examples of RFC 3261 §19.1.3.
		{"sip:alice@atlanta.com", sip.URI{Scheme: "sip", User: "alice", Host: "atlanta.com"}},
		{"sip:alice:secretword@atlanta.com;transport=tcp",
			sip.URI{Scheme: "sip", User: "alice", Password: "secretword", Host: "atlanta.com", Params: ";transport=tcp"}},
		{"sips:alice@atlanta.com?subject=project%20x&priority=urgent",
			sip.URI{Scheme: "sips", User: "alice", Host: "atlanta.com", Headers: "subject=project%20x&priority=urgent"}},
		{"sip:+1-212-555-1212:1234@gateway.com;user=phone",
			sip.URI{Scheme: "sip", User: "+1-212-555-1212", Password: "1234", Host: "gateway.com", Params: ";user=phone"}},
		{"sips:1212@gateway.com", sip.URI{Scheme: "sips", User: "1212", Host: "gateway.com"}},
		{"sip:alice@192.0.2.4", sip.URI{Scheme: "sip", User: "alice", Host: "192.0.2.4"}},
		{"sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
			sip.URI{Scheme: "sip", Host: "atlanta.com", Params: ";method=REGISTER", Headers: "to=alice%40atlanta.com"}},
		{"sip:alice;day=tuesday@atlanta.com", sip.URI{Scheme: "sip", User: "alice;day=tuesday", Host: "atlanta.com"}},
		{"SIP:a@[2001:db8::1]:5070;lr", sip.URI{Scheme: "SIP", User: "a", Host: "[2001:db8::1]", Port: 5070, Params: ";lr"}},
		{"sip:*69#@h", sip.URI{Scheme: "sip", User: "*69#", Host: "h"}},
		{"sip:Bj\u00f6rn@h", sip.URI{Scheme: "sip", User: "Bj\u00f6rn", Host: "h"}},
		{"tel:+1-201-555-0123;ext=7", sip.URI{Scheme: "tel", User: "+1-201-555-0123", Params: ";ext=7"}},
		{"tel:7042;phone-context=example.com", sip.URI{Scheme: "tel", User: "7042", Params: ";phone-context=example.com"}},
		{"http://www.example.com/a?b", sip.URI{Scheme: "http", Opaque: "//www.example.com/a?b"}},
	} {
		got, err := sip.ParseURI(test.uri)
		if err != nil {
			t.Errorf("%s: %v", test.uri, err)
		}
		equal(t, test.uri, got, test.want)
		equal(t, "print", got.String(), test.uri)
	}
}

func TestParseURIErrors(t *testing.T) {
	for _, uri := range []string{
		"", "sip", ":a@b", "1sip:a@b", "<sip:a@b>", "sip:", "sip:@b", "sip:a@", "sip:a@b@c", "sip:a b@c", "sip:a@b c",
		"sip:a@b:0", "sip:a@b:65536", "sip:a@b:", "sip:a@b:5060x", "sip:a@b:+1", "sip:a@[::1", "sip:a@::1", "sip:2001:db8::1",
		"sip:a@[fe80::1%25eth0]", "sip:a@[192.0.2.1]", "sip:a@b%41", "sip:%4@b", "sip:%zz@b", "sip:a:%4@b", "sip:a\"@b",
		"sip:a[@b", "sip:a:[@b", "sip:a@b;x=%4", "sip:a@b\x00", "sip:a\x7f@b", "sip:a@" + strings.Repeat("x", 256),
		"tel:", "tel:;a=b", "tel:+1+2", "tel:12 34", "tel:1x", "http:", "sip:a@b<c",
	} {
		if got, err := sip.ParseURI(uri); err == nil {
			t.Errorf("%q is %+v, want an error", uri, got)
		} else if err.Error() == "" {
			t.Errorf("%q: no text", uri)
		}
	}
}

// TestURIEqual has the examples of RFC 3261 §19.1.4, RFC 5954 §4.2 and RFC 3966 §4.
func TestURIEqual(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
			"sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent",
			"sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false},

		{"sip:bob@[::ffff:192.0.2.128]", "sip:bob@[::ffff:c000:280]", true},
		{"sip:bob@[2001:db8::9:1]", "sip:bob@[2001:db8::9:01]", true},
		{"sip:bob@[2001:db8::9:1]", "sip:bob@[2001:DB8:0::9:1]", true},
		{"sip:bob@[2001:db8::9:1]", "sip:bob@[2001:db8::9:2]", false},

		{"sip:a@h", "sips:a@h", false},
		{"sip:a:x@h", "sip:a:X@h", false},
		{"sip:h", "sip:a@h", false},
		{"sip:a@h;lr", "sip:a@h", true},
		{"sip:a@h;user=phone", "sip:a@h", false},
		{"sip:a@h;maddr=1", "sip:a@h;maddr=1;ttl=2", false},
		{"sip:a%2541@h", "sip:a%41@h", false},
		{"sip:a@h?a=1&a=2", "sip:a@h?a=2&a=1", true},
		{"sip:a@h?a=1&a=1", "sip:a@h?a=1&a=2", false},
		{"sip:a@h?a=1", "sip:a@h?a=1&b=1", false},

		{"tel:+1-201-555-0123", "TEL:+1(201)555.0123", true},
		{"tel:+12015550123", "tel:12015550123", false},
		{"tel:7042;phone-context=example.com;ext=1-2", "tel:7042;EXT=12;phone-context=EXAMPLE.com", true},
		{"tel:7042;phone-context=+1-201", "tel:7042;phone-context=+1201", true},
		{"tel:7042;phone-context=a.example", "tel:7042;phone-context=b.example", false},
		{"tel:7042;ext=1", "tel:7042", false},
		{"tel:7042", "tel:7042;ext=1", false},
		{"http://a", "http://a", true},
		{"http://a", "http://A", false},
	} {
		a, errA := sip.ParseURI(test.a)
		b, errB := sip.ParseURI(test.b)
		if errA != nil || errB != nil {
			t.Fatal(test.a, errA, test.b, errB)
		}
		equal(t, test.a+" = "+test.b, a.Equal(b), test.want)
		equal(t, test.b+" = "+test.a, b.Equal(a), test.want)
		equal(t, test.a+" itself", a.Equal(a), true)
	}
}

// TestURIEqualIsBounded: the time of a comparison grows with the square of the parameters,
// which a peer chooses.
func TestURIEqualIsBounded(t *testing.T) {
	var a, b strings.Builder
	for i := range 20000 {
		a.WriteString(";" + strings.Repeat("x", 1+i%3))
		b.WriteString(";" + strings.Repeat("y", 1+i%3))
	}
	for _, scheme := range []string{"sip:a@h", "tel:1"} {
		u, _ := sip.ParseURI(scheme + a.String())
		v, _ := sip.ParseURI(scheme + b.String())
		equal(t, scheme, u.Equal(v), false)
		equal(t, scheme, u.Equal(u), true)
	}
}

func TestUserUnescaped(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:alice@h": "alice", "sip:%61%6C%69ce@h": "alice", "sip:a%2541@h": "a%41", "sip:%00@h": "\x00",
	} {
		u, err := sip.ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, uri, u.UserUnescaped(), want)
	}
}

func TestURIScheme(t *testing.T) {
	for uri, want := range map[string][3]bool{
		"sip:h": {true, false, false}, "SIPS:h": {true, true, false}, "tel:1": {false, false, true}, "im:x": {}, "sip": {},
	} {
		u, _ := sip.ParseURI(uri)
		equal(t, uri, [3]bool{u.IsSIP(), u.IsSIPS(), u.IsTel()}, want)
		equal(t, uri, sip.IsSIPS(uri), want[1])
	}
}
