package transport

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// recordSize is the most that a TLS record holds (RFC 8446 §5.1). What is read with a buffer
// of that size leaves nothing decrypted behind in the tls.Conn.
const recordSize = 16 << 10

var records = sync.Pool{New: func() any { return new([recordSize]byte) }}

// tlsStream is TLS on a socket. Like the socket it holds no buffer while it waits to read,
// and waits in the socket, in a shallow stack: between two records nothing is in the
// tls.Conn, for the wire gives it one record at a time.
type tlsStream struct {
	*tls.Conn
	wire *wire

	// Of the reading goroutine.
	chunk *[recordSize]byte // holds in, nil when nothing is unread
	in    []byte
}

func newTLSStream(sock *socket, handshake func(net.Conn, *tls.Config) *tls.Conn, cfg *tls.Config) *tlsStream {
	w := &wire{socket: sock, handshaking: true}
	return &tlsStream{Conn: handshake(w, cfg), wire: w}
}

// bottom is the socket below.
func (s *tlsStream) bottom() *socket { return s.wire.socket }

// wait returns when there is something to read, or an error.
func (s *tlsStream) wait() error {
	for len(s.in) == 0 {
		if err := s.wire.socket.wait(); err != nil {
			return err
		}
		if err := s.decrypt(); err != nil {
			return err
		}
	}
	return nil
}

// fill reads ahead what a record has, without waiting for one.
func (s *tlsStream) fill() (more bool, err error) {
	if len(s.in) > 0 {
		return false, errOwned
	}
	w := s.wire
	if len(w.socket.in) == 0 {
		if more, err = w.socket.fill(); err != nil {
			return false, err
		}
	}
	w.impatient = true
	err = s.decrypt()
	w.impatient = false
	return more || len(w.socket.in) > 0, err
}

// decrypt reads a record. One without data for us leaves in empty.
func (s *tlsStream) decrypt() error {
	chunk := records.Get().(*[recordSize]byte)
	n, err := s.Conn.Read(chunk[:])
	if n == 0 {
		records.Put(chunk)
		if err == errNoRecord {
			return nil
		}
		return err
	}
	s.chunk, s.in = chunk, chunk[:n]
	return nil // an error comes again
}

// Read takes from what was read ahead, or waits for more.
func (s *tlsStream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.wait(); err != nil {
		return 0, err
	}
	n := copy(p, s.in)
	s.discard(n)
	return n, nil
}

func (s *tlsStream) buffered() []byte { return s.in }

func (s *tlsStream) discard(n int) {
	if s.in = s.in[n:]; len(s.in) == 0 {
		s.in = nil
		if s.chunk != nil {
			records.Put(s.chunk)
			s.chunk = nil
		}
	}
}

func (s *tlsStream) unread(b []byte) {
	if len(b) == 0 {
		return
	}
	in := append(append(make([]byte, 0, len(b)+len(s.in)), b...), s.in...)
	s.discard(len(s.in))
	s.in = in
}

// goodbye tells the peer that nothing more comes, so that it knows that nobody has cut the
// connection short (RFC 8446 §6.1).
func (s *tlsStream) goodbye() {
	// Who can't be written to needs no goodbye.
	_ = s.CloseWrite()
}

// wire is what a tls.Conn stands on: the socket, of which it reads no more than one record
// at a time.
type wire struct {
	*socket
	handshaking bool        // Read may wait for a record to begin
	conn        *connection // nil until it is one

	// Of the reading goroutine.
	header  [5]byte // of the record that is being read: its last two bytes are its length
	have    int     // bytes of the header that were read
	left    int     // bytes of the record that were not read yet, once the header is there
	limited bool    // the record has a deadline

	impatient bool // the rest of a record is not waited for
}

// errNoRecord says that there is no whole record yet. To the tls.Conn it is an error that
// passes.
var errNoRecord net.Error = noRecord{}

type noRecord struct{}

func (noRecord) Error() string   { return "transport: no TLS record" }
func (noRecord) Timeout() bool   { return true }
func (noRecord) Temporary() bool { return true }

// Read is called by the tls.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.socket.in) == 0 {
		if err := w.stall(); err != nil {
			return 0, err
		}
	}
	want := w.left
	if w.have < len(w.header) {
		want = len(w.header) - w.have
	}
	n, err := w.socket.Read(p[:min(len(p), want)])
	w.advance(p[:n])
	if err == nil && w.have == 0 && w.limited {
		w.limited = false
		err = w.conn.limitRecord(false)
	}
	return n, err
}

// stall is for when there is nothing to read: within a record of an open connection, which
// must not take its time.
func (w *wire) stall() error {
	switch {
	case w.handshaking:
		return nil
	case w.have == 0:
		return errNoRecord
	case w.conn != nil && !w.limited:
		w.limited = true
		if err := w.conn.limitRecord(true); err != nil {
			return err
		}
	}
	if w.impatient {
		return errNoRecord
	}
	return nil
}

// advance keeps count of where in a record the reader is.
func (w *wire) advance(b []byte) {
	if w.have < len(w.header) {
		w.have += copy(w.header[w.have:], b)
		if w.have < len(w.header) {
			return
		}
		w.left = int(binary.BigEndian.Uint16(w.header[3:]))
	} else {
		w.left -= len(b)
	}
	if w.left == 0 {
		w.have = 0
	}
}

// SetDeadline and SetWriteDeadline: writing never waits, so there is nothing to bound; the
// tls.Conn would forbid, after its goodbye, what still waits in the socket's queue.

// SetDeadline is SetReadDeadline.
func (w *wire) SetDeadline(t time.Time) error { return w.socket.SetReadDeadline(t) }

// SetWriteDeadline does nothing.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
