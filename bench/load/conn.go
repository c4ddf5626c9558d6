//go:build linux

package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// headroom is what every outgoing message leaves free before its first byte,
// so that a WebSocket frame header fits there (RFC 6455 §5.2: at most 14).
const headroom = 14

// connectTimeout bounds connecting and the WebSocket handshake.
const connectTimeout = 5 * time.Second

// shownBytes is how much of what can't be read is shown.
const shownBytes = 32

// maxPending bounds what a stream may hold of an incomplete message.
const maxPending = 64 << 10

var (
	errClosed  = errors.New("the server closed the connection")
	errBlocked = errors.New("the server does not read: send buffer full")
	errFraming = errors.New("unframed bytes from the server")
)

// conn is a connected socket. A UDP conn serves all agents of a side, as one
// SIPp would; a stream serves one agent.
type conn struct {
	fd        int
	transport Transport
	local     netip.AddrPort
	pending   []byte // begin of an incomplete message
	mask      uint32 // of the last WebSocket frame
}

// open connects a socket to the target, from an address of its own where
// source is one, and adds it to the epoll set.
func (l *Load) open(tr Transport, source netip.Addr) (*conn, error) {
	kind := unix.SOCK_STREAM
	if tr == UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	c := &conn{fd: fd, transport: tr, mask: uint32(fd) * 2654435761}
	if err := c.connect(l.target.address(tr), source); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s connection: %w", tr, err)
	}
	if err := unix.EpollCtl(l.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l.conns[fd] = c
	return c, nil
}

func (c *conn) connect(server netip.AddrPort, source netip.Addr) error {
	limit := unix.NsecToTimeval(connectTimeout.Nanoseconds())
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return err
		}
	}
	if source.IsValid() {
		if err := unix.Bind(c.fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
			return err
		}
	}
	to := &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()}
	err := unix.Connect(c.fd, to)
	for err == unix.EINTR || err == unix.EALREADY {
		// Interrupted by a signal of Go's runtime, it goes on; asking again waits.
		err = unix.Connect(c.fd, to)
	}
	if err != nil && err != unix.EISCONN {
		return err
	}
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		return err
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return errors.New("no IPv4 socket")
	}
	c.local = netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port))
	switch c.transport {
	case UDP:
		// All callees share this socket: a burst must fit. The kernel caps it
		// at net.core.rmem_max.
		err = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	default:
		err = unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil && c.transport == WS {
		err = c.handshake(server)
	}
	if err != nil {
		return err
	}
	return unix.SetNonblock(c.fd, true)
}

// send writes the message that begins at b[headroom]. A WebSocket masks it in
// place, so that b is of no use afterwards.
func (c *conn) send(b []byte) error {
	if c.transport == WS {
		b = c.frame(b, opText)
	} else {
		b = b[headroom:]
	}
	return c.write(b)
}

func (c *conn) write(b []byte) error {
	for {
		n, err := rawWrite(c.fd, b)
		switch {
		case err == errInterrupted:
			continue
		case err == errAgain:
			return errBlocked
		case err != nil:
			return err
		case n != len(b):
			return errBlocked
		}
		return nil
	}
}

// datagramsPerTurn bounds how long one busy UDP socket keeps the loop.
const datagramsPerTurn = 32

// receive reads what the socket has and hands each complete message to
// deliver, which must not keep it.
func (c *conn) receive(buf []byte, deliver func(*conn, []byte)) error {
	turns := 1
	if c.transport == UDP {
		turns = datagramsPerTurn
	}
	for range turns {
		n, err := rawRead(c.fd, buf)
		switch {
		case err == errAgain || err == errInterrupted:
			return nil
		case err != nil:
			return err
		case n == 0 && c.transport != UDP:
			return errClosed
		case c.transport == UDP:
			deliver(c, buf[:n])
		default:
			if err := c.stream(buf[:n], deliver); err != nil {
				return err
			}
		}
	}
	return nil
}

// stream cuts b, behind what was pending, into messages.
func (c *conn) stream(b []byte, deliver func(*conn, []byte)) error {
	if len(c.pending) > 0 {
		c.pending = append(c.pending, b...)
		b = c.pending
	}
	for len(b) > 0 {
		var n int
		var err error
		if c.transport == WS {
			n, err = c.nextFrame(b, deliver)
		} else {
			n, err = c.nextMessage(b, deliver)
		}
		if err == errFraming {
			return fmt.Errorf("%w: %q", err, b[:min(len(b), shownBytes)])
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		b = b[n:]
	}
	if len(b) > maxPending {
		return errFraming
	}
	c.pending = append(c.pending[:0], b...)
	return nil
}
