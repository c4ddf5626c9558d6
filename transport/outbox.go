package transport

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// progressSize is how many bytes a slow peer must take within the write timeout.
const progressSize = 16 << 10

// outbox is the sending half of a socket. In the usual case it is empty: the kernel takes
// everything at once. What it doesn't take waits here, and a goroutine that exists only
// while there is something to wait for brings it out.
type outbox struct {
	writeReady func(fd uintptr) bool

	mu       sync.Mutex // guards what follows; held over system calls that don't wait
	writing  []byte     // argument and results of writeReady
	wrote    int
	writeErr error

	pending  []byte // not yet taken up by drain
	inFlight int    // bytes that drain is writing
	draining bool   // drain runs
	closing  bool   // Close was called: nothing more may be written
	closed   bool   // the connection is closed
	err      error  // why nothing can be written any more
}

// Write writes what can be written without waiting and keeps a copy of the rest. It fails,
// and the connection with it, when the connection is broken or too much waits already. All
// of p or nothing is accepted, so concurrent writers never mix their frames.
func (s *socket) Write(p []byte) (int, error) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	rest := p
	if !o.draining && s.raw != nil {
		n, err := s.tryWrite(p)
		if err != nil {
			return 0, s.fail(err)
		}
		rest = p[n:]
	}
	if len(rest) == 0 {
		return len(p), nil
	}
	if len(o.pending)+o.inFlight+len(rest) > s.cfg.OutQueue {
		return 0, s.fail(ErrQueueFull)
	}
	o.pending = append(o.pending, rest...)
	if !o.draining {
		o.draining = true
		go s.drain()
	}
	return len(p), nil
}

// tryWrite returns how much of p the kernel took at once.
func (s *socket) tryWrite(p []byte) (int, error) {
	o := &s.out
	o.writing = p
	err := s.raw.Write(o.writeReady)
	o.writing = nil
	if err != nil {
		return 0, err
	}
	return o.wrote, o.writeErr
}

// writeNow is called with the mutex held. It returns true always: what doesn't go at once
// is not waited for here.
func (s *socket) writeNow(fd uintptr) bool {
	o := &s.out
	o.wrote, o.writeErr = writeDescriptor(fd, o.writing)
	if wouldBlock(o.writeErr) {
		o.wrote, o.writeErr = 0, nil
	}
	return true
}

// drain writes what is pending until nothing is.
func (s *socket) drain() {
	for {
		b, more := s.takePending()
		if !more {
			return
		}
		for len(b) > 0 {
			n, err := s.writeSome(b)
			if err != nil {
				s.abort(err)
				return
			}
			b = b[n:]
		}
	}
}

func (s *socket) takePending() (b []byte, more bool) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	b, o.pending, o.inFlight = o.pending, nil, len(o.pending)
	if len(b) > 0 && !o.closed {
		return b, true
	}
	o.draining = false
	// The deadline would be one for the direct writes too.
	if !o.closed && s.Conn.SetWriteDeadline(time.Time{}) != nil || o.closing {
		s.closeLocked()
	}
	return nil, false
}

func (s *socket) writeSome(b []byte) (int, error) {
	if err := s.Conn.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout)); err != nil {
		return 0, err
	}
	n, err := s.Conn.Write(b[:min(len(b), progressSize)])
	s.out.mu.Lock()
	s.out.inFlight -= n
	s.out.mu.Unlock()
	if isTimeout(err) {
		err = fmt.Errorf("%w: %w", ErrQueueFull, err)
	}
	return n, err
}

// flushed reports whether nothing waits to be written.
func (s *socket) flushed() bool {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return !s.out.draining
}

// broken returns why nothing can be written, nil while something can.
func (s *socket) broken() error {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.err
}

// Close refuses further writes and closes the connection when what waits has been written.
func (s *socket) Close() error {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || o.closed {
		return net.ErrClosed
	}
	o.closing = true
	if o.err == nil {
		o.err = net.ErrClosed
	}
	if o.draining {
		return nil
	}
	return s.closeLocked()
}

// abort closes the connection at once; what waits is lost.
func (s *socket) abort(err error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.fail(err)
}

// fail is abort with the mutex held. It returns the error.
func (s *socket) fail(err error) error {
	if s.out.err == nil {
		s.out.err = err
	}
	if !s.out.closed {
		// The kernel need not keep what the peer didn't take.
		if c, ok := s.Conn.(interface{ SetLinger(sec int) error }); ok {
			c.SetLinger(0)
		}
		s.closeLocked()
	}
	return err
}

func (s *socket) closeLocked() error {
	if s.out.closed {
		return nil
	}
	s.out.closed = true
	s.out.pending = nil
	s.gone.Store(true)
	if s.closed != nil {
		s.closed()
	}
	err := s.Conn.Close()
	if s.release != nil {
		s.release()
	}
	return err
}
