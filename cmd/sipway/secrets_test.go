package main

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
)

// Whatever users, pages and operators show us, and whatever is wrong with it, is in no line of
// the log, at any level.
func TestSecretsStayOutOfLogs(t *testing.T) {
	const (
		password   = "PasswordOfAlice"
		wrong      = "WrongPasswordOfAlice"
		adminToken = "AdminTokenOfTheServer"
		turnSecret = "SecretOfTheTURNServer"
	)
	c := newCLI(t)
	c.withTokens("turn: {secret: " + turnSecret + ", uris: [turn:turn.a.test]}\n")
	c.write("users.csv", "alice,a.test,"+password+"\n")
	c.env["SIPWAY_ADMIN_TOKEN"] = adminToken
	l := c.lab("--config", "sipway.yaml", "--users-file", "users.csv", "--admin", "127.0.0.1:0")
	good, expired := tokenOf(t, "alice", time.Minute, nil), tokenOf(t, "alice", -time.Minute, nil)
	secrets := []string{
		password, wrong, adminToken, turnSecret, tokenKey, good, expired,
		strings.Split(good, ".")[2], strings.Split(good, ".")[1],
		digest.HA1(digest.MD5, "alice", "a.test", password), digest.HA1(digest.SHA256, "alice", "a.test", password),
		digest.HA1(digest.SHA512256, "alice", "a.test", password), digest.HA1(digest.MD5, "alice", "a.test", wrong),
		"AlsoASecretOfBob", "NoGoodToken",
	}

	// By password, right and wrong, and by what can't be read.
	page, _ := dialPage(t, l.ws, "alice", "", nil)
	for pass, want := range map[string]int{wrong: 401, password: 200} {
		m := page.registering("alice", "")
		if got := page.registering("alice", credentialsFor(t, m, pass)).Status(); got != want {
			t.Errorf("REGISTER with %s: %d", pass, got)
		}
	}
	page.registering("alice", "Authorization: Digest username=\"alice\", response=NoGoodToken\r\n")
	// By token, in every place and in every state.
	for _, text := range []string{good, expired, good[:len(good)-3] + "AAA", "NoGoodToken", "NoGoodToken.x.y"} {
		dialPage(t, l.ws, "alice", "?token="+text, nil)
		dialPage(t, l.ws, "alice", "", http.Header{"Cookie": {"session=" + text}})
		dialPage(t, l.ws, "alice", "", http.Header{"Authorization": {"Bearer " + text}})
		page.registering("alice", "Authorization: Bearer "+text+"\r\n")
		page.registering("bob", "Authorization: Bearer "+text+"\r\n")
		page.send("MESSAGE", "sip:alice@a.test", "<sip:alice@a.test>", "Authorization: Bearer "+text+"\r\n", "")
		for m := page.receive(); m.IsRequest(); m = page.receive() {
			page.answer(m, 200, "")
		}
	}
	// By ticket, and again. What the operator sends and gets.
	ask := func(token, method, path, body string) (int, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.admin+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, text
	}
	var issued struct{ Ticket string }
	status, text := ask(adminToken, http.MethodPost, "/tickets", `{"aor": "alice"}`)
	if err := json.Unmarshal(text, &issued); status != 200 || err != nil {
		t.Fatalf("%d %s", status, text)
	}
	secrets = append(secrets, issued.Ticket)
	for range 2 {
		dialPage(t, l.ws, "alice", "?token="+issued.Ticket, nil)
	}
	var turn auth.TURNCredentials
	status, text = ask(adminToken, http.MethodPost, "/turn", `{"aor": "alice"}`)
	if err := json.Unmarshal(text, &turn); status != 200 || err != nil {
		t.Fatalf("%d %s", status, text)
	}
	secrets = append(secrets, turn.Password)
	ask("NoGoodToken", http.MethodGet, "/status", "")
	ask(adminToken, http.MethodPut, "/users/bob@a.test?mode=add", `{"password": "AlsoASecretOfBob"}`)
	ask(adminToken, http.MethodPut, "/users/bob@a.test?mode=add", `{"password": "AlsoASecretOfBob"`)
	ask(adminToken, http.MethodPost, "/users?mode=add", `{"name": "x", "domain": "a.test", "ha1": {"MD5": "AlsoASecretOfBob"}}`)
	l.stop()

	log := l.log.String()
	if !strings.Contains(log, "level=DEBUG") || !strings.Contains(log, "websocket refused") {
		t.Errorf("the log says too little to prove anything:\n%s", log)
	}
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// credentialsFor answers the last challenge as web clients do, by MD5 without qop (RFC 2617).
func credentialsFor(t *testing.T, challenge *sip.Message, password string) string {
	t.Helper()
	last := ""
	for line := range challenge.Lines(sip.HWWWAuthenticate) {
		last = line
	}
	nonce := regexp.MustCompile(`nonce="([^"]*)"`).FindStringSubmatch(last)
	if nonce == nil {
		t.Fatalf("no challenge: %s", challenge.Bytes())
	}
	const uri = "sip:a.test"
	hash := func(s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	response := hash(digest.HA1(digest.MD5, "alice", "a.test", password) + ":" + nonce[1] + ":" + hash("REGISTER:"+uri))
	return `Authorization: Digest username="alice", realm="a.test", nonce="` + nonce[1] + `", uri="` + uri + `", algorithm=MD5, response="` + response + "\"\r\n"
}
