package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// TLS says how listeners and connections are encrypted.
type TLS struct {
	Cert     string        `yaml:"cert" doc:"PEM file of the certificate for tls and wss listeners, with the chain behind it; read again when it changes"`
	Key      string        `yaml:"key" doc:"PEM file of its key"`
	Bundles  []string      `yaml:"bundles" doc:"further certificates, each a PEM file with chain and key, chosen by the name that a client asks for"`
	ClientCA string        `yaml:"client_ca" doc:"PEM file of the authorities that vouch for peers who show a certificate; theirs must be for clients (extended key usage clientAuth) where it says what it is for"`
	Roots    string        `yaml:"roots" doc:"PEM file of the authorities that vouch for servers we connect to; without it the system's"`
	Recheck  time.Duration `yaml:"recheck" doc:"how often the files are looked at"`
	ACME     ACME          `yaml:"acme"`
}

// ACME says for which names certificates are got, and from whom.
type ACME struct {
	Domains []Domain `yaml:"domains" doc:"host names to get certificates for, and to renew them, from an ACME authority; naming one agrees to its terms"`
	Email   string   `yaml:"email" doc:"address for the authority's warnings"`
	CA      string   `yaml:"ca" doc:"URL of the authority's directory"`
	CARoots string   `yaml:"ca_roots" doc:"PEM file of the authorities that vouch for that URL; without it the system's"`
	Storage string   `yaml:"storage" doc:"directory of the account, keys and certificates; made where it is missing"`
	HTTP    string   `yaml:"http" doc:"HOST:PORT at which names are proven over HTTP (HTTP-01), usually 0.0.0.0:80; without it they are over TLS (TLS-ALPN-01), for which connections to port 443 must come to a tls or wss listener"`
}

// Files reports whether certificates come from files.
func (t *TLS) Files() bool { return t.Cert != "" || len(t.Bundles) > 0 }

// Enabled reports whether there is a certificate to listen with, or will be.
func (t *TLS) Enabled() bool { return t.Files() || len(t.ACME.Domains) > 0 }

func (a *ACME) validate(fail func(format string, args ...any)) {
	if len(a.Domains) == 0 {
		return
	}
	if u, err := url.Parse(a.CA); err != nil || u.Scheme != "https" || u.Host == "" {
		fail("tls.acme.ca: expects a URL with https, not %q", a.CA)
	}
	if a.Storage == "" {
		fail("tls.acme.storage: expects a directory")
	}
	for _, d := range a.Domains {
		if _, err := netip.ParseAddr(string(d)); err == nil || !strings.Contains(string(d), ".") {
			fail("tls.acme.domains: %s is not a name that an authority gives a certificate for", d)
		}
	}
	if a.HTTP != "" {
		if _, err := netip.ParseAddrPort(a.HTTP); err != nil {
			fail("tls.acme.http: expects an address with a port, such as 0.0.0.0:80, not %q", a.HTTP)
		}
	}
}

func (c *Config) validateListeners(fail func(format string, args ...any)) {
	t := &c.TLS
	if (t.Cert == "") != (t.Key == "") {
		fail("tls: cert and key are needed together")
	}
	proxied := slices.IndexFunc(c.Listen, func(l Listener) bool { return l.Proxied })
	if proxied >= 0 && len(c.Proxies) == 0 {
		fail("listen: %s expects the PROXY protocol, and nobody is let speak it: name the load balancers in proxies", c.Listen[proxied])
	}
	t.ACME.validate(fail)
	if t.Recheck < time.Second {
		fail("tls.recheck: expects at least 1s, not %v", t.Recheck)
	}
	secure := slices.IndexFunc(c.Listen, func(l Listener) bool { return l.Transport.Secure() })
	if secure >= 0 && !t.Enabled() {
		fail("listen: %s needs a certificate: tls: {cert: FILE, key: FILE}, or tls: {acme: {domains: [NAME]}}", c.Listen[secure])
	}
}
