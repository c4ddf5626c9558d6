package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/auth/token"
	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/transport"
)

// identities is what the server knows of users besides their passwords: whose tokens and
// tickets are shown when a WebSocket is opened, and what they get for it.
type identities struct {
	*office
	tokens atomic.Pointer[tokens]
}

// tokens are those that are taken at present, and where they are looked for.
type tokens struct {
	config.Tokens
	verifier *token.Verifier // nil where none are taken
	stop     context.CancelFunc
}

// newTokens returns what the configuration says of tokens. It is put in force by setTokens.
func (s *server) newTokens(cfg *config.Tokens) (*tokens, error) {
	t := &tokens{Tokens: *cfg}
	if !t.Enabled() {
		return t, nil
	}
	var err error
	t.verifier, err = token.New(token.Config{
		Keys: t.Keys, JWKSURL: t.JWKSURL, Audience: t.Audience, Issuer: t.Issuer, Claim: t.Claim, Domains: s.identities.domains,
		Logger: s.log, Leeway: t.Grace,
	})
	if err != nil {
		return nil, usageError{fmt.Errorf("auth.tokens: %w", err)}
	}
	return t, nil
}

// setTokens has the server take these tokens instead of others.
func (s *server) setTokens(t *tokens) {
	policy := auth.TokenPolicy{Grace: t.Grace}
	var run context.Context
	run, t.stop = context.WithCancel(s.run)
	if t.verifier != nil {
		go t.verifier.Run(run)
		policy.Tokens = t.verifier
		if strings.HasPrefix(t.Issuer, "https://") && !strings.ContainsAny(t.Issuer, `"\`) {
			policy.Server = t.Issuer
		}
	}
	s.auth.SetTokens(policy)
	if old := s.identities.tokens.Swap(t); old != nil {
		old.stop()
	}
}

// changeTokens returns what has the server take the tokens of another configuration. Where that
// says the same of them, the file of keys is read again, and those of the URL stay known.
func (s *server) changeTokens(cfg *config.Tokens) (use func(), err error) {
	current := s.identities.tokens.Load()
	if *cfg == current.Tokens && current.verifier != nil {
		if use, err = current.verifier.Reload(); err != nil {
			err = fmt.Errorf("auth.tokens: %w", err)
		}
		return use, err
	}
	next, err := s.newTokens(cfg)
	return func() { s.setTokens(next) }, err
}

// presented returns the token or ticket that a request has with it, "" for none.
func (t *tokens) presented(r *http.Request) string {
	if name := t.Header; name != "" {
		value := r.Header.Get(name)
		if text := auth.Bearer(value); text != "" {
			return text
		}
		if value != "" && !strings.Contains(value, " ") {
			return value
		}
	}
	if name := t.Query; name != "" {
		if text := r.URL.Query().Get(name); text != "" {
			return text
		}
	}
	if name := t.Cookie; name != "" {
		if c, err := r.Cookie(name); err == nil {
			return c.Value
		}
	}
	return ""
}

// lookupTime bounds how long a request waits for a token's key.
const lookupTime = 5 * time.Second

func (t *tokens) verify(r *http.Request, text string) (token.Identity, error) {
	ctx, cancel := context.WithTimeout(r.Context(), lookupTime)
	defer cancel()
	return t.verifier.Verify(ctx, text)
}

// identify decides on the handshake of a WebSocket. Who shows nothing proves later who he is,
// by a password or a token in his requests.
func (s *server) identify(r *http.Request) (func(sip.Flow), *transport.Refusal) {
	tokens := s.identities.tokens.Load()
	text := tokens.presented(r)
	switch {
	case auth.IsTicket(text):
		aor, ok := s.identities.tickets.Redeem(text)
		if !ok {
			return nil, s.unidentified(r, "the ticket was used, has expired or never was")
		}
		return func(f sip.Flow) { s.auth.Identify(f, aor, time.Time{}) }, nil
	case text == "" || tokens.verifier == nil:
		return nil, nil
	}
	id, err := tokens.verify(r, text)
	if err != nil {
		return nil, s.unidentified(r, err.Error())
	}
	return func(f sip.Flow) { s.auth.Identify(f, id.AOR, id.Expires) }, nil
}

// unidentified refuses what can't be taken for proof (RFC 6750 §3).
func (s *server) unidentified(r *http.Request, why string) *transport.Refusal {
	s.log.Debug("websocket refused", "remote", r.RemoteAddr, "reason", why)
	return &transport.Refusal{
		Status: http.StatusUnauthorized, Text: "This connection needs another proof of who you are: " + why + ".",
		Challenge: `Bearer realm="` + s.identities.domains[0] + `", error="invalid_token"`,
	}
}

// peerNames are the names in the certificate that the other end of a connection has shown.
func (s *server) peerNames(f sip.Flow) []string {
	secured, _ := s.transport.Secured(f.ID)
	return secured.Domains
}

// trustedListener reports whether a flow came to a listener with ?trusted=1. A connection that we
// opened has another port.
func (s *server) trustedListener(f sip.Flow) bool {
	for _, l := range s.trustedAt {
		if l.Transport == f.Transport && l.Addr.Port() == f.Local.Port() &&
			(l.Addr.Addr().IsUnspecified() || f.Local.Addr().IsUnspecified() || l.Addr.Addr() == f.Local.Addr()) {
			return true
		}
	}
	return false
}

// turnPath is where users get credentials for TURN servers, on listeners of WebSockets.
const turnPath = "/turn"

// serveTURN gives a user who shows a token the credentials of the TURN servers. Pages of the
// origins that may connect may read them (Fetch standard, CORS protocol).
func (s *server) serveTURN(w http.ResponseWriter, r *http.Request) {
	turn, tokens := s.identities.turn.Load(), s.identities.tokens.Load()
	if r.URL.Path != turnPath || turn == nil || tokens.verifier == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Origin")
	if !auth.CheckOrigin(s.origins, r) {
		http.Error(w, "This origin may not ask.", http.StatusForbidden)
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	switch r.Method {
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET")
		h.Set("Access-Control-Allow-Headers", strings.Join(slices.Compact([]string{"Authorization", tokens.Header}), ", "))
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodGet:
	default:
		h.Set("Allow", "GET, OPTIONS")
		http.Error(w, "Expects GET.", http.StatusMethodNotAllowed)
		return
	}
	id, err := tokens.verify(r, tokens.presented(r))
	if err != nil {
		h.Set("WWW-Authenticate", `Bearer realm="`+s.identities.domains[0]+`"`)
		http.Error(w, "Expects a token: "+err.Error()+".", http.StatusUnauthorized)
		return
	}
	h.Set("Content-Type", "application/json")
	// An error here is the end of the one who asked.
	_ = json.NewEncoder(w).Encode(turn.Credentials(id.AOR, time.Now()))
}

// office is where the admin API gets tickets and credentials.
type office struct {
	domains []string
	tickets auth.Tickets
	turn    atomic.Pointer[auth.TURN] // nil where there is none
}

var _ admin.Office = (*office)(nil)

func newOffice(cfg *config.Config) *office {
	o := &office{domains: texts(cfg.Domains)}
	o.setTURN(&cfg.TURN)
	return o
}

// setTURN replaces what is known of the TURN servers.
func (o *office) setTURN(cfg *config.TURN) {
	if cfg.Secret.Value() == "" {
		o.turn.Store(nil)
		return
	}
	o.turn.Store(&auth.TURN{Secret: cfg.Secret.Value(), URIs: cfg.URIs, TTL: cfg.TTL})
}

// Ticket implements [admin.Office].
func (o *office) Ticket(aor string, ttl time.Duration) (string, time.Time, error) {
	aor, err := o.user(aor)
	if err != nil {
		return "", time.Time{}, err
	}
	return o.tickets.Issue(aor, ttl)
}

// TURN implements [admin.Office].
func (o *office) TURN(aor string) (any, error) {
	turn := o.turn.Load()
	if turn == nil {
		return nil, admin.BadRequest(errors.New("the configuration has no turn.secret"))
	}
	aor, err := o.user(aor)
	if err != nil {
		return nil, err
	}
	return turn.Credentials(aor, time.Now()), nil
}

func (o *office) user(text string) (string, error) {
	aor, err := token.AOR(text, o.domains)
	if err != nil {
		return "", admin.BadRequest(fmt.Errorf("aor %q: %w", text, err))
	}
	return aor, nil
}
