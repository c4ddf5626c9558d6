// Package acme gets certificates from an authority that speaks ACME (RFC 8555), Let's
// Encrypt or one's own, and renews them in time. Names are proven over TLS (TLS-ALPN-01, RFC
// 8737) on listeners that ask [Manager.Challenge], over HTTP (HTTP-01, RFC 8555 §8.3) where
// a listener for it is configured.
//
// The work is certmagic's. A certificate that is renewed is used for the next handshake.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
)

// Config says for what, and from whom, certificates are wanted.
type Config struct {
	Domains []string       // a certificate for each
	Email   string         // for the authority's warnings; may be empty
	CA      string         // URL of its directory
	Roots   *x509.CertPool // that vouch for that URL, nil for the system's
	Storage string         // directory of account, keys and certificates, made where it is missing

	// HTTP is the address that HTTP-01 is answered at, to which the authority's requests to
	// port 80 must come; empty for no HTTP-01. TLSPort is the port of the listener that
	// answers TLS-ALPN-01, to which its connections to port 443 must come; 0 for none.
	HTTP    string
	TLSPort int

	Check  time.Duration // how often certificates are looked at for renewal; 0 for ten minutes
	Logger *slog.Logger
}

// Manager has the certificates. It is safe for concurrent use.
type Manager struct {
	cfg   Config
	cache *certmagic.Cache
	magic *certmagic.Config
	http  *http.Server
}

// New returns a manager that has what is stored. Run gets the rest.
func New(cfg Config) (*Manager, error) {
	if err := os.MkdirAll(cfg.Storage, 0o700); err != nil {
		return nil, err
	}
	m := &Manager{cfg: cfg}
	log := zap.New(&logCore{log: cfg.Logger})
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil },
		RenewCheckInterval: cfg.Check,
		Logger:             log,
	})
	m.magic = certmagic.New(m.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: cfg.Storage},
		OnEvent: m.event,
		// Phones that connect to an address ask for no name.
		DefaultServerName: cfg.Domains[0], FallbackServerName: cfg.Domains[0],
		Logger: log,
	})
	issuer := certmagic.ACMEIssuer{
		CA: cfg.CA, TestCA: cfg.CA, Email: cfg.Email, TrustedRoots: cfg.Roots,
		Agreed:               true, // whoever configures it has
		DisableHTTPChallenge: cfg.HTTP == "", DisableTLSALPNChallenge: cfg.TLSPort == 0,
		AltTLSALPNPort: cfg.TLSPort,
		Logger:         log,
	}
	if cfg.HTTP != "" {
		host, port, err := net.SplitHostPort(cfg.HTTP)
		if err != nil {
			return nil, err
		}
		if issuer.AltHTTPPort, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("port of %s: %w", cfg.HTTP, err)
		}
		issuer.ListenHost = host
	}
	m.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(m.magic, issuer)}
	return m, nil
}

// Run gets what is missing and renews what is due until ctx ends. It tries again, after ever
// longer waits, what fails. It is to be called when the listeners are open; an error means
// that HTTP can't be listened for.
func (m *Manager) Run(ctx context.Context) error {
	if m.cfg.HTTP != "" {
		ln, err := net.Listen("tcp", m.cfg.HTTP)
		if err != nil {
			return fmt.Errorf("tls.acme.http: %w", err)
		}
		issuer := m.magic.Issuers[0].(*certmagic.ACMEIssuer)
		m.http = &http.Server{
			Handler:     issuer.HTTPChallengeHandler(http.NotFoundHandler()),
			ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
			ErrorLog: slog.NewLogLogger(m.cfg.Logger.Handler(), slog.LevelDebug),
		}
		go m.http.Serve(ln)
	}
	context.AfterFunc(ctx, func() {
		m.cache.Stop()
		if m.http != nil {
			m.http.Close()
		}
	})
	return m.magic.ManageAsync(ctx, m.cfg.Domains)
}

// Get is for [tls.Config] GetCertificate.
func (m *Manager) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return m.magic.GetCertificate(hello)
}

// Has reports whether the name is one of those that certificates are got for.
func (m *Manager) Has(name string) bool {
	for _, d := range m.cfg.Domains {
		if certmagic.MatchWildcard(name, d) {
			return true
		}
	}
	return false
}

// Challenge is for [tls.Config] GetConfigForClient: a handshake in which the authority looks
// for the proof of TLS-ALPN-01 is answered with it. All others get nil, and go on.
func (m *Manager) Challenge(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != acmez.ACMETLS1Protocol { // RFC 8737 §3
		return nil, nil
	}
	return &tls.Config{
		GetCertificate: m.magic.GetCertificate,
		NextProtos:     []string{acmez.ACMETLS1Protocol},
		MinVersion:     tls.VersionTLS12,
	}, nil
}

// Expires returns when the first of the certificates ends, and its name; ok is false while
// there is none.
func (m *Manager) Expires() (at time.Time, name string, ok bool) {
	for _, domain := range m.cfg.Domains {
		for _, c := range m.cache.AllMatchingCertificates(domain) {
			if c.Leaf != nil && (!ok || c.Leaf.NotAfter.Before(at)) {
				at, name, ok = c.Leaf.NotAfter, domain, true
			}
		}
	}
	return at, name, ok
}

// event tells the operator what matters.
func (m *Manager) event(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	switch event {
	case "cert_obtaining":
		m.cfg.Logger.Info("asking for a certificate", "name", name, "ca", m.cfg.CA)
	case "cert_obtained":
		m.cfg.Logger.Info("certificate obtained", "name", name)
	case "cert_failed":
		m.cfg.Logger.Error("no certificate obtained, it is tried again", "name", name, "error", data["error"])
	}
	return nil
}
