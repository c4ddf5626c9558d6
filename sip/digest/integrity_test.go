package digest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answerIntegrity computes what a client that chose auth-int sends (RFC 7616 §3.4.3).
func answerIntegrity(a Algorithm, nonce, nc, method, uri, body string) string {
	h := func(parts ...string) string { return string(a.appendHex(nil, []byte(strings.Join(parts, ":")))) }
	response := h(h(user, realm, password), nonce, nc, "c0ffee", "auth-int", h(method, uri, h(body)))
	return `Digest username="` + user + `", realm="` + realm + `", nonce="` + nonce + `", uri="` + uri + `", response="` + response +
		`", algorithm=` + a.String() + `, qop=auth-int, cnonce="c0ffee", nc=` + nc
}

func TestIntegrity(t *testing.T) {
	s := newServer(t, Config{Algorithms: []Algorithm{SHA512256, SHA256, MD5}, Integrity: true})
	for _, c := range s.Challenges(realm, false, true) {
		if !strings.HasSuffix(c, `, qop="auth,auth-int"`) {
			t.Errorf("offered %s", c)
		}
	}
	if c := s.Challenges(realm, false, false)[0]; !strings.HasSuffix(c, `, qop="auth"`) {
		t.Errorf("offered to a web client %s", c)
	}
	message := Request{Method: "MESSAGE", URI: "sip:bob@" + realm, Realm: realm, Body: []byte("hello")}
	for _, a := range []Algorithm{MD5, SHA256, SHA512256} {
		nonce := challengeNonce(s)
		altered, empty := message, message
		altered.Body, empty.Body = []byte("hell0"), nil
		value := answerIntegrity(a, nonce, "00000001", message.Method, message.URI, "hello")
		expect(t, a.String()+", altered body", verify(t, s, value, altered), Denied)
		expect(t, a.String()+", body taken away", verify(t, s, value, empty), Denied)
		expect(t, a.String(), verify(t, s, value, message), OK)
	}
	t.Run("not offered", func(t *testing.T) {
		s := newServer(t, Config{})
		if c := s.Challenges(realm, false, true)[0]; strings.Contains(c, "auth-int") {
			t.Errorf("offered %s", c)
		}
		value := answerIntegrity(MD5, challengeNonce(s), "00000001", message.Method, message.URI, "hello")
		expect(t, "answer", verify(t, s, value, message), BadRequest)
	})
}

// A client that is told the next nonce in time never has to be challenged again.
func TestNextNonce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{MaxAge: time.Hour})
		nonce := challengeNonce(s)
		use := func(nonce, nc string) Result {
			return verify(t, s, answer(MD5, password, nonce, nc, register.Method, register.URI), register)
		}
		if r := use(nonce, "00000001"); r.Outcome != OK || r.NextNonce != "" {
			t.Fatalf("young nonce: %+v", r)
		}
		<-time.After(31 * time.Minute)
		r := use(nonce, "00000002")
		if r.Outcome != OK || r.NextNonce == "" || r.NextNonce == nonce {
			t.Fatalf("old nonce: %+v", r)
		}
		<-time.After(31 * time.Minute)
		expect(t, "the old one", use(nonce, "00000003"), Stale)
		expect(t, "the next one", use(r.NextNonce, "00000003"), OK)
	})
}
