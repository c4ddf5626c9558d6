package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

var _ encoding.TextUnmarshaler = (*Secret)(nil)

// Tokens says by which tokens users prove who they are.
type Tokens struct {
	JWKSURL  string        `yaml:"jwks_url" doc:"URL of the JWK Set whose keys sign users' JSON Web Tokens; with it or keys, tokens are taken besides passwords"`
	Keys     string        `yaml:"keys" doc:"file of such keys: public ones in PEM, or a JWK Set, which may have shared secrets (HS256)"`
	Audience string        `yaml:"audience" doc:"what a token's aud must name; empty: it is not looked at"`
	Issuer   string        `yaml:"issuer" doc:"what a token's iss must be; empty: it is not looked at. An https URL is also where challenges say that tokens are got (RFC 8898)"`
	Claim    string        `yaml:"claim" doc:"the claim that names the user: NAME, of the first domain, NAME@DOMAIN or a SIP URI"`
	Cookie   string        `yaml:"cookie" doc:"cookie of the WebSocket handshake that has a token or ticket; empty for none"`
	Query    string        `yaml:"query" doc:"parameter of the WebSocket's URL that has one; empty for none"`
	Header   string        `yaml:"header" doc:"header field of the handshake that has one, behind Bearer or alone; empty for none"`
	Grace    time.Duration `yaml:"grace" doc:"how long a connection outlives its user's token, if he shows no newer one"`
}

// Enabled reports whether there are keys to verify tokens with.
func (t *Tokens) Enabled() bool { return t.JWKSURL != "" || t.Keys != "" }

// TURN says what clients are told of TURN servers.
type TURN struct {
	Secret Secret        `yaml:"secret" doc:"shared secret of the TURN servers (coturn: static-auth-secret), or file:PATH; with it users get time-limited credentials at GET /turn of ws and wss listeners"`
	URIs   []string      `yaml:"uris" doc:"the TURN servers, such as turn:turn.example.test:3478?transport=udp"`
	TTL    time.Duration `yaml:"ttl" doc:"how long credentials are good for"`
}

func (c *Config) validateIdentity(fail func(format string, args ...any)) {
	t := &c.Auth.Tokens
	if t.JWKSURL != "" {
		if u, err := url.Parse(t.JWKSURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			fail("auth.tokens.jwks_url: %q: expects an https URL", t.JWKSURL)
		}
	}
	if t.Claim == "" {
		fail("auth.tokens.claim: expects the name of a claim, such as sub")
	}
	if t.Grace < 0 || t.Grace > time.Hour {
		fail("auth.tokens.grace: expects 0 to 1h, not %v", t.Grace)
	}
	if c.AdminToken.Value() != "" && len(c.AdminToken.Value()) < 16 {
		fail("admin_token: expects 16 characters or more")
	}
	if c.TURN.Secret.Value() != "" && len(c.TURN.URIs) == 0 {
		fail("turn: uris are needed with secret")
	}
	for _, uri := range c.TURN.URIs {
		if scheme, rest, _ := strings.Cut(uri, ":"); scheme != "turn" && scheme != "turns" && scheme != "stun" && scheme != "stuns" || rest == "" {
			fail("turn.uris: %q: expects turn:HOST:PORT?transport=udp or the like", uri)
		}
	}
	if c.TURN.TTL < time.Minute || c.TURN.TTL > 24*time.Hour {
		fail("turn.ttl: expects 1m to 24h, not %v", c.TURN.TTL)
	}
}

// Secret is a text that is not written anywhere: as text it is xxxxx.
type Secret struct{ value, file string }

// Value returns the secret itself.
func (s Secret) Value() string { return s.value }

// String returns what may be seen of it.
func (s Secret) String() string {
	switch {
	case s.file != "":
		return "file:" + s.file
	case s.value != "":
		return "xxxxx"
	}
	return ""
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText returns what may be seen of it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text, or that of the file that it names.
func (s *Secret) UnmarshalText(text []byte) error {
	file, isFile := strings.CutPrefix(string(text), "file:")
	if !isFile {
		*s = Secret{value: string(text)}
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	*s = Secret{value: strings.TrimSpace(string(content)), file: file}
	if s.value == "" {
		return errors.New("the file " + file + " is empty")
	}
	return nil
}
