package token

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// site is the web server that has the JWK Set; as an http.RoundTripper it keeps to virtual
// time.
type site struct {
	mu    sync.Mutex
	set   string // "" while it is down
	slow  time.Duration
	asked int
}

func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	set, slow := s.set, s.slow
	s.asked++
	s.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if set == "" {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(set))}, nil
}

func (s *site) becomes(set string, slow time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set, s.slow = set, slow
}

func (s *site) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func ecSet(kid string) string {
	public, err := ecKey().PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	b := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","use":"sig","kid":%q,"x":%q,"y":%q},{"kty":"oct","kid":"oct","k":%q}]}`,
		kid, b(public[1:33]), b(public[33:]), b(secret))
}

// remoteTest runs f with a verifier that has its keys from a site.
func remoteTest(t *testing.T, f func(t *testing.T, s *site, v *Verifier)) {
	ecKey()
	synctest.Test(t, func(t *testing.T) {
		s := &site{set: ecSet("1")}
		v := newVerifier(t, Config{
			JWKSURL: "https://login.test/jwks", Client: &http.Client{Transport: s, Timeout: fetchTimeout},
			Logger: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		go v.Run(ctx)
		synctest.Wait()
		f(t, s, v)
		cancel()
		synctest.Wait()
	})
}

func TestRotation(t *testing.T) {
	remoteTest(t, func(t *testing.T, s *site, v *Verifier) {
		one := sign(t, jwt.SigningMethodES256, ecKey(), "1", claims(nil))
		two := sign(t, jwt.SigningMethodES256, ecKey(), "2", claims(nil))
		if _, err := v.Cached(one); err != nil {
			t.Fatal(err)
		}
		<-time.After(minRefresh)
		s.becomes(ecSet("2"), time.Second)
		if _, err := v.Cached(two); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("before it was asked for: %v", err)
		}
		before := s.requests()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := v.Verify(t.Context(), two); err != nil {
					t.Errorf("new key: %v", err)
				}
			})
		}
		all.Wait()
		if n := s.requests() - before; n != 1 {
			t.Errorf("%d requests for one key", n)
		}
		if _, err := v.Verify(t.Context(), one); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("withdrawn key: %v", err)
		}
	})
}

// A key that is withdrawn is not taken for longer than refreshEvery.
func TestWithdrawal(t *testing.T) {
	remoteTest(t, func(t *testing.T, s *site, v *Verifier) {
		one := sign(t, jwt.SigningMethodES256, ecKey(), "1", claims(jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}))
		s.becomes(ecSet("2"), 0)
		<-time.After(refreshEvery)
		synctest.Wait()
		if _, err := v.Cached(one); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("withdrawn key: %v", err)
		}
	})
}

func TestSiteDown(t *testing.T) {
	remoteTest(t, func(t *testing.T, s *site, v *Verifier) {
		one := sign(t, jwt.SigningMethodES256, ecKey(), "1", claims(jwt.MapClaims{"exp": time.Now().Add(24 * time.Hour).Unix()}))
		s.becomes("", 0)
		<-time.After(time.Hour)
		if _, err := v.Verify(t.Context(), one); err != nil {
			t.Errorf("known key while the site is down: %v", err)
		}
		s.becomes(ecSet("2"), time.Hour) // takes the connection, and nothing comes
		began := time.Now()
		two := sign(t, jwt.SigningMethodES256, ecKey(), "2", claims(nil))
		if _, err := v.Verify(t.Context(), two); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("unknown key while the site is down: %v", err)
		}
		if took := time.Since(began); took > fetchTimeout {
			t.Errorf("waited %v", took)
		}
		s.becomes(ecSet("2"), 0)
		<-time.After(2 * retryEvery)
		if _, err := v.Cached(two); err != nil {
			t.Errorf("the site is back: %v", err)
		}
	})
}

// Tokens that name made-up keys do not become a flood of requests, and a secret that anybody
// can fetch is none.
func TestMadeUpKeys(t *testing.T) {
	remoteTest(t, func(t *testing.T, s *site, v *Verifier) {
		before := s.requests()
		for i := range 1000 {
			forged := sign(t, jwt.SigningMethodHS256, secret, fmt.Sprint("k", i), claims(nil))
			if _, err := v.Verify(t.Context(), forged); err == nil {
				t.Fatal("taken")
			}
			<-time.After(10 * time.Millisecond)
		}
		if n := s.requests() - before; n > 3 {
			t.Errorf("%d requests within 10 s", n)
		}
		if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, secret, "oct", claims(nil))); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("published secret: %v", err)
		}
	})
}
