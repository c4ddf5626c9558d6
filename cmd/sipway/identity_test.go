package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/sipway/sipway/sip"
)

// tokenKey signs the tokens of the tests.
const tokenKey = "secret-of-the-token-issuer-012345"

// withTokens writes a configuration that takes tokens, with more lines.
func (c *cli) withTokens(more string) {
	c.env["SIPWAY_AUTH_MODE"] = "digest"
	c.write("keys.json", fmt.Sprintf(`{"keys":[{"kty":"oct","k":%q}]}`, base64.RawURLEncoding.EncodeToString([]byte(tokenKey))))
	c.write("sipway.yaml", `
auth: {tokens: {keys: keys.json, audience: sip, issuer: "https://login.a.test", cookie: session, grace: 1s}}
log: {level: debug}
`+more)
}

// tokenOf signs a user's token with some claims changed.
func tokenOf(t *testing.T, user string, lasts time.Duration, change jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user, "aud": "sip", "iss": "https://login.a.test", "exp": time.Now().Add(lasts).Unix()}
	maps.Copy(claims, change)
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(tokenKey))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var pages atomic.Int32 // that were loaded

// dialPage opens a WebSocket as a page does, which has another name and Call-ID each time it is
// loaded. Without one it returns the answer.
func dialPage(t *testing.T, addr, user, query string, header http.Header) (*phone, *http.Response) {
	t.Helper()
	ws, resp, err := websocket.Dial(t.Context(), "ws://"+addr+"/"+query, &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPHeader: header})
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return nil, resp
	}
	t.Cleanup(func() { ws.CloseNow() })
	conn := websocket.NetConn(context.Background(), ws, websocket.MessageText)
	conn.SetDeadline(time.Now().Add(time.Minute))
	return &phone{t: t, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), user: user, transport: "WS",
		addr: fmt.Sprintf("%s%d.invalid", user, pages.Add(1))}, nil
}

// tryRegister sends a REGISTER for the user and returns the answer's status.
func (p *phone) tryRegister(user, headers string) int {
	p.t.Helper()
	return p.registering(user, headers).Status()
}

// registering sends a REGISTER for the user and returns the answer.
func (p *phone) registering(user, headers string) *sip.Message {
	p.t.Helper()
	as := *p
	as.user = user
	as.send("REGISTER", "sip:a.test", "<sip:"+user+"@a.test>", headers+"Contact: <"+p.contact()+">\r\n", "")
	p.cseq = as.cseq
	return p.receive()
}

func TestTokenAtUpgrade(t *testing.T) {
	c := newCLI(t)
	c.withTokens("")
	l := c.lab("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	good := tokenOf(t, "alice", time.Minute, nil)
	for _, tc := range []struct {
		name   string
		query  string
		header http.Header
	}{
		{"query", "?token=" + good, nil},
		{"cookie", "", http.Header{"Cookie": {"x=y; session=" + good}}},
		{"header", "", http.Header{"Authorization": {"Bearer " + good}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, refused := dialPage(t, l.ws, "alice", tc.query, tc.header)
			if p == nil {
				t.Fatal(refused.Status)
			}
			if status := p.tryRegister("alice", ""); status != 200 {
				t.Errorf("REGISTER of the token's user: %d", status)
			}
			// Token swap after the upgrade: nobody else is served on this connection.
			if status := p.tryRegister("bob", ""); status != 403 {
				t.Errorf("REGISTER of another user: %d", status)
			}
			if status := p.tryRegister("bob", "Authorization: Bearer "+tokenOf(t, "bob", time.Minute, nil)+"\r\n"); status != 403 {
				t.Errorf("REGISTER with another's token: %d", status)
			}
			p.user = "bob"
			p.send("MESSAGE", "sip:alice@a.test", "<sip:alice@a.test>", "", "")
			if m := p.receive(); m.Status() != 403 {
				t.Errorf("MESSAGE of another user: %d", m.Status())
			}
		})
	}
	for _, tc := range []struct{ name, token string }{
		{"expired", tokenOf(t, "alice", -time.Minute, nil)},
		{"other audience", tokenOf(t, "alice", time.Minute, jwt.MapClaims{"aud": "web"})},
		{"other domain", tokenOf(t, "alice@b.test", time.Minute, nil)},
		{"forged", good[:len(good)-4] + "AAAA"},
		{"no token", "x"},
		{"no ticket", "swt_x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, refused := dialPage(t, l.ws, "alice", "?token="+tc.token, nil)
			if p != nil || refused.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(refused.Header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%v", refused)
			}
		})
	}
	if p, refused := dialPage(t, l.ws, "alice", "", nil); p == nil {
		t.Error("who has nothing to show yet is refused: ", refused.Status)
	} else if status := p.tryRegister("alice", ""); status != 401 {
		t.Errorf("REGISTER without any proof: %d", status)
	}
	l.stop()
}

// Keys come from a URL, and are used on while that is down.
func TestKeysByURL(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b := base64.RawURLEncoding.EncodeToString
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"k1","n":%q,"e":"AQAB"}]}`, b(key.N.Bytes()))
	}))
	defer login.Close()
	c := newCLI(t)
	c.env["SIPWAY_AUTH_MODE"] = "digest"
	c.env["SIPWAY_AUTH_TOKENS_JWKS_URL"] = login.URL
	l := c.lab("--admin", "127.0.0.1:0")
	signed := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"sub": "alice", "exp": time.Now().Add(time.Minute).Unix()})
	signed.Header["kid"] = "k1"
	text, err := signed.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	for i, up := range []bool{true, false} {
		if !up {
			login.Close()
		}
		p, refused := dialPage(t, l.ws, "alice", "?token="+text, nil)
		if p == nil {
			t.Fatalf("while the URL is there: %v: %s", up, refused.Status)
		}
		p.cseq = 10 * i // it is one client that registers again
		if status := p.tryRegister("alice", ""); status != 200 {
			t.Errorf("while the URL is there: %v: REGISTER: %d", up, status)
		}
	}
	l.stop()
}

// A connection does not outlive its token by more than the grace, and its bindings end with it;
// a newer token keeps it.
func TestTokenExpiresOnFlow(t *testing.T) {
	c := newCLI(t)
	c.withTokens("")
	l := c.lab("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	bearer := func(user string, lasts time.Duration) string {
		return "Authorization: Bearer " + tokenOf(t, user, lasts, nil) + "\r\n"
	}
	at, _ := dialPage(t, l.ws, "alice", "?token="+tokenOf(t, "alice", 3*time.Second, nil), nil)
	by, _ := dialPage(t, l.ws, "bob", "", nil)
	kept, _ := dialPage(t, l.ws, "carol", "?token="+tokenOf(t, "carol", 3*time.Second, nil), nil)
	if at.tryRegister("alice", "") != 200 || by.tryRegister("bob", bearer("bob", 3*time.Second)) != 200 ||
		kept.tryRegister("carol", "") != 200 || kept.tryRegister("carol", bearer("carol", time.Minute)) != 200 {
		t.Fatal("not registered")
	}
	for _, p := range []*phone{at, by} {
		if code := p.closedWith(); code != websocket.StatusPolicyViolation {
			t.Errorf("%s's connection is closed with %d", p.user, code)
		}
		if status, body := get(t, "http://"+l.admin+"/registrations/"+p.user+"@a.test"); status != http.StatusNotFound {
			t.Errorf("%s is still registered: %s", p.user, body)
		}
	}
	if status := kept.tryRegister("carol", ""); status != 200 {
		t.Errorf("who has shown a newer token: %d", status)
	}
	again, _ := dialPage(t, l.ws, "alice", "?token="+tokenOf(t, "alice", time.Minute, nil), nil)
	if status := again.tryRegister("alice", ""); status != 200 {
		t.Errorf("login anew: %d", status)
	}
	l.stop()
}

// A registration that has no connection to end with ends with its token, and the grace.
func TestTokenBoundsRegistration(t *testing.T) {
	c := newCLI(t)
	c.withTokens("")
	l := c.lab("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	p := dial(t, "udp", l.udp, "alice")
	m := p.registering("alice", "Expires: 600\r\nAuthorization: Bearer "+tokenOf(t, "alice", 90*time.Second, nil)+"\r\n")
	contact, _ := m.Get(sip.HContact)
	_, text, _ := strings.Cut(contact, "expires=")
	if granted, err := strconv.Atoi(text); m.Status() != 200 || err != nil || granted > 91 || granted < 80 {
		t.Errorf("%s", m.Bytes())
	}
	l.stop()
}

// A token in REGISTER, INVITE, ACK and BYE, as JsSIP sends it, is proof to us and is told to
// nobody.
func TestBearerStaysHere(t *testing.T) {
	c := newCLI(t)
	c.withTokens("")
	l := c.lab("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	header := "Authorization: Bearer " + tokenOf(t, "alice", time.Minute, nil) + "\r\n"
	alice, _ := dialPage(t, l.ws, "alice", "", nil)
	bob, _ := dialPage(t, l.ws, "bob", "", nil)
	if bob.tryRegister("bob", "Authorization: Bearer "+tokenOf(t, "bob", time.Minute, nil)+"\r\n") != 200 {
		t.Fatal("bob is not registered")
	}
	// Without a registration the token alone is proof.
	alice.send("INVITE", "sip:bob@a.test", "<sip:bob@a.test>", header+"Contact: <"+alice.contact()+">\r\n", "")
	invite := bob.receive()
	bob.answer(invite, 200, "Contact: <"+bob.contact()+">")
	ok := alice.receive()
	if ok.Status() != 200 {
		t.Fatalf("%s", ok.Bytes())
	}
	var routes strings.Builder
	for line := range ok.Lines(sip.HRecordRoute) {
		values := strings.Split(line, ",")
		for i := len(values) - 1; i >= 0; i-- {
			routes.WriteString("Route: " + strings.TrimSpace(values[i]) + "\r\n")
		}
	}
	to := "<sip:bob@a.test>;tag=" + ok.ToTag()
	alice.cseq--
	alice.send("ACK", bob.contact(), to, header+routes.String(), "")
	ack := bob.receive()
	alice.send("BYE", bob.contact(), to, header+routes.String(), "")
	bye := bob.receive()
	for _, m := range []interface{ Bytes() []byte }{invite, ack, bye} {
		if strings.Contains(string(m.Bytes()), "Bearer") {
			t.Errorf("the token is passed on:\n%s", m.Bytes())
		}
	}
	if invite.Method() != "INVITE" || ack.Method() != "ACK" || bye.Method() != "BYE" {
		t.Errorf("%s, %s, %s", invite.Method(), ack.Method(), bye.Method())
	}
	// Another's From is not the token's user's.
	alice.user = "carol"
	alice.send("MESSAGE", "sip:bob@a.test", "<sip:bob@a.test>", header, "")
	if m := alice.receive(); m.Status() != 403 {
		t.Errorf("another user's From: %d", m.Status())
	}
	l.stop()
}

// An expired token is answered so that both a client with tokens and one with a password can go
// on: Bearer first, and MD5, which web clients know, last.
func TestBearerChallenge(t *testing.T) {
	c := newCLI(t)
	c.withTokens("")
	l := c.lab("--config", "sipway.yaml", "--admin", "127.0.0.1:0")
	page, _ := dialPage(t, l.ws, "alice", "", nil)
	desk := dial(t, "tcp", l.tcp, "alice")
	expired := "Authorization: Bearer " + tokenOf(t, "alice", -time.Minute, nil) + "\r\n"
	for _, tc := range []struct {
		name, headers string
		p             *phone
		want          string
	}{
		{"page without proof", "", page, `^Bearer realm="a.test", authz_server="https://login.a.test"; Digest .*SHA-256[^;]*; Digest .*MD5[^;]*$`},
		{"page with an expired token", expired, page, `^Bearer .*, error="invalid_token"; Digest .*SHA-256[^;]*; Digest .*MD5[^;]*$`},
		{"phone without proof", "", desk, `^Digest .*SHA-256[^;]*; Digest .*MD5[^;]*$`},
		{"phone with an expired token", expired, desk, `^Bearer .*, error="invalid_token"; Digest .*SHA-256[^;]*; Digest .*MD5[^;]*$`},
	} {
		m := tc.p.registering("alice", tc.headers)
		var all []string
		for line := range m.Lines(sip.HWWWAuthenticate) {
			all = append(all, line)
		}
		if text := strings.Join(all, "; "); m.Status() != 401 || !regexp.MustCompile(tc.want).MatchString(text) {
			t.Errorf("%s: %d %s", tc.name, m.Status(), text)
		}
	}
	l.stop()
}

// A ticket lets one in, however many try at once.
func TestTicket(t *testing.T) {
	c := newCLI(t)
	c.env["SIPWAY_AUTH_MODE"] = "digest"
	l := c.lab("--admin", "127.0.0.1:0")
	var issued struct {
		Ticket  string
		Expires time.Time
	}
	post(t, "http://"+l.admin+"/tickets", `{"aor": "alice@a.test", "ttl": "30s"}`, http.StatusOK, &issued)
	if time.Until(issued.Expires) > 30*time.Second || issued.Ticket == "" {
		t.Errorf("%+v", issued)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var in []*phone
	for range 20 {
		all.Go(func() {
			if p, _ := dialPage(t, l.ws, "alice", "?token="+issued.Ticket, nil); p != nil {
				mu.Lock()
				in = append(in, p)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(in) != 1 {
		t.Fatalf("%d were let in", len(in))
	}
	if status := in[0].tryRegister("alice", ""); status != 200 {
		t.Errorf("REGISTER: %d", status)
	}
	if status := in[0].tryRegister("bob", ""); status != 403 {
		t.Errorf("REGISTER of another: %d", status)
	}
	for body, part := range map[string]string{
		`{"aor": "alice@b.test"}`:              "of a domain of ours",
		`{"aor": "alice@a.test", "ttl": "2h"}`: "ttl: expects",
		`{"aor": "alice@a.test", "x": 1}`:      "unknown field",
		`alice`:                                `expects {\"aor\"`,
	} {
		if text := post(t, "http://"+l.admin+"/tickets", body, http.StatusBadRequest, nil); !strings.Contains(text, part) {
			t.Errorf("%s: %s", body, text)
		}
	}
	l.stop()
}

// post sends JSON, expects a status, and reads the answer into reply unless that is nil.
func post(t *testing.T, url, body string, status int, reply any) string {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && reply != nil {
		err = json.Unmarshal(text, reply)
	}
	if err != nil || resp.StatusCode != status {
		t.Fatalf("POST %s: %s %s %v", url, resp.Status, text, err)
	}
	return string(text)
}
