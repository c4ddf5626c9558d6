//go:build linux

package load

import (
	"crypto/md5"
	"fmt"
	"strings"
	"testing"
)

func newWireRegister(t *testing.T) (*register, func() string) {
	l := &Load{run: "0123abcd", target: Target{Domain: "example.test", Password: "secret"}, out: make([]byte, headroom, 64<<10)}
	a := &agent{load: l, transport: UDP, user: "udp-b0000", index: 1}
	var sent func() string
	a.conn, sent = pipe(t)
	a.identify(l.target)
	return l.newRegister(a), sent
}

func answer(t *testing.T, r *register, text string) (bool, error) {
	t.Helper()
	var m message
	if err := m.scan([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r.receive(r.agent.conn, &m)
}

// reply is a server's response to a registration.
func reply(request, status, extra string) string {
	return strings.Replace(trying(request), "SIP/2.0 100 Trying\r\n", "SIP/2.0 "+status+"\r\n"+extra, 1)
}

const challenges = `WWW-Authenticate: Digest realm="example.test", nonce="sha", algorithm=SHA-256, qop="auth"` + "\r\n" +
	`WWW-Authenticate: Digest realm="example.test", nonce="n1", algorithm=MD5, qop="auth"` + "\r\n"

func TestRegister(t *testing.T) {
	r, sent := newWireRegister(t)
	binding := "Contact: <" + r.agent.contact + ">;expires=3600\r\n"
	if err := r.start(1); err != nil {
		t.Fatal(err)
	}
	request := sent()
	if strings.Contains(request, "Authorization") {
		t.Errorf("credentials before a challenge:\n%s", request)
	}
	if done, err := answer(t, r, reply(request, "401 Unauthorized", challenges)); done || err != nil {
		t.Fatalf("401: done %v, %v", done, err)
	}
	for nc := 1; nc <= 2; nc++ {
		request = sent()
		hash := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
		want := hash(hash("udp-b0000:example.test:secret") + fmt.Sprintf(":n1:%08x:%s:auth:", nc, cnonce) + hash("REGISTER:sip:example.test"))
		for _, part := range []string{
			`response="` + want + `"`, fmt.Sprintf("nc=%08x\r\n", nc), `uri="sip:example.test"`, `nonce="n1"`,
			fmt.Sprintf("CSeq: %d REGISTER\r\n", nc+1), "Contact: <" + r.agent.contact + ">",
		} {
			if !strings.Contains(request, part) {
				t.Errorf("no %s in\n%s", part, request)
			}
		}
		if done, err := answer(t, r, reply(request, "200 OK", binding)); !done || err != nil {
			t.Fatalf("200: done %v, %v", done, err)
		}
		if err := r.start(uint32(nc + 1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRegisterSeesFaults(t *testing.T) {
	tests := []struct{ status, extra, want string }{
		{"200 OK", "", errContact.Error()},
		{"200 OK", "Contact: <sip:other@h>;expires=60\r\n", errContact.Error()},
		{"200 OK", "Contact: <CONTACT>\r\n", errContact.Error()},
		{"401 Unauthorized", challenges, "status 401"}, // the second time
		{"503 Service Unavailable", "", "status 503"},
	}
	for _, tt := range tests {
		r, sent := newWireRegister(t)
		r.agent.nonce = []byte("n")
		if err := r.start(1); err != nil {
			t.Fatal(err)
		}
		extra := strings.Replace(tt.extra, "CONTACT", r.agent.contact, 1)
		if done, err := answer(t, r, reply(sent(), tt.status, extra)); done || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q: done %v, %v, want %s", tt.status, tt.extra, done, err, tt.want)
		}
	}
	r, sent := newWireRegister(t)
	if err := r.start(1); err != nil {
		t.Fatal(err)
	}
	if _, err := answer(t, r, reply(sent(), "200 OK", "Contact: <"+r.agent.contact+">;expires=60\r\n")); err != errUnchallenged {
		t.Errorf("accepted without credentials: %v", err)
	}
}
