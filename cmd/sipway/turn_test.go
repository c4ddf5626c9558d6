package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/auth"
)

// A user's page gets credentials for the TURN servers with the token that it registers with;
// nobody else does, and no page of another origin.
func TestTURN(t *testing.T) {
	c := newCLI(t)
	c.withTokens("turn: {secret: shared, uris: ['turn:turn.a.test:3478?transport=udp'], ttl: 10m}\norigins: [https://app.a.test]\n")
	l := c.lab("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	good := tokenOf(t, "alice", time.Minute, nil)
	ask := func(method, query string, headers ...string) (*http.Response, auth.TURNCredentials) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.ws+"/turn"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var got auth.TURNCredentials
		if resp.StatusCode == http.StatusOK {
			if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
		}
		return resp, got
	}
	const origin = "Origin: https://app.a.test"
	for _, tc := range []struct {
		name, method, query string
		headers             []string
		status              int
		allowed             string // Access-Control-Allow-Origin
	}{
		{"header", "GET", "", []string{"Authorization: Bearer " + good}, 200, ""},
		{"query", "GET", "?token=" + good, nil, 200, ""},
		{"cookie of a page", "GET", "", []string{"Cookie: session=" + good, origin}, 200, "https://app.a.test"},
		{"preflight", "OPTIONS", "", []string{origin, "Access-Control-Request-Headers: authorization"}, 204, "https://app.a.test"},
		{"nobody", "GET", "", []string{origin}, 401, "https://app.a.test"},
		{"expired", "GET", "?token=" + tokenOf(t, "alice", -time.Minute, nil), nil, 401, ""},
		{"page of another origin", "GET", "", []string{"Cookie: session=" + good, "Origin: https://evil.test"}, 403, ""},
		{"preflight of another", "OPTIONS", "", []string{"Origin: https://evil.test"}, 403, ""},
		{"POST", "POST", "?token=" + good, nil, 405, ""},
		{"elsewhere", "GET", "s", []string{"Authorization: Bearer " + good}, 404, ""},
	} {
		resp, got := ask(tc.method, tc.query, tc.headers...)
		if resp.StatusCode != tc.status || resp.Header.Get("Access-Control-Allow-Origin") != tc.allowed {
			t.Errorf("%s: %s %v", tc.name, resp.Status, resp.Header)
		}
		if tc.status == 200 {
			checkTURN(t, got)
		}
	}
	var issued auth.TURNCredentials
	post(t, "http://"+l.admin+"/turn", `{"aor": "alice"}`, http.StatusOK, &issued)
	checkTURN(t, issued)
	l.stop()
}

func checkTURN(t *testing.T, got auth.TURNCredentials) {
	t.Helper()
	until, user, _ := strings.Cut(got.Username, ":")
	end, err := strconv.ParseInt(until, 10, 64)
	left := time.Until(time.Unix(end, 0))
	if err != nil || user != "alice@a.test" || left > 10*time.Minute || left < 9*time.Minute || got.TTL != 600 || len(got.URIs) != 1 {
		t.Errorf("%+v", got)
	}
	mac := hmac.New(sha1.New, []byte("shared"))
	mac.Write([]byte(got.Username))
	if got.Password != base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		t.Errorf("password %q", got.Password)
	}
}
