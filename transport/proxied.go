package transport

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pires/go-proxyproto"
)

// Front ends: load balancers and web servers that pass connections on, and say whose they
// are, by the PROXY protocol or by X-Forwarded-For. Only those of Config.Proxies are
// believed; anybody else could choose the address under which he is known, counted and
// banned.

// believes reports whether the address is that of a front end of ours.
func (l *Layer) believes(a netip.Addr) bool {
	for _, p := range l.cfg.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// preambleSize is more than a header of the PROXY protocol has; what has come behind it goes
// back to the socket.
const preambleSize = 4 << 10

// readPreamble reads the header of the PROXY protocol (version 1 or 2) that the connection
// begins with, and gives the socket the address in it.
func (l *Layer) readPreamble(sock *socket) error {
	if front := addrPort(sock.RemoteAddr()).Addr(); !l.believes(front) {
		return fmt.Errorf("%w: %v is not among the proxies", ErrPreamble, front)
	}
	br := bufio.NewReaderSize(sock, preambleSize)
	header, err := proxyproto.Read(br)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPreamble, err)
	}
	early, err := br.Peek(br.Buffered())
	if err != nil {
		return err
	}
	sock.unread(early)
	if header.Command.IsLocal() {
		return nil // the front end itself: it looks whether we are there
	}
	client, ok := header.SourceAddr.(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("%w: no address of TCP", ErrPreamble)
	}
	return l.identify(sock, client)
}

// forwardedFor takes the client's address from X-Forwarded-For. Each front end adds the
// address of who it was connected to; so the last one that is not a front end's own is the
// client's, and what stands before it is what the client says.
func (l *Layer) forwardedFor(r *http.Request, remote netip.AddrPort) (netip.AddrPort, bool) {
	if !l.believes(remote.Addr()) {
		return remote, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	found := false
	for i := len(hops) - 1; i >= 0; i-- {
		addr, err := forwardedAddr(hops[i])
		if err != nil {
			break
		}
		// Of the port nothing is known but that of the connection which carries him.
		remote, found = netip.AddrPortFrom(addr, remote.Port()), true
		if !l.believes(addr) {
			break
		}
	}
	return remote, found
}

// forwardedAddr reads an address, to which some front ends add a port.
func forwardedAddr(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		var with netip.AddrPort
		if with, err = netip.ParseAddrPort(s); err == nil {
			addr = with.Addr()
		}
	}
	return addr.Unmap().WithZone(""), err
}
