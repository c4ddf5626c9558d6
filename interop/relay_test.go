package interop

import (
	"net"
	"sync"
	"testing"
)

// A relay stands between a phone and the server, as a network does. When it is frozen
// nothing passes any more, and neither side learns of it: so a laptop goes whose lid is
// closed.
type relay struct {
	addr   string
	frozen chan struct{} // closed by freeze
	over   chan struct{} // closed at the end of the test

	mu    sync.Mutex
	conns []net.Conn
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String(), frozen: make(chan struct{}), over: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, c, server)
			r.mu.Unlock()
			running.Go(func() { r.pass(c, server) })
			running.Go(func() { r.pass(server, c) })
		}
	})
	t.Cleanup(func() {
		close(r.over)
		l.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		running.Wait()
	})
	return r
}

// pass copies until one side closes, which it passes on, or it is frozen.
func (r *relay) pass(from, to net.Conn) {
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		select {
		case <-r.frozen:
			<-r.over
			return
		default:
		}
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			from.Close()
			return
		}
	}
}

func (r *relay) freeze() { close(r.frozen) }

// cut ends the connections that there are. New ones are taken.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}
