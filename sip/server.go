package sip

import "net/netip"

// Server is a place that a request can be sent to: what RFC 3263 makes of a URI. It is
// comparable.
type Server struct {
	Transport Transport
	Addr      netip.AddrPort
	// Name is the domain that was asked for, for which the certificate of a server over TLS
	// must be valid (RFC 5922 §7.2); "" where the URI had an address.
	Name string
}

// String describes the server for logs: "tcp 192.0.2.7:5060".
func (s Server) String() string {
	return Flow{Transport: s.Transport, Remote: s.Addr}.String()
}
