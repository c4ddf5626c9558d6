package interop

import (
	"bytes"
	"context"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/store/postgres/pgtest"
)

// PostgreSQL is killed under a server that goes on: who is registered here still rings, who
// registers is told to come back later, and once the database is there again all is as
// before, without a hand.
func TestDatabaseGoesAndComesBack(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	dsn, err := c.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, settings{trusted: true, dsn: dsn})
	bob := s.connect(t, "ws")
	defer bob.close()
	if answer := bob.register(t, "ws", "bob", 1); statusOf(answer) != 200 {
		t.Fatalf("REGISTER: %s", answer)
	}
	alice := s.connect(t, "udp")
	defer alice.close()
	cseq := 0
	for round := range 3 {
		s.rings(t, bob, fmt.Sprint("before-", round))
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		answer := alice.register(t, "udp", "alice", cseq+1)
		if statusOf(answer) != 503 || !bytes.Contains(answer, []byte("\r\nRetry-After: ")) {
			t.Errorf("REGISTER without a database: %s", answer)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("refused after %v", took)
		}
		s.rings(t, bob, fmt.Sprint("without-", round))
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		cseq = s.registersAgain(t, alice, cseq+2)
		s.rings(t, bob, fmt.Sprint("after-", round))
		if aors := s.registrations(t); !slices.Contains(aors, "bob@"+domain) || !slices.Contains(aors, "alice@"+domain) {
			t.Errorf("registered are %q", aors)
		}
	}
}

// registersAgain repeats what a phone does that was told to come back later, and returns
// its last CSeq.
func (s *server) registersAgain(t *testing.T, w *wire, cseq int) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for ; ; cseq++ {
		answer := w.register(t, "udp", "alice", cseq)
		if statusOf(answer) == 200 {
			return cseq
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("not registered again: %s", answer)
		}
	}
}

// register sends a REGISTER and returns the final response to it.
func (w *wire) register(t *testing.T, transport, user string, cseq int) []byte {
	t.Helper()
	err := w.send(fmt.Appendf(nil, "REGISTER sip:%[1]s SIP/2.0\r\n"+
		"Via: SIP/2.0/%[2]s %[3]s.invalid;branch=z9hG4bK-%[3]s-%[4]d;rport\r\n"+
		"Max-Forwards: 70\r\n"+
		"From: <sip:%[3]s@%[1]s>;tag=%[3]s\r\n"+
		"To: <sip:%[3]s@%[1]s>\r\n"+
		"Call-ID: database-%[3]s\r\n"+
		"CSeq: %[4]d REGISTER\r\n"+
		"Contact: <sip:%[3]s@%[3]s.invalid;transport=%[5]s>;expires=600\r\n"+
		"Content-Length: 0\r\n\r\n", domain, strings.ToUpper(transport), user, cseq, transport))
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, open := w.next(t)
		if !open {
			t.Fatal("the connection was closed instead of an answer to REGISTER")
		}
		if statusOf(b) >= 200 && header(b, "CSeq") == fmt.Sprint(cseq, " REGISTER") {
			return b
		}
	}
}

// rings calls bob, who must see the INVITE; he is busy.
func (s *server) rings(t *testing.T, bob *wire, callID string) {
	t.Helper()
	caller := s.connect(t, "udp")
	defer caller.close()
	began := time.Now()
	err := caller.send(fmt.Appendf(nil, "INVITE sip:bob@%[1]s SIP/2.0\r\n"+
		"Via: SIP/2.0/UDP caller.invalid;branch=z9hG4bK-%[2]s;rport\r\n"+
		"Max-Forwards: 70\r\n"+
		"From: <sip:carol@%[1]s>;tag=carol\r\n"+
		"To: <sip:bob@%[1]s>\r\n"+
		"Call-ID: %[2]s\r\n"+
		"CSeq: 1 INVITE\r\n"+
		"Contact: <sip:carol@caller.invalid>\r\n"+
		"Content-Length: 0\r\n\r\n", domain, callID))
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, open := bob.next(t)
		if !open {
			t.Fatal("bob's connection was closed")
		}
		if bytes.HasPrefix(b, []byte("INVITE ")) && header(b, "Call-ID") == callID {
			if err := bob.send(busy(b)); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("call %s arrived after %v", callID, took)
	}
	if status, _ := caller.final(t); status != 486 {
		t.Errorf("call %s ended with %d, want 486", callID, status)
	}
}

// busy returns a 486 to a request.
func busy(request []byte) []byte {
	answer := []byte("SIP/2.0 486 Busy Here\r\n")
	for line := range bytes.SplitSeq(request, []byte("\r\n")) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch textproto.CanonicalMIMEHeaderKey(string(name)) {
		case "Via", "From", "Call-Id", "Cseq":
			answer = append(append(answer, line...), "\r\n"...)
		case "To":
			answer = append(append(answer, line...), ";tag=busy\r\n"...)
		}
	}
	return append(answer, "Content-Length: 0\r\n\r\n"...)
}

// header returns the value of the first line of a header field.
func header(message []byte, name string) string {
	for line := range bytes.SplitSeq(message, []byte("\r\n")) {
		if value, ok := bytes.CutPrefix(line, []byte(name+": ")); ok {
			return string(value)
		}
	}
	return ""
}
