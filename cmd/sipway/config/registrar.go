package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
)

// validateRegistrar checks the registrar's extensions.
func (c *Config) validateRegistrar(fail func(format string, args ...any)) {
	r := &c.Registrar
	if r.ExpiresJitter < 0 || r.ExpiresJitter > 50 {
		fail("registrar.expires_jitter: expects 0 to 50 percent, not %d", r.ExpiresJitter)
	}
	if r.FlowTimer != 0 && r.FlowTimer < time.Second {
		fail("registrar.flow_timer: expects 0 or at least 1s, not %v", r.FlowTimer)
	}
	for _, u := range r.ThirdParties {
		_, domain, _ := strings.Cut(string(u), "@")
		if !c.serves(domain) {
			fail("registrar.third_parties: %s is of none of the domains", u)
		}
	}
}

func (c *Config) serves(domain string) bool {
	for _, d := range c.Domains {
		if string(d) == domain {
			return true
		}
	}
	return false
}

// Route is the URI of a loose router in angle brackets, as Route header fields have it.
type Route string

// UnmarshalText reads a SIP URI with lr, in angle brackets or without.
func (r *Route) UnmarshalText(text []byte) error {
	s := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(text)), "<"), ">")
	u, err := sip.ParseURI(s)
	if err != nil || !u.IsSIP() {
		return fmt.Errorf("%q: expects a SIP URI such as sip:proxy.example.test;lr", text)
	}
	if !u.Params.Has("lr") {
		return fmt.Errorf("%q: expects ;lr behind it, as strict routing is history (RFC 3261 §16.4)", text)
	}
	*r = Route("<" + s + ">")
	return nil
}

// User is an address-of-record, user@domain, the domain in lower case.
type User string

// UnmarshalText reads user@domain, with or without sip: in front.
func (u *User) UnmarshalText(text []byte) error {
	uri, err := sip.ParseURI("sip:" + strings.TrimPrefix(string(text), "sip:"))
	if err != nil || uri.User == "" || uri.Password != "" || uri.Port != 0 || uri.Params != "" || uri.Headers != "" {
		return fmt.Errorf("%q: expects a user such as pbx@example.test", text)
	}
	*u = User(uri.UserUnescaped() + "@" + strings.ToLower(uri.Host))
	return nil
}

// NATKeepalive says what UDP clients behind NATs are sent.
type NATKeepalive string

// The choices.
const (
	NATOff     NATKeepalive = "off"
	NATCRLF    NATKeepalive = "crlf"
	NATOptions NATKeepalive = "options"
)

// UnmarshalText reads a choice.
func (k *NATKeepalive) UnmarshalText(text []byte) error {
	return oneOf(k, text, NATOff, NATCRLF, NATOptions)
}

// PathPolicy says what becomes of a Path that the client does not say to support.
type PathPolicy string

// The policies.
const (
	PathRefuse PathPolicy = "refuse"
	PathAccept PathPolicy = "accept"
)

// UnmarshalText reads a policy.
func (p *PathPolicy) UnmarshalText(text []byte) error { return oneOf(p, text, PathRefuse, PathAccept) }

// ContactsPolicy says what becomes of a contact for which there is no room.
type ContactsPolicy string

// The policies.
const (
	ContactsRefuse     ContactsPolicy = "refuse"
	ContactsDropOldest ContactsPolicy = "drop_oldest"
)

// UnmarshalText reads a policy.
func (p *ContactsPolicy) UnmarshalText(text []byte) error {
	return oneOf(p, text, ContactsRefuse, ContactsDropOldest)
}
