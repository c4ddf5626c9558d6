package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"
)

// Who shows a certificate of a trusted name is a trusted peer, wherever he is; who shows none or
// another's is challenged as anybody.
func TestTrustedCertificate(t *testing.T) {
	c := newCLI(t)
	for _, name := range []string{"a", "pbx", "other"} {
		c.certificate(name+".crt", name+".key", name+".test")
	}
	authorities := c.read("pbx.crt") + c.read("other.crt")
	c.write("ca.pem", authorities)
	c.certificate("stranger.crt", "stranger.key", "pbx.test") // vouched for by nobody
	c.write("sipway.yaml", `
tls: {cert: a.crt, key: a.key, client_ca: ca.pem}
trusted: ["tls:PBX.test"]
`)
	c.env["SIPWAY_AUTH_MODE"] = "digest"
	l := c.lab("--config", "sipway.yaml", "--admin", "127.0.0.1:0", "--listen", "tls://127.0.0.1:0")
	addr := l.lastListener("tls")
	for _, tc := range []struct {
		name, certificate string
		want              int
	}{
		{"trusted", "pbx", 404}, {"another name", "other", 407}, {"none", "", 407},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := dialWith(t, addr, "alice", tc.certificate)
			p.send("MESSAGE", "sip:bob@a.test", "<sip:bob@a.test>", "", "")
			if m := p.receive(); m.Status() != tc.want {
				t.Errorf("%d, want %d", m.Status(), tc.want)
			}
		})
	}
	t.Run("forged", func(t *testing.T) {
		// With TLS 1.3 a client hears only now that its certificate is not wanted.
		p := dialWith(t, addr, "alice", "stranger")
		p.conn.SetDeadline(time.Now().Add(20 * time.Second)) // less than a silent connection has
		if _, err := p.read(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it is not closed: %v", err)
		}
	})
	l.stop()
}

// dialWith connects a phone over TLS that shows a certificate, if it has one.
func dialWith(t *testing.T, addr, user, certificate string) *phone {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true}
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate+".crt", certificate+".key")
		if err != nil {
			t.Fatal(err)
		}
		// Unlike one of Certificates it is shown whoever the server asks for.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return &phone{t: t, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), user: user, transport: "TLS", addr: conn.LocalAddr().String()}
}

func (c *cli) read(file string) string {
	c.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// lastListener returns the address of the last listener for a transport.
func (l *lab) lastListener(transport string) string {
	l.t.Helper()
	all := regexp.MustCompile(`listening transport=`+transport+` addr=(\S+)`).FindAllStringSubmatch(l.log.String(), -1)
	if len(all) == 0 {
		l.t.Fatalf("no listener for %s", transport)
	}
	return all[len(all)-1][1]
}

// Peers of a listener with ?trusted=1 are trusted, those of the others are not.
func TestTrustedListener(t *testing.T) {
	c := newCLI(t)
	c.env["SIPWAY_AUTH_MODE"] = "digest"
	l := c.lab("--admin", "127.0.0.1:0", "--listen", "tcp://127.0.0.1:0?trusted=1")
	for _, tc := range []struct {
		network, addr string
		want          int
	}{
		{"tcp", l.tcp, 407}, {"udp", l.udp, 407}, {"tcp", l.lastListener("tcp"), 404},
	} {
		p := dial(t, tc.network, tc.addr, "alice")
		p.send("MESSAGE", "sip:bob@a.test", "<sip:bob@a.test>", "", "")
		if m := p.receive(); m.Status() != tc.want {
			t.Errorf("%s %s: %d, want %d", tc.network, tc.addr, m.Status(), tc.want)
		}
	}
	l.stop()
}

// The admin listener leaves this machine with a token and TLS alone, and then serves nobody
// without the token.
func TestAdminAccess(t *testing.T) {
	c := newCLI(t)
	const token = "an-admin-token-of-ours"
	c.expect(exitUsage, "needs admin_token, and a certificate in tls", "", "serve", "--store", "memory:", "--admin", "0.0.0.0:0")
	c.expect(exitUsage, "needs admin_token, and a certificate in tls", "", "serve", "--store", "memory:", "--admin", "0.0.0.0:0", "--admin-token", token)
	c.certificate("a.crt", "a.key", "localhost")
	c.write("sipway.yaml", "tls: {cert: a.crt, key: a.key, roots: a.crt}\n")
	c.expect(exitUsage, "needs admin_token", "", "serve", "--config", "sipway.yaml", "--store", "memory:", "--admin", "0.0.0.0:0")
	c.write("token", token+"\n")
	c.env["SIPWAY_ADMIN_TOKEN"] = "file:token"
	l := c.lab("--config", "sipway.yaml", "--admin", "0.0.0.0:0")
	_, port, err := net.SplitHostPort(l.admin)
	if err != nil {
		t.Fatal(err)
	}
	at := "https://localhost:" + port
	c.expect(exitOK, "", "", "reg", "list", "--config", "sipway.yaml", "--admin", at)
	c.env["SIPWAY_ADMIN_TOKEN"] = "another-admin-token"
	c.expect(exitFailure, "the admin token is needed", "", "reg", "list", "--config", "sipway.yaml", "--admin", at)

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, tc := range []struct {
		path, authorization string
		want                int
	}{
		{"/healthz", "", 200},
		{"/readyz", "", 200},
		{"/status", "", 401},
		{"/metrics", "", 401},
		{"/debug/pprof/", "Basic " + token, 401},
		{"/status", "Bearer " + token + "x", 401},
		{"/status", "Bearer " + token[1:], 401},
		{"/status", "bearer " + token, 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", tc.authorization)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s as %q: %d, want %d", tc.path, tc.authorization, resp.StatusCode, tc.want)
		}
	}
	if resp, err := http.Get("http://localhost:" + port + "/status"); err == nil {
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %s", resp.Status)
		}
		resp.Body.Close()
	}
	l.stop()
}
