package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/sipway/sipway/sip"
)

var crlf = []byte("\r\n")

// readMessages reads messages that are framed by their Content-Length (RFC 3261 §18.3).
func (c *connection) readMessages() error {
	for {
		if c.mayRest() && !c.framer.Partial() {
			return errRest
		}
		if err := c.await(); err != nil {
			return err
		}
		n, err := c.stream.Read(c.framer.Space())
		c.framer.Filled(n)
		if err != nil {
			return c.readError(err)
		}
		if err := c.takeFrames(); err != nil {
			return err
		}
	}
}

// messagesReady reads what there is of messages, without waiting. It reports whether there
// may be more.
func (c *connection) messagesReady() (more bool, err error) {
	if c.stream == stream(c.sock) { // into the framer at once
		space := c.framer.Space()
		n, err := c.sock.tryRead(space)
		c.framer.Filled(n)
		if err != nil {
			if !c.framer.Partial() {
				c.framer.Release()
			}
			return false, err
		}
		return n == len(space), c.takeFrames()
	}
	for again := true; again && err == nil; again = len(c.sock.in) > 0 { // more records
		var left bool
		left, err = c.stream.fill()
		more = more || left
		for err == nil && len(c.stream.buffered()) > 0 {
			n := copy(c.framer.Space(), c.stream.buffered())
			c.framer.Filled(n)
			c.stream.discard(n)
			err = c.takeFrames()
		}
	}
	return more, err
}

// takeFrames handles what the framer has. A message that came whole costs no deadline.
func (c *connection) takeFrames() error {
	complete := false
	for {
		b, frame, err := c.framer.Next()
		if err != nil {
			// The handler may answer; but nobody knows where the next message begins.
			c.layer.refuse(c.flow, b, err, c.tally)
			return err
		}
		switch frame {
		case sip.NoFrame:
			if partial := c.framer.Partial(); partial && (complete || !c.limited) || !partial && c.limited {
				return c.limit(partial)
			}
			return nil
		case sip.PingFrame: // RFC 5626 §5.4
			c.tally.keepalives.Add(1)
			if _, err := c.stream.Write(crlf); err != nil {
				return err
			}
		case sip.MessageFrame:
			complete = true
			c.receive(b)
		}
		if err := c.ending(); err != nil {
			return err
		}
	}
}

// listenStream listens for connections.
func (l *Layer) listenStream(t sip.Transport, addr string, b Binding) (netip.AddrPort, error) {
	ln := &streamListener{layer: l, transport: t, Binding: b}
	if t.Secure() {
		var err error
		if ln.tls, err = l.serverTLS(t); err != nil {
			return netip.AddrPort{}, err
		}
	}
	lc := net.ListenConfig{Control: streamOptions, KeepAliveConfig: keepAlive}
	var err error
	if ln.Listener, err = lc.Listen(l.ctx, network("tcp", addr), addr); err != nil {
		return netip.AddrPort{}, err
	}
	at := addrPort(ln.Addr())
	return at, ln.serve(at)
}

// serve begins to accept.
func (ln *streamListener) serve(at netip.AddrPort) error {
	if ln.transport.WebSocket() {
		return ln.serveWS(at)
	}
	if err := ln.layer.listening(ln.transport, at, ln.Listener); err != nil {
		return err
	}
	ln.layer.start(func() {
		ln.acceptAll(func(sock *socket, st stream) { ln.layer.newConnection(ln.transport, sock, st).start() })
	})
	return nil
}

// streamListener accepts connections whose bottom is a [socket].
type streamListener struct {
	net.Listener
	Binding
	layer     *Layer
	transport sip.Transport
	tls       *tls.Config // nil for none
}

// acceptAll calls then with every connection, once it is ready to be read, until the
// listener is closed.
func (ln *streamListener) acceptAll(then func(*socket, stream)) {
	for {
		sock, err := ln.accept()
		if err != nil {
			return
		}
		if ln.tls == nil && !ln.Proxied {
			then(sock, sock)
			continue
		}
		ln.layer.prepare(ln, sock, then)
	}
}

// keepAlive lets the kernel find a dead peer within a minute.
var keepAlive = net.KeepAliveConfig{
	Enable:   true,
	Idle:     30 * time.Second,
	Interval: 10 * time.Second,
	Count:    3,
}

// accept returns the next connection. An error means that the listener is closed: a lack of
// descriptors passes, and until then there is nothing to do but wait.
func (ln *streamListener) accept() (*socket, error) {
	var pause time.Duration
	for {
		c, err := ln.Listener.Accept()
		switch {
		case err == nil:
			sock, err := ln.layer.adopt(c, true)
			if err == nil {
				return sock, nil
			}
			ln.layer.flows.shard(0).tally[ln.transport].refused.Add(1)
			c.Close()
			if errors.Is(err, ErrShutdown) {
				return nil, err
			}
			pause = 0
		case errors.Is(err, net.ErrClosed):
			return nil, err
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			ln.layer.cfg.Logger.Warn("accept failed", "listener", ln.Addr().String(), "err", err, "pause", pause)
			time.Sleep(pause)
		}
	}
}

// network makes an IPv4 address mean IPv4 alone: 0.0.0.0 would be all of IPv6 as well.
func network(name, addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return name
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		return name + "4"
	}
	return name
}
