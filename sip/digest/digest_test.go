package digest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	realm    = "example.test"
	user     = "alice"
	password = "secret"
	target   = "sip:example.test"
)

var register = Request{Method: "REGISTER", URI: target, Realm: realm}

func newServer(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Key == nil {
		cfg.Key = bytes.Repeat([]byte{7}, 32)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// challengeNonce takes the nonce out of a fresh challenge.
func challengeNonce(s *Server) string {
	_, rest, _ := strings.Cut(s.Challenges(realm, false, false)[0], `nonce="`)
	nonce, _, _ := strings.Cut(rest, `"`)
	return nonce
}

// answer computes what a client sends, independently of Verify: fields joined with colons.
func answer(a Algorithm, pass, nonce, nc, method, uri string) string {
	h := func(parts ...string) string {
		return string(a.appendHex(nil, []byte(strings.Join(parts, ":"))))
	}
	response := h(h(user, realm, pass), nonce, nc, "c0ffee", "auth", h(method, uri))
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=%s, qop=auth, cnonce="c0ffee", nc=%s`,
		user, realm, nonce, uri, response, a, nc)
}

// verify runs a header value through Find and Verify as alice's.
func verify(t testing.TB, s *Server, value string, r Request) Result {
	t.Helper()
	c, found, err := Find(slices.Values([]string{value}), r.Realm)
	if err != nil || !found {
		t.Fatalf("Find(%s) = %v, %v", value, found, err)
	}
	return s.Verify(&c, r, HA1(c.Algorithm, user, realm, password))
}

func expect(t *testing.T, what string, got Result, want Outcome) {
	t.Helper()
	if got.Outcome != want {
		t.Errorf("%s: %v (%s), want %v", what, got.Outcome, got.Reason, want)
	}
}

// RFC 7616 §3.9.1.
func TestRFC7616Vectors(t *testing.T) {
	for alg, response := range map[Algorithm]string{
		MD5:    "8ca523f5e9506fed4657c9700eebdbec",
		SHA256: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		c, err := ParseCredentials(`Digest username="Mufasa",
       realm="http-auth@example.org",
       uri="/dir/index.html",
       algorithm=` + alg.String() + `,
       nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
       nc=00000001,
       cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
       qop=auth,
       response="` + response + `",
       opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`)
		if err != nil {
			t.Fatal(err)
		}
		ha1 := HA1(alg, "Mufasa", "http-auth@example.org", "Circle of Life")
		if !c.proves(ha1, "GET", nil) {
			t.Errorf("%v: the RFC's response is refused", alg)
		}
		if c.proves(ha1, "POST", nil) || c.proves(HA1(alg, "Mufasa", "http-auth@example.org", "x"), "GET", nil) || c.proves("", "GET", nil) {
			t.Errorf("%v: another method or password is accepted", alg)
		}
	}
}

// The example of FIPS 180-4 for SHA-512/256.
func TestSHA512256(t *testing.T) {
	const want = "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
	if got := string(SHA512256.appendHex(nil, []byte("abc"))); got != want || SHA512256.hexSize() != len(want) {
		t.Errorf("%s, size %d, want %s", got, SHA512256.hexSize(), want)
	}
	if a, ok := ParseAlgorithm("sha-512-256"); a != SHA512256 || !ok {
		t.Errorf("ParseAlgorithm: %v, %t", a, ok)
	}
}

// The example of RFC 2617 §3.5, and the same without qop as in RFC 2069.
func TestLegacyVectors(t *testing.T) {
	ha1 := HA1(MD5, "Mufasa", "testrealm@host.com", "Circle Of Life")
	if ha1 != "939e7578ed9e3c518a452acee763bce9" {
		t.Fatalf("HA1 = %s", ha1)
	}
	c := Credentials{
		Algorithm: MD5, URI: "/dir/index.html", Nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
		QOP: "auth", NC: "00000001", CNonce: "0a4f113b", Response: "6629fae49393a05397450978507c4ef1",
	}
	if !c.proves(ha1, "GET", nil) {
		t.Error("RFC 2617's response is refused")
	}
	c.QOP, c.Response = "", "670FD8C2DF070C60B045671B8B24FF02"
	if !c.proves(ha1, "GET", nil) {
		t.Error("the response without qop is refused")
	}
}

func TestChallenges(t *testing.T) {
	s := newServer(t, Config{})
	got := s.Challenges(`a "b"`, true, false)
	if len(got) != 2 || !strings.Contains(got[0], "algorithm=SHA-256") || !strings.Contains(got[1], "algorithm=MD5") {
		t.Fatalf("want SHA-256 first and MD5 last, got %q", got)
	}
	for _, v := range got {
		if !strings.HasPrefix(v, `Digest realm="a \"b\"", nonce="`) || !strings.HasSuffix(v, `, qop="auth", stale=true`) {
			t.Errorf("challenge %s", v)
		}
	}
	if v := s.Challenges(realm, false, false)[0]; strings.Contains(v, "stale") {
		t.Errorf("fresh challenge %s", v)
	}
	if s := newServer(t, Config{Algorithms: []Algorithm{MD5}}); len(s.Challenges(realm, false, false)) != 1 {
		t.Error("more challenges than algorithms")
	}
}

func TestNewRefuses(t *testing.T) {
	key := make([]byte, 32)
	for name, cfg := range map[string]Config{
		"no key":            {},
		"short key":         {Key: key[:15]},
		"algorithm twice":   {Key: key, Algorithms: []Algorithm{MD5, MD5}},
		"unknown algorithm": {Key: key, Algorithms: []Algorithm{9}},
		"negative age":      {Key: key, MaxAge: -time.Second},
		"negative table":    {Key: key, Nonces: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestVerify(t *testing.T) {
	s := newServer(t, Config{})
	for _, a := range []Algorithm{MD5, SHA256} {
		nonce := challengeNonce(s)
		value := answer(a, password, nonce, "00000001", "REGISTER", target)
		expect(t, "wrong password", verify(t, s, answer(a, "guess", nonce, "00000001", "REGISTER", target), register), Denied)
		expect(t, "other method", verify(t, s, value, Request{Method: "INVITE", URI: target, Realm: realm}), Denied)
		expect(t, "right password", verify(t, s, value, register), OK)
		expect(t, "replay", verify(t, s, value, register), Stale)
		expect(t, "replay with a wrong password", verify(t, s, answer(a, "guess", nonce, "00000001", "REGISTER", target), register), Denied)
	}
}

func TestVerifyUnknownUser(t *testing.T) {
	s := newServer(t, Config{})
	for _, a := range []Algorithm{MD5, SHA256} {
		// Even the answer that the stand-in for H(A1) would give is refused.
		c := Credentials{Username: "mallory", Realm: realm, Nonce: challengeNonce(s), URI: target, Algorithm: a, QOP: "auth", NC: "1", CNonce: "x"}
		h := func(s string) string { return string(a.appendHex(nil, []byte(s))) }
		c.Response = h(noHA1[:a.hexSize()] + ":" + c.Nonce + ":1:x:auth:" + h("REGISTER:"+target))
		unknown := s.Verify(&c, register, "")
		wrong := s.Verify(&c, register, HA1(a, user, realm, password))
		if unknown.Outcome != Denied || unknown != wrong {
			t.Errorf("%v: unknown user %v, wrong password %v", a, unknown, wrong)
		}
	}
}

func TestVerifyBadRequest(t *testing.T) {
	s := newServer(t, Config{Algorithms: []Algorithm{MD5}})
	good := Credentials{Username: user, Realm: realm, Nonce: challengeNonce(s), URI: target, Response: "x", Algorithm: MD5, QOP: "auth", NC: "00000001", CNonce: "x"}
	for name, edit := range map[string]func(c *Credentials){
		"other realm":           func(c *Credentials) { c.Realm = "other.test" },
		"algorithm not offered": func(c *Credentials) { c.Algorithm = SHA256 },
		"unknown algorithm":     func(c *Credentials) { c.Algorithm, c.AlgorithmName = 0, "MD5-sess" },
		"auth-int":              func(c *Credentials) { c.QOP = "auth-int" },
		"no cnonce":             func(c *Credentials) { c.CNonce = "" },
		"no nc":                 func(c *Credentials) { c.NC = "" },
		"nc not hex":            func(c *Credentials) { c.NC = "0000000g" },
		"nc too long":           func(c *Credentials) { c.NC = "100000000" },
		"other host":            func(c *Credentials) { c.URI = "sip:elsewhere.test" },
		"other user":            func(c *Credentials) { c.URI = "sip:bob@example.test" },
		"not a URI":             func(c *Credentials) { c.URI = "bob" },
	} {
		c := good
		edit(&c)
		res := s.Verify(&c, register, HA1(MD5, user, realm, password))
		if res.Outcome != BadRequest || res.Reason == "" {
			t.Errorf("%s: %v (%s)", name, res.Outcome, res.Reason)
		}
	}
}

func TestSameTarget(t *testing.T) {
	for _, c := range []struct {
		param, request string
		want           bool
	}{
		{"sip:bob@example.test", "sip:bob@example.test", true},
		{"sip:example.test:5060", "sip:example.test", true},
		{"sip:EXAMPLE.test;transport=tcp", "sip:example.test", true},
		{"sips:b%6fb@example.test", "sip:bob@example.test", true},
		{"sip:192.0.2.1:5060", "sip:bob@192.0.2.1", true},
		{"sip:example.test", "sip:bob@192.0.2.1", true},
		{"sip:bob@example.test", "sip:bob@192.0.2.1:5070", true},
		{"sip:+123@example.test", "tel:+123", true},
		{"tel:+123", "tel:+123", true},
		{"sip:carol@example.test", "sip:bob@example.test", false},
		{"sip:bob@elsewhere.test", "sip:bob@example.test", false},
		{"", "sip:bob@example.test", false},
	} {
		if got := sameTarget(c.param, c.request, realm); got != c.want {
			t.Errorf("sameTarget(%s, %s) = %v", c.param, c.request, got)
		}
	}
}

func TestNonceAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{MaxAge: time.Minute})
		nonce := challengeNonce(s)
		<-time.After(time.Minute)
		expect(t, "at its age", verify(t, s, answer(MD5, password, nonce, "00000001", "REGISTER", target), register), OK)
		<-time.After(time.Second)
		expect(t, "too old", verify(t, s, answer(MD5, password, nonce, "00000002", "REGISTER", target), register), Stale)
		expect(t, "too old, wrong password", verify(t, s, answer(MD5, "guess", nonce, "00000002", "REGISTER", target), register), Denied)
	})
}

func TestNonceOrigin(t *testing.T) {
	s := newServer(t, Config{})
	nonce := challengeNonce(s)
	value := answer(MD5, password, nonce, "00000001", "REGISTER", target)

	restarted := newServer(t, Config{})
	expect(t, "same key", verify(t, restarted, value, register), OK)

	other := newServer(t, Config{Key: make([]byte, 16)})
	expect(t, "other key", verify(t, other, value, register), Stale)
	for _, forged := range []string{"x", nonce[:31], nonce + "A", "B" + nonce[1:], nonce[:31] + "!", strings.Repeat("A", 32)} {
		expect(t, forged, verify(t, s, answer(MD5, password, forged, "00000001", "REGISTER", target), register), Stale)
	}
	if _, ours := s.minter.open(nonce, "other.test"); ours {
		t.Error("nonce of one realm accepted in another")
	}
}

func TestAlgorithmText(t *testing.T) {
	for _, a := range []Algorithm{MD5, SHA256} {
		text, _ := a.MarshalText()
		var b Algorithm
		if err := b.UnmarshalText(bytes.ToLower(text)); err != nil || b != a {
			t.Errorf("%s reads as %v, %v", text, b, err)
		}
	}
	if err := new(Algorithm).UnmarshalText([]byte("MD5-sess")); err == nil {
		t.Error("MD5-sess is accepted")
	}
}

func TestFind(t *testing.T) {
	s := newServer(t, Config{})
	ours := answer(MD5, password, challengeNonce(s), "00000001", "REGISTER", target)
	other := strings.Replace(ours, `realm="example.test"`, `realm="other.test"`, 1)
	unchallenged := `Digest username="alice", realm="example.test", nonce="", uri="sip:example.test", response=""`
	broken := `Digest username="alice`
	for _, c := range []struct {
		name       string
		values     []string
		found, bad bool
	}{
		{"nothing", nil, false, false},
		{"another scheme", []string{"Bearer token-of-alice"}, false, false},
		{"another realm", []string{other}, false, false},
		{"before a challenge", []string{unchallenged}, false, false},
		{"ours behind others", []string{"Bearer x", other, broken, ours}, true, false},
		{"broken", []string{other, broken}, false, true},
	} {
		creds, found, err := Find(slices.Values(c.values), realm)
		if found != c.found || (err != nil) != c.bad || found && creds.Realm != realm {
			t.Errorf("%s: %v, %v", c.name, found, err)
		}
	}
}

func TestOutcomeStrings(t *testing.T) {
	if got := fmt.Sprint(NoCredentials, OK, Stale, Denied, BadRequest, Outcome(9)); got != "no credentials ok stale denied bad request outcome 9" {
		t.Error(got)
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, a := range []Algorithm{MD5, SHA256} {
		b.Run(a.String(), func(b *testing.B) {
			s := newServer(b, Config{})
			nonce := challengeNonce(s)
			ha1 := HA1(a, user, realm, password)
			var c Credentials
			values := make([]string, 1<<12)
			for i := range values {
				values[i] = answer(a, password, nonce, fmt.Sprintf("%08x", i+1), "REGISTER", target)
			}
			r := register
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if i == len(values) {
					i = 0
					s.replay = newReplay(1)
				}
				var err error
				if c, _, err = Find(slices.Values(values[i:i+1]), realm); err != nil {
					b.Fatal(err)
				}
				if res := s.Verify(&c, r, ha1); res.Outcome != OK {
					b.Fatal(res)
				}
				i++
			}
		})
	}
}

func BenchmarkChallenges(b *testing.B) {
	s := newServer(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		s.Challenges(realm, false, false)
	}
}
