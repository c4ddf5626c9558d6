package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"
)

// certificate writes a certificate of its own, and its key, for a name.
func (c *cli) certificate(cert, key, name string) {
	c.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: text}} {
		c.write(name+".new", string(pem.EncodeToMemory(block)))
		if err := os.Rename(name+".new", name); err != nil {
			c.t.Fatal(err)
		}
	}
}

// A phone over TLS and a page's server over WSS; a certificate that is renewed reaches those
// who connect anew, and nobody is disconnected.
func TestServeTLS(t *testing.T) {
	c := newCLI(t)
	c.certificate("a.crt", "a.key", "a.test")
	c.write("sipway.yaml", `
domains: [a.test]
store: "memory:"
listen: [tls://127.0.0.1:0, wss://127.0.0.1:0/]
auth: {mode: none}
tls: {cert: a.crt, key: a.key, recheck: 1s}
`)
	r := c.serve("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	addr := r.await(t, `listening transport=tls addr=(\S+)`)[1]
	wss := r.await(t, `listening transport=wss addr=(\S+)`)[1]
	r.await(t, `ready`)

	alice := dialTLS(t, addr, "alice", "a.test")
	alice.register(600)
	if page, err := tls.Dial("tcp", wss, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}); err != nil {
		t.Error(err)
	} else {
		if p := page.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
			t.Errorf("a browser would speak %q", p)
		}
		page.Close()
	}

	c.certificate("a.crt", "a.key", "renewed.test")
	r.await(t, `certificates read again`)
	dialTLS(t, addr, "bob", "renewed.test").register(600)
	alice.register(600) // on her old connection

	r.signals <- os.Interrupt
	if code := r.end(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &r.log)
	}
}

// dialTLS connects a phone to a server that has a certificate for the name.
func dialTLS(t *testing.T, addr, user, name string) *phone {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.ConnectionState().PeerCertificates[0].VerifyHostname(name); err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	return &phone{t: t, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), user: user, transport: "TLS", addr: conn.LocalAddr().String()}
}
