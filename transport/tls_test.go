package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

// authority is a certificate authority.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Now().Add(time.Hour), // virtual time begins in 2000
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	made := a.sign(t, a.cert)
	a.key = made.PrivateKey.(*ecdsa.PrivateKey)
	a.cert = made.Leaf
	return a
}

// issue makes a certificate for names: DNS names, addresses, or sip URIs.
func (a *authority) issue(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			c.URIs = append(c.URIs, u)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return a.sign(t, c)
}

func (a *authority) sign(t testing.TB, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// pem is a certificate for names, with its key, as files have them.
func (a *authority) pem(t testing.TB, names ...string) []byte {
	t.Helper()
	cert := a.issue(t, names...)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// serverConfig is that of a server with a certificate for the test's names.
func (a *authority) serverConfig(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue(t, "sip.example.test", "127.0.0.1")}}
}

func (a *authority) clientConfig() *tls.Config {
	return &tls.Config{RootCAs: a.pool(), ServerName: "sip.example.test", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
}

// Messages of all sizes, several in a record and one in several, pass both ways.
func TestTLSRequestAndResponse(t *testing.T) {
	ca := newAuthority(t)
	l, r := newLayer(t, Config{TLS: ca.serverConfig(t)})
	at := listen(t, l, sip.TLS)
	c, err := tls.Dial("tcp", at.String(), ca.clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	large := requestBody(sip.TLS, 3, strings.Repeat("x", 40_000))
	write(t, c, request(sip.TLS, 1)+request(sip.TLS, 2)+large)
	for n := 1; n <= 3; n++ {
		e := expectSeq(t, r, n)
		if e.flow.Transport != sip.TLS || e.flow.ID == 0 || e.m.Via().Received != "127.0.0.1" {
			t.Fatalf("flow %v, Via %v", e.flow, e.m.Via())
		}
		response := strings.Repeat("r", n*15_000)
		if err := l.Send(e.flow, []byte(response)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(response))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != response {
			t.Fatalf("response %d: %v", n, err)
		}
		if s, ok := l.Secured(e.flow.ID); !ok || s.Version != "TLS 1.3" || s.Domains != nil || s.Cipher == "" {
			t.Errorf("secured: %+v", s)
		}
	}
	write(t, c, "\r\n\r\n")
	pong := make([]byte, 2)
	if _, err := io.ReadFull(c, pong); err != nil || string(pong) != "\r\n" {
		t.Errorf("pong %q, %v", pong, err)
	}
	c.Close()
	if e := next(t, r.closed); !errors.Is(e.err, io.EOF) {
		t.Errorf("closed by %v", e.err)
	}
}

func dialWSS(t testing.TB, at netip.AddrPort, cfg *tls.Config) *websocket.Conn {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
	c, _, err := websocket.Dial(t.Context(), "wss://"+at.String()+"/", &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{"sip"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func TestWSSRequestAndResponse(t *testing.T) {
	ca := newAuthority(t)
	l, r := newLayer(t, Config{TLS: ca.serverConfig(t)})
	c := dialWSS(t, listen(t, l, sip.WSS), ca.clientConfig())
	for n, body := range []string{"", "small", strings.Repeat("x", 40_000)} {
		writeWS(t, c, websocket.MessageText, requestBody(sip.WSS, n, body))
		e := expectSeq(t, r, n)
		if e.flow.Transport != sip.WSS || string(e.m.Body()) != body {
			t.Fatalf("flow %v, body of %d bytes", e.flow, len(e.m.Body()))
		}
		if err := l.Send(e.flow, []byte("SIP/2.0 200 OK\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(t.Context()); err != nil || string(b) != "SIP/2.0 200 OK\r\n\r\n" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	// The end: what we say of it arrives, and TLS is closed as it should be.
	e := func() event {
		writeWS(t, c, websocket.MessageText, request(sip.WSS, 9))
		return expectSeq(t, r, 9)
	}()
	l.CloseFlow(e.flow.ID, ErrNoMessage)
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("closed by %v", err)
	}
}

// A second connection of a client costs no signature.
func TestTLSResumption(t *testing.T) {
	ca := newAuthority(t)
	l, r := newLayer(t, Config{TLS: ca.serverConfig(t)})
	at := listen(t, l, sip.TLS)
	cfg := ca.clientConfig()
	for n, resumed := range []bool{false, true} {
		c, err := tls.Dial("tcp", at.String(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		write(t, c, request(sip.TLS, n))
		e := expectSeq(t, r, n)
		if s, _ := l.Secured(e.flow.ID); s.Resumed != resumed {
			t.Errorf("connection %d: resumed %t", n, s.Resumed)
		}
		l.Send(e.flow, []byte("read this, and with it the session ticket"))
		if _, err := c.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		next(t, r.closed)
	}
}

// RFC 5922 §7: whom a server that we dial must prove to be.
func TestTLSDialVerifies(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	for _, test := range []struct {
		name  string
		by    *authority
		names []string
		ask   string
		ok    bool
	}{
		{"DNS name", ca, []string{"example.test"}, "example.test", true},
		{"in another case", ca, []string{"EXAMPLE.test"}, "Example.Test", true},
		{"one of several", ca, []string{"a.test", "b.test"}, "b.test", true},
		{"sip URI", ca, []string{"sip:example.test"}, "example.test", true},
		{"address", ca, []string{"127.0.0.1"}, "", true},
		{"another name", ca, []string{"example.test"}, "other.test", false},
		{"a subdomain", ca, []string{"example.test"}, "sip.example.test", false},
		{"a wildcard", ca, []string{"*.example.test"}, "sip.example.test", false},
		{"sip URIs go before DNS names", ca, []string{"sip:a.test", "b.test"}, "b.test", false},
		{"the sip URI of a user", ca, []string{"sip:alice@example.test"}, "example.test", false},
		{"a URI of another scheme", ca, []string{"https://example.test"}, "example.test", false},
		{"a name for an address", ca, []string{"example.test"}, "", false},
		{"another authority", other, []string{"example.test"}, "example.test", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, r := newLayer(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{test.by.issue(t, test.names...)}}})
			client, _ := newLayer(t, Config{DialTLS: &tls.Config{RootCAs: ca.pool()}})
			to := sip.Server{Transport: sip.TLS, Addr: listen(t, server, sip.TLS), Name: test.ask}
			f, err := client.Dial(t.Context(), to)
			if (err == nil) != test.ok {
				t.Fatalf("dialled: %v", err)
			}
			if err != nil {
				return
			}
			if err := client.Send(f, []byte(request(sip.TLS, 1))); err != nil {
				t.Fatal(err)
			}
			expectSeq(t, r, 1)
			if s, ok := client.Secured(f.ID); !ok || test.ask != "" && !slices.Equal(s.Domains, []string{strings.ToLower(test.ask)}) {
				t.Errorf("secured: %+v", s)
			}
			if again, err := client.Dial(t.Context(), to); err != nil || again != f {
				t.Errorf("dialled again: %v, %v", again, err)
			}
			// An open connection proves nothing about another name.
			to.Name = "third.test"
			if _, err := client.Dial(t.Context(), to); err == nil {
				t.Error("the connection was taken for another name")
			}
		})
	}
}

// Peers that show a certificate are known by its names.
func TestTLSClientCertificate(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cfg := ca.serverConfig(t)
	cfg.ClientAuth, cfg.ClientCAs = tls.VerifyClientCertIfGiven, ca.pool()
	log := make(noted, 8)
	l, r := newLayer(t, Config{TLS: cfg, Logger: slog.New(log)})
	at := listen(t, l, sip.TLS)
	for n, test := range []struct {
		certs []tls.Certificate
		want  []string
	}{
		{nil, nil},
		{[]tls.Certificate{ca.issue(t, "pbx.example.test")}, []string{"pbx.example.test"}},
	} {
		own := ca.clientConfig()
		own.Certificates = test.certs
		c, err := tls.Dial("tcp", at.String(), own)
		if err != nil {
			t.Fatal(err)
		}
		write(t, c, request(sip.TLS, n))
		e := expectSeq(t, r, n)
		if s, _ := l.Secured(e.flow.ID); !slices.Equal(s.Domains, test.want) {
			t.Errorf("peer %q, want %q", s.Domains, test.want)
		}
		c.Close()
	}
	forged := ca.clientConfig()
	forged.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert := other.issue(t, "pbx.example.test")
		return &cert, nil
	}
	c, err := tls.Dial("tcp", at.String(), forged)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a certificate of another authority: %v", err)
	}
	log.expect(t, "certificate refused", "certificate signed by unknown authority", "[pbx.example.test]")
}

// A server that does not want our certificate says so when the connection stands already.
func TestTLSServerRefusesUs(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cfg := ca.serverConfig(t)
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, other.pool()
	server, _ := newLayer(t, Config{TLS: cfg})
	log := make(noted, 8)
	own := ca.issue(t, "proxy.example.test")
	client, r := newLayer(t, Config{Logger: slog.New(log), DialTLS: &tls.Config{
		RootCAs:              ca.pool(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil },
	}})
	f, err := client.Dial(t.Context(), sip.Server{Transport: sip.TLS, Addr: listen(t, server, sip.TLS), Name: "sip.example.test"})
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, r.closed); e.flow != f {
		t.Errorf("closed: %+v", e)
	}
	log.expect(t, "connection ended by the server's TLS", "unknown certificate authority", "sip.example.test")
}

// noted has what is logged for operators, a line each.
type noted chan string

func (w noted) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (w noted) WithAttrs([]slog.Attr) slog.Handler               { return w }
func (w noted) WithGroup(string) slog.Handler                    { return w }

func (w noted) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	w <- line
	return nil
}

func (w noted) expect(t *testing.T, parts ...string) {
	t.Helper()
	line := next(t, w)
	for _, part := range parts {
		if !strings.Contains(line, part) {
			t.Errorf("no %q in %s", part, line)
		}
	}
}

func TestTLSListenNeedsCertificate(t *testing.T) {
	l, _ := newLayer(t, Config{})
	for _, tr := range []sip.Transport{sip.TLS, sip.WSS} {
		if _, err := l.Listen(tr, "127.0.0.1:0", Binding{}); !errors.Is(err, ErrNoCertificate) {
			t.Errorf("%v: %v", tr, err)
		}
	}
}

// Who says nothing, or not all, is closed in time; who asks for too many handshakes at once.
func TestTLSSlowPeers(t *testing.T) {
	ca := newAuthority(t)
	server, client := ca.serverConfig(t), ca.clientConfig()
	for _, test := range []struct {
		name   string
		after  time.Duration
		attack func(t *testing.T, c net.Conn)
		want   error // of the flow, nil where none is made
	}{
		{"no handshake", 10 * time.Second, func(*testing.T, net.Conn) {}, nil},
		{"half a handshake", 10 * time.Second, func(t *testing.T, c net.Conn) { write(t, c, "\x16\x03\x01\x01\x00\x01") }, nil},
		{"half a record", 20 * time.Second, func(t *testing.T, c net.Conn) {
			tc := tls.Client(c, client)
			write(t, tc, request(sip.TLS, 1))
			write(t, c, "\x17\x03\x03\x01\x00half")
		}, ErrSlowMessage},
		{"half a message", 20 * time.Second, func(t *testing.T, c net.Conn) {
			tc := tls.Client(c, client)
			write(t, tc, request(sip.TLS, 1))
			write(t, tc, request(sip.TLS, 2)[:100])
		}, ErrSlowMessage},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				l := New(Config{TLS: server}, r)
				m := listenMem(t, l, sip.TLS)
				start := time.Now()
				c := m.Dial()
				closed := make(chan time.Duration, 1)
				test.attack(t, c)
				go func() {
					io.Copy(io.Discard, c)
					closed <- time.Since(start)
				}()
				if took := <-closed; took != test.after {
					t.Errorf("closed after %v, want %v", took, test.after)
				}
				if test.want != nil {
					if e := next(t, r.closed); !errors.Is(e.err, test.want) {
						t.Errorf("closed by %v", e.err)
					}
				}
				c.Close()
				l.Shutdown(context.Background())
			})
		})
	}
	t.Run("too many", func(t *testing.T) {
		l, _ := newLayer(t, Config{TLS: server, MaxHalfOpen: 1})
		at := listen(t, l, sip.TLS)
		first := dialStream(t, at)
		write(t, first, "\x16") // begun
		for refused := uint64(0); refused == 0; refused = l.Stats()[sip.TLS].Refused {
			second, err := net.Dial("tcp", at.String())
			if err != nil {
				continue // closed at once, as it should be
			}
			if _, err := second.Read(make([]byte, 1)); err == nil {
				t.Error("answered")
			}
			second.Close()
		}
	})
}
