package auth

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/store"
)

// Mode says how users prove who they are.
type Mode uint8

const (
	// Digest challenges them.
	Digest Mode = iota
	// None believes the From of every request. It is for labs.
	None
)

// Config says how an [Authenticator] works.
type Config struct {
	Mode Mode

	// Algorithms are offered in this order; nil means SHA-256, then MD5. MD5 must come
	// last, as web clients take the last challenge.
	Algorithms []digest.Algorithm

	// Key signs the nonces; at least 16 bytes. It should outlive a restart, so that clients
	// need no new challenge after one, and be the same on every node. Mode None needs none.
	Key []byte

	// NonceAge is how long a nonce may be used; 0 means the default of package digest.
	NonceAge time.Duration

	// Integrity offers the quality of protection "auth-int" besides "auth" (RFC 7616 §3.4.3)
	// to those who are not on a WebSocket: JsSIP prefers it and then computes it wrongly.
	Integrity bool

	// FlowCalls lets a user who has registered on a connection send requests on it without
	// a challenge.
	FlowCalls bool

	// Trusted are the peers whose requests are not challenged. Over UDP a source address
	// can be forged: what is listed here should be out of the reach of strangers.
	Trusted []Peer

	// Guard limits who succeeds or fails too often; nil: nobody does.
	Guard Guard

	// Names returns the names in the certificate that the flow's other end has shown, each
	// in lower case and verified; nil: nobody shows one.
	Names func(f sip.Flow) []string

	// TrustedListener reports whether the flow came to a listener whose peers are trusted,
	// wherever they are; nil: there is none.
	TrustedListener func(f sip.Flow) bool

	// Tokens says which tokens are taken besides passwords. Expired is called when a connection
	// has outlived its user's token by more than the grace, and is to close it.
	Tokens  TokenPolicy
	Expired func(f sip.Flow)

	// LookupTimeout bounds how long a request waits for the user store; 0 means 5 s.
	LookupTimeout time.Duration
}

const (
	defaultLookupTimeout = 5 * time.Second

	// maxLookups bounds the requests that wait for the user store at a time. Each holds a
	// goroutine and its message, some 8 KB, and a store that works is never that far
	// behind.
	maxLookups = 4096

	// retryAfter is the Retry-After of a 503, in seconds.
	retryAfter = 10
)

// Users knows the users' H(A1); a [store.Users] with [store.Cached].
type Users interface {
	// CachedUser answers from memory; ok is false where User must be asked.
	CachedUser(name, domain string) (u store.User, exists, ok bool)
	// User may block. It returns store.ErrNotFound where there is no such user.
	User(ctx context.Context, name, domain string) (store.User, error)
}

// Flows knows which connections are open; a transport.
type Flows interface {
	// Alive reports whether the flow can carry messages. It is false before anybody is
	// told that the flow has closed, and never becomes true again.
	Alive(f sip.Flow) bool
}

// Authenticator authenticates requests. It is safe for concurrent use.
type Authenticator struct {
	cfg     Config
	users   Users
	flows   Flows
	server  *digest.Server // nil in mode None
	bound   boundFlows
	leases  leases
	trusted atomic.Pointer[[]Peer]
	tokens  atomic.Pointer[TokenPolicy]
	waiting atomic.Int64 // requests that wait for the user store
}

// New returns an authenticator, or an error if the configuration can't be used.
func New(cfg Config, users Users, flows Flows) (*Authenticator, error) {
	cfg.LookupTimeout = cmp.Or(cfg.LookupTimeout, defaultLookupTimeout)
	a := &Authenticator{cfg: cfg, users: users, flows: flows}
	a.SetTrusted(cfg.Trusted)
	a.SetTokens(cfg.Tokens)
	a.bound.byFlow = make(map[uint64][]boundUser)
	a.leases.byFlow = make(map[uint64]*lease)
	if cfg.Mode == None {
		return a, nil
	}
	var err error
	a.server, err = digest.New(digest.Config{Key: cfg.Key, Algorithms: cfg.Algorithms, MaxAge: cfg.NonceAge, Integrity: cfg.Integrity})
	return a, err
}

// SetTrusted replaces Config.Trusted for requests to come.
func (a *Authenticator) SetTrusted(peers []Peer) {
	peers = slices.Clone(peers)
	a.trusted.Store(&peers)
}

// Trusted reports whether what comes by the flow comes from a trusted peer.
func (a *Authenticator) Trusted(f sip.Flow) bool {
	return a.cfg.TrustedListener != nil && a.cfg.TrustedListener(f) || a.trustedPeer(f)
}

// TrustsTo reports whether what goes out by the flow goes to a trusted peer. Whoever came to a
// listener of such is one, on his connection; but from its UDP socket we may send to anybody.
func (a *Authenticator) TrustsTo(f sip.Flow) bool {
	if f.Transport == sip.UDP {
		return a.trustedPeer(f)
	}
	return a.Trusted(f)
}

// trustedPeer knows them by their address, or by the name in their certificate.
func (a *Authenticator) trustedPeer(f sip.Flow) bool {
	trusted := *a.trusted.Load()
	named := false
	for i := range trusted {
		if trusted[i].Is(f.Remote) {
			return true
		}
		named = named || trusted[i].Name != ""
	}
	return named && f.Transport.Secure() && a.cfg.Names != nil && a.namedPeer(f, trusted)
}

// namedPeer reports whether the certificate of the flow's other end has the name of a trusted
// peer.
func (a *Authenticator) namedPeer(f sip.Flow, trusted []Peer) bool {
	for _, name := range a.cfg.Names(f) {
		for i := range trusted {
			if trusted[i].Name != "" && strings.EqualFold(trusted[i].Name, name) {
				return true
			}
		}
	}
	return false
}

// TrustsAddr reports whether a trusted peer has the address, on whatever port.
func (a *Authenticator) TrustsAddr(addr netip.Addr) bool {
	trusted := *a.trusted.Load()
	return slices.ContainsFunc(trusted, func(p Peer) bool { return p.Prefix.Contains(addr.Unmap().WithZone("")) })
}

// Authenticate finds out who sends m, that arrived on f, and calls then exactly once: on
// this goroutine where memory knows the user, on another one where the store must be
// asked. m must not be edited until then. realm is the domain, in lower case. proxy says
// that the request is for somebody else, whose answer to a challenge stands in
// Proxy-Authorization; otherwise we are the user agent server (RFC 3261 §22.2, §22.3).
//
// ACK and CANCEL can't be challenged (RFC 3261 §22.1). They are refused without a status,
// which is to say that nothing may be sent; an ACK or CANCEL is let pass because of what it
// belongs to, which is for the caller to know.
func (a *Authenticator) Authenticate(f sip.Flow, m *sip.Message, realm string, proxy bool, then func(Decision)) {
	switch method := m.Method(); {
	case a.Trusted(f):
		then(Decision{Outcome: Trusted})
	case method == sip.ACK || method == sip.CANCEL:
		then(Decision{Outcome: Refused, Cause: "can't be challenged"})
	case a.cfg.Mode == None:
		then(believe(m, realm))
	default:
		a.credentials(f, m, realm, proxy, then)
	}
}

// credentials looks for proof: in the request itself, or in what was shown when its
// connection was opened.
func (a *Authenticator) credentials(f sip.Flow, m *sip.Message, realm string, proxy bool, then func(Decision)) {
	if tokens := a.tokens.Load().Tokens; tokens != nil {
		if text := bearerOf(m, proxy); text != "" {
			a.bearer(f, m, realm, proxy, tokens, text, then)
			return
		}
	}
	if owner, ok := a.leases.owner(f); ok {
		user, domain, _ := strings.Cut(owner, "@")
		then(a.passed(f, Decision{Outcome: Authenticated, User: user, Domain: domain}))
		return
	}
	a.digest(f, m, realm, proxy, then)
}

// believe takes the From for the identity of the sender (RFC 3261 §10.3 step 3).
func believe(m *sip.Message, realm string) Decision {
	from, err := sip.ParseURI(m.From().URI)
	if err != nil || from.User == "" {
		return Decision{Outcome: Refused, Status: 403, Reason: "From Names No User"}
	}
	return Decision{Outcome: Authenticated, User: from.UserUnescaped(), Domain: realm}
}

// digest judges the request's credentials, if there are any.
func (a *Authenticator) digest(f sip.Flow, m *sip.Message, realm string, proxy bool, then func(Decision)) {
	header := sip.HAuthorization
	if proxy {
		header = sip.HProxyAuthorization
	}
	creds, found, err := digest.Find(m.Lines(header), realm)
	if err != nil {
		then(Decision{Outcome: Refused, Status: 400, Reason: "Bad Credentials: " + err.Error()})
		return
	}
	if !found {
		if a.cfg.Guard != nil {
			a.cfg.Guard.Challenged(f)
		}
		then(a.challenge(f, m, realm, proxy, false, "no credentials"))
		return
	}
	// An unknown user is no other case than a wrong password from here on: the zero User
	// has no H(A1), and Verify works on regardless. Neither is one whose passwords are being
	// guessed, whatever the password.
	if u, guessing := a.stranger(f, creds.Username, realm); guessing {
		then(a.verify(f, m, &creds, realm, proxy, u))
		return
	}
	if u, _, known := a.users.CachedUser(creds.Username, realm); known {
		then(a.verify(f, m, &creds, realm, proxy, &u))
		return
	}
	a.digestLater(f, m, creds, realm, proxy, then)
}

// digestLater is digest for a user whom only the store knows.
func (a *Authenticator) digestLater(f sip.Flow, m *sip.Message, creds digest.Credentials, realm string, proxy bool, then func(Decision)) {
	if a.waiting.Add(1) > maxLookups {
		a.waiting.Add(-1)
		then(unavailable("too many requests wait for the user store"))
		return
	}
	go func() {
		defer a.waiting.Add(-1)
		u, err := a.lookup(creds.Username, realm)
		if err != nil {
			then(unavailable(err.Error()))
			return
		}
		then(a.verify(f, m, &creds, realm, proxy, &u))
	}()
}

// lookup asks the store. A user who does not exist is the zero User.
func (a *Authenticator) lookup(name, realm string) (store.User, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.LookupTimeout)
	defer cancel()
	u, err := a.users.User(ctx, name, realm)
	if errors.Is(err, store.ErrNotFound) {
		return store.User{}, nil
	}
	return u, err
}

func (a *Authenticator) verify(f sip.Flow, m *sip.Message, c *digest.Credentials, realm string, proxy bool, u *store.User) Decision {
	req := digest.Request{Method: string(m.Method()), URI: m.RequestURI(), Realm: realm, Body: m.Body()}
	switch r := a.server.Verify(c, req, ha1(u, c.Algorithm)); r.Outcome {
	case digest.OK:
		return a.passed(f, Decision{Outcome: Authenticated, User: u.Name, Domain: realm, NextNonce: r.NextNonce})
	case digest.BadRequest:
		return Decision{Outcome: Refused, Status: 400, Reason: "Bad Credentials: " + r.Reason}
	default:
		if r.Outcome == digest.Denied {
			a.failed(f, c.Username, realm)
		}
		return a.challenge(f, m, realm, proxy, r.Outcome == digest.Stale, r.Reason)
	}
}

func ha1(u *store.User, a digest.Algorithm) string {
	switch a {
	case digest.MD5:
		return u.HA1.MD5
	case digest.SHA256:
		return u.HA1.SHA256
	case digest.SHA512256:
		return u.HA1.SHA512256
	}
	return ""
}

// challenge asks for credentials: 401 as a user agent server (RFC 3261 §22.2), 407 as a
// proxy (§22.3).
func (a *Authenticator) challenge(f sip.Flow, m *sip.Message, realm string, proxy, stale bool, cause string) Decision {
	d := Decision{
		Outcome: Challenged, Status: 401, Header: sip.HWWWAuthenticate,
		Challenges: a.server.Challenges(realm, stale, !f.Transport.WebSocket()), Cause: cause,
	}
	if Spare(f, m) {
		d.Challenges = d.Challenges[len(d.Challenges)-1:]
	}
	if proxy {
		d.Status, d.Header = 407, sip.HProxyAuthenticate
	}
	// A challenge for a token has to say where they are got (RFC 8898 §2.2). It comes first,
	// for web clients take the last one; and they alone get it unasked, as there are phones
	// that give up at a scheme they don't know.
	if a.tokens.Load().Server != "" && f.Transport.WebSocket() {
		d.Challenges = append([]string{a.bearerChallenge(realm)}, d.Challenges...)
	}
	return d
}

// unavailable is the answer while the user store is down.
func unavailable(cause string) Decision {
	return Decision{Outcome: Refused, Status: 503, RetryAfter: retryAfter, Cause: cause}
}
