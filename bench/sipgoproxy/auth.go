package sipgoproxy

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"sync"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// authenticator is digest authentication (RFC 7616) with MD5 and nonces that
// serve as often as their count rises. It forgets no nonce.
type authenticator struct {
	realm, password string

	mu     sync.Mutex
	counts map[string]int // the last count of each nonce
}

// check returns the user who sent a request, by the credentials in the named
// header, or else a challenge for him.
func (a *authenticator) check(req *sip.Request, name string) (user, challenge string) {
	header := req.GetHeader(name)
	if header == nil {
		return "", a.challenge()
	}
	c, err := digest.ParseCredentials(header.Value())
	if err != nil || c.Realm != a.realm || c.QOP != "auth" || !a.use(c.Nonce, c.Nc) {
		return "", a.challenge()
	}
	want, err := digest.Digest(
		&digest.Challenge{Realm: a.realm, Nonce: c.Nonce, Algorithm: "MD5", QOP: []string{"auth"}},
		digest.Options{
			Method: string(req.Method), URI: c.URI, Count: c.Nc, Cnonce: c.Cnonce,
			Username: c.Username, Password: a.password,
		},
	)
	if err != nil || subtle.ConstantTimeCompare([]byte(want.Response), []byte(c.Response)) != 1 {
		return "", a.challenge()
	}
	return c.Username, ""
}

// use reports whether a nonce is ours and its count has risen.
func (a *authenticator) use(nonce string, count int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, ok := a.counts[nonce]
	if !ok || count <= last {
		return false
	}
	a.counts[nonce] = count
	return true
}

func (a *authenticator) challenge() string {
	nonce := rand.Text()
	a.mu.Lock()
	a.counts[nonce] = 0
	a.mu.Unlock()
	return fmt.Sprintf(`Digest realm="%s", nonce="%s", algorithm=MD5, qop="auth"`, a.realm, nonce)
}
