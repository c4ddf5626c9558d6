//go:build linux

package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// collect feeds b to a stream in pieces of n bytes and returns the messages.
func collect(t *testing.T, tr Transport, b []byte, n int) ([]string, error) {
	t.Helper()
	c := &conn{fd: -1, transport: tr}
	var got []string
	for piece := range slices.Chunk(b, n) {
		if err := c.stream(piece, func(_ *conn, m []byte) { got = append(got, string(m)) }); err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestTCPFraming(t *testing.T) {
	first := "SIP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nbody"
	second := "BYE sip:a SIP/2.0\r\nContent-Length:0\r\n\r\n"
	stream := []byte("\r\n\r\n" + first + "\r\n" + second)
	for n := 1; n <= len(stream); n++ {
		got, err := collect(t, TCP, stream, n)
		if err != nil || !slices.Equal(got, []string{first, second}) {
			t.Fatalf("in pieces of %d: %q, %v", n, got, err)
		}
	}
	for _, bad := range []string{"X\r\n\r\n", "X\r\nContent-Length: a\r\n\r\n", "X\r\nContent-Length: 99999999\r\n\r\n", strings.Repeat("x", maxPending+1)} {
		if _, err := collect(t, TCP, []byte(bad), len(bad)); !errors.Is(err, errFraming) {
			t.Errorf("%.40q: %v, want %v", bad, err, errFraming)
		}
	}
}

// serverFrame is an unmasked frame as a server sends it.
func serverFrame(opcode byte, payload string) []byte {
	b := []byte{0x80 | opcode, byte(len(payload))}
	if len(payload) > 125 {
		b = binary.BigEndian.AppendUint16([]byte{0x80 | opcode, 126}, uint16(len(payload)))
	}
	return append(b, payload...)
}

func TestWSFraming(t *testing.T) {
	messages := []string{"short", strings.Repeat("m", 125), strings.Repeat("n", 126), strings.Repeat("l", 3000)}
	var stream []byte
	for _, m := range messages {
		stream = append(stream, serverFrame(opText, m)...)
		stream = append(stream, serverFrame(opPong, "")...)
	}
	for _, n := range []int{1, 2, 3, 5, 100, 1460, len(stream)} {
		got, err := collect(t, WS, stream, n)
		if err != nil || !slices.Equal(got, messages) {
			t.Fatalf("in pieces of %d: %d messages, %v", n, len(got), err)
		}
	}
	for name, tt := range map[string]struct {
		frame []byte
		want  error
	}{
		"fragment": {[]byte{0x01, 0}, errFraming},
		"masked":   {[]byte{0x81, 0x80}, errFraming},
		"reserved": {[]byte{0x83, 0}, errFraming},
		"64-bit":   {[]byte{0x81, 127}, errFraming},
		"close":    {serverFrame(opClose, ""), errClosed},
	} {
		if _, err := collect(t, WS, tt.frame, len(tt.frame)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestFrame(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 3000, 0xffff, 0x10000} {
		c := &conn{mask: 42}
		message := bytes.Repeat([]byte("sip"), n)[:n]
		b := c.frame(append(make([]byte, headroom), message...), opText)
		head, length := 2, int(b[1]&0x7f)
		switch length {
		case 126:
			head, length = 4, int(binary.BigEndian.Uint16(b[2:]))
		case 127:
			head, length = 10, int(binary.BigEndian.Uint64(b[2:]))
		}
		if b[0] != 0x80|opText || b[1]&0x80 == 0 || length != n || len(b) != head+4+n {
			t.Fatalf("%d bytes: header % x, %d bytes in all", n, b[:head], len(b))
		}
		mask, payload := b[head:head+4], b[head+4:]
		if bytes.Equal(mask, make([]byte, 4)) {
			t.Errorf("%d bytes: no mask", n)
		}
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		if !bytes.Equal(payload, message) {
			t.Errorf("%d bytes: payload differs after unmasking", n)
		}
	}
}

func TestCheckUpgrade(t *testing.T) {
	// The key and accept value are those of RFC 6455 §1.3.
	const key, accept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	good := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + accept + "\r\nsec-websocket-protocol: sip"
	if err := checkUpgrade([]byte(good), key); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		strings.Replace(good, "101", "200", 1),
		strings.Replace(good, accept, "x", 1),
		strings.Replace(good, ": sip", ": chat", 1),
	} {
		if checkUpgrade([]byte(bad), key) == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}
