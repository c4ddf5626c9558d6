package interop

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuerKey signs the tokens of the tests.
const issuerKey = "key-of-the-issuer-of-these-tests"

// takingTokens are the settings of a server that takes the issuer's tokens.
func takingTokens(t *testing.T) settings {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys.json")
	set := fmt.Sprintf(`{"keys":[{"kty":"oct","k":%q}]}`, base64.RawURLEncoding.EncodeToString([]byte(issuerKey)))
	if err := os.WriteFile(keys, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	return settings{more: fmt.Sprintf("auth: {tokens: {keys: %q, issuer: \"https://login.example.test\", grace: 1s}}\n", keys)}
}

func tokenOf(t *testing.T, user string, lasts time.Duration) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": user, "iss": "https://login.example.test", "exp": time.Now().Add(lasts).Unix(),
	}).SignedString([]byte(issuerKey))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// post sends JSON to the admin address and reads the answer.
func (s *server) post(t *testing.T, path, body string, reply any) {
	t.Helper()
	resp, err := http.Post("http://"+s.admin+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, reply)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s %s %v", path, resp.Status, text, err)
	}
}

// ticketFor makes the page show a one-time ticket when it connects.
func (p *page) ticketFor(t *testing.T, s *server) {
	t.Helper()
	var issued struct{ Ticket string }
	s.post(t, "/tickets", fmt.Sprintf(`{"aor": "%s@%s", "ttl": "60s"}`, p.account.User, domain), &issued)
	p.account.Password, p.account.Server = "", "ws://"+s.ws+"/?token="+issued.Ticket
}

// Two pages without a password in them call each other: JsSIP with its authorization_jwt, SIP.js
// with a one-time ticket at the upgrade.
func TestWebWithoutPasswords(t *testing.T) {
	s := startServer(t, takingTokens(t))
	alice, bob := openPage(t, s, jsSIP, "alice"), openPage(t, s, sipJS, "bob")
	alice.account.Password, alice.account.Token = "", tokenOf(t, "alice", time.Hour)
	bob.ticketFor(t, s)
	alice.register(t)
	bob.register(t)
	for _, pair := range [][2]*page{{alice, bob}, {bob, alice}} {
		from, to := pair[0], pair[1]
		a, b := connect(t, from, to)
		talk(t, from, a, to, b)
		release(t, from, a, to, b)
	}
}

// The connection of a page whose token has expired is closed, its registration ends, and it logs
// in anew.
func TestWebTokenExpires(t *testing.T) {
	s := startServer(t, takingTokens(t))
	alice, bob := openPage(t, s, jsSIP, "alice"), openPage(t, s, sipJS, "bob")
	bob.register(t)
	alice.account.Password, alice.account.Token = "", tokenOf(t, "alice", 4*time.Second)
	alice.register(t)
	if e := alice.box.await(t, "disconnected", 0); e.Status != 1008 {
		t.Errorf("closed with %d", e.Status)
	}
	s.awaitContacts(t, "alice", 0, soon)
	call := bob.dial(t, "alice")
	if e := bob.box.await(t, "failed", call); e.Status != 480 {
		t.Errorf("a call to her fails with %d", e.Status)
	}
	// JsSIP connects again by itself and registers with the token that it has.
	if e := alice.box.await(t, "registrationFailed", 0); e.Status != 401 {
		t.Errorf("an expired token is answered with %d", e.Status)
	}
	alice.invoke(t, nil, "login", tokenOf(t, "alice", time.Hour))
	alice.box.await(t, "registered", 0)
	b, a := connect(t, bob, alice)
	talk(t, bob, b, alice, a)
	release(t, bob, b, alice, a)
}

// Where tokens are taken, pages log in by password as before: the challenge for a token stands
// before those that they know.
func TestWebPasswordBesideTokens(t *testing.T) {
	s := startServer(t, takingTokens(t))
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library, func(t *testing.T) { openPage(t, s, library, "alice").register(t) })
	}
}
