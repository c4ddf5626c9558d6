package transport

import (
	"context"
	"io"
	"net"
	"net/netip"
)

// Shutdown stops listening and dialling, closes every connection when what waits for it is
// written, WebSocket ones with code 1012 (service restart), and returns when all have gone
// and the handler has returned. When ctx is over before that, Shutdown closes the rest at
// once and returns the context's error without waiting for the handler.
func (l *Layer) Shutdown(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	acceptors := l.acceptors
	l.acceptors = nil
	l.mu.Unlock()

	l.cancel()
	for _, a := range acceptors {
		a.Close()
	}
	for _, c := range l.flows.all() {
		c.shut(ErrShutdown)
	}
	l.pollers.once.Do(func() {}) // none from now on
	closePollers(l.pollers.all)
	gone := make(chan struct{})
	go func() {
		l.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		for _, s := range l.openSockets() {
			s.abort(ErrShutdown)
		}
		return context.Cause(ctx)
	}
}

// StopAccepting closes the listeners for connections. Open connections, UDP and Dial go on.
func (l *Layer) StopAccepting() {
	l.mu.Lock()
	var stop, stay []io.Closer
	for _, a := range l.acceptors {
		if _, datagrams := a.(*udpListener); datagrams {
			stay = append(stay, a)
		} else {
			stop = append(stop, a)
		}
	}
	l.acceptors = stay
	l.mu.Unlock()
	for _, a := range stop {
		a.Close()
	}
}

// Close is Shutdown that waits for nobody.
func (l *Layer) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Shutdown(ctx); err != context.Canceled {
		return err
	}
	return nil
}

// start lets f run as one of the goroutines that Shutdown waits for, unless the layer is
// closed.
func (l *Layer) start(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running.Go(f)
	return true
}

// adopt makes a new connection one of the layer's, unless that is closed or has as many as
// it may have.
func (l *Layer) adopt(c net.Conn, accepted bool) (*socket, error) {
	var s *socket
	s = newSocket(c, &l.cfg, func() { l.drop(s) })
	remote := addrPort(c.RemoteAddr()).Addr()
	if accepted && l.cfg.AdmitFrom != nil && !l.believes(remote) && !l.cfg.AdmitFrom(remote) {
		return nil, ErrFlood
	}
	l.mu.Lock()
	evicted, err := l.take(s, remote, accepted)
	l.mu.Unlock()
	if evicted != nil {
		evicted.abort(ErrTooMany)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// take is adopt with Layer.mu held. It may name another connection that makes room.
func (l *Layer) take(s *socket, remote netip.Addr, accepted bool) (evicted *socket, err error) {
	switch {
	case l.closed:
		return nil, ErrShutdown
	case l.cfg.MaxConnections > 0 && len(l.sockets) >= l.cfg.MaxConnections:
		return nil, ErrTooMany
	}
	if accepted {
		ok := false
		if ok, evicted = l.enter(s, remote); !ok {
			return nil, ErrTooMany
		}
	}
	l.running.Add(1)
	l.sockets[s] = struct{}{}
	return evicted, nil
}

func (l *Layer) drop(s *socket) {
	l.mu.Lock()
	delete(l.sockets, s)
	l.census.gone(s)
	l.mu.Unlock()
	l.running.Done()
}

func (l *Layer) openSockets() []*socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*socket, 0, len(l.sockets))
	for s := range l.sockets {
		all = append(all, s)
	}
	return all
}
