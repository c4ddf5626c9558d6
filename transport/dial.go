package transport

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/sipway/sipway/sip"
)

// dialer knows the connections that we opened, by where they lead to. Connections that were
// accepted are not among them: their source port says nothing about who listens there, and
// to take one for the way to that address would let its owner hijack requests (RFC 5923 §9).
// They are reached by naming their flow.
type dialer struct {
	mu    sync.Mutex // taken before Layer.mu
	conns map[target]*connection
	calls map[target]*call
}

type target struct {
	transport sip.Transport
	remote    netip.AddrPort
}

// call is an attempt to connect that any number of callers wait for.
type call struct {
	done chan struct{} // closed when the rest is valid
	flow sip.Flow
	err  error
}

func (d *dialer) init() {
	d.conns = make(map[target]*connection)
	d.calls = make(map[target]*call)
}

func (d *dialer) forget(c *connection) {
	key := target{c.flow.Transport, c.flow.Remote}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns[key] == c {
		delete(d.conns, key)
	}
}

// Dial returns a flow to the remote address: an open connection that was dialled before, or
// a new one (RFC 3261 §18.1.1). Over UDP it returns at once. Callers for the same address
// share one attempt, which goes on when one of them gives up. The local address of a UDP flow
// is the listener's; where that is no single address, the kernel chooses one for each
// datagram.
func (l *Layer) Dial(ctx context.Context, t sip.Transport, remote netip.AddrPort) (sip.Flow, error) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	switch t {
	case sip.UDP:
		return l.dialUDP(remote)
	case sip.TCP:
	default:
		return sip.Flow{}, ErrUnsupported
	}
	flow, pending, err := l.dialed(target{t, remote})
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
func (l *Layer) dialed(to target) (sip.Flow, *call, error) {
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

func (l *Layer) connect(to target, pending *call) {
	c, err := l.dialTCP(to)
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

func (l *Layer) dialTCP(to target) (*connection, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.cfg.DialTimeout)
	defer cancel()
	dialer := net.Dialer{Control: streamOptions, KeepAliveConfig: keepAlive}
	conn, err := dialer.DialContext(ctx, "tcp", to.remote.String())
	if err != nil {
		return nil, err
	}
	sock, err := l.adopt(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := l.newConnection(to.transport, sock, sock)
	c.dialed = true
	return c, nil
}
