package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// CheckAddr returns an error if addr is neither unix:PATH nor an address with a port, which is to be
// on loopback unless who asks is known and nobody listens in: there is a token, and TLS.
func CheckAddr(addr string, guarded bool) error {
	if path, ok := socketPath(addr); ok {
		if path == "" {
			return fmt.Errorf("admin address %q: expects unix:PATH", addr)
		}
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("admin address %q: expects host:port or unix:PATH", addr)
	}
	if !loopback(host) && !guarded {
		return fmt.Errorf("admin address %q: elsewhere than on loopback (127.0.0.1, [::1] or localhost) it needs admin_token, and a certificate in tls", addr)
	}
	return nil
}

// socketPath returns the path of a Unix socket's address.
func socketPath(addr string) (path string, ok bool) { return strings.CutPrefix(addr, "unix:") }

// onThisMachine reports whether an address that CheckAddr accepts is out of others' reach.
func onThisMachine(addr string) bool {
	if _, ok := socketPath(addr); ok {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	return err == nil && loopback(host)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// listen opens the listener of an address that CheckAddr accepts.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	if path, ok := socketPath(addr); ok {
		return listenSocket(ctx, path)
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr)
}

// socket is the listener of a Unix socket that was moved to its path.
type socket struct {
	net.Listener
	addr net.UnixAddr
}

func (s *socket) Addr() net.Addr { return &s.addr }

func (s *socket) Close() error {
	err := s.Listener.Close()
	os.Remove(s.addr.Name)
	return err
}

// listenSocket opens a Unix socket that nobody but its owner ever may connect to: it is made in a
// directory of its own and moved from there, over what a server that crashed has left.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("listen unix %s: %w", path, syscall.EADDRINUSE)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("listen unix %s: there is a file that is not a socket", path)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".sipway")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", made)
	if err != nil {
		return nil, err
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(made, 0o600)
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		ln.Close()
		return nil, err
	}
	return &socket{ln, net.UnixAddr{Name: path, Net: "unix"}}, nil
}

// localOnly refuses requests for a host name that is not this machine's own: a web page can make
// a browser on this machine send them here by pointing its own name at 127.0.0.1.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]") // no port
		}
		if !loopback(host) {
			text(w, http.StatusForbidden, "expects a Host of 127.0.0.1, [::1] or localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func nosniff(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// withToken refuses requests without the token, but for probes. It compares hashes, so that the time
// it takes tells nothing.
func (s *Server) withToken(next http.Handler) http.Handler {
	if _, ok := socketPath(s.cfg.Addr); ok || s.cfg.Token == "" {
		return next
	}
	want := sha256.Sum256([]byte(s.cfg.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		shown := sha256.Sum256([]byte(text))
		ok := subtle.ConstantTimeCompare(want[:], shown[:]) == 1 && strings.EqualFold(scheme, "Bearer")
		if !ok && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sipway"`)
			writeJSON(w, http.StatusUnauthorized, errorReply{"the admin token is needed: --admin-token or SIPWAY_ADMIN_TOKEN", codeUnauthorized})
			return
		}
		next.ServeHTTP(w, r)
	})
}
