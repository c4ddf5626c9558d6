package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/limits"
	"github.com/sipway/sipway/proxy"
	"github.com/sipway/sipway/registrar"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/sip/transaction"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/transport"
	"github.com/sipway/sipway/transport/locate"
)

// server is a running sipway: the layers, tied together.
type server struct {
	cfg *config.Config
	log *slog.Logger

	transport    *transport.Layer
	transactions *transaction.Layer
	auth         *auth.Authenticator
	registrar    *registrar.Registrar
	notifier     *registrar.Notifier
	proxy        *proxy.Proxy
	limits       *limits.Limiter                // nil where nothing is limited
	exempted     atomic.Pointer[[]netip.Prefix] // from the limits, besides trusted peers
	calls        *dialog.Calls
	records      *recorder // of calls that have ended
	addresses    *addresses
	identities   identities
	origins      []auth.Origin        // of pages that may connect
	trustedAt    []transport.Listener // whose peers are trusted
	locator      *locate.Locator
	encryption   *encryption

	// Messages that arrive before all listeners are open wait until they are.
	opened  atomic.Bool
	opening chan struct{} // closed once opened

	requests [sip.WSS + 1][len(methods)]atomic.Uint64 // received, by transport and method

	run  context.Context // ends the registrar's housekeeping
	stop context.CancelFunc
}

// The server is what the layers meet on: it hears of the transport and hands on to the
// transactions, whose user it is.
var (
	_ transport.Handler    = (*server)(nil)
	_ transaction.User     = (*server)(nil)
	_ transaction.Answerer = (*server)(nil)
)

// newServer opens the listeners and serves from then on.
func newServer(cfg *config.Config, st store.Store, o *office, e *encryption, log *slog.Logger) (*server, error) {
	s := &server{cfg: cfg, log: log, encryption: e, identities: identities{office: o}, opening: make(chan struct{})}
	s.run, s.stop = context.WithCancel(context.Background())
	s.setExempt(cfg)
	s.limits = s.newLimiter()
	tokens, err := s.newTokens(&cfg.Auth.Tokens)
	if err != nil {
		return nil, err
	}
	s.transport = transport.New(s.transportConfig(), s)
	s.locator = newLocator(cfg, log)
	s.transactions = transaction.New(transaction.Config{
		MaxTransactions: cfg.Limits.MaxTransactions,
		Priority:        func(m *sip.Message) bool { return s.proxy.Priority(m) },
		Elsewhere:       s.elsewhere,
	}, s.transport, s)
	if s.records, err = newRecorder(&cfg.CDR, log); err != nil {
		return nil, err
	}
	if err := s.wire(st); err != nil {
		return nil, err
	}
	s.setTokens(tokens)
	err = s.listen()
	if err == nil {
		err = s.encryption.run(s.run, cfg.TLS.Recheck, log)
	}
	if err != nil {
		s.stop()
		s.transport.Close()
		return nil, err
	}
	go s.registrar.Run(s.run)
	go s.calls.Run(s.run)
	go manageMemory(s.run)
	return s, nil
}

func (s *server) transportConfig() transport.Config {
	cfg, e := s.cfg, s.encryption
	for _, o := range cfg.Origins {
		s.origins = append(s.origins, o.Origin)
	}
	return s.guarded(transport.Config{
		TLS: e.listen, DialTLS: e.dial, Proxies: prefixes(cfg.Proxies),
		CheckOrigin:  func(r *http.Request) bool { return auth.CheckOrigin(s.origins, r) },
		Identify:     s.identify,
		HTTP:         http.HandlerFunc(s.serveTURN),
		MaxMessage:   int(cfg.Limits.MaxMessage),
		PingInterval: cmp.Or(cfg.Transport.PingInterval, -1), // none; its zero is the default
		PingTimeout:  cfg.Transport.PingTimeout,
		ProbeAfter:   cfg.Registrar.ProbeAfter,
		ProbeTimeout: cfg.Transport.ProbeTimeout,
		Logger:       s.log,
	})
}

// guarded adds to the transport what keeps strangers within their limits.
func (s *server) guarded(cfg transport.Config) transport.Config {
	l := &s.cfg.Limits
	cfg.MaxConnections = l.MaxConnections
	if s.limits != nil {
		cfg.MaxHalfOpen, cfg.MaxPerSource = l.MaxHalfOpen, l.MaxPerSource
		cfg.Admit, cfg.AdmitFrom, cfg.Exempt = s.limits.Admit, s.limits.AdmitFrom, s.exempt
	}
	return cfg
}

// wire makes what works above the transactions.
func (s *server) wire(st store.Store) error {
	domains := texts(s.cfg.Domains)
	nonceKey, err := st.Secret(s.run, "nonce")
	if err != nil {
		return fmt.Errorf("nonce key: %w", err)
	}
	tokenKey, err := st.Secret(s.run, "flow-token")
	if err != nil {
		return fmt.Errorf("flow token key: %w", err)
	}
	gruuKey, err := st.Secret(s.run, "gruu")
	if err != nil {
		return fmt.Errorf("GRUU key: %w", err)
	}
	authCfg := auth.Config{
		Algorithms: s.cfg.Auth.Algorithms, Key: nonceKey, NonceAge: s.cfg.Auth.NonceAge, Integrity: s.cfg.Auth.Integrity,
		FlowCalls: s.cfg.Auth.Calls == config.AuthFlow,
		Expired:   func(f sip.Flow) { s.transport.CloseFlow(f.ID, transport.ErrExpired) },
		Names:     s.peerNames,
	}
	if slices.ContainsFunc(s.cfg.Listen, func(l config.Listener) bool { return l.Trusted }) {
		authCfg.TrustedListener = s.trustedListener
	}
	if s.limits != nil {
		authCfg.Guard = s.limits
	}
	if s.cfg.Auth.Mode == config.AuthNone {
		authCfg.Mode = auth.None
	}
	for _, p := range s.cfg.Trusted {
		authCfg.Trusted = append(authCfg.Trusted, p.Peer)
	}
	if s.auth, err = auth.New(authCfg, st, s.transport); err != nil {
		return err
	}
	node, err := os.Hostname()
	if err != nil {
		node = "sipway"
	}
	r := s.cfg.Registrar
	s.registrar = registrar.New(registrar.Config{
		Domains: domains, MinExpires: r.MinExpires, DefaultExpires: r.DefaultExpires,
		MaxExpires: r.MaxExpires, MaxContacts: r.MaxContacts,
		Keepalive: keepalives[r.NATKeepalive], KeepaliveInterval: r.NATKeepaliveInterval,
		SentBy:       func(f sip.Flow) (string, uint16) { return s.addresses.sentBy(f) },
		Park:         cmp.Or(r.Park, -1), // none; its zero is the default
		ProbeTimeout: s.cfg.Transport.ProbeTimeout, PingTimeout: s.cfg.Transport.PingTimeout,
		AnyUser: s.cfg.Auth.Mode == config.AuthNone, Node: node,
		Inline: inMemory(s.cfg), Logger: s.log,
		Jitter: r.ExpiresJitter, FlowTimer: r.FlowTimer, ServiceRoute: texts(r.ServiceRoute),
		PathWithoutSupport: r.PathPolicy == config.PathAccept, ThirdParties: texts(r.ThirdParties),
		GRUUKey: gruuKey, DropOldest: r.ContactsPolicy == config.ContactsDropOldest,
	}, st, s.auth, s.transport)
	s.calls = dialog.New(dialog.Config{
		BothLost: s.cfg.Calls.BothLost, OneLost: s.cfg.Calls.OneLost, MaxSilence: s.cfg.Calls.MaxSilence,
		Reachable: func(p *dialog.Party) (sip.Flow, bool) { return s.proxy.Reachable(p) },
		Describe:  describeSDP,
		Ended:     s.records.ended,
	})
	sentBy := func(f sip.Flow) (string, uint16) { return s.addresses.sentBy(f) }
	s.notifier = registrar.NewNotifier(s.registrar, s.transactions, sentBy)
	s.proxy = proxy.New(proxy.Config{
		Unknown: s.limits.Unknown,
		Domains: domains, Key: tokenKey, Park: r.Park, Logger: s.log,
		NoAnswer: s.cfg.Proxy.NoAnswer, Recurse: recursions[s.cfg.Proxy.Recurse], Late2xx: lates[s.cfg.Proxy.Late2xx],
		Secure:   slices.ContainsFunc(s.cfg.Listen, func(l config.Listener) bool { return l.Transport.Secure() }),
		MaxCalls: s.cfg.Limits.MaxCalls, Emergency: texts(s.cfg.Proxy.Emergency),
		Local:  func(host string, port uint16) bool { return s.addresses.isLocal(host, port) },
		SentBy: sentBy,

		FailoverAfter:  s.cfg.Proxy.FailoverAfter,
		SessionExpires: s.cfg.Proxy.SessionExpires, MinSE: s.cfg.Proxy.MinSE,
		LargeOverUDP: s.cfg.Proxy.LargeUDP == config.LargeAsIs || !listensFor(s.cfg, sip.TCP),
	}, proxy.Services{
		Transactions: s.transactions, Network: s.transport, Locations: s.registrar,
		Users: st, Auth: s.auth, Locator: s.locator, Calls: s.calls,
	})
	return nil
}

var keepalives = map[config.NATKeepalive]registrar.Keepalive{
	config.NATOff: registrar.KeepNothing, config.NATCRLF: registrar.KeepCRLF, config.NATOptions: registrar.KeepOptions,
}

// What the choices of the configuration mean to the proxy.
var (
	recursions = map[config.Recurse]proxy.Recursion{
		config.RecurseOwn: proxy.RecurseOwn, config.RecurseAny: proxy.RecurseAny, config.RecurseNever: proxy.RecurseNever,
	}
	lates = map[config.Late2xx]proxy.Late2xx{
		config.LateAuto: proxy.LateAuto, config.LateForward: proxy.LateForward, config.LateTerminate: proxy.LateTerminate,
	}
)

// texts returns configured values as strings.
func texts[T ~string](values []T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}

// listen opens the listeners.
func (s *server) listen() error {
	defer func() {
		s.addresses = newAddresses(s.transport.Listeners(), s.cfg.Advertise)
		s.opened.Store(true)
		close(s.opening)
	}()
	for _, l := range s.cfg.Listen {
		addr, err := s.transport.Listen(l.Transport, l.Addr, transport.Binding{Path: l.Path, Proxied: l.Proxied})
		if err != nil {
			return listenError(l, err)
		}
		if l.Trusted {
			s.trustedAt = append(s.trustedAt, transport.Listener{Transport: l.Transport, Addr: addr})
		}
		s.log.Info("listening", "transport", strings.ToLower(l.Transport.String()), "addr", addr)
	}
	return nil
}

// listenError says what to do about a listener that can't be opened.
func listenError(l config.Listener, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: the address is in use: stop what listens there, or name another port with --listen or in listen: (%w)", l, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: not permitted: ports below 1024 need the capability CAP_NET_BIND_SERVICE (%w)", l, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: this machine does not have the address (%w)", l, err)
	}
	return fmt.Errorf("%s: %w", l, err)
}

// Receive, Malformed and Closed are the way up from the transport.

func (s *server) Receive(f sip.Flow, m *sip.Message) {
	s.awaitOpened()
	if m.IsRequest() {
		if !s.limits.Received(f, m) {
			return
		}
		s.requests[f.Transport][methodIndex(m.Method())].Add(1)
	}
	s.transactions.Receive(f, m)
}

func (s *server) awaitOpened() {
	if !s.opened.Load() {
		<-s.opening
	}
}

func (s *server) Malformed(f sip.Flow, m *sip.Message, err error) {
	s.awaitOpened()
	s.limits.Malformed(f)
	s.log.Debug("malformed message", "flow", f, "error", err)
	s.transactions.Malformed(f, m, err)
}

// Closed first ends the bindings, so that no call is forked to the flow while its
// transactions are told.
func (s *server) Closed(f sip.Flow, err error) {
	s.log.Debug("flow closed", "flow", f, "error", err)
	s.registrar.Closed(f)
	s.auth.Closed(f)
	s.transactions.Closed(f, err)
}

// Request gives a REGISTER for a domain of ours to the registrar, a SUBSCRIBE to who is
// registered there to its notifier, all else to the proxy.
func (s *server) Request(tx *transaction.Server) {
	m := tx.Request()
	switch {
	case m.Method() == sip.REGISTER && s.isOurs(m):
		s.registrar.Request(tx)
	case m.Method() == sip.SUBSCRIBE && subscribesTo(m, registrar.RegEvent) && s.isOurs(m):
		s.notifier.Request(tx)
	default:
		s.proxy.Request(tx)
	}
}

// isOurs reports whether the Request-URI names a domain or a listener of ours.
func (s *server) isOurs(m *sip.Message) bool {
	u, err := m.URI()
	return err == nil && (s.proxy.OwnDomain(u.Host) || s.addresses.isLocal(u.Host, u.Port))
}

func subscribesTo(m *sip.Message, event string) bool {
	pkg, _, err := m.Event()
	return err == nil && strings.EqualFold(pkg, event)
}

// Answer has the proxy answer what needs no transaction.
func (s *server) Answer(f sip.Flow, m *sip.Message) *sip.Message { return s.proxy.Answer(f, m) }

func (s *server) Ack(f sip.Flow, ack *sip.Message) { s.proxy.Ack(f, ack) }

// shutdown stops listening, closes what is open and waits until the store has it all, as
// long as ctx lasts.
func (s *server) shutdown(ctx context.Context) error {
	defer s.stop()
	defer s.notifier.Close()
	err := errors.Join(s.transport.Shutdown(ctx), s.registrar.Shutdown(ctx))
	s.calls.Stop()
	return errors.Join(err, s.records.close())
}
