package config

import (
	"fmt"
	"strings"
	"time"
)

// Proxy says how requests are forwarded (RFC 3261 §16).
type Proxy struct {
	NoAnswer      time.Duration `yaml:"no_answer" doc:"how long contacts of one q ring before those of the next lower one do; 0 for until they have answered"`
	Recurse       Recurse       `yaml:"recurse" doc:"redirections (3xx) that are followed: own, to users of ours; any, also to where the caller may call himself; never"`
	Late2xx       Late2xx       `yaml:"late_2xx" doc:"second answer to a call: forward (the caller ends it), terminate (sipway does), or auto: terminate for callers on WebSocket, as JsSIP would end the wrong one"`
	Emergency     []Number      `yaml:"emergency" doc:"emergency numbers, which like urn:service:sos are served when other calls are refused for want of room"`
	FailoverAfter time.Duration `yaml:"failover_after" doc:"how long a server may be silent, or take to accept a connection, before the next one of its name is tried"`
	LargeUDP      LargeUDP      `yaml:"large_udp" doc:"a request above 1300 bytes to an address over UDP: tcp_first (RFC 3261 §18.1.1; UDP where there is no TCP) or udp"`

	SessionExpires time.Duration `yaml:"session_expires" doc:"session timer (RFC 4028) that calls without one are to have, and the longest that others may; 0 leaves session timers to the two sides"`
	MinSE          time.Duration `yaml:"min_se" doc:"shortest session timer that is let pass; a shorter one is answered with 422"`
}

// validateProxy checks the proxy's settings.
func (c *Config) validateProxy(fail func(format string, args ...any)) {
	if n := c.Proxy.NoAnswer; n != 0 && (n < time.Second || n > 3*time.Minute) {
		fail("proxy.no_answer: expects 0 or 1s to 3m, not %v", n)
	}
}

// Recurse says which redirections are followed.
type Recurse string

// The choices.
const (
	RecurseOwn   Recurse = "own"
	RecurseAny   Recurse = "any"
	RecurseNever Recurse = "never"
)

// UnmarshalText reads a choice.
func (r *Recurse) UnmarshalText(text []byte) error {
	return oneOf(r, text, RecurseOwn, RecurseAny, RecurseNever)
}

// Late2xx says what becomes of a second answer.
type Late2xx string

// The choices.
const (
	LateAuto      Late2xx = "auto"
	LateForward   Late2xx = "forward"
	LateTerminate Late2xx = "terminate"
)

// UnmarshalText reads a choice.
func (l *Late2xx) UnmarshalText(text []byte) error {
	return oneOf(l, text, LateAuto, LateForward, LateTerminate)
}

// Number is a telephone number as it stands in the user part of a URI.
type Number string

// UnmarshalText reads a number.
func (n *Number) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" || strings.Trim(s, "0123456789*#+") != "" {
		return fmt.Errorf("%q is not a telephone number", text)
	}
	*n = Number(s)
	return nil
}
