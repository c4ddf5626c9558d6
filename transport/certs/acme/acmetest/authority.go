// Package acmetest is an ACME authority for tests: pebble, which Let's Encrypt tests clients
// with, in this process. It looks for the proofs as a real one does, at ports of loopback.
package acmetest

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/sipway/sipway/transport/dnstest"
)

// Authority gives certificates to who proves a name.
type Authority struct {
	URL      string         // of its directory
	Roots    *x509.CertPool // vouch for the URL
	RootsPEM []byte         // the same as a file has it
	Issued   *x509.CertPool // vouch for what it issues

	down atomic.Bool
}

// Start starts an authority that ends with the test. It asks the nameserver for the
// addresses of names, and looks for proofs at these ports instead of 80 and 443. What it
// issues lasts for the time, in whole seconds.
func Start(t *testing.T, names *dnstest.Server, httpPort, tlsPort int, lasts time.Duration) *Authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1") // it would wait seconds before it looks
	logger := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{
		"default": {Description: "default", ValidityPeriod: uint64(lasts / time.Second)},
	})
	looker := va.New(logger, httpPort, tlsPort, false, names.Addr.String(), store)
	front := wfe.New(logger, store, looker, issuer, []string{"acme.test"}, false, false, 1, 1)
	a := &Authority{Issued: x509.NewCertPool(), Roots: x509.NewCertPool()}
	handler := front.Handler()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	a.URL = server.URL + wfe.DirectoryPath
	a.Roots.AddCert(server.Certificate())
	a.RootsPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	a.Issued.AppendCertsFromPEM(issuer.GetRootCert(0).PEM())
	return a
}

// Down has it answer nothing but 503, or answer again.
func (a *Authority) Down(down bool) { a.down.Store(down) }
