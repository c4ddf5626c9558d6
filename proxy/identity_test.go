package proxy

import (
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// Nothing that stands in a display name becomes a header field, or an identity, of its own.
func TestDisplayNamesInjectNothing(t *testing.T) {
	for display, kept := range map[string]bool{
		"":                                 false,
		"Alice":                            true,
		"Alice of Wonderland":              true,
		`"Alice, \"the\" <first>"`:         true,
		`"Grüße"`:                          true,
		`"a" , <sip:boss@x>`:               false,
		`"a\"`:                             false,
		`"`:                                false,
		"sip:boss@example.test, x":         false,
		"Boss <sip:boss@example.test>, x":  false,
		"Alice\r\nP-Asserted-Identity: b":  false,
		"\"Alice\r\nP-Asserted-Identity\"": false,
		"\"a\x00b\"":                       false,
		"\x1b[2J":                          false,
	} {
		got := nameAddr(display, "alice@example.test")
		a, err := sip.ParseAddress(got)
		if err != nil || a.URI != "sip:alice@example.test" || (a.Display != "") != kept || kept && a.Display != display {
			t.Errorf("%q: %q, %v", display, got, err)
		}
	}
	if got := nameAddr("", "a b@c>@example.test"); !strings.HasPrefix(got, "<sip:a%20b") || strings.Count(got, ">") != 1 {
		t.Errorf("%q", got)
	}
}
