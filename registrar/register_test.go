package registrar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
)

// TestRegister goes through RFC 3261 §10.3 with one request each, to an AOR that has one
// binding, <sip:old@192.0.2.9>, of another Call-ID.
func TestRegister(t *testing.T) {
	const old = `<sip:old@192.0.2.9>;expires=600`
	for _, test := range []struct {
		name    string
		uri     string
		lines   []string
		status  string
		contact string // of the response
	}{
		{"step 1: foreign domain", "sip:foreign.test", nil, "404 Domain Not Served Here", ""},
		{"step 1: any case, port and parameters", "sip:EXAMPLE.test:5060;transport=ws", nil, "200 OK", old},
		{"step 1: other scheme", "tel:+4930123", nil, "416 Unsupported URI Scheme", ""},
		{"step 2: unknown extensions", "", []string{"Require: path, foo", "Require: bar"}, "420 Bad Extension", ""},
		{"step 2: unknown to the proxy", "", []string{"Proxy-Require: foo"}, "420 Bad Extension", ""},
		{"step 2: understood extensions", "", []string{"Require: path, outbound, gruu"}, "200 OK", old},
		{"step 2: path", "", []string{"Require: Path"}, "200 OK", old},
		{"step 4: somebody else's AOR", "", []string{"From: <sip:bob@example.test>;tag=1"}, "403 Not Your Address-of-Record", ""},
		{"step 5: AOR of another domain of ours", "", []string{"To: <sip:alice@other.test>"}, "404 No Address-of-Record of This Domain", ""},
		{"step 5: AOR of a foreign domain", "", []string{"To: <sip:alice@foreign.test>"}, "404 No Address-of-Record of This Domain", ""},
		{"step 5: no user", "", []string{"To: <sip:example.test>"}, "404 No Address-of-Record of This Domain", ""},
		{"step 5: tel", "", []string{"To: <tel:+4930123>"}, "404 No Address-of-Record of This Domain", ""},
		{"step 5: line end in the user", "", []string{"To: <sip:alice%0d%0a@example.test>"}, "404 No Address-of-Record of This Domain", ""},
		{"step 5: sips is the same AOR", "", []string{"To: <sips:alice@example.test>"}, "200 OK", old},
		{"step 5: canonical form", "", []string{"To: Alice <sip:%61lice@Example.Test:5060;user=phone>"}, "200 OK", old},
		{"step 6: query", "", nil, "200 OK", old},
		{"step 6: remove all", "", []string{"Contact: *", "Expires: 0"}, "200 OK", ""},
		{"step 6: * with an interval", "", []string{"Contact: *", "Expires: 60"}, "400 Contact * Must Be Alone and Expire at Once", ""},
		{"step 6: * without Expires", "", []string{"Contact: *"}, "400 Contact * Must Be Alone and Expire at Once", ""},
		{"step 6: * with a malformed Expires", "", []string{"Contact: *", "Expires: now"}, "400 Contact * Must Be Alone and Expire at Once", ""},
		{"step 6: * and more", "", []string{"Contact: *, <sip:a@192.0.2.1>", "Expires: 0"}, "400 Contact * Must Be Alone and Expire at Once", ""},
		{"step 7: parameter", "", []string{"Contact: <sip:a@h>;expires=100", "Expires: 200"}, "200 OK", old + `, <sip:a@h>;expires=100`},
		{"step 7: header", "", []string{"Contact: <sip:a@h>", "Expires: 200"}, "200 OK", old + `, <sip:a@h>;expires=200`},
		{"step 7: neither", "", []string{"Contact: <sip:a@h>"}, "200 OK", old + `, <sip:a@h>;expires=600`},
		{"step 7: more than the maximum", "", []string{"Contact: <sip:a@h>;expires=99999999999"}, "200 OK", old + `, <sip:a@h>;expires=3600`},
		{"step 7: malformed parameter", "", []string{"Contact: <sip:a@h>;expires=soon"}, "200 OK", old + `, <sip:a@h>;expires=3600`},
		{"step 7: malformed header", "", []string{"Contact: <sip:a@h>", "Expires: soon"}, "200 OK", old + `, <sip:a@h>;expires=3600`},
		{"step 7: too brief", "", []string{"Contact: <sip:a@h>;expires=59"}, "423 Interval Too Brief", ""},
		{"step 7: one of two too brief", "", []string{"Contact: <sip:a@h>;expires=600, <sip:b@h>;expires=1"}, "423 Interval Too Brief", ""},
		{"step 7: removal", "", []string{"Contact: <sip:old@192.0.2.9>;expires=0"}, "200 OK", ""},
		{"step 7: removal by the header", "", []string{"Contact: <sip:old@192.0.2.9>", "Expires: 0"}, "200 OK", ""},
		{"step 7: removal of nothing", "", []string{"Contact: <sip:a@h>;expires=0"}, "200 OK", old},
		{"step 7: several", "", []string{"Contact: <sip:old@192.0.2.9>;expires=0, <sip:a@h>;q=0.5;expires=90", "Contact: \"B\" <sip:b@h>"}, "200 OK",
			`<sip:a@h>;q=0.5;expires=90, <sip:b@h>;expires=600`},
		{"step 7: equal by the comparison rules", "", []string{"Contact: <SIP:%6fld@192.0.2.9;ob>;expires=70"}, "200 OK", `<SIP:%6fld@192.0.2.9;ob>;expires=70`},
		{"step 7: equal to one another", "", []string{"Contact: <sip:a@h>;expires=70, <sip:a@H>;expires=80"}, "200 OK", old + `, <sip:a@H>;expires=80`},
		{"step 7: addr-spec", "", []string{"Contact: sip:a@h;expires=70"}, "200 OK", old + `, <sip:a@h>;expires=70`},
		{"step 7: sips over a plain transport", "", []string{"Contact: <sips:a@h>"}, "400 SIPS Contact Needs a SIPS Request-URI", ""},
		{"step 7: no SIP URI", "", []string{"Contact: <mailto:a@h>"}, "200 OK", old + `, <mailto:a@h>;expires=600`},
		{"step 7: headers in the URI", "", []string{"Contact: <sip:a@h;x=y?Route=%3Csip:evil%3E>"}, "200 OK", old + `, <sip:a@h;x=y>;expires=600`},
		{"step 7: the URI can't be read", "", []string{"Contact: <sip:a@>"}, "400 Bad Contact", ""},
		{"step 7: the header can't be read", "", []string{"Contact: <sip:a@h"}, "400 Bad Contact: no > behind the URI", ""},
		{"step 7: more contacts than there may be", "", []string{"Contact: " + strings.Repeat("<sip:a@h>,", 40) + "<sip:b@h>"}, "403 Too Many Contacts", ""},
		{"a contact of 5 KiB", "", []string{"Contact: <sip:a@h>;x=" + strings.Repeat("y", 5<<10)}, "400 Contact Too Long", ""},
		{"a URI of 5 KiB", "", []string{"Contact: <sip:a@h;x=" + strings.Repeat("y", 5<<10) + ">"}, "400 Contact Too Long", ""},
		{"a Path of 5 KiB", "", []string{"Supported: path", "Path: " + strings.Repeat("<sip:p;lr>,", 500) + "<sip:p>", "Contact: <sip:a@h>"}, "400 Path Too Long", ""},
		{"a Call-ID of 2 KiB", "", []string{"Call-ID: " + strings.Repeat("y", 2<<10), "Contact: <sip:a@h>"}, "400 Call-ID Too Long", ""},
		{"RFC 5626 §6: two contacts, one with a reg-id", "", []string{`Contact: <sip:a@h>;reg-id=1;+sip.instance="<i>", <sip:b@h>`}, "400 More Than One Contact with reg-id", ""},
		{"RFC 5626 §6: a flow and a removal", "", []string{`Contact: <sip:a@h>;reg-id=1;+sip.instance="<i>", <sip:old@192.0.2.9>;expires=0`}, "200 OK", `<sip:a@h>;reg-id=1;+sip.instance="<i>";expires=600`},
		{"RFC 5626 §6: reg-id without an instance", "", []string{"Contact: <sip:a@h>;reg-id=1, <sip:b@h>"}, "200 OK", old + `, <sip:a@h>;reg-id=1;expires=600, <sip:b@h>;expires=600`},
		{"RFC 3327 §5.3: malformed Path", "", []string{"Supported: path", "Path: <sip:p", "Contact: <sip:a@h>"}, "400 Bad Path: no > behind the URI", ""},
		{"Record-Route is ignored", "", []string{"Record-Route: <sip:p;lr>"}, "200 OK", old},
		{"parameters keep their bytes", "", []string{`Contact: <sip:a@h>;Expires = 70;+sip.instance="<urn:X;expires=1,\">"; Q=0.7 ;methods="INVITE, BYE";expiresnot`}, "200 OK",
			old + `, <sip:a@h>;+sip.instance="<urn:X;expires=1,\">"; Q=0.7 ;methods="INVITE, BYE";expiresnot;expires=70`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inline(t)
				s.send(udpFlow, regText("Call-ID: other", "Contact: <sip:old@192.0.2.9>;expires=600"))
				uri := test.uri
				if uri == "" {
					uri = "sip:example.test"
				}
				got := s.send(udpFlow, register{uri: uri, cseq: 1}.text(test.lines...))
				if find(statusOf, got) != test.status {
					t.Fatalf("%s\nwant %s", got, test.status)
				}
				if contact := find(contactOf, got); contact != test.contact {
					t.Errorf("contacts %s\n  want    %s", contact, test.contact)
				}
				for status, line := range map[string]string{
					"420": "\nUnsupported: ", "423": "\nMin-Expires: 60\n", "200": "\nDate: Sat, 01 Jan 2000 00:00:00 GMT\n",
				} {
					if strings.HasPrefix(test.status, status) && !strings.Contains(got, line) {
						t.Errorf("no %q in\n%s", line, got)
					}
				}
				if strings.Contains(got, "Record-Route") {
					t.Errorf("Record-Route in the response:\n%s", got)
				}
				if !strings.HasPrefix(test.status, "200") && !slices.Equal(s.lookup(alice), []string{"sip:old@192.0.2.9"}) {
					t.Errorf("a request that failed changed the bindings: %q", s.lookup(alice))
				}
			})
		})
	}
}

func TestUnsupported(t *testing.T) {
	s := inline(t)
	got := s.send(udpFlow, regText("Require: path, foo", "Require: bar", "Proxy-Require: baz"))
	if !strings.Contains(got, "\nUnsupported: foo, bar, baz\n") {
		t.Error(got)
	}
}

// RFC 3261 §10.3 steps 6 and 7: requests of one Call-ID have an order.
func TestOrder(t *testing.T) {
	s := inline(t)
	steps := []struct {
		cseq    int
		callID  string
		contact string
		status  string
	}{
		{5, "c", "<sip:a@h>", "200 OK"},
		{5, "c", "<sip:a@h>", "500 CSeq Not Higher Than Before"},
		{4, "c", "<sip:a@h>;expires=0", "500 CSeq Not Higher Than Before"},
		{4, "c", "*", "500 CSeq Not Higher Than Before"},
		{4, "c", "<sip:b@h>, <sip:a@h>", "500 CSeq Not Higher Than Before"}, // all or nothing
		{1, "d", "<sip:b@h>", "200 OK"},
		{1, "e", "<sip:a@h>", "200 OK"}, // another Call-ID, no order
		{6, "c", "<sip:a@h>", "200 OK"},
		{2, "d", "*", "200 OK"},
		{1, "c", "<sip:a@h>", "200 OK"}, // what was removed has left no order
	}
	for i, step := range steps {
		expires := "Expires: 600"
		if step.contact == "*" {
			expires = "Expires: 0"
		}
		before := s.lookup(alice)
		got := s.send(udpFlow, register{uri: "sip:example.test", cseq: step.cseq}.text(
			"Call-ID: "+step.callID, "Contact: "+step.contact, expires))
		if find(statusOf, got) != step.status {
			t.Errorf("step %d: %s", i, got)
		}
		if after := s.lookup(alice); step.status != "200 OK" && !slices.Equal(before, after) {
			t.Errorf("step %d failed, and yet %q became %q", i, before, after)
		}
	}
}

func TestDigest(t *testing.T) {
	s := newServer(t, options{reg: Config{Inline: true}})
	contact := "Contact: <sip:a@x.invalid>"
	challenged := s.send(wsFlow(1), regText(contact))
	if find(statusOf, challenged) != "401 Unauthorized" || strings.Count(challenged, "WWW-Authenticate: Digest") != 2 {
		t.Fatal(challenged)
	}
	for i, test := range []struct {
		name, password, to, status string
	}{
		{"alice", "wrong", "alice", "401 Unauthorized"},
		{"carol", "secret", "carol", "401 Unauthorized"},
		{"bob", "secret", "alice", "403 Not Your Address-of-Record"},
		{"bob", "secret", "carol", "403 Not Your Address-of-Record"}, // whether she exists or not
		{"alice", "secret", "alice", "200 OK"},
	} {
		got := s.send(wsFlow(1), regText(contact, "To: <sip:"+test.to+"@example.test>",
			"Authorization: "+answer(challenged, test.name, test.password, i+1)))
		if find(statusOf, got) != test.status {
			t.Errorf("%s for %s: %s", test.name, test.to, got)
		}
	}
	if got := s.lookup(alice); !slices.Equal(got, []string{"sip:a@x.invalid"}) {
		t.Errorf("%q", got)
	}
}

// A trusted peer registers anybody, but nobody who does not exist.
func TestTrustedPeer(t *testing.T) {
	peer := auth.Peer{Prefix: netip.MustParsePrefix("192.0.2.1/32")}
	for _, anyUser := range []bool{false, true} {
		s := newServer(t, options{
			reg:  Config{Inline: true, AnyUser: anyUser},
			auth: auth.Config{Trusted: []auth.Peer{peer}, FlowCalls: true},
		})
		f := udpFlow
		f.Transport, f.ID = sip.TCP, 7
		if got := s.send(f, regText("Contact: <sip:a@h>")); find(statusOf, got) != "200 OK" {
			t.Error(got)
		}
		if s.auth.Bound(f, alice) {
			t.Error("who comes through a trusted peer has proven nothing to us")
		}
		want := "404 No Such User"
		if anyUser {
			want = "200 OK"
		}
		if got := s.send(f, regText("To: <sip:carol@example.test>", "Contact: <sip:c@h>")); find(statusOf, got) != want {
			t.Error(got)
		}
		if got := s.send(wsFlow(1), regText("Contact: <sip:a@h>")); find(statusOf, got) != "401 Unauthorized" {
			t.Error(got)
		}
	}
}

func TestBoundFlow(t *testing.T) {
	s := newServer(t, options{
		reg:  Config{Inline: true, AnyUser: true},
		auth: auth.Config{Mode: auth.None, FlowCalls: true},
	})
	direct, relayed := wsFlow(1), tcpFlow(2)
	s.send(direct, regText("Contact: <sip:a@x.invalid>"))
	if !s.auth.Bound(direct, alice) {
		t.Error("not believed after a registration")
	}
	s.send(direct, regText())
	if !s.auth.Bound(direct, alice) {
		t.Error("not believed after a query")
	}
	s.send(relayed, regText("Via: SIP/2.0/UDP far.test;branch=z9hG4bK0", "Call-ID: d", "Contact: <sip:b@h>"))
	if s.auth.Bound(relayed, alice) {
		t.Error("a proxy's connection carries others' requests too")
	}
	s.send(direct, regText("Contact: <sip:a@x.invalid>;expires=0"))
	if s.auth.Bound(direct, alice) {
		t.Error("believed after the registration is over")
	}
}

func TestPath(t *testing.T) {
	s := inline(t)
	got := s.send(tcpFlow(1), regText("Supported: path", "Path: <sip:p2;lr>, <sip:p1;lr>", "Path: <sip:edge;lr;ob>", "Contact: <sip:a@h>"))
	if !strings.Contains(got, "\nPath: <sip:p2;lr>, <sip:p1;lr>\nPath: <sip:edge;lr;ob>\n") || !strings.Contains(got, "\nSupported: path, outbound\n") {
		t.Error(got)
	}
	bindings, _ := s.reg.Lookup(alice)
	if want := "<sip:p2;lr>, <sip:p1;lr>, <sip:edge;lr;ob>"; len(bindings) != 1 || bindings[0].Path != want || bindings[0].Flow != tcpFlow(1) {
		t.Errorf("%+v", bindings)
	}
}

func TestBindingFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, options{
			reg:  Config{Inline: true, Node: "n", Epoch: 3, AnyUser: true},
			auth: auth.Config{Mode: auth.None},
		})
		s.send(wsFlow(1), register{uri: "sip:example.test", cseq: 9}.text(
			`Contact: "A" <sip:a@x.invalid;transport=ws>;q=0.25;methods="INVITE,BYE";+sip.instance="<urn:i>";reg-id=1`, "User-Agent: test/1"))
		bindings, _ := s.reg.Lookup(alice)
		now := time.Now()
		want := store.Binding{
			AOR: alice, Key: "1;<urn:i>", Contact: "sip:a@x.invalid;transport=ws",
			Params: `;q=0.25;methods="INVITE,BYE";+sip.instance="<urn:i>";reg-id=1`,
			Q:      250, Methods: "INVITE,BYE", Instance: "<urn:i>", RegID: 1, UserAgent: "test/1",
			CallID: "c", CSeq: 9, Flow: wsFlow(1), Node: "n", Epoch: 3,
			Created: now, Updated: now, Expires: now.Add(605 * time.Second),
		}
		if len(bindings) != 1 {
			t.Fatalf("%+v", bindings)
		}
		got := bindings[0]
		if !got.Created.Equal(want.Created) || !got.Updated.Equal(want.Updated) || !got.Expires.Equal(want.Expires) {
			t.Errorf("times %v, %v, %v", got.Created, got.Updated, got.Expires)
		}
		got.Created, got.Updated, got.Expires = want.Created, want.Updated, want.Expires
		if got != want {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	})
}

func TestMaxContacts(t *testing.T) {
	s := inline(t)
	for i := range 20 {
		if got := s.send(udpFlow, regText(fmt.Sprintf("Contact: <sip:%d@h>", i))); find(statusOf, got) != "200 OK" {
			t.Fatal(got)
		}
	}
	if got := s.send(udpFlow, regText("Contact: <sip:20@h>")); find(statusOf, got) != "403 Too Many Contacts" {
		t.Error(got)
	}
	if got := s.send(udpFlow, regText("Contact: <sip:19@h>")); find(statusOf, got) != "200 OK" {
		t.Error("no refresh at the limit:", got)
	}
	if got := s.send(udpFlow, regText("Contact: <sip:19@h>;expires=0, <sip:20@h>")); find(statusOf, got) != "200 OK" {
		t.Error("no replacement at the limit:", got)
	}
}

// With the other policy the contact goes that was not refreshed for longest, none before
// those that nobody reaches any more.
func TestDropOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, options{reg: Config{Inline: true, AnyUser: true, MaxContacts: 3, DropOldest: true}, auth: auth.Config{Mode: auth.None}})
		bind := func(f sip.Flow, contact string) {
			t.Helper()
			<-time.After(time.Second)
			if got := s.send(f, regText("Contact: <sip:"+contact+">")); find(statusOf, got) != "200 OK" {
				t.Fatal(got)
			}
		}
		want := func(contacts ...string) {
			t.Helper()
			if got := s.lookup(alice); !slices.Equal(got, contacts) {
				t.Errorf("%q, want %q", got, contacts)
			}
		}
		bind(udpFlow, "a@h")
		bind(udpFlow, "b@h")
		bind(udpFlow, "c@h")
		bind(udpFlow, "a@h")
		bind(udpFlow, "d@h")
		want("sip:a@h", "sip:c@h", "sip:d@h")
		bind(wsFlow(1), "w@w.invalid") // c goes
		want("sip:a@h", "sip:d@h", "sip:w@w.invalid")
		s.net.kill(wsFlow(1)) // nobody was told yet
		bind(udpFlow, "e@h")
		want("sip:a@h", "sip:d@h", "sip:e@h")
		if got := s.send(udpFlow, regText("Contact: <sip:1@h>, <sip:2@h>, <sip:3@h>, <sip:4@h>")); find(statusOf, got) != "403 Too Many Contacts" {
			t.Error(got)
		}
	})
}

// failing is a store that has lost its database.
type failing struct {
	store.Store
	err error
}

func (f *failing) Register(ctx context.Context, u store.Update) (store.Result, error) {
	if f.err == nil {
		return f.Store.Register(ctx, u)
	}
	return store.Result{}, f.err
}

func TestStoreFails(t *testing.T) {
	for _, test := range []struct {
		err    error
		status string
		retry  bool
	}{
		{fmt.Errorf("%w: disk full", store.ErrUnavailable), "503 Service Unavailable", true},
		{fmt.Errorf("%w: %w", store.ErrUncertain, context.DeadlineExceeded), "503 Service Unavailable", true},
		{store.ErrUncertain, "500 Server Internal Error", false},
		{errors.New("bug"), "500 Server Internal Error", false},
	} {
		var log bytes.Buffer
		down := &failing{Store: memory.New(), err: test.err}
		s := newServer(t, options{
			reg:   Config{Inline: true, AnyUser: true, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			auth:  auth.Config{Mode: auth.None},
			store: down,
		})
		got := s.send(udpFlow, regText("Contact: <sip:a@h>"))
		if find(statusOf, got) != test.status || strings.Contains(got, "\nRetry-After: ") != test.retry {
			t.Errorf("%v: %s", test.err, got)
		}
		if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "aor="+alice) {
			t.Errorf("log: %s", log.String())
		}
		down.err = nil // it recovers by itself
		if got = s.send(udpFlow, regText("Contact: <sip:a@h>")); find(statusOf, got) != "200 OK" {
			t.Error(got)
		}
	}
}

// What is logged tells who, over which flow, and no secret.
func TestLog(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, options{reg: Config{
		Inline: true,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}})
	challenged := s.send(wsFlow(1), regText("Contact: <sip:a@h>"))
	credentials := answer(challenged, "alice", "secret", 1)
	s.send(wsFlow(1), regText("Contact: <sip:a@h>", "Authorization: "+credentials))
	s.send(wsFlow(1), regText("Contact: <sip:a@h>", "Authorization: "+answer(challenged, "alice", "secret", 2)))
	s.closed(wsFlow(1))
	for _, want := range []string{
		`level=DEBUG msg="registration not authenticated"`,
		`level=INFO msg=registered aor=alice@example.test flow="ws 192.0.2.2:4711#1" call-id=c added=1 removed=0 contacts=1`,
		`level=DEBUG msg="registration refreshed" aor=alice@example.test`,
		`level=INFO msg="flow closed, bindings void" flow="ws 192.0.2.2:4711#1" aor=alice@example.test aors=1 contacts=1`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in\n%s", want, log.String())
		}
	}
	for _, secret := range []string{find(nonceOf, challenged), "response=", "secret", md5Hex("alice", domain, "secret")} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s in\n%s", secret, log.String())
		}
	}
}

// A client that refreshes is told the next nonce before its own is too old.
func TestNextNonceIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, options{reg: Config{Inline: true}, auth: auth.Config{NonceAge: time.Hour}})
		challenged := s.send(wsFlow(1), regText("Contact: <sip:a@h>"))
		refresh := func(count int) string {
			return s.send(wsFlow(1), regText("Contact: <sip:a@h>", "Authorization: "+answer(challenged, "alice", "secret", count)))
		}
		if got := refresh(1); find(statusOf, got) != "200 OK" || strings.Contains(got, "nextnonce") {
			t.Error(got)
		}
		<-time.After(40 * time.Minute)
		if got := refresh(2); find(statusOf, got) != "200 OK" || !strings.Contains(got, "\nAuthentication-Info: nextnonce=\"") {
			t.Error(got)
		}
	})
}
