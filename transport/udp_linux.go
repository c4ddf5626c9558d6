package transport

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sipway/sipway/sip"
)

// controlSize holds one IPv6 packet information and what may come beside it.
const controlSize = 128

// listenShared opens one more socket for an address that is shared already.
func listenShared(proto, addr string) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return shareAddress(c) }}
	conn, err := lc.ListenPacket(context.Background(), proto, addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// shareAddress lets other sockets of this user have the same address.
func shareAddress(c syscall.RawConn) error {
	return setOption(c, unix.SOL_SOCKET, unix.SO_REUSEPORT)
}

// tellArrival asks for the local address of every datagram.
func tellArrival(c syscall.RawConn, six bool) error {
	if six {
		return setOption(c, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO)
	}
	return setOption(c, unix.IPPROTO_IP, unix.IP_PKTINFO)
}

func setOption(c syscall.RawConn, level, option int) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); e != nil {
		return e
	}
	return err
}

// arrival finds the local address in the control data of a datagram.
func arrival(control []byte) (netip.Addr, bool) {
	for len(control) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: interface, local address, address of the header. The
			// second is the one to answer from, also for a broadcast.
			return netip.AddrFrom4([4]byte(data[4:8])), true
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(data[:16])), true
		}
		control = rest
	}
	return netip.Addr{}, false
}

// receiver reads the datagrams of a socket.
type receiver struct {
	message
	s   *udpSocket
	buf []byte
	n   int
	err error

	ready, now func(fd uintptr) bool // waits, does not wait
}

func newReceiver(s *udpSocket, buf []byte) *receiver {
	r := &receiver{s: s, buf: buf}
	r.setBuffer(buf)
	r.ready = r.read
	r.now = func(fd uintptr) bool {
		r.read(fd)
		return true
	}
	return r
}

// receive waits for a datagram.
func (r *receiver) receive() (incoming, error) {
	if err := r.s.raw.Read(r.ready); err != nil {
		return incoming{}, err
	}
	if r.err != nil {
		return incoming{}, r.err
	}
	return r.taken(), nil
}

// more returns a datagram that is there already.
func (r *receiver) more() (incoming, bool) {
	if err := r.s.raw.Read(r.now); err != nil || r.err != nil {
		return incoming{}, false
	}
	return r.taken(), true
}

// failed reports whether the last attempt met an error, which does not mean that nothing is
// there.
func (r *receiver) failed() bool { return r.err != nil && !wouldBlock(r.err) }

func (r *receiver) taken() incoming {
	in := incoming{b: r.buf[:r.n], from: r.from()}
	if r.s.any {
		in.at, _ = arrival(r.control[:r.header.Controllen])
	}
	return in
}

func (r *receiver) read(fd uintptr) bool {
	r.header.Namelen = unix.SizeofSockaddrInet6
	if r.s.any {
		r.setControl(controlSize)
	}
	r.n, r.err = r.message.receive(fd)
	return !wouldBlock(r.err)
}

// datagram is one sending, pooled so that it costs no allocation.
type datagram struct {
	message
	err   error
	ready func(fd uintptr) bool
}

var datagrams = sync.Pool{New: func() any {
	d := new(datagram)
	d.ready = d.write
	return d
}}

func (d *datagram) write(fd uintptr) bool {
	d.err = d.message.send(fd)
	return true // never wait
}

// send sends b without waiting.
func (s *udpSocket) send(f sip.Flow, b []byte) error {
	if f.Remote.Addr().Zone() != "" {
		_, err := s.conn.WriteToUDPAddrPort(b, f.Remote) // knows the interfaces
		return err
	}
	d := datagrams.Get().(*datagram)
	defer datagrams.Put(d)
	d.set(s, f, b)
	err := s.raw.Write(d.ready)
	if err == nil {
		err = d.err
	}
	d.setBuffer(nil)
	if wouldBlock(err) || err == unix.ENOBUFS {
		return ErrDropped
	}
	return err
}

// set makes it a datagram to a flow's other end.
func (m *message) set(s *udpSocket, f sip.Flow, b []byte) {
	m.setBuffer(b)
	m.setAddress(f.Remote, s.six)
	m.setControl(0)
	if s.any && !f.Local.Addr().IsUnspecified() {
		m.setControl(copy(m.control[:], s.source(f.Local.Addr())))
	}
}

// sending is several datagrams, pooled for their memory.
type sending struct {
	headers  [maxBatch]mmsghdr
	messages [maxBatch]message
	from, to int // those not yet sent
	ready    func(fd uintptr) bool
	failed   int
}

// mmsghdr is the kernel's struct of that name.
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

var sendings = sync.Pool{New: func() any {
	d := new(sending)
	d.ready = d.write
	return d
}}

// sendAll sends datagrams in one system call, as far as the kernel takes them. One that it
// doesn't take is lost, as UDP may lose it anywhere.
func (s *udpSocket) sendAll(all []outgoing) {
	if len(all) == 0 {
		return
	}
	d := sendings.Get().(*sending)
	defer sendings.Put(d)
	d.from, d.to, d.failed = 0, 0, 0
	bytes := 0
	for _, o := range all {
		if o.flow.Remote.Addr().Zone() != "" {
			s.tally.sent(len(o.b), s.send(o.flow, o.b))
			continue
		}
		m := &d.messages[d.to]
		m.set(s, o.flow, o.b)
		d.headers[d.to].header = m.header
		d.to++
		bytes += len(o.b)
	}
	sent := d.to
	if s.raw.Write(d.ready) != nil {
		d.failed = sent
	}
	s.tally.sentAll(sent-d.failed, d.failed, bytes)
	for i := range sent {
		d.messages[i].setBuffer(nil)
		d.headers[i].header = unix.Msghdr{}
	}
}

// write sends what is left. When the kernel refuses one it is passed over.
func (d *sending) write(fd uintptr) bool {
	for d.from < d.to {
		n, err := rawSendAll(fd, d.headers[d.from:d.to])
		if err != nil {
			d.failed++
			n = 1
		}
		d.from += n
	}
	return true
}

// source is the control data that makes a datagram leave from an address.
func (s *udpSocket) source(a netip.Addr) []byte {
	if s.six {
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: a.As16()})
	}
	return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: a.As4()})
}
