// Package config reads sipway's configuration: one YAML file, decoded strictly, overridden by
// environment variables and those by flags. Every key stands in [Config] with its documentation,
// from which `sipway config show` and the reference in the README are written.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
)

// Config is the whole configuration. The yaml tag is the key, the doc tag what it means.
type Config struct {
	Domains    []Domain   `yaml:"domains" doc:"SIP domains that sipway is the registrar and proxy of; each is a digest realm"`
	Listen     []Listener `yaml:"listen" doc:"listeners as URLs, udp://, tcp:// or tls://HOST:PORT, ws:// or wss://HOST:PORT/PATH; ?proxy=1 expects the PROXY protocol, ?trusted=1 trusts whoever reaches the listener"`
	Advertise  string     `yaml:"advertise" doc:"host name or address for Via and Record-Route where it is not that of the listener"`
	Store      DSN        `yaml:"store" doc:"users and registrations: sqlite:FILE, postgres://USER@HOST/DATABASE, or memory: to forget them at exit"`
	StoreCache Size       `yaml:"store_cache" doc:"memory for registrations and users in front of a database"`
	Admin      string     `yaml:"admin" doc:"address of the admin listener, HOST:PORT or unix:PATH; empty for none. Elsewhere than on loopback it speaks TLS with the certificate of tls and needs admin_token"`
	AdminToken Secret     `yaml:"admin_token" doc:"what commands and scripts show to the admin listener as a bearer token, 16 characters or more, or file:PATH; without one everybody may use it who reaches loopback"`
	UsersFile  string     `yaml:"users_file" doc:"CSV file of user,domain,password lines, loaded at start"`
	Proxies    []Network  `yaml:"proxies" doc:"load balancers and web servers in front of us, address or prefix: theirs is the PROXY protocol on listeners with ?proxy=1, and X-Forwarded-For counts from them alone"`
	Origins    []Origin   `yaml:"origins" doc:"web origins whose pages may connect, besides those of the same host: https://app.example.test, https://*.example.test, null for files, * for all"`
	TLS        TLS        `yaml:"tls"`
	Transport  Transport  `yaml:"transport"`
	Registrar  Registrar  `yaml:"registrar"`
	Auth       Auth       `yaml:"auth"`
	Trusted    []Peer     `yaml:"trusted" doc:"peers whose requests are not challenged: address, address:port, prefix, or tls:NAME for whoever has a certificate of that name; a listener with ?trusted=1 trusts all who reach it"`
	TURN       TURN       `yaml:"turn"`
	Proxy      Proxy      `yaml:"proxy"`
	Calls      Calls      `yaml:"calls"`
	CDR        CDR        `yaml:"cdr"`
	DNS        DNS        `yaml:"dns"`
	Limits     Limits     `yaml:"limits"`
	Drain      Drain      `yaml:"drain"`
	Log        Log        `yaml:"log"`
}

// Transport says how connections are watched.
type Transport struct {
	PingInterval time.Duration `yaml:"ping_interval" doc:"time between two pings of a WebSocket connection; 0 for none"`
	PingTimeout  time.Duration `yaml:"ping_timeout" doc:"how long a pinged client may stay silent before its connection is closed and its registrations end"`
	ProbeTimeout time.Duration `yaml:"probe_timeout" doc:"the same where it matters now: for a silent client that is called, or whose successor has registered"`
}

// Registrar is what the registrar grants (RFC 3261 §10.3).
type Registrar struct {
	MinExpires     time.Duration `yaml:"min_expires" doc:"shortest registration granted; a shorter one is answered with 423"`
	DefaultExpires time.Duration `yaml:"default_expires" doc:"granted where a request names no time"`
	MaxExpires     time.Duration `yaml:"max_expires" doc:"longest registration granted; a longer one is shortened"`
	MaxContacts    int           `yaml:"max_contacts" doc:"most contacts that one address-of-record may have"`
	Park           time.Duration `yaml:"park" doc:"how long a call waits for a client whose connection broke just now, a page that is reloaded; 0: it doesn't"`
	ProbeAfter     time.Duration `yaml:"probe_after" doc:"a client's connection that was silent for so long is probed when a call is sent over it"`

	NATKeepalive         NATKeepalive  `yaml:"nat_keepalive" doc:"what UDP clients behind a NAT are sent to keep the way to them open: crlf, options (where a NAT counts only what comes from its inside) or off"`
	NATKeepaliveInterval time.Duration `yaml:"nat_keepalive_interval" doc:"how often, each client at another moment"`

	ContactsPolicy ContactsPolicy `yaml:"contacts_policy" doc:"what becomes of a contact above max_contacts: refuse, or drop_oldest, which drops the one not refreshed for longest"`
	ExpiresJitter  int            `yaml:"expires_jitter" doc:"percentage by which granted times are shortened at random, so that clients that came together don't come back together; the client is told"`
	FlowTimer      time.Duration  `yaml:"flow_timer" doc:"within what time clients with RFC 5626 outbound send keepalives on a connection (Flow-Timer); 0 leaves it to them"`
	ServiceRoute   []Route        `yaml:"service_route" doc:"Routes that clients are told to preload (RFC 3608), outermost first, such as sip:proxy.example.test;lr"`
	PathPolicy     PathPolicy     `yaml:"path_policy" doc:"a Path for a client that does not support it is answered with 420 (refuse) or taken (accept), as phones behind an edge proxy need it"`
	ThirdParties   []User         `yaml:"third_parties" doc:"users, as user@domain, who may register others of their domain"`
}

// Auth says who is believed to be who it says.
type Auth struct {
	Mode       AuthMode           `yaml:"mode" doc:"digest, or none: everyone of the domains is believed (for labs)"`
	Algorithms []digest.Algorithm `yaml:"algorithms" doc:"digest algorithms in the order of the challenges; MD5 last, as web clients know no other and use the last challenge"`
	Calls      AuthCalls          `yaml:"calls" doc:"flow: only requests outside an authenticated registration's flow are challenged; always: every one"`
	NonceAge   time.Duration      `yaml:"nonce_age" doc:"how long clients may use a nonce"`
	Integrity  bool               `yaml:"integrity" doc:"offer qop auth-int, which covers the body, to all but web clients"`
	Tokens     Tokens             `yaml:"tokens"`
}

// Log says what is logged, and how.
type Log struct {
	Level  slog.Level `yaml:"level" doc:"debug, info, warn or error"`
	Format LogFormat  `yaml:"format" doc:"auto (console on a terminal, else logfmt), console, logfmt or json"`
}

// Default returns the configuration of a server that was told nothing: it runs on the embedded
// store, listens on loopback, and serves the domain localhost.
func Default() *Config {
	return &Config{
		Domains: []Domain{"localhost"},
		Listen: []Listener{
			{Transport: sip.UDP, Addr: "127.0.0.1:5060"},
			{Transport: sip.TCP, Addr: "127.0.0.1:5060"},
			{Transport: sip.WS, Addr: "127.0.0.1:8080", Path: "/"},
		},
		Store:      "sqlite:sipway.db",
		StoreCache: 256 << 20,
		Admin:      "127.0.0.1:8081",
		TLS:        TLS{Recheck: 10 * time.Second, ACME: ACME{CA: "https://acme-v02.api.letsencrypt.org/directory", Storage: "acme"}},
		Transport: Transport{
			PingInterval: 30 * time.Second,
			PingTimeout:  10 * time.Second,
			ProbeTimeout: time.Second,
		},
		Registrar: Registrar{
			MinExpires:     time.Minute,
			DefaultExpires: 10 * time.Minute,
			MaxExpires:     time.Hour,
			MaxContacts:    20,
			Park:           2 * time.Second,
			ProbeAfter:     10 * time.Second,
			NATKeepalive:   NATCRLF, NATKeepaliveInterval: 25 * time.Second,
			ContactsPolicy: ContactsRefuse,
			FlowTimer:      2 * time.Minute,
			PathPolicy:     PathRefuse,
		},
		Auth: Auth{
			Mode:       AuthDigest,
			Algorithms: []digest.Algorithm{digest.SHA256, digest.MD5},
			Calls:      AuthFlow,
			NonceAge:   time.Hour,
			Tokens:     Tokens{Claim: "sub", Query: "token", Header: "Authorization", Grace: 30 * time.Second},
		},
		TURN: TURN{TTL: time.Hour},
		Proxy: Proxy{
			NoAnswer:      20 * time.Second,
			Recurse:       RecurseOwn,
			Late2xx:       LateAuto,
			Emergency:     []Number{"112", "911"},
			FailoverAfter: 4 * time.Second,
			LargeUDP:      LargeTCPFirst,
			MinSE:         90 * time.Second,
		},
		Calls:  Calls{BothLost: time.Minute, OneLost: 10 * time.Minute, MaxSilence: 12 * time.Hour},
		CDR:    CDR{ToLog: true},
		DNS:    DNS{Timeout: time.Second, Stale: time.Hour},
		Limits: defaultLimits(),
		Drain:  Drain{Spread: 5 * time.Second, Timeout: 20 * time.Second},
		Log:    Log{Level: slog.LevelInfo, Format: LogAuto},
	}
}

// Override is a value from a flag.
type Override struct {
	Flag   string // as the user wrote it, "--listen", for errors
	Key    string // the key it sets, "listen"
	Values []string
}

// Load returns the defaults overridden by the file, unless its name is "", then by environment
// variables as lookup (such as [os.LookupEnv]) knows them, then by flags. The error holds
// everything that is wrong, a line each.
func Load(file string, lookup func(string) (string, bool), flags []Override) (*Config, error) {
	c := Default()
	var errs []error
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		errs = append(errs, c.decode(file, text)...)
	}
	errs = append(errs, c.environment(lookup)...)
	for _, f := range flags {
		if err := c.set(f.Key, f.Values); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Flag, err))
		}
	}
	if len(errs) == 0 {
		errs = c.validate(file)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// validate checks what spans several values or is more than a value's form.
func (c *Config) validate(file string) (errs []error) {
	if file != "" {
		file += ": "
	}
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(file+format, args...))
	}
	if len(c.Domains) == 0 {
		fail("domains: at least one is needed")
	}
	if len(c.Listen) == 0 {
		fail("listen: at least one listener is needed")
	}
	for i, l := range c.Listen {
		if slices.Contains(c.Listen[:i], l) {
			fail("listen: %s is there twice", l)
		}
	}
	if c.Advertise != "" && !validHost(c.Advertise) {
		fail("advertise: %q is not a host name or an address", c.Advertise)
	}
	if c.Store == "" {
		fail("store: expects sqlite:FILE, postgres://USER@HOST/DATABASE or memory:")
	}
	if c.StoreCache < 1<<20 {
		fail("store_cache: expects at least 1MiB")
	}
	if _, _, err := net.SplitHostPort(strings.TrimPrefix(c.Admin, "https://")); c.Admin != "" && err != nil && !strings.HasPrefix(c.Admin, "unix:") {
		fail("admin: %q is neither an address with a port nor unix:PATH", c.Admin)
	}
	if r := c.Registrar; r.MinExpires < time.Second || r.MinExpires > r.DefaultExpires || r.DefaultExpires > r.MaxExpires {
		fail("registrar: expects 1s <= min_expires <= default_expires <= max_expires, not %v, %v, %v", r.MinExpires, r.DefaultExpires, r.MaxExpires)
	}
	if t := c.Transport; t.PingInterval < 0 || t.PingInterval > 0 && t.PingInterval < time.Second {
		fail("transport.ping_interval: expects 0 or at least 1s, not %v", t.PingInterval)
	} else if t.PingTimeout < 100*time.Millisecond || t.ProbeTimeout < 100*time.Millisecond {
		fail("transport: expects ping_timeout and probe_timeout of at least 100ms, not %v, %v", t.PingTimeout, t.ProbeTimeout)
	}
	if p := c.Registrar.Park; p < 0 || p > 30*time.Second {
		fail("registrar.park: expects 0 to 30s, not %v", p)
	}
	if c.Registrar.NATKeepaliveInterval < time.Second {
		fail("registrar.nat_keepalive_interval: expects at least 1s, not %v", c.Registrar.NATKeepaliveInterval)
	}
	if c.Registrar.ProbeAfter < time.Millisecond {
		fail("registrar.probe_after: expects at least 1ms, not %v", c.Registrar.ProbeAfter)
	}
	if c.Registrar.MaxContacts < 1 {
		fail("registrar.max_contacts: expects at least 1")
	}
	c.validateRegistrar(fail)
	c.validateProxy(fail)
	c.validateCalls(fail)
	if len(c.Auth.Algorithms) == 0 {
		fail("auth.algorithms: at least one is needed")
	}
	for i, a := range c.Auth.Algorithms {
		if slices.Contains(c.Auth.Algorithms[:i], a) {
			fail("auth.algorithms: %v is there twice", a)
		}
	}
	if c.Auth.NonceAge < time.Second {
		fail("auth.nonce_age: expects at least 1s")
	}
	c.validateLimits(fail)
	c.validateNetwork(fail)
	c.validateListeners(fail)
	c.validateIdentity(fail)
	c.validateDrain(fail)
	return errs
}

// Warnings returns what is legal but wants to be said loudly.
func (c *Config) Warnings() (warnings []string) {
	if c.Auth.Mode == AuthNone {
		warnings = append(warnings, "auth.mode is none: nobody proves who they are, anyone who reaches a listener can register as anyone and call everyone")
	}
	if i := slices.Index(c.Auth.Algorithms, digest.MD5); i >= 0 && i < len(c.Auth.Algorithms)-1 {
		warnings = append(warnings, "auth.algorithms: MD5 is not last; web clients use the last challenge and know only MD5, so they can't log in")
	}
	if u, err := url.Parse(c.Auth.Tokens.JWKSURL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		warnings = append(warnings, "auth.tokens.jwks_url is http: whoever stands between can be any user; use https")
	}
	if c.Auth.Tokens.Cookie != "" && slices.ContainsFunc(c.Origins, func(o Origin) bool { return o.Origin == "*" }) {
		warnings = append(warnings, "origins has * and auth.tokens.cookie is set: the page of any stranger connects as the user whose browser shows it")
	}
	return warnings
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// validHost reports whether s can stand as the host of a SIP URI, brackets apart.
func validHost(s string) bool {
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	u, err := sip.ParseURI("sip:" + s)
	return err == nil && u.Host == s
}
