package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/transport/locate"
	"github.com/sipway/sipway/transport/resolver"
)

// newLocator returns what finds the servers of URIs. UDP and TLS are for those who listen
// for them; a TCP connection can be opened by everyone.
func newLocator(cfg *config.Config, log *slog.Logger) *locate.Locator {
	dns := resolver.Config{Timeout: cfg.DNS.Timeout, StaleFor: cfg.DNS.Stale, Logger: log}
	if dns.StaleFor == 0 {
		dns.StaleFor = -1 // not at all; its zero is the default
	}
	for _, s := range cfg.DNS.Servers {
		dns.Servers = append(dns.Servers, netip.AddrPort(s.AddrPort))
	}
	return locate.New(locate.Config{
		Resolver: resolver.New(dns),
		Supports: func(t sip.Transport) bool { return t == sip.TCP || listensFor(cfg, t) },
	})
}

// listensFor reports whether there is a listener for the transport, whose port is what we
// write into Via and Record-Route.
func listensFor(cfg *config.Config, t sip.Transport) bool {
	return slices.ContainsFunc(cfg.Listen, func(l config.Listener) bool { return l.Transport == t })
}

// elsewhere returns where a response of a trusted peer may go when the peer takes no
// connection where its request came from: a cluster has another node under its name (RFC
// 3263 §5). Anybody else would choose with his Via whom we connect to.
func (s *server) elsewhere(f sip.Flow, host string, port uint16) (next func(context.Context) (sip.Server, error)) {
	if !s.auth.Trusted(f) {
		return nil
	}
	return s.locator.Respond(f.Transport, host, port)
}
