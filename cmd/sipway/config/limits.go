package config

import (
	"net/netip"
	"time"
)

// Limits bounds what one peer can cost.
type Limits struct {
	Enabled         bool          `yaml:"enabled" doc:"limit what strangers send, and ban those who scan or guess passwords; false for labs and load tests"`
	MaxMessage      Size          `yaml:"max_message" doc:"largest SIP message taken; a larger one is answered with 513"`
	MaxCalls        int           `yaml:"max_calls" doc:"most calls being set up at a time; above it a new one is answered with 503, emergency calls later than others"`
	MaxTransactions int           `yaml:"max_transactions" doc:"most transactions at a time; above it requests outside a dialog are answered with 503, and a little later all"`
	Requests        int           `yaml:"requests" doc:"requests a second that a source (an IPv4 address, the /64 of an IPv6 one) may send without having proven who it is; above it they are dropped over UDP, and connections closed"`
	Burst           int           `yaml:"burst" doc:"how many of them it may send at once: 500 phones behind one NAT after a power cut"`
	UserRequests    int           `yaml:"user_requests" doc:"requests a second that a user may send; above it they are answered with 503"`
	UserBurst       int           `yaml:"user_burst" doc:"how many of them at once"`
	Failures        int           `yaml:"failures" doc:"wrong passwords within ten minutes after which a source is banned; requests for users who don't exist count as much, messages that can't be read half"`
	UserFailures    int           `yaml:"user_failures" doc:"wrong passwords of one source for one user within ten minutes after which its further ones count as wrong"`
	FirstBan        time.Duration `yaml:"first_ban" doc:"how long a source's first ban lasts, each further one twice as long"`
	MaxBan          time.Duration `yaml:"max_ban" doc:"the longest ban"`
	Exempt          []Network     `yaml:"exempt" doc:"sources without limits, as trusted and proxies are: address or prefix"`
	MaxConnections  int           `yaml:"max_connections" doc:"most open connections; further ones are closed as they come; 0 for as many as the system allows"`
	MaxPerSource    int           `yaml:"max_per_source" doc:"most connections of one source; 0 for any number"`
	MaxHalfOpen     int           `yaml:"max_half_open" doc:"most connections that have sent no valid message yet, an eighth of them of one source; above it the oldest makes room; 0 for any number"`
}

func defaultLimits() Limits {
	return Limits{
		Enabled:    true,
		MaxMessage: 64 << 10, MaxCalls: 20000, MaxTransactions: 1 << 19,
		Requests: 100, Burst: 2000, UserRequests: 50, UserBurst: 1000,
		Failures: 100, UserFailures: 10, FirstBan: 30 * time.Second, MaxBan: 6 * time.Hour,
		// Whoever is on this machine can do worse.
		Exempt:       []Network{{netip.MustParsePrefix("127.0.0.0/8")}, {netip.MustParsePrefix("::1/128")}},
		MaxPerSource: 1000, MaxHalfOpen: 2048,
	}
}

func (c *Config) validateLimits(fail func(format string, args ...any)) {
	l := &c.Limits
	if m := l.MaxMessage; m < 4<<10 || m > 16<<20 {
		fail("limits.max_message: expects 4KiB to 16MiB")
	}
	if l.MaxCalls < 1 {
		fail("limits.max_calls: expects at least 1")
	}
	if l.MaxTransactions < 64 {
		fail("limits.max_transactions: expects at least 64")
	}
	for _, n := range []struct {
		key         string
		value, most int
	}{
		{"requests", l.Requests, 1e6}, {"burst", l.Burst, 1e7}, {"user_requests", l.UserRequests, 1e6}, {"user_burst", l.UserBurst, 1e7},
		{"failures", l.Failures, 1e6}, {"user_failures", l.UserFailures, 1e6},
	} {
		if n.value < 1 || n.value > n.most {
			fail("limits.%s: expects 1 to %d, not %d", n.key, n.most, n.value)
		}
	}
	if l.FirstBan < time.Second || l.MaxBan < l.FirstBan || l.MaxBan > 30*24*time.Hour {
		fail("limits: expects 1s <= first_ban <= max_ban <= 720h, not %v, %v", l.FirstBan, l.MaxBan)
	}
	if l.MaxConnections < 0 || l.MaxPerSource < 0 || l.MaxHalfOpen < 0 {
		fail("limits: max_connections, max_per_source and max_half_open can't be negative")
	}
}
