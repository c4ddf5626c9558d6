package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/sipway/sipway/transport/certs/acme/acmetest"
	"github.com/sipway/sipway/transport/dnstest"
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
	c.certificate("pbx.crt", "pbx.key", "pbx.test")
	c.write("sipway.yaml", `
domains: [a.test]
store: "memory:"
listen: [tls://127.0.0.1:0, wss://127.0.0.1:0/]
auth: {mode: none}
tls: {cert: a.crt, key: a.key, client_ca: pbx.crt, recheck: 1s}
`)
	r := c.serve("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	admin := r.await(t, `listening transport=admin addr=(\S+)`)[1]
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

	var shown struct {
		Registrations []struct {
			State struct{ TLS string }
		}
	}
	getJSON(t, admin, "/registrations/alice@a.test", &shown)
	if len(shown.Registrations) != 1 || shown.Registrations[0].State.TLS != "TLS 1.3" {
		t.Errorf("shown: %+v", shown)
	}
	own, err := tls.LoadX509KeyPair("pbx.crt", "pbx.key")
	if err != nil {
		t.Fatal(err)
	}
	dialTLS(t, addr, "pbx", "renewed.test", own).register(600)
	c.expect(exitOK, ", open, TLS 1.3 as pbx.test, heard", "", "reg", "show", "pbx@a.test", "--admin", admin)

	var status struct {
		Expires time.Time `json:"certificate_expires"`
	}
	getJSON(t, admin, "/status", &status)
	if left := time.Until(status.Expires); left < 29*24*time.Hour || left > 30*24*time.Hour {
		t.Errorf("the certificate ends in %v", left)
	}

	r.signals <- os.Interrupt
	if code := r.end(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &r.log)
	}
}

// dialTLS connects a phone to a server that has a certificate for the name, with a
// certificate of its own if it has one.
func dialTLS(t *testing.T, addr, user, name string, own ...tls.Certificate) *phone {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: name, Certificates: own})
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

// adminGet returns an answer of the admin listener.
func adminGet(t *testing.T, admin, path string) []byte {
	t.Helper()
	resp, err := http.Get("http://" + admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", path, resp.Status, body, err)
	}
	return body
}

func getJSON(t *testing.T, admin, path string, into any) {
	t.Helper()
	if err := json.Unmarshal(adminGet(t, admin, path), into); err != nil {
		t.Fatal(err)
	}
}

// With ACME alone the server starts and serves what needs no certificate, and TLS as soon as
// the authority gave one.
func TestServeACME(t *testing.T) {
	names := dnstest.Start(t)
	names.Set(t, "sip.a.test 60 IN A 127.0.0.1")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	ca := acmetest.Start(t, names, 1, port, 90*24*time.Hour)
	c := newCLI(t)
	c.write("roots.pem", string(ca.RootsPEM))
	c.certificate("b.crt", "b.key", "b.test")
	c.write("sipway.yaml", fmt.Sprintf(`
domains: [a.test]
store: "memory:"
listen: [tcp://127.0.0.1:0, wss://127.0.0.1:%d/]
auth: {mode: none}
tls:
  cert: b.crt
  key: b.key
  acme: {domains: [sip.a.test], ca: %q, ca_roots: roots.pem, storage: acme}
`, port, ca.URL))
	r := c.serve("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	admin := r.await(t, `listening transport=admin addr=(\S+)`)[1]
	tcp := r.await(t, `listening transport=tcp addr=(\S+)`)[1]
	r.await(t, `ready`)
	dial(t, "tcp", tcp, "alice").register(600)
	r.await(t, `certificate obtained.* name=sip.a.test`)
	var conn *tls.Conn
	for deadline := time.Now().Add(30 * time.Second); ; { // it is told of a moment before it is used
		conn, err = tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{ServerName: "sip.a.test", RootCAs: ca.Issued})
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	dialTLS(t, fmt.Sprintf("127.0.0.1:%d", port), "bob", "b.test") // beside it, that of the file
	if body := adminGet(t, admin, "/metrics"); !bytes.Contains(body, []byte("\nsipway_tls_certificate_expiry_timestamp_seconds ")) {
		t.Error("no metric of the certificates' end")
	}
	r.signals <- os.Interrupt
	if code := r.end(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &r.log)
	}
}

// What is wrong with the files of certificates is said before the server would fail on it.
func TestCheckCertificates(t *testing.T) {
	for _, test := range []struct{ tls, want string }{
		{"{cert: a.crt, key: a.key}", ""},
		{"{bundles: [both.pem]}", ""},
		{"{cert: a.crt, key: b.key}", "private key does not match"},
		{"{cert: none.crt, key: a.key}", "none.crt"},
		{"{cert: a.key, key: a.key}", "a.key"},
		{"{cert: a.crt, key: a.key, bundles: [a.crt]}", "a.crt"},
		{"{cert: a.crt, key: a.key, client_ca: a.key}", "no certificate"},
		{"{cert: a.crt, key: a.key, roots: none.pem}", "none.pem"},
		{"{cert: a.crt}", "cert and key are needed together"},
		{"{acme: {domains: [localhost]}}", "localhost is not a name"},
		{"{acme: {domains: [a.test], ca: 'http://a.test/'}}", "a URL with https"},
		{"{acme: {domains: [a.test], http: ':80'}}", "such as 0.0.0.0:80"},
		{"{acme: {domains: [a.test], storage: ''}}", "expects a directory"},
		{"{acme: {domains: [a.test], ca_roots: a.key}}", "no certificate"},
		{"{acme: {domains: [a.test]}}", ""},
	} {
		t.Run(test.tls, func(t *testing.T) {
			c := newCLI(t)
			c.certificate("a.crt", "a.key", "a.test")
			c.certificate("b.crt", "b.key", "b.test")
			both := ""
			for _, name := range []string{"a.crt", "a.key"} {
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				both += string(text)
			}
			c.write("both.pem", both)
			c.write("sipway.yaml", "listen: [tls://127.0.0.1]\ntls: "+test.tls+"\n")
			if test.want == "" {
				c.expect(exitOK, "OK", "", "config", "check", "sipway.yaml")
			} else {
				c.expect(exitUsage, test.want, "", "config", "check", "sipway.yaml")
			}
		})
	}
}

// A request for another domain goes over TLS only to who proves to be that domain (RFC 5922
// §7): another sipway with its certificate, and with one for another name.
func TestServeTLSToAnother(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
	}{{"b.test", 200}, {"other.test", 500}} {
		t.Run(test.name, func(t *testing.T) {
			c := newCLI(t)
			c.certificate("a.crt", "a.key", "a.test")
			c.certificate("b.crt", "b.key", test.name)
			c.write("b.yaml", "domains: [b.test]\nstore: \"memory:\"\nlisten: [tls://127.0.0.1:0]\ntls: {cert: b.crt, key: b.key}\n")
			b := c.serve("--config", "b.yaml", "--admin", "127.0.0.1:0")
			_, port, err := net.SplitHostPort(b.await(t, `listening transport=tls addr=(\S+)`)[1])
			if err != nil {
				t.Fatal(err)
			}
			b.await(t, `ready`)
			names := dnstest.Start(t)
			names.Set(t, "_sips._tcp.b.test 60 IN SRV 0 0 "+port+" host.b.test.", "host.b.test 60 IN A 127.0.0.1")
			c.write("a.yaml", fmt.Sprintf(`
domains: [a.test]
store: "memory:"
listen: [tcp://127.0.0.1:0, tls://127.0.0.1:0]
auth: {mode: none}
tls: {cert: a.crt, key: a.key, roots: b.crt}
dns: {servers: ["%s"]}
`, names.Addr))
			a := c.serve("--config", "a.yaml", "--admin", "127.0.0.1:0")
			tcp := a.await(t, `listening transport=tcp addr=(\S+)`)[1]
			a.await(t, `ready`)
			alice := dial(t, "tcp", tcp, "alice")
			alice.send("OPTIONS", "sip:b.test;transport=tls", "<sip:b.test>", "", "")
			if m := alice.receive(); m.Status() != test.status {
				t.Errorf("answered with %d %s, want %d", m.Status(), m.Reason(), test.status)
			}
			for _, r := range []*running{a, b} {
				r.signals <- os.Interrupt
				if code := r.end(); code != exitOK {
					t.Errorf("exit code %d\n%s", code, &r.log)
				}
			}
		})
	}
}
