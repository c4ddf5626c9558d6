//go:build !linux

package transport

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/sipway/sipway/sip"
)

func listenShared(string, string) (*net.UDPConn, error) { return nil, errors.ErrUnsupported }

// shareAddress fails: an address has one socket.
func shareAddress(syscall.RawConn) error { return errors.ErrUnsupported }

func tellArrival(syscall.RawConn, bool) error { return nil }

// receiver reads the datagrams of a socket.
type receiver struct {
	s   *udpSocket
	buf []byte
}

func newReceiver(s *udpSocket, buf []byte) *receiver { return &receiver{s, buf} }

// receive waits for a datagram. Where it arrived is not known.
func (r *receiver) receive() (incoming, error) {
	n, from, err := r.s.conn.ReadFromUDPAddrPort(r.buf)
	return incoming{b: r.buf[:n], from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}, err
}

// more returns nothing: datagrams are handled one by one.
func (r *receiver) more() (incoming, bool) { return incoming{}, false }

func (r *receiver) failed() bool { return false }

// sendAll sends datagrams. One that the system doesn't take is lost.
func (s *udpSocket) sendAll(all []outgoing) {
	for _, o := range all {
		s.tally.sent(len(o.b), s.send(o.flow, o.b))
	}
}

func (s *udpSocket) send(f sip.Flow, b []byte) error {
	_, err := s.conn.WriteToUDPAddrPort(b, f.Remote)
	return err
}
