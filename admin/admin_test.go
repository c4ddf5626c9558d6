package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(s *Server, host, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://"+host+path, nil))
	return w
}

func TestStatus(t *testing.T) {
	s := newServer(t, Config{Version: "v1", Status: func() Status {
		return Status{
			Domains: []string{"a.test"}, Listeners: []string{"udp://127.0.0.1:5060"}, Store: "memory:",
			Counters: map[string]int64{"registrations": 3},
		}
	}})
	w := get(s, "localhost:8081", "/status")
	var reply statusReply
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
		t.Fatal(err)
	}
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" || reply.Status != "OK" || reply.Version != "v1" ||
		reply.Uptime != 0 || !slices.Equal(reply.Domains, []string{"a.test"}) || len(reply.Listeners) != 1 ||
		reply.Store != "memory:" || reply.Counters["registrations"] != 3 || reply.Started.IsZero() {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestUptime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{})
		<-time.After(90 * time.Second)
		if w := get(s, "localhost", "/status"); !strings.Contains(w.Body.String(), `"uptime_seconds": 90,`) {
			t.Error(w.Body)
		}
	})
}

func TestReady(t *testing.T) {
	var reason atomic.Pointer[error]
	s := newServer(t, Config{Ready: func() error {
		if err := reason.Load(); err != nil {
			return *err
		}
		return nil
	}})
	if w := get(s, "127.0.0.1", "/readyz"); w.Code != 200 {
		t.Errorf("ready: %d", w.Code)
	}
	draining := errors.New("draining")
	reason.Store(&draining)
	if w := get(s, "127.0.0.1", "/readyz"); w.Code != 503 || w.Body.String() != "draining\n" {
		t.Errorf("draining: %d %s", w.Code, w.Body)
	}
	if w := get(s, "127.0.0.1", "/status"); w.Code != 200 || !strings.Contains(w.Body.String(), `"status": "draining"`) {
		t.Errorf("draining: %d %s", w.Code, w.Body)
	}
	if w := get(s, "127.0.0.1", "/healthz"); w.Code != 200 || w.Body.String() != "OK\n" {
		t.Errorf("health: %d %s", w.Code, w.Body)
	}
}

func TestPathsAndHosts(t *testing.T) {
	s := newServer(t, Config{})
	for _, tc := range []struct {
		host, path string
		want       int
	}{
		{"127.0.0.1:8081", "/debug/pprof/", 200},
		{"[::1]:8081", "/debug/pprof/goroutine?debug=1", 200},
		{"[::1]", "/debug/pprof/symbol", 200},
		{"[::1]", "/debug/pprof/cmdline", 404},
		{"localhost", "/", 404},
		{"rebound.test:8081", "/status", 403},
		{"192.0.2.1", "/debug/pprof/", 403},
	} {
		if w := get(s, tc.host, tc.path); w.Code != tc.want {
			t.Errorf("%s%s: %d, want %d", tc.host, tc.path, w.Code, tc.want)
		}
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost/status", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestAddresses(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:8081", "127.1.2.3:1", "[::1]:8081", "localhost:0", "[::ffff:127.0.0.1]:1"} {
		if err := CheckAddr(addr, false); err != nil {
			t.Error(err)
		}
	}
	for _, addr := range []string{"0.0.0.0:8081", ":8081", "[::]:8081", "192.0.2.1:80", "example.test:80"} {
		if _, err := New(Config{Addr: addr}); err == nil || !strings.Contains(err.Error(), "needs admin_token") || !strings.Contains(err.Error(), addr) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := CheckAddr("8081", true); err == nil || !strings.Contains(err.Error(), "host:port") {
		t.Error(err)
	}
}

func TestStartAndShutdown(t *testing.T) {
	s := newServer(t, Config{})
	addr, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + addr.String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != "OK\n" {
		t.Errorf("%q, %v", body, err)
	}

	other, err := New(Config{Addr: addr.String()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Start(t.Context()); err == nil || !strings.Contains(err.Error(), addr.String()) {
		t.Errorf("address in use: %v", err)
	}

	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", addr.String()); err == nil {
		conn.Close()
		t.Error("still listening after Shutdown")
	}
}

// A client that sends its header a byte at a time loses its connection.
func TestSlowHeader(t *testing.T) {
	s := newServer(t, Config{})
	s.http.ReadHeaderTimeout = time.Millisecond
	addr, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(t.Context())
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /status HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(conn).ReadString(0); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("connection ends with %v", err)
	}
}
