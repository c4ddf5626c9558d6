package main

import (
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/store/dsn"
)

// No command, no answer of the admin API, no record of a call and no line of the log shows what
// proves who somebody is, or a key of the server.
func TestSecretsStayOutOfOutput(t *testing.T) {
	const (
		password   = "PasswordOfAlice"
		adminToken = "AdminTokenOfTheServer"
		turnSecret = "SecretOfTheTURNServer"
		storeName  = "sqlite:s.db"
	)
	c := newCLI(t)
	c.withTokens("turn: {secret: " + turnSecret + ", uris: [turn:turn.a.test]}\ncdr: {file: calls.json}\nadmin_token: " + adminToken + "\n")
	c.write("users.csv", "alice,a.test,"+password+"\n")
	l := c.lab("--config", "sipway.yaml", "--users-file", "users.csv", "--admin", "127.0.0.1:0", "--store", storeName)
	token := tokenOf(t, "alice", time.Minute, nil)

	// A call that rings, whose INVITE has all kinds of credentials, and one that is over.
	alice, _ := dialPage(t, l.ws, "alice", "", nil)
	answer := credentialsFor(t, alice.registering("alice", ""), password)
	if status := alice.registering("alice", answer).Status(); status != 200 {
		t.Fatalf("REGISTER: %d", status)
	}
	bob, _ := dialPage(t, l.ws, "bob", "?token="+tokenOf(t, "bob", time.Minute, nil), nil)
	if status := bob.tryRegister("bob", ""); status != 200 {
		t.Fatalf("REGISTER by token: %d", status)
	}
	var invite *sip.Message
	for _, status := range []int{486, 180} {
		alice.send("INVITE", "sip:bob@a.test", "<sip:bob@a.test>", "Authorization: Bearer "+token+"\r\nProxy-"+answer+
			"Contact: <"+alice.contact()+">\r\n", "")
		invite = bob.receive()
		bob.answer(invite, status, "")
		for alice.receive().Status() != status {
		}
		if status >= 300 {
			if ack := bob.receive(); ack.Method() != sip.ACK {
				t.Fatalf("%s", ack.Bytes())
			}
		}
	}
	st, err := dsn.Open(t.Context(), storeName, dsn.Options{})
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{
		password, adminToken, turnSecret, tokenKey, base64.RawURLEncoding.EncodeToString([]byte(tokenKey)), token, strings.Split(token, ".")[2],
		digest.HA1(digest.MD5, "alice", "a.test", password), digest.HA1(digest.SHA256, "alice", "a.test", password),
		digest.HA1(digest.SHA512256, "alice", "a.test", password), regexp.MustCompile(`response="(\w+)"`).FindStringSubmatch(answer)[1],
	}
	for _, name := range []string{"nonce", "flow-token", "gruu"} {
		key, err := st.Secret(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, string(key), hex.EncodeToString(key), strings.ToUpper(hex.EncodeToString(key)),
			base64.RawStdEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key))
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(what, text, part string) {
		t.Helper()
		if !strings.Contains(text, part) {
			t.Errorf("%s has no %q:\n%s", what, part, text)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %q", what, secret)
			}
		}
	}

	c.env["SIPWAY_ADMIN"] = l.admin
	const server, database = " --config sipway.yaml", " --config sipway.yaml --store " + storeName
	for command, part := range map[string]string{
		"config show" + database: "admin_token: xxxxx", "config show --json" + database: `"secret":"xxxxx"`,
		"config check sipway.yaml": "", "config reference": "admin_token", "version": "",
		"user list" + database: "alice@a.test", "user list --json" + database: "alice@a.test", "user list --json --admin " + l.admin + server: "alice@a.test",
		"user show alice" + database: "alice@a.test", "user show alice --json" + database: "alice@a.test",
		"reg list" + server: "alice@a.test", "reg list --json" + server: "alice@a.test",
		"reg show alice" + server: "alice", "reg show alice --json" + server: "alice@a.test",
		"call list" + server: "bob", "call list --json" + server: "bob",
		"call show " + callOf(c) + server: "INVITE", "call show --json " + callOf(c) + server: "INVITE",
		"ban list" + server: "", "ban list --json" + server: "", "reload" + server: "", "migrate status" + database: "up to date",
	} {
		code, out, messages := c.run("", strings.Fields(command)...)
		if code != exitOK {
			t.Errorf("sipway %s: %d %s", command, code, messages)
		}
		check("sipway "+command, out+messages, part)
	}
	for path, part := range map[string]string{
		"/status": "version", "/metrics": "sipway_", "/users": "alice", "/users/alice@a.test": "alice",
		"/registrations": "alice", "/registrations/alice@a.test": "alice", "/calls": "bob", "/calls/" + callOf(c): "bob", "/bans": "",
		"/debug/pprof/goroutine?debug=2": "goroutine", "/debug/pprof/heap?debug=1": "heap", "/debug/pprof/cmdline": "404",
	} {
		check("GET "+path, fetch(t, "http://"+l.admin+path, adminToken), part)
	}
	bob.answer(invite, 486, "") // which the server would wait for
	l.stop()
	check("the log", l.log.String(), "level=DEBUG")
	records, err := os.ReadFile("calls.json")
	if err != nil {
		t.Fatal(err)
	}
	check("calls.json", string(records), "alice")
}

// callOf returns the ID of the only call.
func callOf(c *cli) string {
	c.t.Helper()
	out := c.expect(exitOK, "", "", "call", "list", "--json", "--config", "sipway.yaml")
	id := regexp.MustCompile(`"id":"(\w+)"`).FindStringSubmatch(out)
	if id == nil {
		c.t.Fatalf("no call: %s", out)
	}
	return id[1]
}

// fetch returns the status and body of an answer.
func fetch(t *testing.T, url, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + "\n" + string(body)
}

// What is wrong with a configuration is told without the secrets in it.
func TestSecretsStayOutOfErrors(t *testing.T) {
	for _, text := range []string{
		"admin_token: GEHEIM\n",
		"admin_token: [GEHEIM-GEHEIM-GEHEIM]\n",
		"admin_token: {GEHEIM: GEHEIM}\n",
		"admin_token: file:none\nturn: {secret: GEHEIM}\n",
		"turn: {secret: [GEHEIM]}\n",
		"turn: {secret: GEHEIM, uris: [http://x]}\n",
		"turn: GEHEIM\n",
		"turn: {secret: \"GEHEIM}\n",
		"admin_token: *GEHEIM\n",
		"admin_token: &GEHEIM\n",
		"admin_token: !GEHEIM\n",
		"admin_token: |GEHEIM\n",
		"admin_token: @GEHEIM\n",
		"admin_token: a: GEHEIM\n",
		"store: [\"postgres://u:GEHEIM@h/d\"]\n",
		"store: {\"postgres://u:GEHEIM@h/d\": 1}\n",
		"store: postgres://u:GEHEIM@h:port/d\n",
		"store: postgres://u:GEHEIM@[::1/d\n",
		"store: postgres://u:GEH%EIM@h/d\n",
		"store: \"postgres:host=h password=GEHEIM\"\n",
		"store: postgre://u:GEHEIM@h/d\n",
		"store: u:GEHEIM@h/d\n",
		"store: postgres://u:GEHEIM@127.0.0.1:1/d?sslmode=nonsense\n",
	} {
		c := newCLI(t)
		c.write("sipway.yaml", text)
		for _, args := range [][]string{
			{"config", "check", "sipway.yaml"}, {"config", "show", "--config", "sipway.yaml"}, {"user", "list", "--config", "sipway.yaml"},
		} {
			_, out, messages := c.run("", args...)
			if strings.Contains(out+messages, "GEHEIM") || strings.Contains(out+messages, "GEH%EIM") {
				t.Errorf("sipway %s of\n%sshows it:\n%s%s", strings.Join(args, " "), text, out, messages)
			}
		}
	}
}
