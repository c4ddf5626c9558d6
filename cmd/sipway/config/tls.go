package config

import (
	"slices"
	"time"
)

// TLS says how listeners and connections are encrypted.
type TLS struct {
	Cert     string        `yaml:"cert" doc:"PEM file of the certificate for tls and wss listeners, with the chain behind it; read again when it changes"`
	Key      string        `yaml:"key" doc:"PEM file of its key"`
	Bundles  []string      `yaml:"bundles" doc:"further certificates, each a PEM file with chain and key, chosen by the name that a client asks for"`
	ClientCA string        `yaml:"client_ca" doc:"PEM file of the authorities that vouch for peers who show a certificate"`
	Roots    string        `yaml:"roots" doc:"PEM file of the authorities that vouch for servers we connect to; without it the system's"`
	Recheck  time.Duration `yaml:"recheck" doc:"how often the files are looked at"`
}

// Enabled reports whether there is a certificate to listen with.
func (t *TLS) Enabled() bool { return t.Cert != "" || len(t.Bundles) > 0 }

func (c *Config) validateListeners(fail func(format string, args ...any)) {
	t := &c.TLS
	if (t.Cert == "") != (t.Key == "") {
		fail("tls: cert and key are needed together")
	}
	proxied := slices.IndexFunc(c.Listen, func(l Listener) bool { return l.Proxied })
	if proxied >= 0 && len(c.Proxies) == 0 {
		fail("listen: %s expects the PROXY protocol, and nobody is let speak it: name the load balancers in proxies", c.Listen[proxied])
	}
	if t.Recheck < time.Second {
		fail("tls.recheck: expects at least 1s, not %v", t.Recheck)
	}
	secure := slices.IndexFunc(c.Listen, func(l Listener) bool { return l.Transport.Secure() })
	if secure >= 0 && !t.Enabled() {
		fail("listen: %s needs a certificate: tls: {cert: FILE, key: FILE}", c.Listen[secure])
	}
}
