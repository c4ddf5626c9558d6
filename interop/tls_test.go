package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// An identity is a certificate for names and this machine's address.
type identity struct {
	pem []byte // certificate and key
	key string // the hash by which the browser knows it
}

// theIdentity is that of all servers, for the browser is told once. It vouches for others, too.
var theIdentity = sync.OnceValues(func() (identity, error) { return newIdentity(nil, domain) })

// newIdentity makes an identity for the names that another vouches for, or it itself.
func newIdentity(by *identity, names ...string) (id identity, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return id, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		Subject:   pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: by == nil, BasicConstraintsValid: true,
	}
	issuer, key := template, crypto.Signer(private)
	if by != nil {
		pair, err := tls.X509KeyPair(by.pem, by.pem)
		if err != nil {
			return id, err
		}
		issuer, key = pair.Leaf, pair.PrivateKey.(crypto.Signer)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &private.PublicKey, key)
	if err != nil {
		return id, err
	}
	own, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return id, err
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return id, err
	}
	hash := sha256.Sum256(public)
	id.key = base64.StdEncoding.EncodeToString(hash[:])
	id.pem = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: own})...)
	return id, nil
}

// believing is the side of a client who believes theIdentity, and shows its certificate where he
// is asked for one.
func believing() (*tls.Config, error) {
	id, err := theIdentity()
	if err != nil {
		return nil, err
	}
	own, err := tls.X509KeyPair(id.pem, id.pem)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(id.pem)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}}, err
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
