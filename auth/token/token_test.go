package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var domains = []string{"example.test", "other.test"}

// The keys of the tests' issuer, one a kind.
var (
	secret  = []byte("0123456789abcdef0123456789abcdef")
	rsaKey  = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	ecKey   = sync.OnceValue(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
	edKey   = sync.OnceValue(func() ed25519.PrivateKey { _, k, _ := ed25519.GenerateKey(rand.Reader); return k })
	foreign = sync.OnceValue(func() ed25519.PrivateKey { _, k, _ := ed25519.GenerateKey(rand.Reader); return k })
)

func publicPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func secretSet() string {
	return fmt.Sprintf(`{"keys":[{"kty":"oct","kid":"s","k":%q}]}`, base64.RawURLEncoding.EncodeToString(secret))
}

func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func newVerifier(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	cfg.Domains, cfg.Leeway = domains, time.Minute
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// claims are those of a good token, with some changed; nil takes one away.
func claims(change jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "alice", "aud": "sip", "iss": "https://login.test", "exp": time.Now().Add(time.Minute).Unix()}
	for name, value := range change {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

func sign(t testing.TB, m jwt.SigningMethod, key any, kid string, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(m, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestVerify(t *testing.T) {
	pems := write(t, publicPEM(t, rsaKey())+publicPEM(t, ecKey())+publicPEM(t, edKey()))
	public := newVerifier(t, Config{Keys: pems, Audience: "sip", Issuer: "https://login.test"})
	shared := newVerifier(t, Config{Keys: write(t, secretSet()), Audience: "sip", Issuer: "https://login.test"})
	good := sign(t, jwt.SigningMethodES256, ecKey(), "", claims(nil))
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	ed := func(change jwt.MapClaims) string {
		return sign(t, jwt.SigningMethodEdDSA, edKey(), "", claims(change))
	}
	for _, c := range []struct {
		name  string
		v     *Verifier
		token string
		want  error
	}{
		{"RS256", public, sign(t, jwt.SigningMethodRS256, rsaKey(), "", claims(nil)), nil},
		{"ES256", public, good, nil},
		{"EdDSA", public, ed(nil), nil},
		{"HS256", shared, sign(t, jwt.SigningMethodHS256, secret, "s", claims(nil)), nil},
		{"HS256 without key ID", shared, sign(t, jwt.SigningMethodHS256, secret, "", claims(nil)), nil},
		{"several audiences", public, ed(jwt.MapClaims{"aud": []string{"x", "sip"}}), nil},
		{"expired within the leeway", public, ed(jwt.MapClaims{"exp": at(-5 * time.Second)}), nil},

		{"no algorithm", public, sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", claims(nil)), ErrSignature},
		{"public key as shared secret", public, sign(t, jwt.SigningMethodHS256, []byte(publicPEM(t, rsaKey())), "", claims(nil)), ErrUnknownKey},
		{"PS256 with the RSA key", public, sign(t, jwt.SigningMethodPS256, rsaKey(), "", claims(nil)), ErrSignature},
		{"RS512 with the RSA key", public, sign(t, jwt.SigningMethodRS512, rsaKey(), "", claims(nil)), ErrSignature},
		{"another's key", public, sign(t, jwt.SigningMethodEdDSA, foreign(), "", claims(nil)), ErrSignature},
		{"another secret", shared, sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), "s", claims(nil)), ErrSignature},
		{"another key ID", shared, sign(t, jwt.SigningMethodHS256, secret, "t", claims(nil)), ErrUnknownKey},
		{"changed", public, good[:len(good)-6] + "AAAAAA", ErrSignature},
		{"expired", public, ed(jwt.MapClaims{"exp": at(-time.Minute)}), ErrExpired},
		{"without end", public, ed(jwt.MapClaims{"exp": nil}), errUnspecified},
		{"end is no time", public, ed(jwt.MapClaims{"exp": "soon"}), errUnspecified},
		{"not yet", public, ed(jwt.MapClaims{"nbf": at(time.Minute)}), ErrNotYet},
		{"other audience", public, ed(jwt.MapClaims{"aud": "web"}), ErrAudience},
		{"no audience", public, ed(jwt.MapClaims{"aud": nil}), errUnspecified},
		{"other issuer", public, ed(jwt.MapClaims{"iss": "https://login.test.evil"}), ErrIssuer},
		{"no user", public, ed(jwt.MapClaims{"sub": nil}), ErrNoUser},
		{"user is no text", public, ed(jwt.MapClaims{"sub": 7}), ErrNoUser},
		{"user of another domain", public, ed(jwt.MapClaims{"sub": "alice@elsewhere.test"}), ErrNoUser},
		{"nothing", public, "", ErrMalformed},
		{"no token", public, "a.b.c", ErrMalformed},
		{"too long", public, strings.Repeat("a", maxToken+1), ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := c.v.Verify(t.Context(), c.token)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if c.want == nil && (id.AOR != "alice@example.test" || time.Until(id.Expires) > time.Minute) {
				t.Errorf("identity %v", id)
			}
		})
	}
}

// What stands in an error or a log is never part of the token.
func TestErrorsQuoteNothing(t *testing.T) {
	v := newVerifier(t, Config{Keys: write(t, secretSet())})
	for _, token := range []string{"SECRETPART.SECRETPART.SECRETPART", `{"SECRETPART":1}.x.y`, "eyJhbGciOiJTRUNSRVRQQVJUIn0.e30.x"} {
		if _, err := v.Cached(token); err == nil || strings.Contains(err.Error(), "SECRETPART") {
			t.Errorf("%v", err)
		}
	}
	if _, err := New(Config{Keys: write(t, `{"keys": "SECRETPART"}`)}); err == nil || strings.Contains(err.Error(), "SECRETPART") {
		t.Errorf("%v", err)
	}
}

func TestClaim(t *testing.T) {
	v := newVerifier(t, Config{Keys: write(t, publicPEM(t, edKey())), Claim: "sip"})
	id, err := v.Cached(sign(t, jwt.SigningMethodEdDSA, edKey(), "", claims(jwt.MapClaims{"sip": "sip:bob@other.test"})))
	if err != nil || id.AOR != "bob@other.test" {
		t.Errorf("%v, %v", id, err)
	}
}

func TestKeys(t *testing.T) {
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	private, _ := x509.MarshalPKCS8PrivateKey(edKey())
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "expects public keys in PEM"},
		{"a bare secret", string(secret), "expects public keys in PEM"},
		{"short secret", `{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}`, "expects public keys in PEM"},
		{"short RSA key", publicPEM(t, small), "2048 bits"},
		{"another curve", publicPEM(t, p384), "P-256"},
		{"private key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "only public keys"},
		{"key with another algorithm", `{"keys":[{"kty":"oct","alg":"HS512","k":"` + base64.RawURLEncoding.EncodeToString(secret) + `"}]}`, "expects public keys"},
		{"encryption key", `{"keys":[{"kty":"oct","use":"enc","k":"` + base64.RawURLEncoding.EncodeToString(secret) + `"}]}`, "expects public keys"},
	} {
		if _, err := New(Config{Keys: write(t, c.text)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no keys at all are taken")
	}
	if _, err := New(Config{Keys: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestAOR(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"alice", "alice@example.test"},
		{"alice@Other.Test", "alice@other.test"},
		{"sip:alice@example.test", "alice@example.test"},
		{"SIPS:alice@example.test;transport=ws", "alice@example.test"},
		{"sip:j%40hn@example.test", ""},
		{"sip:al%69ce@example.test", "alice@example.test"},
		{"Müller", "Müller@example.test"},
		{"", ""},
		{"@example.test", ""},
		{"alice@", ""},
		{"alice@evil@example.test", ""},
		{"alice@elsewhere.test", ""},
		{"sip:example.test", ""},
		{"tel:+1555", "tel:+1555@example.test"},
		{"a b", ""},
		{"alice\r\nX: y", ""},
		{"alice\xff", ""},
		{strings.Repeat("a", 300), ""},
	} {
		got, err := AOR(c.value, domains)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q is %q (%v), want %q", c.value, got, err, c.want)
		}
	}
}

// Another file of keys takes the place of the first; one that can't be read doesn't.
func TestReload(t *testing.T) {
	file := write(t, secretSet())
	v := newVerifier(t, Config{Keys: file})
	text := sign(t, jwt.SigningMethodHS256, secret, "s", claims(jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}))
	for _, tt := range []struct {
		keys  string
		reads bool
		want  error
	}{
		{secretSet(), true, nil},
		{`{"keys": []}`, false, nil},
		{publicPEM(t, edKey()), true, ErrUnknownKey},
		{secretSet(), true, nil},
	} {
		if err := os.WriteFile(file, []byte(tt.keys), 0o600); err != nil {
			t.Fatal(err)
		}
		use, err := v.Reload()
		if (err == nil) != tt.reads {
			t.Fatalf("%s: %v", tt.keys, err)
		}
		if err == nil {
			use()
		}
		if _, err := v.Cached(text); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.keys, err, tt.want)
		}
	}
}

// What a claim maps to can be written into a SIP URI of one of the domains, and read from it
// as the same.
func FuzzAOR(f *testing.F) {
	for _, s := range []string{"alice", "alice@example.test", "sip:alice@example.test", "sip:a%20b@example.test", "@", "a@b@example.test", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		aor, err := AOR(value, domains)
		if err != nil {
			return
		}
		user, domain, ok := strings.Cut(aor, "@")
		if !ok || user == "" || domain != domains[0] && domain != domains[1] || strings.ContainsAny(aor, " \r\n\x00") {
			t.Fatalf("%q maps to %q", value, aor)
		}
	})
}

// Nothing but what the key signed is taken, whatever it looks like.
func FuzzToken(f *testing.F) {
	v := newVerifier(f, Config{Keys: write(f, secretSet()+" ")})
	good := sign(f, jwt.SigningMethodHS256, secret, "s", claims(jwt.MapClaims{"exp": int64(1) << 40}))
	head, rest, _ := strings.Cut(good, ".")
	body, _, _ := strings.Cut(rest, ".")
	f.Add(good)
	f.Add(head + "." + body + ".")
	f.Add("eyJhbGciOiJub25lIn0." + body + ".")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := v.Cached(text)
		if err == nil && !strings.HasPrefix(text, head+"."+body+".") {
			t.Fatalf("%q proves %v", text, id)
		}
	})
}
