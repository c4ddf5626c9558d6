package resolver

import (
	"net"
	"net/netip"
	"slices"
)

// order merges the addresses of a host for trying them in turn: IPv6 first, as RFC 6724 has
// it, then by turns, so that a version of IP that leads nowhere costs one attempt and not
// all of them (RFC 8305 §4, RFC 7984 §3). Addresses that this machine has no route to come
// last.
func order(six, four []netip.Addr) []netip.Addr {
	if len(six) == 0 {
		return four
	}
	if len(four) == 0 {
		return six
	}
	all := make([]netip.Addr, 0, len(six)+len(four))
	for i := range max(len(six), len(four)) {
		if i < len(six) {
			all = append(all, six[i])
		}
		if i < len(four) {
			all = append(all, four[i])
		}
	}
	slices.SortStableFunc(all, func(a, b netip.Addr) int { return unroutable(a) - unroutable(b) })
	return all
}

// unroutable is 0 for an address that there is a route to: connecting a UDP socket looks
// for one, and sends nothing.
func unroutable(a netip.Addr) int {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 9)))
	if err != nil {
		return 1
	}
	c.Close()
	return 0
}
