package transport

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// chunkSize is what is read from a socket at once: a browser's INVITE fits, and the pool
// holds only as many chunks as there are connections being read at the same moment.
const chunkSize = 8 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// lingerTime is how long a connection that we close goes on reading, and discarding, what
// its peer still sends. Closing with unread bytes would reset the connection, and the peer
// could lose the answer that says why.
const lingerTime = time.Second

// socket is the bottom of every stream connection. Its Write never blocks, and its Read
// holds no buffer while there is nothing to read. It is a net.Conn, so that TLS and
// WebSocket can stand on it.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil: no descriptor to try without blocking, as in a net.Pipe
	cfg     *Config
	release func()      // called once, when the connection is closed
	closed  func()      // called before that, once there is a connection
	gone    atomic.Bool // it is closed
	client  net.Addr    // of whom a front end passes on, nil where there is none between us

	standing standing // guarded by Layer.mu

	heard   atomic.Bool  // since it was last cleared, bytes have come
	heardAt atomic.Int64 // when they last came, or the socket was made, by the layer's clock

	// Of who reads.
	chunk     *[chunkSize]byte // holds in, nil when nothing is unread
	in        []byte
	readReady func(fd uintptr) bool
	readErr   error
	into      []byte // where tryRead reads to, nil for none
	got       int    // how much it got

	out outbox
}

func newSocket(c net.Conn, cfg *Config, release func()) *socket {
	s := &socket{Conn: c, cfg: cfg, release: release}
	s.heardAt.Store(cfg.clock.now())
	if sc, ok := c.(syscall.Conn); ok && hasDescriptors {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
			s.readReady = s.readNow
			s.out.writeReady = s.writeNow
		}
	}
	return s
}

// RemoteAddr is the client's address, also behind a front end that told it.
func (s *socket) RemoteAddr() net.Addr {
	if s.client != nil {
		return s.client
	}
	return s.Conn.RemoteAddr()
}

// wait returns when there is something to read, or an error. A goroutine that waits here
// has a shallow stack and no buffer.
func (s *socket) wait() error {
	if len(s.in) > 0 {
		return nil
	}
	if s.raw == nil {
		return s.fillBlocking()
	}
	if err := s.raw.Read(s.readReady); err != nil {
		return err
	}
	return s.readErr
}

// readNow fills a chunk when the descriptor has something. False asks to be called again
// when it has.
func (s *socket) readNow(fd uintptr) bool {
	if s.into != nil {
		s.got, s.readErr = readDescriptor(fd, s.into)
		return true
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	n, err := readDescriptor(fd, chunk[:])
	if wouldBlock(err) {
		chunks.Put(chunk)
		return false
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	s.took(chunk, n, err)
	return true
}

// tryRead reads what there is, without waiting: the error is one of wouldBlock where there is
// nothing. p must not be empty.
func (s *socket) tryRead(p []byte) (int, error) {
	s.into = p
	err := s.raw.Read(s.readReady)
	s.into = nil
	switch {
	case err != nil:
		return 0, err
	case s.readErr != nil:
		return 0, s.readErr
	case s.got == 0:
		return 0, io.EOF
	}
	s.heardAt.Store(s.cfg.clock.now())
	s.heard.Store(true)
	return s.got, nil
}

// fill reads behind what is unread, without waiting, as much as a chunk holds.
func (s *socket) fill() (more bool, err error) {
	switch {
	case s.chunk == nil && len(s.in) > 0:
		return false, errOwned
	case s.chunk == nil:
		s.chunk = chunks.Get().(*[chunkSize]byte)
	}
	n := copy(s.chunk[:], s.in)
	s.in = s.chunk[:n]
	if n == chunkSize {
		return false, errOwned
	}
	k, err := s.tryRead(s.chunk[n:])
	s.in = s.chunk[:n+k]
	if n+k == 0 {
		s.discard(0)
	}
	return n+k == chunkSize, err
}

func (s *socket) fillBlocking() error {
	chunk := chunks.Get().(*[chunkSize]byte)
	n, err := s.Conn.Read(chunk[:])
	s.took(chunk, n, err)
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

func (s *socket) took(chunk *[chunkSize]byte, n int, err error) {
	s.readErr = err
	if n <= 0 {
		chunks.Put(chunk)
		return
	}
	s.heardAt.Store(s.cfg.clock.now())
	s.heard.Store(true)
	s.chunk, s.in = chunk, chunk[:n]
}

// Read takes from what was read ahead, or waits for more.
func (s *socket) Read(p []byte) (int, error) {
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

func (s *socket) bottom() *socket { return s }

// buffered returns what was read ahead.
func (s *socket) buffered() []byte { return s.in }

// discard passes over n bytes of what was read ahead.
func (s *socket) discard(n int) {
	s.in = s.in[n:]
	if len(s.in) == 0 {
		s.in = nil
		if s.chunk != nil {
			chunks.Put(s.chunk)
			s.chunk = nil
		}
	}
}

// unread puts b before what is to be read next. It copies b.
func (s *socket) unread(b []byte) {
	if len(b) == 0 {
		return
	}
	in := append(append(make([]byte, 0, len(b)+len(s.in)), b...), s.in...)
	s.discard(len(s.in))
	s.in = in
}

// linger tells the peer that nothing more comes and discards what it still sends, until it
// closes too or the time is over, and closes. Only who reads may call it.
func (s *socket) linger() {
	defer s.Close()
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok || !s.flushed() || half.CloseWrite() != nil {
		return
	}
	if s.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	for {
		s.discard(len(s.in))
		if s.wait() != nil {
			return
		}
	}
}
