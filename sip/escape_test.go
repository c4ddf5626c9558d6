package sip

import "testing"

func TestAppendEscaped(t *testing.T) {
	for _, test := range []struct{ text, also, want string }{
		{"alice", UserChars, "alice"},
		{"a@b;c d", UserChars, "a%40b;c%20d"},
		{"urn:uuid:1", ParamChars, "urn:uuid:1"},
		{"x;y=\"é%", ParamChars, "x%3By%3D%22%C3%A9%25"},
	} {
		got := string(AppendEscaped(nil, test.text, test.also))
		if got != test.want {
			t.Errorf("%q became %s, want %s", test.text, got, test.want)
		}
		if back := (&URI{User: got}).UserUnescaped(); back != test.text {
			t.Errorf("%s became %q", got, back)
		}
	}
}
