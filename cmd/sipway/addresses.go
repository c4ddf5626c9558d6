package main

import (
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/transport"
)

// addresses knows under which addresses the server is reached. It is safe for concurrent
// use once made.
type addresses struct {
	advertise string // host for Via and Record-Route, "" for that of the listener
	listeners []transport.Listener
	hosts     map[string]bool
	ports     map[uint16]bool
	local     []netip.Prefix // of the interfaces
	outward   netip.Addr     // source of packets that leave the networks of local

	names sync.Map // netip.Addr to its text, in brackets where RFC 3261 has them
}

// newAddresses looks at the listeners and, for those on all addresses, at the interfaces.
func newAddresses(listeners []transport.Listener, advertise string) *addresses {
	a := &addresses{
		advertise: hostText(advertise),
		listeners: listeners,
		hosts:     make(map[string]bool),
		ports:     make(map[uint16]bool),
	}
	if advertise != "" {
		a.hosts[strings.ToLower(a.advertise)] = true
	}
	for _, l := range listeners {
		a.ports[l.Addr.Port()] = true
		if l.Addr.Addr().IsUnspecified() {
			a.readInterfaces()
		} else {
			a.hosts[a.name(l.Addr.Addr())] = true
		}
	}
	return a
}

// readInterfaces notes the addresses of this machine. Without any, loopback is left.
func (a *addresses) readInterfaces() {
	if a.local != nil {
		return
	}
	a.local = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	a.hosts["127.0.0.1"] = true
	interfaces, _ := net.InterfaceAddrs()
	for _, i := range interfaces {
		if p, err := netip.ParsePrefix(i.String()); err == nil {
			a.local = append(a.local, p)
			a.hosts[a.name(p.Addr())] = true
		}
	}
	// The kernel chooses a source address when a UDP socket is connected; nothing is sent.
	if c, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		a.outward = c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		c.Close()
	}
}

// isLocal reports whether host and port, 0 for the default, are those of a listener.
func (a *addresses) isLocal(host string, port uint16) bool {
	if !a.hosts[host] && !a.hosts[strings.ToLower(host)] {
		return false
	}
	if port == 0 {
		return a.advertise != "" && strings.EqualFold(host, a.advertise) || a.ports[sip.UDP.DefaultPort()]
	}
	return a.ports[port]
}

// sentBy returns where the other end of a flow reaches us (RFC 3261 §18.1.1): the listener
// of its transport, whose port a connection that we opened does not have.
func (a *addresses) sentBy(f sip.Flow) (host string, port uint16) {
	port = f.Local.Port()
	found := false
	for _, l := range a.listeners {
		if l.Transport == f.Transport && (!found || l.Addr.Port() == f.Local.Port()) {
			port, found = l.Addr.Port(), true
		}
	}
	if a.advertise != "" {
		return a.advertise, port
	}
	addr := f.Local.Addr()
	if !addr.IsValid() || addr.IsUnspecified() {
		addr = a.sourceFor(f.Remote.Addr())
	}
	return a.name(addr), port
}

// sourceFor returns the address of ours that a peer sees.
func (a *addresses) sourceFor(remote netip.Addr) netip.Addr {
	for _, p := range a.local {
		if p.Contains(remote) {
			if p.Addr().IsLoopback() && remote.Is4() {
				return netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
			return p.Addr()
		}
	}
	for _, p := range a.local {
		if !a.outward.IsValid() && !p.Addr().IsLoopback() && p.Addr().Is4() == remote.Is4() {
			return p.Addr()
		}
	}
	if a.outward.IsValid() {
		return a.outward
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// name is the text of an address as a URI has it, made once.
func (a *addresses) name(addr netip.Addr) string {
	if text, ok := a.names.Load(addr); ok {
		return text.(string)
	}
	text := hostText(addr.String())
	a.names.Store(addr, text)
	return text
}

// hostText puts an IPv6 address into brackets.
func hostText(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}
