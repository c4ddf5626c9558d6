package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/transport/certs"
	"github.com/sipway/sipway/transport/certs/acme"
)

// encryption is what listeners and outgoing connections shake hands with.
type encryption struct {
	listen *tls.Config // nil without a certificate, now and later
	dial   *tls.Config
	files  *certs.Store  // nil where there are none
	acme   *acme.Manager // nil where none is configured
}

// newEncryption reads the files and makes what they are for.
func newEncryption(cfg *config.Config, log *slog.Logger) (*encryption, error) {
	e := &encryption{dial: &tls.Config{}}
	clients, roots, err := e.read(&cfg.TLS)
	if err != nil {
		return nil, err
	}
	e.dial.RootCAs = roots
	if !cfg.TLS.Enabled() {
		return e, nil
	}
	e.listen = &tls.Config{GetCertificate: e.certificate}
	if clients != nil {
		// Browsers and phones have none, and prove who they are by SIP's means.
		e.listen.ClientAuth, e.listen.ClientCAs = tls.VerifyClientCertIfGiven, clients
	}
	if len(cfg.TLS.ACME.Domains) > 0 {
		if e.acme, err = newACME(cfg, log); err != nil {
			return nil, fmt.Errorf("tls.acme: %w", err)
		}
		e.listen.GetConfigForClient = e.acme.Challenge
	}
	// A server that we connect to may ask who we are.
	e.dial.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c, err := e.certificate(&tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}})
		if err != nil {
			c = &tls.Certificate{} // not yet
		}
		return c, nil
	}
	return e, nil
}

// read reads the files that the configuration names. It returns the authorities for clients
// and for servers.
func (e *encryption) read(cfg *config.TLS) (clients, servers *x509.CertPool, err error) {
	if servers, err = pool("tls.roots", cfg.Roots); err != nil {
		return nil, nil, err
	}
	if clients, err = pool("tls.client_ca", cfg.ClientCA); err != nil {
		return nil, nil, err
	}
	if _, err = pool("tls.acme.ca_roots", cfg.ACME.CARoots); err != nil {
		return nil, nil, err
	}
	if !cfg.Files() {
		return clients, servers, nil
	}
	var pairs []certs.Pair
	if cfg.Cert != "" {
		pairs = append(pairs, certs.Pair{Cert: cfg.Cert, Key: cfg.Key})
	}
	for _, file := range cfg.Bundles {
		pairs = append(pairs, certs.Pair{Cert: file, Key: file})
	}
	if e.files, err = certs.Load(pairs); err != nil {
		return nil, nil, usageError{fmt.Errorf("tls: %w", err)}
	}
	return clients, servers, nil
}

// checkCertificates says what is wrong with the files of certificates.
func checkCertificates(cfg *config.TLS) error {
	_, _, err := new(encryption).read(cfg)
	return err
}

// newACME returns what gets certificates. Names are proven over TLS where a listener has the
// port that the authority connects to, or where there is no other proof: then something in
// front of us passes that port on.
func newACME(cfg *config.Config, log *slog.Logger) (*acme.Manager, error) {
	a := cfg.TLS.ACME
	roots, err := pool("tls.acme.ca_roots", a.CARoots)
	if err != nil {
		return nil, err
	}
	port := 0
	for _, l := range cfg.Listen {
		if at, err := netip.ParseAddrPort(l.Addr); err == nil && l.Transport.Secure() && (at.Port() == 443 || port == 0 && a.HTTP == "") {
			port = int(at.Port())
		}
	}
	return acme.New(acme.Config{
		Domains: texts(a.Domains), Email: a.Email, CA: a.CA, Roots: roots, Storage: a.Storage,
		HTTP: a.HTTP, TLSPort: port, Logger: log,
	})
}

// run renews certificates until ctx ends.
func (e *encryption) run(ctx context.Context, recheck time.Duration, log *slog.Logger) error {
	if e.files != nil {
		go e.files.Watch(ctx, recheck, log)
	}
	if e.acme != nil {
		return e.acme.Run(ctx)
	}
	return nil
}

// certificate chooses by the name that the client asks for: of a file, else of ACME, else
// the first of the files.
func (e *encryption) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if e.acme == nil {
		return e.files.Get(hello)
	}
	if e.files != nil {
		if c := e.files.Named(hello); c != nil {
			return c, nil
		}
		if !e.acme.Has(hello.ServerName) {
			return e.files.Get(hello)
		}
	}
	return e.acme.Get(hello)
}

// expires returns when the first of the certificates ends; ok is false where there is none.
func (e *encryption) expires() (at time.Time, ok bool) {
	if e.files != nil {
		at, _ = e.files.Expires()
		ok = true
	}
	if e.acme != nil {
		if first, _, has := e.acme.Expires(); has && (!ok || first.Before(at)) {
			at, ok = first, true
		}
	}
	return at, ok
}

// prefixes are the networks of a configured list.
func prefixes(list []config.Network) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, n := range list {
		all[i] = n.Prefix
	}
	return all
}

// pool reads the authorities of a configured file, nil for none.
func pool(key, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	p, err := certs.Pool(file)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", key, err)}
	}
	return p, nil
}
