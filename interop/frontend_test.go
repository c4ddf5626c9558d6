package interop

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// registration is what the server shows of a user's only one.
type registration struct {
	Transport string
	Remote    string
	State     struct{ TLS string }
}

func (s *server) registration(t *testing.T, user string) (r registration) {
	t.Helper()
	body, err := s.get(t.Context(), "/registrations/"+user+"@"+domain)
	if err != nil {
		t.Fatal(err)
	}
	var page struct{ Registrations []registration }
	if err := json.Unmarshal(body, &page); err != nil || len(page.Registrations) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	return page.Registrations[0]
}

// clientAddr is where the clients of these tests connect from: another address than that of
// the front end, which connects from 127.0.0.1.
const clientAddr = "127.0.0.5"

func dialFromClient(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientAddr)}}
	return d.DialContext(ctx, network, addr)
}

// registerWS registers over WebSocket at a URL, with a forged header.
func registerWS(t *testing.T, url, user string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DialContext: dialFromClient, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{"sip"}, HTTPHeader: http.Header{"X-Forwarded-For": {"203.0.113.9"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	if err := c.Write(ctx, websocket.MessageText, registerRequest("WS", user)); err != nil {
		t.Fatal(err)
	}
	if _, b, err := c.Read(ctx); err != nil || statusOf(b) != 200 {
		t.Fatalf("REGISTER: %v %s", err, b)
	}
}

// registerStream registers over TCP or TLS.
func registerStream(t *testing.T, addr, user string, secure bool) {
	t.Helper()
	c, err := dialFromClient(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	if _, err := c.Write(registerRequest("TCP", user)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4<<10)
	if n, err := c.Read(b); err != nil || statusOf(b[:n]) != 200 {
		t.Fatalf("REGISTER: %v %s", err, b[:n])
	}
}

func registerRequest(transport, user string) []byte {
	return fmt.Appendf(nil, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/%[2]s phone.invalid;branch=z9hG4bK%[3]s\r\n"+
		"Max-Forwards: 70\r\nFrom: <sip:%[3]s@%[1]s>;tag=f\r\nTo: <sip:%[3]s@%[1]s>\r\nCall-ID: front-%[3]s\r\n"+
		"CSeq: 1 REGISTER\r\nContact: <sip:%[3]s@phone.invalid>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n",
		domain, transport, user)
}

// certificateFile writes the servers' certificate and key.
func certificateFile(t *testing.T, dir string) string {
	t.Helper()
	id, err := theIdentity()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "server.pem")
	if err := os.WriteFile(file, id.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// cameFrom checks where the server says that a user registered from.
func (s *server) cameFrom(t *testing.T, user, want string) {
	t.Helper()
	if r := s.registration(t, user); !strings.HasPrefix(r.Remote, want+":") {
		t.Errorf("%s registered over %s from %s, not from %s", user, r.Transport, r.Remote, want)
	}
}

// nginx ends TLS and says in X-Forwarded-For whose connection it passes on. What the client
// itself says there counts neither with it nor without it.
func TestBehindNginx(t *testing.T) {
	s := startServer(t, settings{open: true, memory: true, more: "proxies: [127.0.0.1/32]\n"})
	dir, front := t.TempDir(), freePort(t)
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s ssl;
		ssl_certificate %[3]s;
		ssl_certificate_key %[3]s;
		location / {
			proxy_pass http://%[4]s;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		}
	}
}
`, dir, front, certificateFile(t, dir), s.ws)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "nginx", exec.Command("/usr/sbin/nginx", "-p", dir, "-e", "stderr", "-c", config))
	dialWhenReady(t, p, front).Close()
	registerWS(t, "wss://"+front+"/", "alice")
	s.cameFrom(t, "alice", clientAddr)
	registerWS(t, "ws://"+s.ws+"/", "bob") // past it
	s.cameFrom(t, "bob", clientAddr)
}

// HAProxy passes connections on as they are, behind a header of the PROXY protocol.
func TestBehindHAProxy(t *testing.T) {
	inner := map[string]string{}
	var listen []string
	for _, scheme := range []string{"tcp", "tls", "ws", "wss"} {
		inner[scheme] = freePort(t)
		listen = append(listen, scheme+"://"+inner[scheme]+"?proxy=1")
	}
	s := startServer(t, settings{open: true, memory: true, secure: true, listen: listen, more: "proxies: [127.0.0.1/32]\n"})
	dir := t.TempDir()
	var config strings.Builder
	config.WriteString("global\n\tlog stderr format raw local0\ndefaults\n\tmode tcp\n\ttimeout connect 5s\n\ttimeout client 1m\n\ttimeout server 1m\n")
	front := map[string]string{}
	for scheme, addr := range inner {
		version := "send-proxy-v2"
		if scheme == "tcp" {
			version = "send-proxy"
		}
		front[scheme] = freePort(t)
		fmt.Fprintf(&config, "listen %s\n\tbind %s\n\tserver a %s %s\n", scheme, front[scheme], addr, version)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "haproxy", exec.Command("/usr/sbin/haproxy", "-db", "-f", file))
	for _, addr := range front {
		dialWhenReady(t, p, addr).Close()
	}
	registerStream(t, front["tcp"], "alice", false)
	registerStream(t, front["tls"], "bob", true)
	registerWS(t, "ws://"+front["ws"]+"/", "carol")
	registerWS(t, "wss://"+front["wss"]+"/", "dave")
	for _, user := range []string{"alice", "bob", "carol", "dave"} {
		s.cameFrom(t, user, clientAddr)
	}
}
