package transport

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/sipway/sipway/sip"
)

// dialer knows the connections that we opened, by where they lead to. Connections that were
// accepted are not among them: their source port says nothing about who listens there, and
// to take one for the way to that address would let its owner hijack requests (RFC 5923 §9).
// They are reached by naming their flow.
type dialer struct {
	mu    sync.Mutex // taken before Layer.mu
	conns map[sip.Server]*connection
	calls map[sip.Server]*call
}

// call is an attempt to connect that any number of callers wait for.
type call struct {
	done chan struct{} // closed when the rest is valid
	flow sip.Flow
	err  error
}

func (d *dialer) init() {
	d.conns = make(map[sip.Server]*connection)
	d.calls = make(map[sip.Server]*call)
}

func (d *dialer) forget(c *connection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns[c.server] == c {
		delete(d.conns, c.server)
	}
}

// Dial returns a flow to a server: an open connection that was dialled before, or a new one
// (RFC 3261 §18.1.1). Over UDP it returns at once. Callers for the same server share one
// attempt, which goes on when one of them gives up. The local address of a UDP flow is the
// listener's; where that is no single address, the kernel chooses one for each datagram.
//
// Over TLS the server must have a valid certificate for its name, or for its address where
// it has none (RFC 5922 §7.3). So a connection serves those alone who asked for that name.
func (l *Layer) Dial(ctx context.Context, to sip.Server) (sip.Flow, error) {
	to.Addr = netip.AddrPortFrom(to.Addr.Addr().Unmap(), to.Addr.Port())
	switch to.Transport {
	case sip.UDP:
		return l.dialUDP(to.Addr)
	case sip.TCP:
		to.Name = "" // it makes no difference
	case sip.TLS:
		to.Name = strings.ToLower(to.Name)
	default:
		return sip.Flow{}, ErrUnsupported
	}
	flow, pending, err := l.dialed(to)
	if pending == nil {
		return flow, err
	}
	select {
	case <-pending.done:
		return pending.flow, pending.err
	case <-ctx.Done():
		return sip.Flow{}, context.Cause(ctx)
	}
}

// dialed returns the open connection, or the attempt at one.
func (l *Layer) dialed(to sip.Server) (sip.Flow, *call, error) {
	d := &l.calls
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.conns[to]; c != nil {
		return c.flow, nil, nil
	}
	if pending := d.calls[to]; pending != nil {
		return sip.Flow{}, pending, nil
	}
	pending := &call{done: make(chan struct{})}
	if !l.start(func() { l.connect(to, pending) }) {
		return sip.Flow{}, nil, ErrShutdown
	}
	d.calls[to] = pending
	return sip.Flow{}, pending, nil
}

func (l *Layer) connect(to sip.Server, pending *call) {
	c, err := l.dialStream(to)
	d := &l.calls
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		// Before the start: the connection may end at once, and forgets itself then.
		d.conns[to] = c
		pending.flow = c.flow
		if err = c.start(); err != nil {
			delete(d.conns, to)
		}
	}
	pending.err = err
	delete(d.calls, to)
	close(pending.done)
}

// dialStream opens a connection, with TLS on it where the transport has it.
func (l *Layer) dialStream(to sip.Server) (*connection, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.cfg.DialTimeout)
	defer cancel()
	dialer := net.Dialer{Control: streamOptions, KeepAliveConfig: keepAlive}
	conn, err := dialer.DialContext(ctx, "tcp", to.Addr.String())
	if err != nil {
		return nil, err
	}
	sock, err := l.adopt(conn, false)
	if err != nil {
		conn.Close()
		return nil, err
	}
	st := stream(sock)
	if to.Transport == sip.TLS {
		if st, err = l.secure(ctx, sock, to); err != nil {
			sock.abort(err)
			return nil, err
		}
	}
	c := l.newConnection(to.Transport, sock, st)
	c.dialed, c.server = true, to
	return c, nil
}
