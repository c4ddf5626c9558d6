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
func (r *receiver) receive() (n int, from netip.AddrPort, at netip.Addr, err error) {
	n, from, err = r.s.conn.ReadFromUDPAddrPort(r.buf)
	return n, from, at, err
}

func (s *udpSocket) send(f sip.Flow, b []byte) error {
	_, err := s.conn.WriteToUDPAddrPort(b, f.Remote)
	return err
}
