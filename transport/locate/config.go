package locate

import (
	"context"
	"net"
	"net/netip"
)

// Config is what a [Locator] works with.
type Config struct {
	// Resolver resolves host names; nil is that of the system.
	Resolver interface {
		LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	}
}

func (c Config) withDefaults() Config {
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	return c
}
