//go:build linux

package load

import (
	"crypto/md5"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// newWireAuthCall is a call with credentials, and the challenge that its nonce comes by.
func newWireAuthCall(t *testing.T) (*wireCall, *challenge) {
	w := newWireCall(t)
	w.call = w.call.load.newCall(3, w.call.caller, w.call.callee, true)
	return w, &challenge{call: w.call}
}

// refusal is a proxy's response to an INVITE.
func refusal(request, status string) string {
	text := reply(request, status, strings.ReplaceAll(challenges, "WWW-", "Proxy-"))
	return strings.Replace(text, "To: <sip:udp-b0000@example.test>", "To: <sip:udp-b0000@example.test>;tag=proxy", 1)
}

func (w *wireCall) answer(x *challenge, from *agent, text string) (bool, error) {
	var m message
	if err := m.scan([]byte(text)); err != nil {
		w.Fatal(err)
	}
	return x.receive(from.conn, &m)
}

// A nonce that a challenge gave once serves calls with a rising count.
func TestAuthCall(t *testing.T) {
	w, x := newWireAuthCall(t)
	if err := x.start(1); err != nil {
		t.Fatal(err)
	}
	invite := w.caller()
	if strings.Contains(invite, "Authorization") || !strings.HasSuffix(invite, string(w.call.offer)) {
		t.Errorf("asking for a nonce:\n%s", invite)
	}
	for _, text := range []string{trying(invite), refusal(invite, "407 Proxy Authentication Required")} {
		done, err := w.answer(x, w.call.caller, text)
		if final := !strings.Contains(text, " 100 "); done != final || err != nil {
			t.Fatalf("done %v, %v after\n%s", done, err, text)
		}
	}
	// RFC 3261 §17.1.1.3
	ack := w.caller()
	via, _, _ := strings.Cut(invite[strings.Index(invite, "Via:"):], "\r\n")
	for _, part := range []string{"ACK sip:udp-b0000@example.test SIP/2.0\r\n" + via + "\r\n", ";tag=proxy\r\n", "CSeq: 1 ACK\r\n"} {
		if !strings.Contains(ack, part) {
			t.Errorf("no %s in\n%s", part, ack)
		}
	}
	hash := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	for nc := 1; nc <= 2; nc++ {
		done, err := w.steps(func(name, text string) string {
			if name != "INVITE" {
				return text
			}
			want := hash(hash("udp-a0000:example.test:secret") + fmt.Sprintf(":n1:%08x:%s:auth:", nc, cnonce) + hash("INVITE:sip:udp-b0000@example.test"))
			for _, part := range []string{
				`Proxy-Authorization: Digest algorithm=MD5, username="udp-a0000"`, `response="` + want + `"`,
				fmt.Sprintf("nc=%08x\r\n", nc), `uri="sip:udp-b0000@example.test"`, `nonce="n1"`,
			} {
				if !strings.Contains(text, part) {
					t.Errorf("no %s in\n%s", part, text)
				}
			}
			return text
		})
		if !done || err != nil {
			t.Fatalf("call %d: done %v, %v", nc, done, err)
		}
	}
}

// A server that lets calls pass without credentials is not to be measured.
func TestChallengeSeesFaults(t *testing.T) {
	tests := []struct {
		name     string
		toCallee bool
		text     func(w *wireCall, invite string) string
		want     string
	}{
		{"forwarded", true, func(w *wireCall, invite string) string { return forward(w, invite) }, errUnchallenged.Error()},
		{"ringing", false, func(_ *wireCall, invite string) string { return refusal(invite, "180 Ringing") }, "status 180"},
		{"as a server", false, func(_ *wireCall, invite string) string { return refusal(invite, "401 Unauthorized") }, "status 401"},
		{"no MD5", false, func(_ *wireCall, invite string) string {
			return strings.ReplaceAll(refusal(invite, "407 Proxy Authentication Required"), "=MD5", "=SHA-256")
		}, "no MD5 challenge"},
		{"another Via", false, func(_ *wireCall, invite string) string {
			return strings.ReplaceAll(refusal(invite, "407 Proxy Authentication Required"), "z9hG4bKi", "z9hG4bKx")
		}, errVia.Error()},
		{"the call before", false, func(_ *wireCall, invite string) string {
			return strings.ReplaceAll(refusal(invite, "407 Proxy Authentication Required"), "-00000001", "-00000000")
		}, errExtra.Error()},
	}
	for _, tt := range tests {
		w, x := newWireAuthCall(t)
		if err := x.start(1); err != nil {
			t.Fatal(err)
		}
		to := w.call.caller
		if tt.toCallee {
			to = w.call.callee
		}
		done, err := w.answer(x, to, tt.text(w, w.caller()))
		if done || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: done %v, %v, want %s", tt.name, done, err, tt.want)
		}
	}
	w, x := newWireAuthCall(t)
	if err := x.start(1); err != nil {
		t.Fatal(err)
	}
	if _, err := w.answer(x, w.call.callee, refusal(w.caller(), "407 Proxy Authentication Required")); !errors.Is(err, errConn) {
		t.Errorf("on the callee's connection: %v", err)
	}
}
