package auth

import (
	"fmt"
	"net/netip"
	"strings"
)

// Peer is a trusted peer, or a network of them.
type Peer struct {
	// Name is that of the peer's certificate (RFC 5922 §7.1), wherever it connects from; with
	// it there is nothing else.
	Name string

	Prefix netip.Prefix
	Port   uint16 // 0 means any
}

// ParsePeer reads "10.1.0.0/16", "192.0.2.7", "192.0.2.7:5060" or "tls:pbx.example.test"; an
// IPv6 address with a port stands in brackets.
func ParsePeer(s string) (Peer, error) {
	if name, ok := strings.CutPrefix(s, "tls:"); ok {
		if name == "" || strings.ContainsAny(name, ":/* ") {
			return Peer{}, fmt.Errorf("auth: %q names no host or domain", s)
		}
		return Peer{Name: strings.ToLower(name)}, nil
	}
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return Peer{Prefix: prefix.Masked()}, nil
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return peerAt(addr, 0), nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() != 0 {
		return peerAt(ap.Addr(), ap.Port()), nil
	}
	return Peer{}, fmt.Errorf("auth: %q is no network, address or address:port", s)
}

func peerAt(addr netip.Addr, port uint16) Peer {
	addr = addr.Unmap().WithZone("")
	return Peer{Prefix: netip.PrefixFrom(addr, addr.BitLen()), Port: port}
}

// Is reports whether the address is the peer's. A name has none.
func (p Peer) Is(remote netip.AddrPort) bool {
	if p.Name != "" {
		return false
	}
	// Sockets that take both families see IPv4 addresses mapped into IPv6.
	return (p.Port == 0 || p.Port == remote.Port()) && p.Prefix.Contains(remote.Addr().Unmap().WithZone(""))
}

// String writes the peer as ParsePeer reads it.
func (p Peer) String() string {
	switch {
	case p.Name != "":
		return "tls:" + p.Name
	case p.Port != 0:
		return netip.AddrPortFrom(p.Prefix.Addr(), p.Port).String()
	case p.Prefix.IsSingleIP():
		return p.Prefix.Addr().String()
	}
	return p.Prefix.String()
}
