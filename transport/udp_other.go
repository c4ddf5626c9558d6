//go:build !linux

package transport

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/sipway/sipway/sip"
)

// controlSize is 0: no control data are read.
const controlSize = 0

func listenShared(string, string) (*net.UDPConn, error) { return nil, errors.ErrUnsupported }

// shareAddress fails: an address has one socket.
func shareAddress(syscall.RawConn) error { return errors.ErrUnsupported }

func tellArrival(syscall.RawConn, bool) error { return nil }

func arrival([]byte) (netip.Addr, bool) { return netip.Addr{}, false }

func (s *udpSocket) send(f sip.Flow, b []byte) error {
	_, err := s.conn.WriteToUDPAddrPort(b, f.Remote)
	return err
}
