package auth

import (
	"net/http"
	"testing"
)

func TestCheckOrigin(t *testing.T) {
	for _, test := range []struct {
		allowed, host, origin string
		want                  bool
	}{
		{"", "sip.example.test:8443", "https://sip.example.test", true},
		{"", "sip.example.test:8443", "https://SIP.example.test:3000", true},
		{"", "sip.example.test", "https://example.test", false},
		{"", "sip.example.test", "https://sip.example.test.evil.test", false},
		{"", "sip.example.test", "https://evilsip.example.test", false},
		{"", "sip.example.test", "https://sip.example.test@evil.test", false},
		{"", "sip.example.test", "null", false},
		{"", "sip.example.test", "", false}, // the field is there and empty
		{"", "sip.example.test", "sip.example.test", false},
		{"", "127.0.0.1:8080", "http://localhost:3000", true},
		{"", "[::1]:8080", "http://127.0.0.1", true},
		{"", "192.0.2.1:8080", "http://localhost", false},
		{"", "localhost:8080", "http://localhost.evil.test", false},
		{"https://app.test", "sip.test", "https://app.test", true},
		{"https://App.Test", "sip.test", "https://app.test", true},
		{"https://app.test", "sip.test", "http://app.test", false},
		{"https://app.test", "sip.test", "https://app.test:444", false},
		{"https://app.test", "sip.test", "https://sub.app.test", false},
		{"https://*.app.test", "sip.test", "https://a.b.app.test", true},
		{"https://*.app.test", "sip.test", "https://app.test", false},
		{"https://*.app.test", "sip.test", "https://evilapp.test", false},
		{"https://*.app.test", "sip.test", "https://a.app.test.evil.test", false},
		{"null", "sip.test", "null", true},
		{"*", "sip.test", "https://anywhere.test", true},
	} {
		var allowed []Origin
		if test.allowed != "" {
			o, err := ParseOrigin(test.allowed)
			if err != nil {
				t.Fatal(err)
			}
			allowed = append(allowed, o)
		}
		r := &http.Request{Host: test.host, Header: http.Header{"Origin": {test.origin}}}
		if got := CheckOrigin(allowed, r); got != test.want {
			t.Errorf("allowed %q, Host %q, Origin %q: %t", test.allowed, test.host, test.origin, got)
		}
	}
	if !CheckOrigin(nil, &http.Request{Host: "sip.test"}) {
		t.Error("a client that is no browser is refused")
	}
	two := &http.Request{Host: "sip.test", Header: http.Header{"Origin": {"https://sip.test", "https://evil.test"}}}
	if CheckOrigin(nil, two) {
		t.Error("two origins: who knows which one counts?")
	}
}

func TestParseOriginRefuses(t *testing.T) {
	for _, s := range []string{"", "app.test", "https://", "https://app.test/", "https://app.test/path", "https://a.*.test", "https://*", "https://u@app.test", "https://*.*.test"} {
		if o, err := ParseOrigin(s); err == nil {
			t.Errorf("%q is read as %q", s, o)
		}
	}
}
