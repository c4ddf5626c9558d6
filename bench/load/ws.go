//go:build linux

package load

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Opcodes of RFC 6455 §5.2.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

// handshake upgrades a blocking socket (RFC 6455 §4.1) to the subprotocol sip
// (RFC 7118 §4).
func (c *conn) handshake(server netip.AddrPort) error {
	var nonce [16]byte
	binary.LittleEndian.PutUint32(nonce[:], c.mask)
	key := base64.StdEncoding.EncodeToString(nonce[:])
	request := "GET / HTTP/1.1\r\nHost: " + server.String() +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + key +
		"\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\nOrigin: http://" + server.String() + "\r\n\r\n"
	if err := c.write([]byte(request)); err != nil {
		return err
	}
	var head []byte
	buf := make([]byte, 4<<10)
	for !bytes.Contains(head, []byte("\r\n\r\n")) {
		n, err := unix.Read(c.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
		if n == 0 || len(head) > maxPending {
			return fmt.Errorf("handshake: no answer in %q", head)
		}
		head = append(head, buf[:n]...)
	}
	head, rest, _ := bytes.Cut(head, []byte("\r\n\r\n"))
	c.pending = append(c.pending, rest...)
	return checkUpgrade(head, key)
}

// checkUpgrade insists on 101, the accept value of the key and the subprotocol.
func checkUpgrade(head []byte, key string) error {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	want := []string{
		"\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]),
		"\r\nSec-WebSocket-Protocol: sip",
	}
	ok := bytes.HasPrefix(head, []byte("HTTP/1.1 101 "))
	for _, line := range want {
		ok = ok && bytes.Contains(bytes.ToLower(head), bytes.ToLower([]byte(line)))
	}
	if !ok {
		return fmt.Errorf("handshake refused: %q", head)
	}
	return nil
}

// frame turns the message at b[headroom:] into one final masked frame (RFC
// 6455 §5.3) and returns it. The mask is a weak random number, which is all
// that a benchmark on loopback needs, but never zero: a server must unmask.
func (c *conn) frame(b []byte, opcode byte) []byte {
	c.mask = c.mask*1664525 + 1013904223 | 1
	payload := b[headroom:]
	start := headroom - 6
	switch {
	case len(payload) < 126:
		b[start+1] = 0x80 | byte(len(payload))
	case len(payload) <= 0xffff:
		start -= 2
		b[start+1] = 0x80 | 126
		binary.BigEndian.PutUint16(b[start+2:], uint16(len(payload)))
	default:
		start -= 8
		b[start+1] = 0x80 | 127
		binary.BigEndian.PutUint64(b[start+2:], uint64(len(payload)))
	}
	b[start] = 0x80 | opcode
	binary.LittleEndian.PutUint32(b[headroom-4:], c.mask)
	maskBytes(payload, c.mask)
	return b[start:]
}

// maskBytes applies the mask, eight bytes at a time.
func maskBytes(b []byte, mask uint32) {
	wide := uint64(mask)<<32 | uint64(mask)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(mask >> (8 * (i & 3)))
	}
}

// nextFrame handles the first frame of b and returns its length, 0 where it is
// incomplete. A server that fragments messages of this size, or masks, is not
// under test here: that is an error.
func (c *conn) nextFrame(b []byte, deliver func(*conn, []byte)) (int, error) {
	if len(b) < 2 {
		return 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return 0, errFraming
	}
	start, length := 2, int(b[1])
	switch length {
	case 126:
		if len(b) < 4 {
			return 0, nil
		}
		start, length = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 0, errFraming // 64 KiB or more: none of our messages
	}
	end := start + length
	if end > len(b) {
		return 0, nil
	}
	switch payload := b[start:end]; b[0] & 0x0f {
	case opText, opBinary:
		deliver(c, payload)
	case opPing:
		pong := append(make([]byte, headroom, headroom+125), payload...)
		return end, c.write(c.frame(pong, opPong))
	case opPong:
	case opClose:
		return 0, errClosed
	default:
		return 0, errFraming
	}
	return end, nil
}
