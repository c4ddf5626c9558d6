package store

import "testing"

func TestPublicGRUU(t *testing.T) {
	for _, test := range []struct{ aor, instance, contact, want string }{
		{"alice@example.test", "<urn:uuid:1>", "sip:a@h", "sip:alice@example.test;gr=urn:uuid:1"},
		{"a@b@example.test", "x y", "", "sip:a%40b@example.test;gr=x%20y"},
		{"alice@example.test", "<i>", "SIPS:a@h", "sips:alice@example.test;gr=i"},
		{"no domain", "<i>", "sips", "sip:no domain;gr=i"}, // which no registrar writes
	} {
		b := Binding{AOR: test.aor, Instance: test.instance, Contact: test.contact}
		if got := string(b.AppendPublicGRUU(nil)); got != test.want {
			t.Errorf("%s of %s: %s", test.instance, test.aor, got)
		}
	}
}
