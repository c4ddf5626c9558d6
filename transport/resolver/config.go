package resolver

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is what a [Resolver] may be told. A zero field has the default that its comment
// names.
type Config struct {
	// Servers are the nameservers, asked in this order. Default: those of ResolvConf, which
	// is read again when it has changed.
	Servers []netip.AddrPort

	// Timeout is how long a nameserver is waited for before the next one is asked; twice
	// that when all of them have been asked once. Default 1 s.
	Timeout time.Duration

	// StaleFor is how long an answer is used after its time to live where none can be had.
	// Default 1 h; negative: not at all.
	StaleFor time.Duration

	// Entries bounds the answers that are kept. Default 4096.
	Entries int

	// ResolvConf and Hosts are the system's files. Default /etc/resolv.conf and /etc/hosts.
	ResolvConf, Hosts string

	// Logger gets what an operator must know. Default [slog.Default].
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	setDefault(&c.Timeout, time.Second)
	setDefault(&c.StaleFor, time.Hour)
	setDefault(&c.Entries, 4096)
	setDefault(&c.ResolvConf, "/etc/resolv.conf")
	setDefault(&c.Hosts, "/etc/hosts")
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
