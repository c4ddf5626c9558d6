package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/cmd/sipway/config"
)

// What can change without a connection being lost changes at once, the rest is named, and a bad file
// changes nothing.
func TestReload(t *testing.T) {
	c := newCLI(t)
	c.write("users.csv", "alice,a.test,secret\n")
	const base = "users_file: users.csv\nregistrar: {default_expires: 5m}\n"
	c.write("sipway.yaml", base)
	l := c.lab("--config", "sipway.yaml")
	alice := dial(t, "tcp", l.tcp, "alice")
	expires := func(want string) {
		t.Helper()
		alice.send("REGISTER", "sip:a.test", "<sip:alice@a.test>", "Contact: <"+alice.contact()+">;expires=60\r\n", "")
		if m := alice.receive(); !strings.Contains(string(m.Bytes()), want) {
			t.Errorf("want %q\n%s", want, m.Bytes())
		}
	}
	expires("expires=60")
	l.expect(exitOK, "nothing has changed\n", "", "reload")

	c.write("sipway.yaml", base+"limits: {max_message: 1MiB}\nlog: {level: debug}\nregistrar: {min_expires: 2m}\n")
	l.expect(exitUsage, "sipway.yaml:5: registrar", "", "reload")
	c.write("sipway.yaml", "users_file: users.csv\nregistrar: {default_expires: 5m, min_expires: 2m, max_contact: 3}\n")
	l.expect(exitUsage, "registrar.max_contact: unknown key, did you mean registrar.max_contacts?", "", "reload")
	l.await(t, "configuration not reloaded, the old one stays in force.*sipway.yaml:2")
	expires("expires=60")

	c.write("users.csv", "alice,a.test,secret\nbob,a.test,secret\n")
	c.write("sipway.yaml", "users_file: users.csv\nlimits: {max_message: 1MiB}\nlog: {level: debug}\nregistrar: {default_expires: 5m, min_expires: 2m}\n")
	const restart = "limits.max_message has changed and needs a restart\n"
	l.expect(exitOK, "registrar.min_expires is in force\nlog.level is in force\n"+restart, "", "reload")
	if out := l.expect(exitOK, "", "", "reload"); out != restart { // it is told until there is one
		t.Errorf("%s", out)
	}
	expires("423 ")
	dial(t, "tcp", l.tcp, "nobody").conn.Close()
	l.await(t, "level=DEBUG.*flow closed")
	l.expect(exitOK, "bob@a.test", "", "user", "list")

	// The same by signal. The connection is still the first one.
	c.write("sipway.yaml", base)
	l.hangups <- syscall.SIGHUP
	l.await(t, `configuration reloaded.*applied="?\[registrar.min_expires log.level\]`)
	expires("expires=60")
	if err := os.Remove("sipway.yaml"); err != nil {
		t.Fatal(err)
	}
	l.expect(exitUsage, "no such file", "", "reload")
	expires("expires=60")
}

// What protects the server changes without a restart: limits, keys of tokens, the TURN secret. With
// anything wrong, none of it does.
func TestReloadProtection(t *testing.T) {
	c := newCLI(t)
	c.withTokens("turn: {secret: first, uris: [turn:turn.a.test]}\n")
	c.write("users.csv", "alice,a.test,secret\n")
	l := c.lab("--config", "sipway.yaml", "--users-file", "users.csv", "--admin", "127.0.0.1:0")
	c.env["SIPWAY_ADMIN"] = l.admin
	// secret is the one that TURN credentials are made with.
	secret := func() string {
		t.Helper()
		var turn auth.TURNCredentials
		post(t, "http://"+l.admin+"/turn", `{"aor": "alice"}`, http.StatusOK, &turn)
		mac := hmac.New(sha1.New, []byte("second"))
		mac.Write([]byte(turn.Username))
		if turn.Password == base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			return "second"
		}
		return "first"
	}
	status := func() int {
		t.Helper()
		page, refused := dialPage(t, l.ws, "alice", "?token="+tokenOf(t, "alice", time.Minute, nil), nil)
		if page == nil {
			return refused.StatusCode
		}
		return http.StatusSwitchingProtocols
	}
	// flood reports whether a stranger is heard who asks five times.
	flood := func() bool {
		t.Helper()
		p := dial(t, "tcp", l.tcp, "stranger")
		for range 5 {
			p.send("OPTIONS", "sip:a.test", "<sip:a.test>", "", "")
			if _, err := p.read(); err != nil {
				return false
			}
		}
		return true
	}
	want := func(turn string, token int, heard bool) {
		t.Helper()
		if s, n, h := secret(), status(), flood(); s != turn || n != token || h != heard {
			t.Errorf("TURN %s, token %d, stranger heard %v; want %s, %d, %v", s, n, h, turn, token, heard)
		}
	}
	want("first", 101, true)

	c.withTokens("turn: {secret: second, uris: [turn:turn.a.test]}\nlimits: {exempt: [], requests: 1, burst: 3}\n")
	c.write("keys.json", `{"keys": []}`)
	l.expect(exitUsage, "auth.tokens: keys of tokens: keys.json", "", "reload", "--config", "sipway.yaml")
	want("first", 101, true)

	c.write("keys.json", `{"keys":[{"kty":"oct","k":"`+strings.Repeat("A", 43)+`"}]}`)
	l.expect(exitOK, "turn.secret is in force\nlimits.requests is in force\nlimits.burst is in force\nlimits.exempt is in force\n", "", "reload", "--config", "sipway.yaml")
	want("second", 401, false)
}

// Tokens are taken, by other rules, or no more, from a reload on.
func TestReloadTokens(t *testing.T) {
	c := newCLI(t)
	c.withTokens("")
	const none = "log: {level: debug}\n"
	c.write("sipway.yaml", none)
	l := c.lab("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	c.env["SIPWAY_ADMIN"] = l.admin
	for _, tt := range []struct {
		config, says string
		code         int
		good, bad    int // answers to a handshake with a good token, and with none
		register     int // answer to a REGISTER with a good token
	}{
		{none, "nothing has changed", exitOK, 101, 101, 401}, // without tokens nobody looks at what is shown
		{none + "auth: {tokens: {keys: keys.json, audience: sip}}\n", "auth.tokens.keys is in force", exitOK, 101, 401, 200},
		{none + "auth: {tokens: {keys: keys.json, audience: web}}\n", "auth.tokens.audience is in force", exitOK, 401, 401, 401},
		{none + "auth: {tokens: {keys: none.json, audience: sip}}\n", "auth.tokens: keys of tokens: open none.json", exitUsage, 401, 401, 401},
		{none + "auth: {tokens: {keys: keys.json, query: t}}\n", "auth.tokens.query is in force", exitOK, 101, 101, 200},
		{none, "auth.tokens.keys is in force", exitOK, 101, 101, 401},
	} {
		c.write("sipway.yaml", tt.config)
		l.expect(tt.code, tt.says, "", "reload", "--config", "sipway.yaml")
		good := tokenOf(t, "alice", time.Minute, nil)
		for token, want := range map[string]int{good: tt.good, "x.y.z": tt.bad} {
			status := http.StatusSwitchingProtocols
			if page, refused := dialPage(t, l.ws, "alice", "?token="+token, nil); page == nil {
				status = refused.StatusCode
			}
			if status != want {
				t.Errorf("%s: %s gets %d, want %d", tt.config, token, status, want)
			}
		}
		p := dial(t, "tcp", l.tcp, "alice")
		p.send("REGISTER", "sip:a.test", "<sip:alice@a.test>", "Authorization: Bearer "+good+"\r\n", "")
		if status := p.receive().Status(); status != tt.register {
			t.Errorf("%s: REGISTER gets %d, want %d", tt.config, status, tt.register)
		}
	}
}

// Every key that is said to be reloadable is there.
func TestReloadableKeys(t *testing.T) {
	reference := config.Reference()
	for _, key := range reloadable {
		if !strings.Contains(reference, "| `"+key) {
			t.Errorf("there is no key %s", key)
		}
	}
}
