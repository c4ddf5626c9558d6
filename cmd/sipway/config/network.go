package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"time"

	"github.com/sipway/sipway/auth"
)

var (
	_ encoding.TextUnmarshaler = (*Nameserver)(nil)
	_ encoding.TextUnmarshaler = (*Network)(nil)
	_ encoding.TextUnmarshaler = (*Origin)(nil)
	_ encoding.TextUnmarshaler = (*LargeUDP)(nil)
)

// DNS says how names are looked up.
type DNS struct {
	Servers []Nameserver  `yaml:"servers" doc:"nameservers, address or address:port; without any those of /etc/resolv.conf"`
	Timeout time.Duration `yaml:"timeout" doc:"how long a nameserver is waited for before the next one is asked"`
	Stale   time.Duration `yaml:"stale" doc:"how long an answer is used after its time to live while no nameserver can give a new one; 0 for not at all"`
}

func (c *Config) validateNetwork(fail func(format string, args ...any)) {
	if d := c.Proxy.FailoverAfter; d < 500*time.Millisecond || d > 32*time.Second {
		fail("proxy.failover_after: expects 500ms to 32s")
	}
	if d := c.DNS.Timeout; d < 100*time.Millisecond || d > 10*time.Second {
		fail("dns.timeout: expects 100ms to 10s")
	}
	if d := c.DNS.Stale; d < 0 || d > 7*24*time.Hour {
		fail("dns.stale: expects 0s to 168h")
	}
}

// Network is an address or a prefix.
type Network struct{ netip.Prefix }

// MarshalText returns the network as it is read.
func (n Network) MarshalText() ([]byte, error) {
	if n.IsSingleIP() {
		return []byte(n.Addr().String()), nil
	}
	return []byte(n.String()), nil
}

// UnmarshalText reads an address or a prefix.
func (n *Network) UnmarshalText(text []byte) (err error) {
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		n.Prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		return nil
	}
	if n.Prefix, err = netip.ParsePrefix(string(text)); err != nil {
		return fmt.Errorf("%q: expects an address or a prefix such as 10.1.0.0/16", text)
	}
	if n.Prefix != n.Masked() {
		return fmt.Errorf("%q has bits set behind its prefix; is %s meant?", text, n.Masked())
	}
	return nil
}

// Origin is a web origin whose pages may connect.
type Origin struct{ auth.Origin }

// MarshalText returns the origin as it is read.
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.Origin), nil }

// UnmarshalText reads an origin.
func (o *Origin) UnmarshalText(text []byte) (err error) {
	o.Origin, err = auth.ParseOrigin(string(text))
	return err
}

// Nameserver is the address of a nameserver.
type Nameserver struct{ netip.AddrPort }

// MarshalText returns the nameserver as it is read.
func (n Nameserver) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads an address with or without a port.
func (n *Nameserver) UnmarshalText(text []byte) (err error) {
	const port = 53
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		n.AddrPort = netip.AddrPortFrom(addr, port)
		return nil
	}
	if n.AddrPort, err = netip.ParseAddrPort(string(text)); err != nil || n.Port() == 0 {
		return fmt.Errorf("%q: expects an address such as 192.0.2.53, [2001:db8::53]:53", text)
	}
	return nil
}

// LargeUDP says what is done with a large request for UDP.
type LargeUDP string

// The choices.
const (
	LargeTCPFirst LargeUDP = "tcp_first"
	LargeAsIs     LargeUDP = "udp"
)

// UnmarshalText reads a choice.
func (l *LargeUDP) UnmarshalText(text []byte) error { return oneOf(l, text, LargeTCPFirst, LargeAsIs) }
