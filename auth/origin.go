package auth

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Origin is a web origin (RFC 6454) whose pages may connect: "https://app.example.test",
// "https://*.example.test" for every name below one, "null" for pages without an origin, such
// as files, or "*" for all pages there are.
type Origin string

// ParseOrigin reads an origin.
func ParseOrigin(s string) (Origin, error) {
	if s == "*" || s == "null" {
		return Origin(s), nil
	}
	u, err := url.Parse(strings.ToLower(s))
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" ||
		strings.Contains(strings.TrimPrefix(u.Host, "*."), "*") {
		return "", fmt.Errorf("%q: expects an origin such as https://app.example.test or https://*.example.test, null or *", s)
	}
	return Origin(u.Scheme + "://" + u.Host), nil
}

// matches reports whether an Origin header field's value, in lower case, is one of those
// meant. Ports are compared as written, for browsers leave the default one out.
func (o Origin) matches(origin string) bool {
	if o == "*" {
		return true
	}
	scheme, domain, wild := strings.Cut(string(o), "://*.")
	if !wild {
		return string(o) == origin
	}
	host, ok := strings.CutPrefix(origin, scheme+"://")
	return ok && strings.HasSuffix(host, "."+domain)
}

// CheckOrigin reports whether a WebSocket handshake may go on (RFC 6455 §10.2). A browser
// says whose page it runs, and sends with the handshake whatever cookies it has for us: so
// pages of strangers are refused. A page of the same host, whatever its port, and one of the
// list may connect, and so may whoever is no browser and names no origin. All names of
// loopback are the same host.
func CheckOrigin(allowed []Origin, r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	origin := strings.ToLower(values[0])
	for _, o := range allowed {
		if o.matches(origin) {
			return true
		}
	}
	u, err := url.Parse(origin)
	return err == nil && u.Hostname() != "" && sameHost(u.Hostname(), hostname(r.Host))
}

// hostname is the host of a Host header field.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

func sameHost(a, b string) bool { return a == b || isLoopback(a) && isLoopback(b) }

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
