package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/sipway/sipway/sip"
)

const (
	// maxDatagram is more than a UDP datagram can hold, so that none is cut off.
	maxDatagram = 64 << 10

	// receiveBuffer is asked for each socket; the kernel gives what net.core.rmem_max
	// allows. While a socket's goroutine computes, datagrams wait there.
	receiveBuffer = 4 << 20
)

// udpListener is one address with as many sockets as there are cores, among which the
// kernel divides the sources: each socket is read by one goroutine, in order, and no lock
// is shared on the way in.
//
// Datagrams are read one by one. Batched reads (recvmmsg) were measured: they save a tenth to
// a quarter of the CPU per datagram when the socket never runs empty and nothing otherwise,
// for what an echo costs is the sending and the waking.
type udpListener struct {
	addr    netip.AddrPort
	sockets []*udpSocket
	batch   udpBatch
}

type udpSocket struct {
	layer    *Layer
	listener *udpListener
	id       uint64  // from 1, in the order of the listeners; below maxSocketID
	poller   *poller // who reads it, nil for a goroutine of its own; its reader's

	conn  *net.UDPConn
	raw   syscall.RawConn
	six   bool // an IPv6 socket, which may carry IPv4 as well
	any   bool // bound to no single address: each datagram says where it arrived
	tally tally

	// Of who reads it.
	in       *receiver
	out      []outgoing // room for a batch
	failures int        // of its poller's, in a row
}

func (l *Layer) datagrams() []*udpListener {
	if all := l.udp.Load(); all != nil {
		return *all
	}
	return nil
}

func (l *Layer) listenUDP(addr string) (netip.AddrPort, error) {
	u, err := openUDP(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if err := l.listening(sip.UDP, u.addr, u); err != nil {
		return netip.AddrPort{}, err
	}
	l.mu.Lock()
	id := uint64(0)
	for _, other := range l.datagrams() {
		id += uint64(len(other.sockets))
	}
	for _, s := range u.sockets {
		id++
		s.id, s.layer, s.listener = id, l, u
	}
	all := append(slices.Clip(l.datagrams()), u)
	l.udp.Store(&all)
	l.mu.Unlock()
	for _, s := range u.sockets {
		if s.poller = l.poller(s.id); s.poller == nil || s.poller.add(s.raw, s.id) != nil {
			l.start(s.read)
		}
	}
	return u.addr, nil
}

// maxSocketID is above the numbers of all UDP sockets, and below those of all connections.
const maxSocketID = 1 << 32

// udpSocket returns the socket with a number.
func (l *Layer) udpSocket(id uint64) *udpSocket {
	for _, u := range l.datagrams() {
		if n := uint64(len(u.sockets)); id > n {
			id -= n
		} else {
			return u.sockets[id-1]
		}
	}
	return nil
}

// openUDP opens the sockets of one address. The first is bound alone and shares the address
// only afterwards, so that another process that has it is an error here and not a silent
// partner, for the kernel would divide the datagrams between the two.
func openUDP(addr string) (*udpListener, error) {
	proto := network("udp", addr)
	first, err := net.ListenPacket(proto, addr)
	if err != nil {
		return nil, err
	}
	s, err := newUDPSocket(first.(*net.UDPConn))
	if err != nil {
		return nil, errors.Join(err, first.Close())
	}
	u := &udpListener{addr: addrPort(first.LocalAddr()), sockets: []*udpSocket{s}}
	if shareAddress(s.raw) != nil {
		return u, nil // one socket does as well
	}
	for range runtime.GOMAXPROCS(0) - 1 {
		next, err := listenShared(proto, first.LocalAddr().String())
		if err == nil {
			s, err = newUDPSocket(next)
		}
		if err != nil {
			return nil, errors.Join(err, u.Close())
		}
		u.sockets = append(u.sockets, s)
	}
	return u, nil
}

func newUDPSocket(conn *net.UDPConn) (*udpSocket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	s := &udpSocket{conn: conn, raw: raw, six: local.Is6(), any: local.Unmap().IsUnspecified()}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		return nil, err
	}
	s.in, s.out = newReceiver(s, make([]byte, maxDatagram)), make([]outgoing, 0, maxBatch)
	if s.any {
		err = tellArrival(raw, s.six)
	}
	return s, err
}

// Close closes all sockets.
func (u *udpListener) Close() error {
	var all closers
	for _, s := range u.sockets {
		all = append(all, io.Closer(s.conn))
	}
	return all.Close()
}

// read reads until the socket is closed. What ICMP reports about earlier datagrams is no
// reason to stop.
func (s *udpSocket) read() {
	var pause time.Duration
	for {
		in, err := s.in.receive()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause = min(2*pause+time.Microsecond, time.Second)
			time.Sleep(pause)
			continue
		}
		pause = 0
		s.handle(in)
	}
}

// turn reads what has come, without waiting, on the goroutine of its poller. It reports
// whether there may be more.
func (s *udpSocket) turn() (more bool) {
	in, ok := s.in.more()
	if ok {
		s.failures = 0
		more = s.handle(in)
	}
	// An error tells nothing about the datagrams behind it, for which no event comes.
	if s.in.failed() {
		s.failures++
		more = s.failures < maxFailures
	}
	if p := s.layer.poller(s.id); p != s.poller {
		s.poller.remove(s.raw)
		s.poller = p
		if p.add(s.raw, s.id) != nil {
			s.layer.start(s.read) // which ends at once where the socket is closed
		}
		return false
	}
	return more
}

// maxFailures is after how many errors in a row a poller waits for the next event.
const maxFailures = 16

// handle handles a datagram and those that have come with it, and sends what is to be sent
// for them. It reports whether there may be more.
func (s *udpSocket) handle(in incoming) (more bool) {
	u := s.listener
	u.batch.begin()
	for n, ok := 1, true; ok; n++ {
		f := sip.Flow{Transport: sip.UDP, Local: u.addr, Remote: in.from}
		if in.at.IsValid() {
			f.Local = netip.AddrPortFrom(in.at.Unmap(), u.addr.Port())
		}
		s.layer.receiveDatagram(f, in.b, &s.tally)
		if n == maxBatch {
			more = true
			break
		}
		in, ok = s.in.more()
	}
	u.batch.sending.Lock()
	out := u.batch.end(s.out)
	for batch := range slices.Chunk(out, maxBatch) {
		s.sendAll(batch)
	}
	u.batch.sending.Unlock()
	clear(out)
	s.out = out
	return more
}

// incoming is a datagram that was read. Its bytes are the receiver's.
type incoming struct {
	b    []byte
	from netip.AddrPort
	at   netip.Addr // where it arrived, if the socket has many addresses
}

// receiveDatagram hands on a datagram. It doesn't keep b.
func (l *Layer) receiveDatagram(f sip.Flow, b []byte, t *tally) {
	if isFilling(b) {
		t.keepalives.Add(1)
		return
	}
	if l.cfg.Admit != nil && !l.cfg.Admit(f, b) {
		return
	}
	if isSTUN(b) {
		t.keepalives.Add(1)
		if answer := stunAnswer(b, f.Remote); answer != nil {
			_ = l.sendUDP(f, answer) // when it is lost the client asks again
		}
		return
	}
	exact := make([]byte, len(b))
	copy(exact, b)
	if len(b) <= l.cfg.MaxMessage {
		l.receive(f, exact, t, nil)
		return
	}
	l.refuse(f, exact, &sip.Error{Status: 513, Offset: -1, Reason: "message too large"}, t)
}

// udpFor returns the listener that has the flow's local address: as its own, or as one of
// all that it listens on.
func (l *Layer) udpFor(f sip.Flow) *udpListener {
	for _, u := range l.datagrams() {
		if u.addr == f.Local {
			return u
		}
	}
	for _, u := range l.datagrams() {
		if u.sockets[0].any && u.addr.Port() == f.Local.Port() && u.carries(f.Local.Addr()) {
			return u
		}
	}
	return nil
}

// carries reports whether the listener's sockets speak the address's version of IP.
func (u *udpListener) carries(a netip.Addr) bool {
	return a.Is4() && (!u.sockets[0].six || u.sockets[0].any) || a.Is6() && u.sockets[0].six
}

// sendUDP sends from the local address of the flow, which for a response is where the
// request arrived (RFC 3581 §4). While datagrams are being handled it is put with others.
func (l *Layer) sendUDP(f sip.Flow, b []byte) error {
	u := l.udpFor(f)
	if u == nil {
		return ErrFlowClosed
	}
	if !u.carries(f.Remote.Addr()) {
		return fmt.Errorf("%w: from %v to %v", ErrUnsupported, f.Local, f.Remote)
	}
	if len(b) <= maxPayload && u.batch.add(outgoing{f, b}) {
		return nil
	}
	s := u.sockets[0]
	if n := len(u.sockets); n > 1 { // spread over the sockets' locks
		a := f.Remote.Addr().As16()
		s = u.sockets[(int(a[14])+int(a[15])+int(f.Remote.Port()))%n]
	}
	u.batch.sending.Lock()
	err := s.send(f, b)
	u.batch.sending.Unlock()
	s.tally.sent(len(b), err)
	if errors.Is(err, net.ErrClosed) {
		err = fmt.Errorf("%w: %w", ErrFlowClosed, err)
	}
	return err
}

// dialUDP returns a flow from the first listener that speaks the remote's version of IP.
func (l *Layer) dialUDP(remote netip.AddrPort) (sip.Flow, error) {
	for _, u := range l.datagrams() {
		if u.carries(remote.Addr()) {
			return sip.Flow{Transport: sip.UDP, Local: u.addr, Remote: remote}, nil
		}
	}
	return sip.Flow{}, fmt.Errorf("%w: no UDP listener for %v", ErrUnsupported, remote)
}
