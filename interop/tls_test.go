package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// An identity is a certificate for the test's names and addresses that vouches for itself.
type identity struct {
	pem []byte // certificate and key
	key string // the hash by which the browser knows it
}

// theIdentity is that of all servers, for the browser is told once.
var theIdentity = sync.OnceValues(func() (id identity, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return id, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{domain}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return id, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return id, err
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return id, err
	}
	hash := sha256.Sum256(public)
	id.key = base64.StdEncoding.EncodeToString(hash[:])
	id.pem = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	return id, nil
})

// trustedIdentity are the authorities of who believes theIdentity.
func trustedIdentity() (*x509.CertPool, error) {
	id, err := theIdentity()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(id.pem)
	return pool, nil
}

// Pages over wss call a desk phone over tls and one over udp, and are called by them: the
// dialog's requests go both ways over both, and so does the audio.
func TestSecureCalls(t *testing.T) {
	s := startServer(t, settings{secure: true, md5: true})
	alice := openPage(t, s, jsSIP, "alice")
	bob := openPage(t, s, sipJS, "bob")
	carol := newBarePhone(t, s, "carol")
	carol.over = "tls"
	dave := newBarePhone(t, s, "dave")
	for _, p := range []phone{alice, bob, carol, dave} {
		p.register(t)
	}
	for _, desk := range []*barePhone{carol, dave} {
		t.Run("desk phone over "+desk.over, func(t *testing.T) {
			a, c := connect(t, alice, desk)
			alice.hears(t, a)
			release(t, desk, c, alice, a)
			c, a = connect(t, desk, alice)
			alice.hears(t, a)
			release(t, alice, a, desk, c)
		})
	}
	t.Run("two pages", func(t *testing.T) {
		a, b := connect(t, alice, bob)
		talk(t, alice, a, bob, b)
		release(t, bob, b, alice, a)
	})
	for user, want := range map[string]string{"alice": "wss", "bob": "wss", "carol": "tls", "dave": "udp"} {
		if r := s.registration(t, user); r.Transport != want || (want != "udp") != (r.State.TLS != "") {
			t.Errorf("%s is registered over %s, %q", user, r.Transport, r.State.TLS)
		}
	}
}
