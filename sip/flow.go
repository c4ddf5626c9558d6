package sip

import (
	"net/netip"
	"strings"
)

// Transport is a SIP transport protocol. The zero value is no transport.
type Transport uint8

// The transports of RFC 3261 §18 and RFC 7118.
const (
	UDP Transport = 1 + iota
	TCP
	TLS
	WS
	WSS
)

var transportNames = [...]string{"", "UDP", "TCP", "TLS", "WS", "WSS"}

// String returns the name as it stands in a Via header, "UDP" or "WSS".
func (t Transport) String() string {
	if int(t) < len(transportNames) {
		return transportNames[t]
	}
	return ""
}

// Param returns the value of a URI's transport parameter. WSS shares "ws" with WS
// (RFC 7118 §5.2): there the sips scheme or the flow says which of the two it is.
func (t Transport) Param() string {
	switch t {
	case UDP:
		return "udp"
	case TCP:
		return "tcp"
	case TLS:
		return "tls"
	case WS, WSS:
		return "ws"
	}
	return ""
}

// Reliable reports whether the transport delivers in order or breaks: every one but UDP.
func (t Transport) Reliable() bool { return t > UDP }

// Secure reports whether the transport is encrypted.
func (t Transport) Secure() bool { return t == TLS || t == WSS }

// WebSocket reports whether messages travel in WebSocket frames (RFC 7118).
func (t Transport) WebSocket() bool { return t == WS || t == WSS }

// DefaultPort is the port that a URI or a sent-by without one means
// (RFC 3261 §19.1.2, RFC 7118 §5.2).
func (t Transport) DefaultPort() uint16 {
	switch t {
	case TLS:
		return 5061
	case WS:
		return 80
	case WSS:
		return 443
	}
	return 5060
}

// ParseTransport reads a transport's name in any case, as in a Via header or a URI parameter.
func ParseTransport(s string) (Transport, bool) {
	for i, name := range transportNames[1:] {
		if strings.EqualFold(s, name) {
			return Transport(i + 1), true
		}
	}
	return 0, false
}

// Flow is a bidirectional stream of messages between two addresses (RFC 5626 §3).
// Transports and transactions meet on it: it is comparable, so it can be a map key,
// and it stays meaningful after the connection it names has gone.
type Flow struct {
	Transport     Transport
	Local, Remote netip.AddrPort

	// ID is the flow's incarnation. A connection has one that no other connection of
	// this process ever bears, so that what belonged to a closed connection can't be
	// taken for what belongs to its successor from the same address. It is 0 for UDP,
	// whose flows are told apart by their addresses alone.
	ID uint64
}

// String describes the flow for logs: "ws 192.0.2.7:4711#12".
func (f Flow) String() string {
	b := make([]byte, 0, 48)
	b = append(b, strings.ToLower(f.Transport.String())...)
	b = append(b, ' ')
	b = f.Remote.AppendTo(b)
	if f.ID != 0 {
		b = append(b, '#')
		b = appendUint(b, f.ID)
	}
	return string(b)
}
