package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/sipway/sipway/sip"
)

// secure does the client's side of a handshake with a server that was dialled.
func (l *Layer) secure(ctx context.Context, sock *socket, to sip.Server) (*tlsStream, error) {
	name := to.Name
	if name == "" {
		name = to.Addr.Addr().String()
	}
	cfg := withTLSDefaults(l.cfg.DialTLS)
	cfg.ServerName = name
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = l.sessions
	}
	// The rules of HTTPS would let wildcards pass, so that whole check is done here, with
	// those of SIP.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		return verifyServer(state.PeerCertificates, cfg.RootCAs, name)
	}
	return l.handshake(ctx, sock, tls.Client, cfg)
}

// tellAlert logs why a server has ended a connection. With TLS 1.3 it refuses our certificate only
// after the handshake, when we have sent something already or find the flow closed.
func (c *connection) tellAlert(err error) {
	if alert := new(net.OpError); errors.As(err, &alert) && alert.Op == "remote error" {
		c.layer.cfg.Logger.Info("connection ended by the server's TLS", "server", c.server, "name", c.server.Name, "err", err)
	}
}

// verifyServer is RFC 5922 §7.3: the certificate must be valid, and one of its identities
// the domain that the request is for.
func verifyServer(certs []*x509.Certificate, roots *x509.CertPool, name string) error {
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	leaf := certs[0]
	if _, err := leaf.Verify(opts); err != nil {
		return err
	}
	if ip := net.ParseIP(name); ip != nil {
		return leaf.VerifyHostname(name)
	}
	found := identities(leaf)
	for _, domain := range found {
		if strings.EqualFold(strings.TrimSuffix(domain, "."), strings.TrimSuffix(name, ".")) { // RFC 5922 §7.2
			return nil
		}
	}
	return fmt.Errorf("transport: certificate is for %q, not for %s (RFC 5922)", found, name)
}

// identities are the SIP domains that a certificate is for (RFC 5922 §7.1): those of its sip
// URIs, or where it has none, its DNS names. A certificate that only has a common name is
// for none.
func identities(cert *x509.Certificate) []string {
	var domains []string
	for _, u := range cert.URIs {
		if !strings.EqualFold(u.Scheme, "sip") || u.Opaque == "" || strings.Contains(u.Opaque, "@") {
			continue // of another protocol, or of a user
		}
		if uri, err := sip.ParseURI("sip:" + u.Opaque); err == nil {
			domains = append(domains, uri.Host)
		}
	}
	if domains != nil {
		return domains
	}
	return cert.DNSNames
}
