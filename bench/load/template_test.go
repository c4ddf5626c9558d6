//go:build linux

package load

import "testing"

func TestTemplateFill(t *testing.T) {
	tests := []struct {
		text string
		n    uint32
		want string
	}{
		{"no mark\n", 1, "no mark\r\n"},
		{"########", 0, "00000000"},
		{"a########b########\n", 0xdeadbeef, "adeadbeefbdeadbeef\r\n"},
		{"#######", 7, "#######"},
		{"a\nb\n\n", 0, "a\r\nb\r\n\r\n"},
	}
	for _, tt := range tests {
		tpl := newTemplate(tt.text)
		for range 2 { // filling leaves the template as it was
			if got := string(tpl.fill([]byte("> "), tt.n)); got != "> "+tt.want {
				t.Errorf("fill(%q, %#x) = %q, want %q", tt.text, tt.n, got, "> "+tt.want)
			}
		}
	}
}

func TestHex(t *testing.T) {
	for _, n := range []uint32{0, 1, 0x10, 0xabcdef01, 0xffffffff} {
		var b [8]byte
		putHex(b[:], n)
		if got, ok := getHex(b[:]); !ok || got != n {
			t.Errorf("getHex(%q) = %#x, %v, want %#x", b, got, ok, n)
		}
	}
	for _, bad := range []string{"", "123456789", "12g4", "ABCD", "-1"} {
		if n, ok := getHex([]byte(bad)); ok {
			t.Errorf("getHex(%q) = %#x, want none", bad, n)
		}
	}
}
