// Package admin is the HTTP listener for those who run the server: who is registered, who may
// register, what the server does, the probes of load balancers and container platforms, metrics
// and profiles. [Client] is its other end, for the command line.
//
// It is not for the users of the server. It listens on a Unix socket (unix:PATH), which only the
// owner of the process may open, or on loopback, where everybody on the machine may use it who
// knows the token, if there is one; elsewhere with a token and TLS alone. The token stands in
// Authorization, behind "Bearer"; only the probes /healthz and /readyz need none.
//
//	GET    /registrations                a page of the registrations, {"registrations": [...], "next": "..."}
//	       ?aor=PATTERN                  only these addresses-of-record, '*' for anything
//	       &user_agent=PART              with this in their user agent's name
//	       &transport=T&node=N           over this transport, at this node
//	       &source=ADDRESS               from this address or prefix
//	       &expiring=DURATION            that expire within this time, "90s"
//	       &sort=aor|expires|updated     their order
//	       &limit=N&after=NEXT           the size of the page, and where it begins
//	GET    /registrations/count          how many there are, {"count": N}; takes the same filters
//	GET    /registrations/watch          what happens from now on, a line of JSON an event, an
//	                                     empty one now and then; takes the same filters
//	GET    /registrations/{aor}          all registrations of NAME@DOMAIN
//	DELETE /registrations/{aor}          ends them, {"removed": [...]}
//	       ?contact=CONTACT              only this one: a contact URI or a key
//	       &kick=true                    and closes their connections
//	POST   /registrations/{aor}/ping     an OPTIONS to every contact, {"pings": [...]}
//	       ?timeout=DURATION             how long answers are waited for, 5s
//	GET    /calls                        a page of the live calls, {"calls": [...], "next": "..."}
//	       ?user=PATTERN&from=PATTERN&to=PATTERN  of either side, of the caller, of whom he asked for
//	       &state=STATE                  trying, early, confirmed or ending
//	       &transport=T&longer=DURATION  over this transport, that began so long ago
//	       &limit=N&after=NEXT           the size of the page, and where it begins
//	GET    /calls/count                  how many there are, {"count": N}; takes the same filters
//	GET    /calls/{id}                   all that is known of the calls with an ID or a Call-ID
//	GET    /users                        a page of the users, {"users": [...], "next": "..."}
//	       ?limit=N&after=NEXT
//	GET    /users/{user}                 one of them
//	PUT    /users/{user}?mode=add        adds NAME@DOMAIN, {"password": "..."} or {"ha1": {...}};
//	                                     mode=replace sets the password of one who may exist
//	DELETE /users/{user}                 removes one; registrations last until they expire
//	POST   /users?mode=add               imports many or none: a JSON object {"name", "domain", "ha1"} a line
//	POST   /reload                       reads the configuration again, {"applied": [...], "restart": [...]}
//	GET    /bans                         sources that are not heard, {"bans": [...]}
//	PUT    /bans/{address}?for=DURATION  bans the source of an address, for 1h
//	DELETE /bans/{address}               ends that, and forgets what it has done
//	POST   /tickets                      a one-time ticket for a WebSocket, {"aor": "NAME@DOMAIN", "ttl": "60s"}
//	                                     gets {"ticket": "...", "expires": "..."}
//	POST   /turn                         credentials for the TURN servers, {"aor": "NAME@DOMAIN"}
//	GET    /status                       what runs here
//	GET    /metrics                      for Prometheus
//	GET    /healthz                      200 while the process serves HTTP at all
//	GET    /readyz                       200 while the server takes calls, else 503 and why not
//	GET    /debug/pprof/                 profiles (net/http/pprof)
//
// Bodies are JSON. An error has {"error": "what a person reads", "code": "not_found"}; the codes
// are bad_request (400), not_found (404), exists (409), failed (500), unavailable (503) and
// timeout (504). Names and codes are fixed: scripts read them. There may be more of them later.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/sipway/sipway/store"
)

// Config says what to show. The functions are called for each request, possibly at the same time.
type Config struct {
	Addr    string // see CheckAddr
	Version string

	// Status describes the server. Nil means that there is nothing to describe.
	Status func() Status

	// Ready returns nil while the server takes calls and else the reason why not, such as
	// that it is draining. Nil means that it always does.
	Ready func() error

	// Registrations are those of the server, Users its users, Calls what passes it. Where one
	// is nil, its paths are not there.
	Registrations Registrations
	Calls         Calls
	Users         store.Users
	Bans          Bans

	// Office issues tickets and credentials; nil: nobody does.
	Office Office

	// Token is what whoever asks must show as a bearer token, "" for nothing. A Unix socket
	// asks for none. TLS is for addresses that are not on loopback, which need both.
	Token string
	TLS   *tls.Config

	// Reload reads the configuration again; nil means that it can't be.
	Reload func(context.Context) (Reloaded, error)

	// Metrics serves GET /metrics; nil means that there are none.
	Metrics http.Handler

	// Logger gets what goes wrong on connections; nil means slog.Default().
	Logger *slog.Logger
}

// Status describes the server.
type Status struct {
	Domains   []string
	Listeners []string // URLs
	Store     string
	Counters  map[string]int64 // by name, as "registrations" or "calls_total"

	CertificateExpires time.Time // the first to end of those that there are, zero without any
}

// Server is the admin listener.
type Server struct {
	cfg     Config
	started time.Time
	http    *http.Server
	serving sync.WaitGroup

	ending context.Context // done when streams are to end
	end    context.CancelFunc
}

// New returns a server that does not listen yet, or an error if its address may not be listened on.
func New(cfg Config) (*Server, error) {
	if err := CheckAddr(cfg.Addr, cfg.Token != "" && cfg.TLS != nil); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Server{cfg: cfg, started: time.Now()}
	s.ending, s.end = context.WithCancel(context.Background())
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
	ln, err := listen(ctx, s.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("admin listener: %w", err)
	}
	if !onThisMachine(s.cfg.Addr) {
		cfg := s.cfg.TLS.Clone()
		cfg.ClientAuth = tls.NoClientCert // it is the token that counts
		cfg.NextProtos = []string{"http/1.1"}
		ln = tls.NewListener(ln, cfg)
	}
	s.serving.Go(func() {
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Logger.Error("admin listener failed", "error", err)
		}
	})
	return ln.Addr(), nil
}

// Shutdown stops listening, ends the streams of events and waits for other requests under way until
// ctx ends, then breaks them off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.end()
	err := errors.Join(s.http.Shutdown(ctx), s.http.Close())
	s.serving.Wait() // which closes the listener
	return err
}

// Handler returns the handler of all paths.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "OK") })
	mux.HandleFunc("GET /readyz", s.readyz)
	// Not the command line: a database's password may stand in it.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if s.cfg.Reload != nil {
		mux.HandleFunc("POST /reload", s.reload)
	}
	if s.cfg.Metrics != nil {
		mux.Handle("GET /metrics", s.cfg.Metrics)
	}
	s.routeRegistrations(mux)
	s.routeCalls(mux)
	s.routeUsers(mux)
	s.routeBans(mux)
	s.routeOffice(mux)
	// No page in a browser on this machine changes anything here.
	h := s.withToken(http.NewCrossOriginProtection().Handler(mux))
	if !onThisMachine(s.cfg.Addr) {
		return nosniff(h)
	}
	return localOnly(nosniff(h))
}
