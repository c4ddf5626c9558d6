package auth

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/sip/transaction"
	"github.com/sipway/sipway/store"
)

const domain = "example.test"

var (
	desk    = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}
	browser = sip.Flow{Transport: sip.WS, Remote: netip.MustParseAddrPort("192.0.2.2:4711"), ID: 1}
)

// userStore has alice in memory and bob in the database only.
type userStore struct {
	err    error         // of the database
	gate   chan struct{} // if not nil, the database answers once it is closed
	cached map[string]store.User
}

func user(name string) store.User {
	return store.User{Name: name, Domain: domain, HA1: store.HA1{
		MD5:    digest.HA1(digest.MD5, name, domain, "secret"),
		SHA256: digest.HA1(digest.SHA256, name, domain, "secret"),

		SHA512256: digest.HA1(digest.SHA512256, name, domain, "secret"),
	}}
}

func newUsers() *userStore {
	return &userStore{cached: map[string]store.User{"alice": user("alice"), "nobody": {}}}
}

func (s *userStore) CachedUser(name, realm string) (u store.User, exists, ok bool) {
	u, ok = s.cached[name]
	return u, u.Name != "", ok && realm == domain
}

func (s *userStore) User(ctx context.Context, name, realm string) (store.User, error) {
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return store.User{}, ctx.Err()
		}
	}
	if s.err == nil && name == "bob" && realm == domain {
		return user(name), nil
	}
	if s.err == nil {
		return store.User{}, store.ErrNotFound
	}
	return store.User{}, s.err
}

// flows knows the connections that have closed.
type flows struct {
	mu   sync.Mutex
	dead map[uint64]bool
	// asked, if not nil, is called by Alive.
	asked func()
}

func (f *flows) Alive(flow sip.Flow) bool {
	if f.asked != nil {
		f.asked()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.dead[flow.ID]
}

func (f *flows) close(flow sip.Flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead == nil {
		f.dead = make(map[uint64]bool)
	}
	f.dead[flow.ID] = true
}

func newAuth(t testing.TB, cfg Config, users Users) *Authenticator {
	t.Helper()
	cfg.Key = []byte("0123456789abcdef")
	a, err := New(cfg, users, &flows{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func request(t testing.TB, method sip.Method, lines ...string) *sip.Message {
	t.Helper()
	head := []string{
		string(method) + " sip:" + domain + " SIP/2.0",
		"Via: SIP/2.0/WS x.invalid;branch=z9hG4bK1",
		"From: <sip:alice@" + domain + ">;tag=a",
		"To: <sip:alice@" + domain + ">",
		"Call-ID: 1",
		"CSeq: 1 " + string(method),
	}
	m, err := sip.Parse([]byte(strings.Join(append(head, lines...), "\r\n") + "\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// authenticate waits for the decision.
func authenticate(a *Authenticator, f sip.Flow, m *sip.Message, proxy bool) Decision {
	decided := make(chan Decision, 1)
	a.Authenticate(f, m, domain, proxy, func(d Decision) { decided <- d })
	return <-decided
}

var nonceOf = regexp.MustCompile(`nonce="([^"]*)"`)

// credentials answers a challenge as RFC 7616 §3.4.1 says.
func credentials(challenge string, method sip.Method, name, password string, nc int) string {
	alg, hash := "MD5", func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }
	if strings.Contains(challenge, "SHA-256") {
		alg, hash = "SHA-256", func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	}
	if strings.Contains(challenge, "SHA-512-256") {
		alg, hash = "SHA-512-256", func(s string) string { sum := sha512.Sum512_256([]byte(s)); return hex.EncodeToString(sum[:]) }
	}
	nonce := nonceOf.FindStringSubmatch(challenge)[1]
	uri := "sip:" + domain
	count := fmt.Sprintf("%08x", nc)
	response := hash(strings.Join([]string{
		hash(name + ":" + domain + ":" + password), nonce, count, "c", "auth", hash(string(method) + ":" + uri),
	}, ":"))
	return fmt.Sprintf(`Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=%s, cnonce="c", qop=auth, nc=%s`,
		name, domain, nonce, uri, response, alg, count)
}

func TestAlgorithms(t *testing.T) {
	for _, alg := range []digest.Algorithm{digest.MD5, digest.SHA256, digest.SHA512256} {
		a := newAuth(t, Config{Algorithms: []digest.Algorithm{alg}}, newUsers())
		d := authenticate(a, sip.Flow{}, request(t, sip.REGISTER), false)
		if len(d.Challenges) != 1 {
			t.Fatalf("%v: challenges %q", alg, d.Challenges)
		}
		d = authenticate(a, sip.Flow{}, request(t, sip.REGISTER, "Authorization: "+credentials(d.Challenges[0], sip.REGISTER, "alice", "secret", 1)), false)
		if d.Outcome != Authenticated {
			t.Errorf("%v: %+v", alg, d)
		}
	}
}

func TestChallenge(t *testing.T) {
	a := newAuth(t, Config{}, newUsers())
	for _, test := range []struct {
		proxy  bool
		status int
		header sip.HeaderID
	}{
		{false, 401, sip.HWWWAuthenticate},
		{true, 407, sip.HProxyAuthenticate},
	} {
		d := authenticate(a, browser, request(t, sip.REGISTER), test.proxy)
		if d.OK() || d.Outcome != Challenged || d.Status != test.status || d.Header != test.header {
			t.Errorf("proxy %v: %+v", test.proxy, d)
		}
		if len(d.Challenges) != 2 || !strings.Contains(d.Challenges[0], "SHA-256") || !strings.Contains(d.Challenges[1], "algorithm=MD5,") {
			t.Errorf("web clients take the last challenge, which must be MD5: %q", d.Challenges)
		}
		for _, c := range d.Challenges {
			if !strings.Contains(c, `realm="`+domain+`"`) || !strings.Contains(c, `qop="auth"`) || strings.Contains(c, "stale") {
				t.Errorf("challenge %s", c)
			}
		}
	}
}

func TestCredentials(t *testing.T) {
	a := newAuth(t, Config{}, newUsers())
	for _, name := range []string{"alice", "bob"} { // in memory, in the database
		for i := range 2 {
			for _, proxy := range []bool{false, true} {
				header := "Authorization: "
				if proxy {
					header = "Proxy-Authorization: "
				}
				challenge := authenticate(a, browser, request(t, sip.INVITE), proxy).Challenges[i]
				m := request(t, sip.INVITE, header+credentials(challenge, sip.INVITE, name, "secret", 2))
				d := authenticate(a, browser, m, proxy)
				if !d.OK() || d.Outcome != Authenticated || d.AOR() != name+"@"+domain {
					t.Errorf("%s, challenge %d, proxy %v: %+v", name, i, proxy, d)
				}
				if d = authenticate(a, browser, m, !proxy); d.Outcome != Challenged {
					t.Errorf("credentials in the wrong header field: %+v", d)
				}
				if d = authenticate(a, browser, m, proxy); d.Outcome != Challenged || !strings.HasSuffix(d.Challenges[1], "stale=true") {
					t.Errorf("used a second time: %+v", d)
				}
			}
		}
	}
}

// A stranger must not learn which names exist: the answer to a name that memory or the
// database does not have is that to a wrong password.
func TestUnknownUser(t *testing.T) {
	a := newAuth(t, Config{}, newUsers())
	answer := func(name string) string {
		challenge := authenticate(a, browser, request(t, sip.REGISTER), false).Challenges[1]
		m := request(t, sip.REGISTER, "Authorization: "+credentials(challenge, sip.REGISTER, name, "wrong", 1))
		d := authenticate(a, browser, m, false)
		if d.OK() {
			t.Errorf("%s: %+v", name, d)
		}
		return nonceOf.ReplaceAllString(fmt.Sprintf("%+v", d), "nonce")
	}
	want := answer("alice")
	for _, name := range []string{"bob", "nobody", "stranger"} {
		if got := answer(name); got != want {
			t.Errorf("%s is answered with %s, a wrong password with %s", name, got, want)
		}
	}
}

func TestBadCredentials(t *testing.T) {
	a := newAuth(t, Config{}, newUsers())
	for _, test := range []struct {
		value   string
		outcome Outcome
		status  int
	}{
		{`Digest username="alice", realm="example.test", nonce="x`, Refused, 400},
		{`Digest username="alice", realm="example.test", nonce="x", uri="sip:example.test", response="y", algorithm=SHA-512`, Refused, 400},
		{`Digest username="alice", realm="example.test", nonce="x", uri="sip:else.test", response="y"`, Refused, 400},
		{`Digest username="alice", realm="else.test", nonce="x", uri="sip:example.test", response="y"`, Challenged, 401},
		{`Bearer token-of-alice`, Challenged, 401},
	} {
		d := authenticate(a, browser, request(t, sip.REGISTER, "Authorization: "+test.value), false)
		if d.Outcome != test.outcome || d.Status != test.status {
			t.Errorf("%s: %+v", test.value, d)
		}
	}
}

// RFC 3261 §22.1: neither can be answered with a challenge.
func TestNeverChallenged(t *testing.T) {
	for _, mode := range []Mode{Digest, None} {
		a := newAuth(t, Config{Mode: mode}, newUsers())
		for _, method := range []sip.Method{sip.ACK, sip.CANCEL} {
			if d := authenticate(a, browser, request(t, method), true); d.OK() || d.Status != 0 || d.Challenges != nil {
				t.Errorf("%s: %+v", method, d)
			}
		}
	}
}

func TestStoreDown(t *testing.T) {
	users := newUsers()
	users.err = fmt.Errorf("%w: disk full", store.ErrUnavailable)
	a := newAuth(t, Config{}, users)
	challenge := authenticate(a, browser, request(t, sip.REGISTER), false).Challenges[1]
	m := request(t, sip.REGISTER, "Authorization: "+credentials(challenge, sip.REGISTER, "bob", "secret", 1))
	d := authenticate(a, browser, m, false)
	if d.OK() || d.Status != 503 || d.RetryAfter == 0 {
		t.Errorf("%+v", d)
	}
	// Who is in memory is not concerned.
	m = request(t, sip.REGISTER, "Authorization: "+credentials(challenge, sip.REGISTER, "alice", "secret", 1))
	if d = authenticate(a, browser, m, false); !d.OK() {
		t.Errorf("%+v", d)
	}
}

func TestStoreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := newUsers()
		users.gate = make(chan struct{})
		a := newAuth(t, Config{LookupTimeout: time.Second}, users)
		challenge := authenticate(a, browser, request(t, sip.REGISTER), false).Challenges[1]
		m := request(t, sip.REGISTER, "Authorization: "+credentials(challenge, sip.REGISTER, "bob", "secret", 1))
		begin := time.Now()
		statuses := make(chan int, maxLookups+1)
		for range maxLookups + 1 {
			a.Authenticate(browser, m, domain, false, func(d Decision) { statuses <- d.Status })
		}
		if len(statuses) != 1 || <-statuses != 503 {
			t.Error("not exactly one request too many was answered at once, with 503")
		}
		for range maxLookups {
			if status := <-statuses; status != 503 {
				t.Errorf("status %d", status)
			}
		}
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("the others waited %v", waited)
		}
		synctest.Wait()
		if n := a.waiting.Load(); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

func TestModeNone(t *testing.T) {
	a, err := New(Config{Mode: None}, newUsers(), &flows{}) // needs no key
	if err != nil {
		t.Fatal(err)
	}
	if d := authenticate(a, desk, request(t, sip.REGISTER), false); d.Outcome != Authenticated || d.AOR() != "alice@"+domain {
		t.Errorf("%+v", d)
	}
	m := request(t, sip.REGISTER)
	m.Set(sip.HFrom, "<sip:example.test>;tag=1")
	if d := authenticate(a, desk, m, false); d.OK() || d.Status != 403 {
		t.Errorf("From without a user: %+v", d)
	}
}

func TestConfig(t *testing.T) {
	if _, err := New(Config{Key: []byte("short")}, newUsers(), &flows{}); err == nil {
		t.Error("a short key was taken")
	}
}

func TestTrusted(t *testing.T) {
	var peers []Peer
	for _, s := range []string{"10.1.0.0/16", "192.0.2.7:5060", "2001:db8::/32", "[2001:db9::1]:5060", "192.0.2.9"} {
		p, err := ParsePeer(s)
		if err != nil || p.String() != s {
			t.Fatalf("%s: %v, %v", s, p, err)
		}
		peers = append(peers, p)
	}
	a := newAuth(t, Config{Trusted: peers}, newUsers())
	for _, test := range []struct {
		remote string
		want   bool
	}{
		{"10.1.255.1:9", true},
		{"10.2.0.1:9", false},
		{"[::ffff:10.1.2.3]:9", true},
		{"192.0.2.7:5060", true},
		{"192.0.2.7:5061", false},
		{"[::ffff:192.0.2.7]:5060", true},
		{"192.0.2.9:1", true},
		{"192.0.2.8:1", false},
		{"[2001:db8:1::1]:5060", true},
		{"[2001:db9::1]:5060", true},
		{"[2001:db9::1]:5062", false},
	} {
		f := sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort(test.remote)}
		if got := a.Trusted(f); got != test.want {
			t.Errorf("%s: %v", test.remote, got)
		}
		d := authenticate(a, f, request(t, sip.REGISTER), false)
		if (d.Outcome == Trusted) != test.want || d.OK() != test.want || d.AOR() != "" {
			t.Errorf("%s: %+v", test.remote, d)
		}
	}
	for _, s := range []string{"", "example.test", "10.1.0.0/33", "10.1.0.0/16:5060", "192.0.2.7:0", "192.0.2.7:x"} {
		if p, err := ParsePeer(s); err == nil {
			t.Errorf("%q is %v", s, p)
		}
	}
}

// wire takes what a transaction layer sends, and its server transactions.
type wire struct {
	tx *transaction.Server

	mu   sync.Mutex // a transaction that nobody answers is answered by its layer in the end
	sent []*sip.Message
}

func (w *wire) Send(_ sip.Flow, b []byte) error {
	m, err := sip.Parse(slices.Clone(b))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, m)
	return err
}

func (w *wire) all() []*sip.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent
}

func (w *wire) Dial(context.Context, sip.Server) (sip.Flow, error) {
	return sip.Flow{}, errors.New("no network")
}

func (w *wire) Request(tx *transaction.Server) { w.tx = tx }
func (w *wire) Ack(f sip.Flow, m *sip.Message) {}

func TestReject(t *testing.T) {
	for _, test := range []struct {
		decision Decision
		want     string
	}{
		{Decision{Outcome: Challenged, Status: 401, Header: sip.HWWWAuthenticate, Challenges: []string{"Digest a", "Digest b"}, Cause: "private"},
			"401 Unauthorized|WWW-Authenticate: Digest a|WWW-Authenticate: Digest b"},
		{Decision{Outcome: Challenged, Status: 407, Header: sip.HProxyAuthenticate, Challenges: []string{"Digest a"}},
			"407 Proxy Authentication Required|Proxy-Authenticate: Digest a"},
		{Decision{Outcome: Refused, Status: 503, RetryAfter: 10, Cause: "private"},
			"503 Service Unavailable|Retry-After: 10"},
		{Decision{Outcome: Refused, Status: 400, Reason: "Bad Credentials"}, "400 Bad Credentials"},
		{Decision{Outcome: Refused}, ""},
		{Decision{Outcome: Authenticated, Status: 200}, ""},
		{Decision{Outcome: Trusted}, ""},
	} {
		w := new(wire)
		transaction.New(transaction.Config{}, w, w).Receive(browser, request(t, sip.REGISTER))
		if err := Reject(w.tx, test.decision); err != nil {
			t.Error(err)
		}
		got := ""
		for _, m := range w.all() {
			got = fmt.Sprintf("%d %s", m.Status(), m.Reason())
			for name, value := range m.Headers() {
				if strings.HasSuffix(name, "Authenticate") || name == "Retry-After" {
					got += "|" + name + ": " + value
				}
			}
		}
		if got != test.want {
			t.Errorf("%+v: %q, want %q", test.decision, got, test.want)
		}
	}
}

func BenchmarkTrusted(b *testing.B) {
	p, _ := ParsePeer("10.1.0.0/16")
	a := newAuth(b, Config{Trusted: []Peer{p, p, p, p}}, newUsers())
	for b.Loop() {
		a.Trusted(browser)
	}
}

// A web client that is offered auth-int takes it and fails: JsSIP.
func TestIntegrityIsNotForWebClients(t *testing.T) {
	a := newAuth(t, Config{Integrity: true}, newUsers())
	for transport, offered := range map[sip.Transport]bool{sip.UDP: true, sip.TLS: true, sip.WS: false, sip.WSS: false} {
		d := authenticate(a, sip.Flow{Transport: transport}, request(t, sip.REGISTER), false)
		for _, c := range d.Challenges {
			if strings.Contains(c, "auth-int") != offered {
				t.Errorf("%v is challenged by %s", transport, c)
			}
		}
	}
}
