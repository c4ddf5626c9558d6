package transport

import (
	"bytes"
	"testing"
)

func TestUnmask(t *testing.T) {
	key := []byte{0x11, 0xa2, 0x3f, 0x80}
	for n := range 40 {
		plain, masked, got := make([]byte, n), make([]byte, n), make([]byte, n)
		for i := range n {
			plain[i] = byte(i * 7)
			masked[i] = plain[i] ^ key[i%4]
		}
		if unmask(got, masked, key); !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %x, want %x", n, got, plain)
		}
	}
}
