package registrar

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

// watching runs a test in virtual time with a server that believes everybody.
func watching(t *testing.T, f func(s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := inline(t)
		f(s)
		s.notifier.Close()
		<-time.After(time.Minute) // no transaction is left
	})
}

// subscriber is a user agent that has subscribed to alice.
type subscriber struct {
	s      *server
	flow   sip.Flow
	callID string
	toTag  string
	cseq   int
}

// subscribeText writes a SUBSCRIBE to alice.
func (u *subscriber) text(lines ...string) string {
	u.cseq++
	to := "To: <sip:alice@example.test>"
	if u.toTag != "" {
		to += ";tag=" + u.toTag
	}
	base := []string{
		"Call-ID: " + u.callID, to, "Event: reg", fmt.Sprintf("CSeq: %d SUBSCRIBE", u.cseq),
		fmt.Sprintf("Contact: <sip:%s@w.invalid;transport=ws>", u.callID),
	}
	base = slices.DeleteFunc(base, func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
	})
	lines = slices.DeleteFunc(slices.Concat(base, lines), func(line string) bool { return strings.HasSuffix(line, ": ") })
	text := register{uri: "sip:alice@example.test", cseq: u.cseq}.text(lines...)
	return strings.Replace(text, "REGISTER sip", "SUBSCRIBE sip", 1)
}

// subscribe sends a SUBSCRIBE that must be granted, and returns the response.
func (u *subscriber) subscribe(lines ...string) string {
	u.s.t.Helper()
	u.s.deliver(u.flow, u.text(lines...))
	synctest.Wait()
	sent := u.s.net.take(u.flow)
	if len(sent) == 0 || !strings.HasPrefix(sent[0], "SIP/2.0 200") {
		u.s.t.Fatalf("%q", sent)
	}
	u.s.net.mu.Lock()
	u.s.net.sent[u.flow] = append(sent[1:], u.s.net.sent[u.flow]...)
	u.s.net.mu.Unlock()
	m, err := sip.Parse([]byte(sent[0]))
	if err != nil {
		u.s.t.Fatal(err)
	}
	u.toTag = m.ToTag()
	return sent[0]
}

func (s *server) subscriber(flow uint64, lines ...string) *subscriber {
	s.t.Helper()
	u := &subscriber{s: s, flow: wsFlow(flow), callID: fmt.Sprint("w", flow)}
	u.subscribe(lines...)
	return u
}

// told is what a NOTIFY says.
type told struct {
	m   *sip.Message
	doc reginfo
}

// next returns the one NOTIFY that was sent, without answering it.
func (u *subscriber) next() told {
	u.s.t.Helper()
	synctest.Wait()
	sent := u.s.net.take(u.flow)
	if len(sent) != 1 || !strings.HasPrefix(sent[0], "NOTIFY ") {
		u.s.t.Fatalf("not one NOTIFY: %q", sent)
	}
	m, err := sip.Parse([]byte(sent[0]))
	if err != nil {
		u.s.t.Fatal(err, sent[0])
	}
	n := told{m: m}
	if err := xml.Unmarshal(m.Body(), &n.doc); err != nil {
		u.s.t.Fatal(err)
	}
	return n
}

func (u *subscriber) answer(n told, status int, lines ...string) {
	m := sip.NewResponse(n.m, status, "", "")
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		m.AppendNamed(name, value)
	}
	parsed, err := sip.Parse(m.Bytes())
	if err != nil {
		u.s.t.Fatal(err)
	}
	u.s.layer.Receive(u.flow, parsed)
	synctest.Wait()
}

// expect takes a NOTIFY, answers it with 200 and compares what it says.
func (u *subscriber) expect(want string) {
	u.s.t.Helper()
	n := u.next()
	u.answer(n, 200)
	if got := n.String(); got != want {
		u.s.t.Errorf("told %s\nwant %s", got, want)
	}
}

func (u *subscriber) expectNothing() {
	u.s.t.Helper()
	synctest.Wait()
	if sent := u.s.net.take(u.flow); len(sent) > 0 {
		u.s.t.Errorf("%q", sent)
	}
}

// String is version, state of the document and of the registration, then URI, state and event
// of each contact, then the subscription's state if it is over.
func (n told) String() string {
	d := &n.doc
	text := fmt.Sprintf("%d %s %s", d.Version, d.State, d.Registration.State)
	for _, c := range d.Registration.Contacts {
		text += fmt.Sprintf(", %s %s %s", strings.TrimPrefix(c.URI, "sip:"), c.State, c.Event)
	}
	if state, params, _ := n.m.SubscriptionState(); state != "active" {
		reason, _ := params.Get("reason")
		text += ", " + state + " " + reason
	}
	return text
}
