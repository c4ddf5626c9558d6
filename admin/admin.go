// Package admin is the HTTP listener for those who run the server: its status, the probes of load
// balancers and container platforms, and profiles. It is not for users and asks nobody for a
// password, so it listens on loopback only.
//
//	GET /status        what runs here, as JSON
//	GET /healthz       200 while the process serves HTTP at all
//	GET /readyz        200 while the server takes calls, else 503 and why not
//	GET /debug/pprof/  profiles (net/http/pprof)
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"
)

// Config says what to show. The functions are called for each request, possibly at the same time.
type Config struct {
	Addr    string // host:port; the host is a loopback address or localhost
	Version string

	// Status describes the server. Nil means that there is nothing to describe.
	Status func() Status

	// Ready returns nil while the server takes calls and else the reason why not, such as
	// that it is draining. Nil means that it always does.
	Ready func() error

	// Logger gets what goes wrong on connections; nil means slog.Default().
	Logger *slog.Logger
}

// Status describes the server.
type Status struct {
	Domains   []string
	Listeners []string // URLs
	Store     string
	Counters  map[string]int64 // by name, as "registrations" or "calls_total"
}

// Server is the admin listener.
type Server struct {
	cfg     Config
	started time.Time
	http    *http.Server
}

// CheckAddr returns an error if addr is not the address of a loopback listener with a port.
func CheckAddr(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("admin address %q: expects host:port", addr)
	}
	if !loopback(host) {
		return fmt.Errorf("admin address %q: only loopback is allowed (127.0.0.1, [::1] or localhost), because this version has no login for it; reach it from elsewhere through an SSH tunnel", addr)
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// New returns a server that does not listen yet, or an error if its address is not on loopback.
func New(cfg Config) (*Server, error) {
	if err := CheckAddr(cfg.Addr); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Server{cfg: cfg, started: time.Now()}
	s.http = &http.Server{
		Handler: s.Handler(),
		// Nobody holds a connection by being slow. A profile may take its time to be
		// written, two minutes at most.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Start listens and serves in the background. It returns the address that it listens on.
func (s *Server) Start(ctx context.Context) (net.Addr, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("admin listener: %w", err)
	}
	go func() {
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Logger.Error("admin listener failed", "error", err)
		}
	}()
	return ln.Addr(), nil
}

// Shutdown stops listening and waits for requests under way until ctx ends, then breaks them off.
func (s *Server) Shutdown(ctx context.Context) error {
	return errors.Join(s.http.Shutdown(ctx), s.http.Close())
}

// Handler returns the handler of all paths.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "OK") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return localOnly(mux)
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
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// statusReply is the body of /status. Its names are fixed: scripts read them.
type statusReply struct {
	Status    string           `json:"status"` // "OK", or why it is not
	Version   string           `json:"version"`
	Started   time.Time        `json:"started"`
	Uptime    int64            `json:"uptime_seconds"`
	Domains   []string         `json:"domains"`
	Listeners []string         `json:"listeners"`
	Store     string           `json:"store,omitempty"`
	Counters  map[string]int64 `json:"counters"`
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	reply := statusReply{
		Status:  "OK",
		Version: s.cfg.Version,
		Started: s.started.UTC(),
		Uptime:  int64(time.Since(s.started).Seconds()),
	}
	if err := s.ready(); err != nil {
		reply.Status = err.Error()
	}
	if s.cfg.Status != nil {
		st := s.cfg.Status()
		reply.Domains, reply.Listeners, reply.Store, reply.Counters = st.Domains, st.Listeners, st.Store, st.Counters
	}
	body, err := json.MarshalIndent(reply, "", "  ")
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(body, '\n'))
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.ready(); err != nil {
		text(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	text(w, http.StatusOK, "OK")
}

func (s *Server) ready() error {
	if s.cfg.Ready == nil {
		return nil
	}
	return s.cfg.Ready()
}

func text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, line)
}
