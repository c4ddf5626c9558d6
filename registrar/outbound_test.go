package registrar

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
)

// RFC 5626 §6: reg-id counts where the first hop keeps the flow, and who relies on it is
// told where it does not.
func TestOutbound(t *testing.T) {
	const (
		contact   = `Contact: <sip:a@h>;reg-id=2;+sip.instance="<urn:i>"`
		noRegID   = `Contact: <sip:a@h>;+sip.instance="<urn:i>"`
		noID      = `Contact: <sip:a@h>;reg-id=2`
		relayed   = "Via: SIP/2.0/UDP far;branch=z9hG4bK0"
		supported = "Supported: path, outbound"
		required  = "\nRequire: outbound\n"
	)
	for _, test := range []struct {
		name    string
		flow    sip.Flow
		lines   []string
		status  string
		key     string
		require bool
		timer   bool
	}{
		{"direct", tcpFlow(1), []string{supported, contact}, "200 OK", "2;<urn:i>", true, true},
		{"direct, required", tcpFlow(1), []string{"Require: outbound", contact}, "200 OK", "2;<urn:i>", true, true},
		{"direct, over UDP", udpFlow, []string{supported, contact}, "200 OK", "2;<urn:i>", true, false},
		{"direct, outbound not supported", tcpFlow(1), []string{contact}, "200 OK", "2;<urn:i>", false, false},
		{"no reg-id", tcpFlow(1), []string{supported, noRegID}, "200 OK", "sip:a@h", false, false},
		{"no instance", tcpFlow(1), []string{supported, noID}, "200 OK", "sip:a@h", false, false},
		{"a query", tcpFlow(1), []string{supported}, "200 OK", "", false, false},
		{"relayed, no Path", tcpFlow(1), []string{supported, relayed, contact}, "439 First Hop Lacks Outbound Support", "", false, false},
		{"relayed, no Path, outbound not supported", tcpFlow(1), []string{relayed, contact}, "200 OK", "sip:a@h", false, false},
		{"relayed, no Path, no reg-id", tcpFlow(1), []string{supported, relayed, noRegID}, "200 OK", "sip:a@h", false, false},
		{"relayed, no ob", tcpFlow(1), []string{supported, relayed, "Path: <sip:edge;lr>", contact}, "439 First Hop Lacks Outbound Support", "", false, false},
		{"relayed, ob of a later proxy", tcpFlow(1), []string{supported, relayed, "Path: <sip:p1;lr;ob>, <sip:edge;lr>", contact}, "439 First Hop Lacks Outbound Support", "", false, false},
		{"relayed, ob", tcpFlow(1), []string{supported, relayed, "Path: <sip:p1;lr>", "Path: <sip:edge;lr;ob>", contact}, "200 OK", "2;<urn:i>", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, options{
				reg:  Config{Inline: true, AnyUser: true, FlowTimer: 2 * time.Minute},
				auth: auth.Config{Mode: auth.None},
			})
			got := s.send(test.flow, regText(test.lines...))
			if find(statusOf, got) != test.status || strings.Contains(got, required) != test.require ||
				strings.Contains(got, "\nFlow-Timer: 120\n") != test.timer {
				t.Errorf("%s\nwant %s, Require: outbound %t, Flow-Timer %t", got, test.status, test.require, test.timer)
			}
			bindings, _ := s.reg.Lookup(alice)
			key := ""
			if len(bindings) == 1 {
				key = bindings[0].Key
			}
			if key != test.key || (key == "2;<urn:i>") != (len(bindings) == 1 && bindings[0].RegID == 2) {
				t.Errorf("%+v, want %s", bindings, test.key)
			}
		})
	}
}

// RFC 5626 §6: the same instance and reg-id take the place of the flow before, another
// reg-id stands beside it.
func TestFlowReplaced(t *testing.T) {
	s := inline(t)
	register := func(flow uint64, regID int, user string) {
		t.Helper()
		got := s.send(wsFlow(flow), regText(fmt.Sprintf("Call-ID: %d", flow),
			fmt.Sprintf(`Contact: <sip:%s@x.invalid>;reg-id=%d;+sip.instance="<urn:i>"`, user, regID)))
		if find(statusOf, got) != "200 OK" {
			t.Fatal(got)
		}
	}
	register(1, 1, "a")
	register(2, 2, "b")
	register(3, 1, "c")
	if got := strings.Join(s.lookup(alice), " "); got != "sip:c@x.invalid sip:b@x.invalid" {
		t.Error(got)
	}
	s.closed(wsFlow(1)) // late
	if got := strings.Join(s.lookup(alice), " "); got != "sip:c@x.invalid sip:b@x.invalid" {
		t.Error("the old flow's end took the new binding:", got)
	}
	s.closed(wsFlow(3))
	if got := strings.Join(s.lookup(alice), " "); got != "sip:b@x.invalid" {
		t.Error(got)
	}
}

// RFC 3327 §5.3: a client that knows nothing of Path is to learn that somebody has put
// himself in the way, unless we were told to let it be.
func TestPathWithoutSupport(t *testing.T) {
	lines := []string{"Path: <sip:edge;lr>", "Contact: <sip:a@h>"}
	s := inline(t)
	if got := s.send(udpFlow, regText(lines...)); find(statusOf, got) != "420 Bad Extension" || !strings.Contains(got, "\nUnsupported: path\n") {
		t.Error(got)
	}
	if got := s.send(udpFlow, regText(append(lines, "Require: path")...)); find(statusOf, got) != "200 OK" {
		t.Error(got)
	}
	s = newServer(t, options{reg: Config{Inline: true, AnyUser: true, PathWithoutSupport: true}, auth: auth.Config{Mode: auth.None}})
	if got := s.send(udpFlow, regText(lines...)); find(statusOf, got) != "200 OK" || !strings.Contains(got, "\nPath: <sip:edge;lr>\n") {
		t.Error(got)
	}
}

// RFC 3608 §6.1.
func TestServiceRoute(t *testing.T) {
	s := newServer(t, options{
		reg:  Config{Inline: true, AnyUser: true, ServiceRoute: []string{"<sip:p1.example.test;lr>", "<sip:p2.example.test;lr>"}},
		auth: auth.Config{Mode: auth.None},
	})
	const want = "\nService-Route: <sip:p1.example.test;lr>, <sip:p2.example.test;lr>\n"
	if got := s.send(udpFlow, regText("Contact: <sip:a@h>")); !strings.Contains(got, want) {
		t.Error(got)
	}
	if got := s.send(udpFlow, regText("Contact: <sip:a@h>;expires=1")); strings.Contains(got, "Service-Route") {
		t.Error(got)
	}
}

// A granted interval is shortened at random, never below the minimum, and the client is told
// what it got.
func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, options{reg: Config{Inline: true, AnyUser: true, Jitter: 20}, auth: auth.Config{Mode: auth.None}})
		for _, test := range []struct{ asked, least, most int }{
			{600, 480, 600}, {70, 60, 70}, {60, 60, 60}, {7200, 2880, 3600},
		} {
			seen := make(map[int64]bool)
			for range 300 {
				got := s.send(udpFlow, regText(fmt.Sprintf("Contact: <sip:a@h>;expires=%d", test.asked)))
				var told int64
				if _, err := fmt.Sscanf(find(contactOf, got), "<sip:a@h>;expires=%d", &told); err != nil {
					t.Fatal(got)
				}
				bindings, _ := s.reg.Lookup(alice)
				if left := int64(time.Until(bindings[0].Expires)/time.Second) - 5; left != told {
					t.Errorf("told %d, kept %d", told, left)
				}
				if told < int64(test.least) || told > int64(test.most) {
					t.Fatalf("%d became %d", test.asked, told)
				}
				seen[told] = true
			}
			if most := test.most - test.least + 1; len(seen) < most/4 {
				t.Errorf("asked for %d, 300 clients have %d different intervals of %d", test.asked, len(seen), most)
			}
		}
	})
}

// RFC 3261 §10.3 step 4: a user who was made a third party registers others of his domain,
// those that exist, and is not believed to be them.
func TestThirdParty(t *testing.T) {
	s := newServer(t, options{
		reg:  Config{Inline: true, ThirdParties: []string{bob}},
		auth: auth.Config{FlowCalls: true},
	})
	f := wsFlow(1)
	challenged := s.send(f, regText("Contact: <sip:a@x.invalid>"))
	for i, test := range []struct{ name, to, status string }{
		{"bob", "bob", "200 OK"},
		{"bob", "alice", "200 OK"},
		{"bob", "carol", "404 No Such User"},
		{"alice", "bob", "403 Not Your Address-of-Record"},
	} {
		got := s.send(f, regText("Contact: <sip:a@x.invalid>", "To: <sip:"+test.to+"@example.test>",
			"Authorization: "+answer(challenged, test.name, "secret", i+1)))
		if find(statusOf, got) != test.status {
			t.Errorf("%s for %s: %s", test.name, test.to, got)
		}
	}
	if !s.auth.Bound(f, bob) || s.auth.Bound(f, alice) {
		t.Error("who registers another is not the other")
	}
}
