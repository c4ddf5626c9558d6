//go:build linux

package load

import (
	"bytes"
	"strconv"
)

// nextMessage delivers the first message of b and returns its length, 0 where
// it is incomplete (RFC 3261 §18.3). The server's own keepalive, CRLFCRLF or
// the pong CRLF, is stepped over (RFC 5626 §3.5.1).
func (c *conn) nextMessage(b []byte, deliver func(*conn, []byte)) (int, error) {
	if b[0] == '\r' || b[0] == '\n' {
		return 1, nil
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, nil
	}
	n, ok := contentLength(b[:end+2])
	if !ok {
		return 0, errFraming
	}
	if end += 4 + n; end > len(b) {
		return 0, nil
	}
	deliver(c, b[:end])
	return end, nil
}

// contentLength finds the header in its long form, as both servers write it.
func contentLength(head []byte) (int, bool) {
	i := bytes.Index(head, []byte("\r\nContent-Length:"))
	if i < 0 {
		return 0, false
	}
	value, _, _ := bytes.Cut(head[i+len("\r\nContent-Length:"):], []byte("\r"))
	n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
	return n, err == nil && n >= 0 && n <= maxPending
}
