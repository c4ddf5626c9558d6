package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Config says which tokens are taken.
type Config struct {
	// Keys is a file of keys: public ones in PEM, or a JWK Set. JWKSURL is where a JWK Set
	// of public keys is fetched, and fetched again as it changes. At least one is needed.
	Keys    string
	JWKSURL string

	// Audience and Issuer are what the token's aud must contain and iss be. Where one is "",
	// it is not looked at.
	Audience, Issuer string

	// Claim names the user: NAME, NAME@DOMAIN or a SIP URI; "" means "sub".
	Claim string

	// Domains are those of our users; a NAME alone is one of the first domain's.
	Domains []string

	// Leeway is how far the issuer's clock may be from ours, 10 s at most. It should not be
	// more than what connections get that outlive their tokens.
	Leeway time.Duration

	// Client fetches JWKSURL; nil means one that waits 5 s at most.
	Client *http.Client

	Logger *slog.Logger // nil: slog.Default
}

// Identity is what a token proves.
type Identity struct {
	AOR     string    // user without escapes, "@", domain in lower case
	Expires time.Time // when the token does
}

// Errors of tokens that are not taken. Their texts may be told to anybody: they say nothing
// of the token's content.
var (
	ErrMalformed   = errors.New("the token is malformed")
	ErrExpired     = errors.New("the token has expired")
	ErrNotYet      = errors.New("the token is not valid yet")
	ErrSignature   = errors.New("the token's signature does not verify")
	ErrAudience    = errors.New("the token is for another audience")
	ErrIssuer      = errors.New("the token is of another issuer")
	ErrUnknownKey  = errors.New("the token's key is not known")
	ErrNoUser      = errors.New("the token names no user of ours")
	errUnspecified = errors.New("the token is not valid")
)

const (
	// maxLeeway is the most that is made of Config.Leeway.
	maxLeeway = 10 * time.Second

	// maxToken is the longest token looked at, in bytes.
	maxToken = 16 << 10
)

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	cfg    Config
	parser *jwt.Parser
	static atomic.Pointer[[]key] // of the file
	remote *remote               // nil for none
}

// New returns a verifier. It reads the file, and does not wait for the URL: [Verifier.Run] is to
// be started.
func New(cfg Config) (*Verifier, error) {
	v := &Verifier{cfg: cfg}
	if v.cfg.Claim == "" {
		v.cfg.Claim = "sub"
	}
	if v.cfg.Logger == nil {
		v.cfg.Logger = slog.Default()
	}
	if cfg.Keys == "" && cfg.JWKSURL == "" {
		return nil, errors.New("token: neither keys nor a URL of keys")
	}
	use, err := v.Reload()
	if err != nil {
		return nil, err
	}
	use()
	if cfg.JWKSURL != "" {
		v.remote = newRemote(cfg.JWKSURL, cfg.Client, v.cfg.Logger)
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithExpirationRequired(), jwt.WithLeeway(min(cfg.Leeway, maxLeeway)), jwt.WithJSONNumber(),
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	v.parser = jwt.NewParser(options...)
	return v, nil
}

// Reload reads the file of keys again. They take the place of those before when use is called;
// with an error those stay.
func (v *Verifier) Reload() (use func(), err error) {
	var keys []key
	if v.cfg.Keys != "" {
		if keys, err = readKeys(v.cfg.Keys); err != nil {
			return nil, fmt.Errorf("keys of tokens: %w", err)
		}
	}
	return func() { v.static.Store(&keys) }, nil
}

// Run keeps the keys of the URL fresh until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	if v.remote != nil {
		v.remote.run(ctx)
	}
}

// Cached verifies a token with the keys that are known. Where it returns ErrUnknownKey, Verify
// may know more.
func (v *Verifier) Cached(token string) (Identity, error) {
	if len(token) > maxToken {
		return Identity{}, ErrMalformed
	}
	claims := jwt.MapClaims{}
	if _, err := v.parser.ParseWithClaims(token, claims, v.candidates); err != nil {
		return Identity{}, plain(err)
	}
	value, _ := claims[v.cfg.Claim].(string)
	aor, err := AOR(value, v.cfg.Domains)
	if err != nil {
		return Identity{}, ErrNoUser
	}
	expires, err := claims.GetExpirationTime()
	if err != nil {
		return Identity{}, ErrMalformed
	}
	return Identity{AOR: aor, Expires: expires.Time}, nil
}

// Verify is Cached, but asks the URL for a key that is not known. It waits as long as ctx lasts,
// and some seconds at most.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	id, err := v.Cached(token)
	if !errors.Is(err, ErrUnknownKey) || v.remote == nil {
		return id, err
	}
	v.remote.refresh(ctx)
	return v.Cached(token)
}

// candidates returns the keys that may have signed a token: those of its algorithm, and of its
// key ID where it and they have one.
func (v *Verifier) candidates(t *jwt.Token) (any, error) {
	kid, _ := t.Header["kid"].(string)
	var set jwt.VerificationKeySet
	add := func(keys []key) {
		for _, k := range keys {
			if k.alg == t.Method.Alg() && (kid == "" || k.id == "" || k.id == kid) {
				set.Keys = append(set.Keys, k.key)
			}
		}
	}
	add(*v.static.Load())
	if v.remote != nil {
		add(v.remote.known())
	}
	if len(set.Keys) == 0 {
		return nil, ErrUnknownKey
	}
	return set, nil
}

// plain turns an error of the parser into one of ours, that has nothing of the token in it.
func plain(err error) error {
	for _, e := range []struct{ is, means error }{
		{ErrUnknownKey, ErrUnknownKey},
		{jwt.ErrTokenMalformed, ErrMalformed},
		{jwt.ErrTokenSignatureInvalid, ErrSignature},
		{jwt.ErrTokenUnverifiable, ErrSignature},
		{jwt.ErrTokenExpired, ErrExpired},
		{jwt.ErrTokenNotValidYet, ErrNotYet},
		{jwt.ErrTokenInvalidAudience, ErrAudience},
		{jwt.ErrTokenInvalidIssuer, ErrIssuer},
	} {
		if errors.Is(err, e.is) {
			return e.means
		}
	}
	return errUnspecified
}

// Is reports whether a text has the form of a token that this package takes.
func Is(text string) bool { return strings.Count(text, ".") == 2 }
