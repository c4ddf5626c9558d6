package auth

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sipway/sipway/auth/token"
	"github.com/sipway/sipway/sip"
)

// Tokens verifies bearer tokens; a [token.Verifier]. Errors are those of package token.
type Tokens interface {
	// Cached answers from memory. Where it returns token.ErrUnknownKey, Verify may know
	// more.
	Cached(text string) (token.Identity, error)
	// Verify may block.
	Verify(ctx context.Context, text string) (token.Identity, error)
}

// TokenPolicy says how tokens are taken.
type TokenPolicy struct {
	Tokens Tokens        // nil: none are
	Server string        // https URL where users get theirs, which challenges name; "" names none
	Grace  time.Duration // how long a connection may outlive its user's token
}

// SetTokens replaces Config.Tokens for requests and tokens to come. The ends of connections that
// were set by tokens before stay.
func (a *Authenticator) SetTokens(p TokenPolicy) { a.tokens.Store(&p) }

// Bearer returns the token in a value of Authorization or Proxy-Authorization (RFC 6750
// §2.1, RFC 8898 §2.1.3), "" where it is of another scheme.
func Bearer(value string) string {
	scheme, text, _ := strings.Cut(strings.TrimSpace(value), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(text)
}

// bearerOf returns the token that a request carries. JsSIP writes its own into Authorization
// of every method, so that is looked at by a proxy too.
func bearerOf(m *sip.Message, proxy bool) string {
	for value := range m.Lines(sip.HAuthorization) {
		if text := Bearer(value); text != "" {
			return text
		}
	}
	if proxy {
		for value := range m.Lines(sip.HProxyAuthorization) {
			if text := Bearer(value); text != "" {
				return text
			}
		}
	}
	return ""
}

// bearer judges a token (RFC 8898 §2.2, §2.3). It waits for a key off this goroutine.
func (a *Authenticator) bearer(f sip.Flow, m *sip.Message, realm string, proxy bool, tokens Tokens, text string, then func(Decision)) {
	id, err := tokens.Cached(text)
	if !errors.Is(err, token.ErrUnknownKey) {
		then(a.proven(f, m, realm, proxy, id, err))
		return
	}
	if a.waiting.Add(1) > maxLookups {
		a.waiting.Add(-1)
		then(unavailable("too many requests wait for keys of tokens"))
		return
	}
	text = strings.Clone(text)
	go func() {
		defer a.waiting.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), a.cfg.LookupTimeout)
		defer cancel()
		id, err := tokens.Verify(ctx, text)
		then(a.proven(f, m, realm, proxy, id, err))
	}()
}

// proven is the decision on a token. A REGISTER that came straight from the user ties the
// connection to the life of its token.
func (a *Authenticator) proven(f sip.Flow, m *sip.Message, realm string, proxy bool, id token.Identity, err error) Decision {
	if err != nil {
		if !errors.Is(err, token.ErrExpired) { // which every good one is at some time
			a.failed(f, "", realm)
		}
		d := a.challenge(f, m, realm, proxy, false, err.Error())
		d.Challenges = append([]string{a.bearerChallenge(realm) + `, error="invalid_token"`}, digests(d.Challenges)...)
		return d
	}
	if owner, ok := a.leases.owner(f); ok && owner != id.AOR {
		return Decision{Outcome: Refused, Status: 403, Reason: "Token of Another User", Cause: "the connection is " + owner + "'s"}
	}
	if m.Method() == sip.REGISTER && f.ID != 0 && direct(m) {
		a.lease(f, id.AOR, id.Expires)
	}
	user, domain, _ := strings.Cut(id.AOR, "@")
	return a.passed(f, Decision{Outcome: Authenticated, User: user, Domain: domain, Expires: id.Expires.Add(a.tokens.Load().Grace)})
}

// direct reports whether a request came straight from the user agent.
func direct(m *sip.Message) bool {
	vias := 0
	for range m.Values(sip.HVia) {
		vias++
	}
	return vias == 1
}

func isBearer(challenge string) bool { return strings.HasPrefix(challenge, "Bearer") }

// digests returns the challenges without that for a token.
func digests(challenges []string) []string {
	if len(challenges) > 0 && isBearer(challenges[0]) {
		return challenges[1:]
	}
	return challenges
}

// bearerChallenge asks for a token (RFC 8898 §4).
func (a *Authenticator) bearerChallenge(realm string) string {
	c := `Bearer realm="` + realm + `"`
	if server := a.tokens.Load().Server; server != "" {
		c += `, authz_server="` + server + `"`
	}
	return c
}

// TakesTokens reports whether users may prove by tokens who they are.
func (a *Authenticator) TakesTokens() bool { return a.tokens.Load().Tokens != nil }
