package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store/dsn"
)

// Every type of value that is not one of Go's own reads and writes itself.
var (
	_ encoding.TextUnmarshaler = (*Domain)(nil)
	_ encoding.TextUnmarshaler = (*Listener)(nil)
	_ encoding.TextUnmarshaler = (*Peer)(nil)
	_ encoding.TextUnmarshaler = (*DSN)(nil)
	_ encoding.TextUnmarshaler = (*Size)(nil)
	_ encoding.TextUnmarshaler = (*AuthMode)(nil)
	_ encoding.TextUnmarshaler = (*AuthCalls)(nil)
	_ encoding.TextUnmarshaler = (*LogFormat)(nil)
)

// Domain is a SIP domain, lower case.
type Domain string

// UnmarshalText reads a domain.
func (d *Domain) UnmarshalText(text []byte) error {
	s := strings.ToLower(string(text))
	if s == "" || !validHost(s) {
		return fmt.Errorf("%q is not a domain", text)
	}
	*d = Domain(s)
	return nil
}

// Listener is an address to listen on, and for what.
type Listener struct {
	Transport sip.Transport
	Addr      string // host:port
	Path      string // of WebSocket requests, "/" or longer; else ""
	Proxied   bool   // connections begin with the header of the PROXY protocol
	Trusted   bool   // whoever reaches it is a trusted peer
}

// String returns the listener's URL.
func (l Listener) String() string {
	text := strings.ToLower(l.Transport.String()) + "://" + l.Addr + l.Path
	options := url.Values{}
	if l.Proxied {
		options.Set("proxy", "1")
	}
	if l.Trusted {
		options.Set("trusted", "1")
	}
	if len(options) > 0 {
		text += "?" + options.Encode()
	}
	return text
}

// MarshalText returns the listener's URL.
func (l Listener) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a listener's URL. A missing port is the transport's default.
func (l *Listener) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || u.Host == "" {
		return fmt.Errorf("%q: expects a URL such as udp://0.0.0.0:5060 or ws://0.0.0.0:8080/", text)
	}
	t, ok := sip.ParseTransport(u.Scheme)
	proxied, trusted, known := listenerOptions(u.RawQuery)
	switch {
	case !ok:
		return fmt.Errorf("%q: unknown transport %s, expects udp, tcp, tls, ws or wss", text, u.Scheme)
	case !known:
		return fmt.Errorf("%q: the only options behind ? are proxy=1 and trusted=1", text)
	case proxied && t == sip.UDP:
		return fmt.Errorf("%q: the PROXY protocol is for connections, and udp has none", text)
	case u.User != nil || u.Fragment != "":
		return fmt.Errorf("%q: expects nothing but host, port and path", text)
	case !t.WebSocket() && u.Path != "":
		return fmt.Errorf("%q: %s has no path", text, u.Scheme)
	}
	port := u.Port()
	if port == "" {
		port = strconv.Itoa(int(t.DefaultPort()))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: port %s is not in 0-65535", text, port)
	} else {
		port = strconv.FormatUint(n, 10)
	}
	*l = Listener{Transport: t, Addr: net.JoinHostPort(u.Hostname(), port), Path: u.Path, Proxied: proxied, Trusted: trusted}
	if t.WebSocket() && l.Path == "" {
		l.Path = "/"
	}
	return nil
}

// listenerOptions reads what stands behind the ? of a listener's URL.
func listenerOptions(query string) (proxied, trusted, known bool) {
	options, err := url.ParseQuery(query)
	for name, values := range options {
		on := values[0] == "1"
		switch {
		case len(values) > 1 || !on && values[0] != "0":
			return false, false, false
		case name == "proxy":
			proxied = on
		case name == "trusted":
			trusted = on
		default:
			return false, false, false
		}
	}
	return proxied, trusted, err == nil
}

// Peer is a trusted peer or a network of them.
type Peer struct{ auth.Peer }

// MarshalText returns the peer as it is read.
func (p Peer) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads an address, an address with a port, a prefix, or the name of a certificate.
func (p *Peer) UnmarshalText(text []byte) (err error) {
	if prefix, err := netip.ParsePrefix(string(text)); err == nil && prefix != prefix.Masked() {
		return fmt.Errorf("%q has bits set behind its prefix; is %s meant?", text, prefix.Masked())
	}
	if p.Peer, err = auth.ParsePeer(string(text)); err != nil {
		return fmt.Errorf("%q: expects an address, address:port, prefix such as 10.1.0.0/16 or tls:NAME", text)
	}
	return nil
}

// DSN names a store. It may have a password in it, which is not written anywhere: its text,
// for logs and `config show`, has xxxxx instead.
type DSN string

func (d DSN) String() string { return dsn.Redact(string(d)) }

// MarshalText returns the text without a password.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes the text as it is.
func (d *DSN) UnmarshalText(text []byte) error {
	*d = DSN(text)
	return nil
}

// Size is a number of bytes.
type Size int

var units = []struct {
	suffix string
	bytes  Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (s Size) String() string {
	for _, u := range units {
		if s >= u.bytes && s%u.bytes == 0 && u.bytes > 1 {
			return strconv.Itoa(int(s/u.bytes)) + u.suffix
		}
	}
	return strconv.Itoa(int(s))
}

// MarshalText returns the size with the largest unit that divides it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a whole number with a unit, or of bytes without one.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := string(text), Size(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || n > uint64(math.MaxInt/unit) {
		return fmt.Errorf("%q: expects a size such as 4096 or 64KiB", text)
	}
	*s = Size(n) * unit
	return nil
}

// AuthMode says how users prove who they are.
type AuthMode string

// The modes.
const (
	AuthDigest AuthMode = "digest"
	AuthNone   AuthMode = "none"
)

// UnmarshalText reads a mode.
func (m *AuthMode) UnmarshalText(text []byte) error { return oneOf(m, text, AuthDigest, AuthNone) }

// AuthCalls says which requests other than REGISTER are challenged.
type AuthCalls string

// The choices.
const (
	AuthFlow   AuthCalls = "flow"
	AuthAlways AuthCalls = "always"
)

// UnmarshalText reads a choice.
func (c *AuthCalls) UnmarshalText(text []byte) error { return oneOf(c, text, AuthFlow, AuthAlways) }

// LogFormat is the form of log lines.
type LogFormat string

// The formats.
const (
	LogAuto    LogFormat = "auto"
	LogConsole LogFormat = "console"
	LogLogfmt  LogFormat = "logfmt"
	LogJSON    LogFormat = "json"
)

// UnmarshalText reads a format.
func (f *LogFormat) UnmarshalText(text []byte) error {
	return oneOf(f, text, LogAuto, LogConsole, LogLogfmt, LogJSON)
}

func oneOf[T ~string](dst *T, text []byte, choices ...T) error {
	if i := slices.Index(choices, T(text)); i >= 0 {
		*dst = choices[i]
		return nil
	}
	var names []string
	for _, c := range choices {
		names = append(names, string(c))
	}
	last := len(names) - 1
	return errors.New("expects " + strings.Join(names[:last], ", ") + " or " + names[last] + ", not " + strconv.Quote(string(text)))
}
