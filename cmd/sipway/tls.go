package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/transport/certs"
)

// tlsConfigs returns what listeners and outgoing connections shake hands with, and the
// certificates of the first, nil where there are none.
func tlsConfigs(cfg *config.TLS) (listen, dial *tls.Config, store *certs.Store, err error) {
	dial = &tls.Config{}
	if dial.RootCAs, err = pool("tls.roots", cfg.Roots); err != nil {
		return nil, nil, nil, err
	}
	if !cfg.Enabled() {
		return nil, dial, nil, nil
	}
	var pairs []certs.Pair
	if cfg.Cert != "" {
		pairs = append(pairs, certs.Pair{Cert: cfg.Cert, Key: cfg.Key})
	}
	for _, file := range cfg.Bundles {
		pairs = append(pairs, certs.Pair{Cert: file, Key: file})
	}
	if store, err = certs.Load(pairs); err != nil {
		return nil, nil, nil, usageError{fmt.Errorf("tls: %w", err)}
	}
	listen = &tls.Config{GetCertificate: store.Get}
	if cfg.ClientCA != "" {
		// Browsers and phones have none, and prove who they are by SIP's means.
		listen.ClientAuth = tls.VerifyClientCertIfGiven
		if listen.ClientCAs, err = pool("tls.client_ca", cfg.ClientCA); err != nil {
			return nil, nil, nil, err
		}
	}
	// A server that we connect to may ask who we are.
	dial.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return store.Get(&tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}})
	}
	return listen, dial, store, nil
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
