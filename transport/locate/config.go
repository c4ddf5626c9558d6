package locate

import (
	"context"
	"net/netip"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/transport/resolver"
)

// Resolver looks names up; it is a [resolver.Resolver].
type Resolver interface {
	Known(name string) ([]netip.Addr, bool)
	Addrs(ctx context.Context, host string) ([]netip.Addr, error)
	SRV(ctx context.Context, name string) ([]resolver.SRV, error)
	NAPTR(ctx context.Context, name string) ([]resolver.NAPTR, error)
}

var _ Resolver = (*resolver.Resolver)(nil)

// Config is what a [Locator] works with.
type Config struct {
	Resolver Resolver

	// Supports reports whether we can send over a transport, one that is not WebSocket; nil
	// means UDP and TCP.
	Supports func(t sip.Transport) bool
}

func (c Config) withDefaults() Config {
	if c.Supports == nil {
		c.Supports = func(t sip.Transport) bool { return t == sip.UDP || t == sip.TCP }
	}
	return c
}
