package transport

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// unhex reads bytes in hexadecimal, with blanks where they help.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const stunTransaction = "2112a442 0102030405060708090a0b0c"

func TestSTUNAnswer(t *testing.T) {
	const success4 = "0101 000c" + stunTransaction + "0020 0008 0001 32b2 e112a640"
	tests := []struct{ name, from, message, answer string }{
		{"IPv4", "192.0.2.2:5024", "0001 0000" + stunTransaction, success4},
		{"IPv6", "[2001:db8::2]:5024", "0001 0000" + stunTransaction,
			"0101 0018" + stunTransaction + "0020 0014 0002 32b2 0113a9fa 01020304 05060708 090a0b0e"},
		{"attributes that may be ignored", "192.0.2.2:5024",
			"0001 0018" + stunTransaction + "8022 0003 61626300 0006 0002 61620000 8028 0004 00000000", success4},
		{"one that may not", "192.0.2.2:5024", "0001 0004" + stunTransaction + "0025 0000",
			"0111 0024" + stunTransaction + "0009 0015 00000414" + hex.EncodeToString([]byte("Unknown Attribute")) + "000000" +
				"000a 0002 0025 0000"},
		{"ten of them", "192.0.2.2:5024", "0001 0028" + stunTransaction + strings.Repeat("0002 0000", 10),
			"0111 0030" + stunTransaction + "0009 0015 00000414" + hex.EncodeToString([]byte("Unknown Attribute")) + "000000" +
				"000a 0010" + strings.Repeat("0002", 8)},
		{"an indication", "192.0.2.2:5024", "0011 0000" + stunTransaction, ""},
		{"an answer", "192.0.2.2:5024", success4, ""},
		{"another method", "192.0.2.2:5024", "0003 0000" + stunTransaction, ""},
		{"shorter than it says", "192.0.2.2:5024", "0001 0004" + stunTransaction, ""},
		{"longer than it says", "192.0.2.2:5024", "0001 0000" + stunTransaction + "80220000", ""},
		{"no multiple of four", "192.0.2.2:5024", "0001 0002" + stunTransaction + "8022", ""},
		{"an attribute beyond the end", "192.0.2.2:5024", "0001 0004" + stunTransaction + "8022 0001", ""},
		{"the longest attribute", "192.0.2.2:5024", "0001 0004" + stunTransaction + "8022 ffff", ""},
	}
	for _, tt := range tests {
		b := unhex(t, tt.message)
		if !isSTUN(b) {
			t.Errorf("%s: not taken for STUN", tt.name)
			continue
		}
		got := stunAnswer(b, netip.MustParseAddrPort(tt.from))
		if want := unhex(t, tt.answer); !bytes.Equal(got, want) {
			t.Errorf("%s: answered\n%x, want\n%x", tt.name, got, want)
		}
	}
}

// A request comes to be answered like any other: if its source is admitted.
func TestSTUNAdmitted(t *testing.T) {
	admit := make(chan bool, 2)
	l, r := newLayer(t, Config{Admit: func(sip.Flow, []byte) bool { return <-admit }})
	c := dialUDP(t, listen(t, l, sip.UDP))
	binding := string(unhex(t, "0001 0000"+stunTransaction))
	admit <- false
	write(t, c, binding)
	admit <- true
	write(t, c, request(sip.UDP, 7))
	expectSeq(t, r, 7)
	if s := l.Stats()[sip.UDP]; s.Out != 0 {
		t.Fatalf("%d answers to one who is not admitted", s.Out)
	}
	admit <- true
	write(t, c, binding)
	got := make([]byte, 100)
	n, err := c.Read(got)
	want := stunAnswer([]byte(binding), addrPort(c.LocalAddr()))
	if err != nil || !bytes.Equal(got[:n], want) {
		t.Errorf("answered %x, %v, want %x", got[:n], err, want)
	}
}

// FuzzSTUN: whatever comes, an answer is well-formed and hardly larger than the request.
func FuzzSTUN(f *testing.F) {
	f.Add(unhex(f, "0001 0000"+stunTransaction))
	f.Add(unhex(f, "0001 0008"+stunTransaction+"0025 0000 8022 0000"))
	f.Add(unhex(f, "0001 0004"+stunTransaction+"8022 ffff"))
	from := netip.MustParseAddrPort("[2001:db8::2]:5024")
	f.Fuzz(func(t *testing.T, b []byte) {
		if !isSTUN(b) {
			return
		}
		answer := stunAnswer(b, from)
		if answer == nil {
			return
		}
		if !isSTUN(answer) || len(answer) > len(b)+36 || !bytes.Equal(answer[4:stunHeader], b[4:stunHeader]) {
			t.Errorf("%x is answered with %x", b, answer)
		}
		if again := stunAnswer(answer, from); again != nil {
			t.Errorf("an answer is answered with %x", again)
		}
	})
}
