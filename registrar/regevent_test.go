package registrar

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
)

// RFC 6665 §4.2.1: what a SUBSCRIBE is answered with.
func TestSubscribe(t *testing.T) {
	for _, test := range []struct {
		name   string
		uri    string
		lines  []string
		status string
		line   string
	}{
		{"plain", "", nil, "200 OK", "\nExpires: 3761\n"},
		{"shorter", "", []string{"Expires: 600"}, "200 OK", "\nExpires: 600\n"},
		{"longer than there is", "", []string{"Expires: 7200"}, "200 OK", "\nExpires: 3761\n"},
		{"too brief", "", []string{"Expires: 59"}, "423 Interval Too Brief", "\nMin-Expires: 60\n"},
		{"malformed Expires", "", []string{"Expires: soon"}, "400 Bad Expires: no number of seconds", ""},
		{"an id", "", []string{"Event: reg;id=7"}, "200 OK", ""},
		{"our documents", "", []string{"Accept: text/plain, application/reginfo+xml;charset=utf-8"}, "200 OK", ""},
		{"any documents", "", []string{"Accept: */*"}, "200 OK", ""},
		{"no documents of ours", "", []string{"Accept: text/plain"}, "406 Not Acceptable", ""},
		{"Require", "", []string{"Require: eventlist"}, "420 Bad Extension", "\nUnsupported: eventlist\n"},
		{"no Contact", "", []string{"Contact: "}, "400", ""},
		{"two Contacts", "", []string{"Contact: <sip:a@h>, <sip:b@h>"}, "400 One Contact Is Needed", ""},
		{"no SIP Contact", "", []string{"Contact: <mailto:a@h>"}, "400 Bad Contact", ""},
		{"Record-Route is copied", "", []string{"Record-Route: <sip:p2;lr>", "Record-Route: <sip:p1;lr>"}, "200 OK", "\nRecord-Route: <sip:p2;lr>\nRecord-Route: <sip:p1;lr>\n"},
		{"our contact", "", nil, "200 OK", "\nContact: <sip:198.51.100.1:5060;transport=ws>\n"},
		{"somebody else", "sip:bob@example.test", nil, "403 Not Your Address-of-Record", ""},
		{"no user", "sip:example.test", nil, "404 Not Found", ""},
		{"a dialog that is none", "", []string{"To: <sip:alice@example.test>;tag=x"}, "481 Call/Transaction Does Not Exist", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			watching(t, func(s *server) {
				u := &subscriber{s: s, flow: wsFlow(1), callID: "c"}
				text := u.text(test.lines...)
				if test.uri != "" {
					text = strings.Replace(text, "SUBSCRIBE sip:alice@example.test", "SUBSCRIBE "+test.uri, 1)
				}
				s.deliver(u.flow, text)
				synctest.Wait()
				sent := s.net.take(u.flow)
				got := strings.ReplaceAll(sent[0], "\r\n", "\n")
				if !strings.HasPrefix(find(statusOf, got), test.status) || !strings.Contains(got, test.line) {
					t.Errorf("%s\nwant %s %s", got, test.status, test.line)
				}
				if granted := strings.HasPrefix(test.status, "200"); granted != (len(sent) == 2) || granted && !strings.HasPrefix(sent[1], "NOTIFY sip:c@w.invalid;transport=ws") {
					t.Errorf("%q", sent)
				}
				s.closed(u.flow)
			})
		})
	}
}

// RFC 3680 §4.6: only the user, and who may register the user, sees the registrations.
func TestSubscribeAuthorized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := auth.Peer{Prefix: netip.MustParsePrefix("192.0.2.1/32")}
		s := newServer(t, options{
			reg:  Config{Inline: true, ThirdParties: []string{bob}},
			auth: auth.Config{FlowCalls: true, Trusted: []auth.Peer{peer}},
		})
		status := func(f sip.Flow, uri string) string {
			u := &subscriber{s: s, flow: f, callID: fmt.Sprint("c", requests.Load())}
			s.deliver(f, strings.Replace(u.text(), "sip:alice@example.test SIP", uri+" SIP", 1))
			synctest.Wait()
			defer s.net.take(f)
			s.net.mu.Lock()
			defer s.net.mu.Unlock()
			return strings.Fields(s.net.sent[f][0])[1]
		}
		for _, test := range []struct {
			name string
			flow sip.Flow
			uri  string
			want string
		}{
			{"a stranger", wsFlow(1), "sip:alice@example.test", "401"},
			{"a trusted peer", udpFlow, "sip:alice@example.test", "200"},
			{"a trusted peer, no such user", udpFlow, "sip:carol@example.test", "404"},
		} {
			if got := status(test.flow, test.uri); got != test.want {
				t.Errorf("%s: %s, want %s", test.name, got, test.want)
			}
		}
		s.auth.Bind(wsFlow(1), alice, time.Now().Add(time.Hour))
		if got := status(wsFlow(1), "sip:alice@example.test"); got != "200" {
			t.Errorf("on the connection that the user registered on: %s", got)
		}
		if got := status(wsFlow(1), "sip:bob@example.test"); got != "401" {
			t.Errorf("to somebody else: %s", got)
		}
		s.notifier.Close()
		<-time.After(time.Minute)
	})
}

// RFC 3680 §4.7 and §5: every change of a contact's state, with the event that caused it.
func TestNotify(t *testing.T) {
	watching(t, func(s *server) {
		u := s.subscriber(9)
		u.expect("0 full init")
		bind := func(flow uint64, contact string, more ...string) {
			s.send(wsFlow(flow), regText(append(more, "Contact: <sip:"+contact+">")...))
			<-time.After(10 * time.Second)
		}
		bind(1, "a@h")
		u.expect("1 partial active, a@h active registered")
		bind(1, "a@h")
		u.expectNothing() // a mere refresh
		bind(1, "a@h>;+sip.ice;x=<y")
		u.expect("2 partial active, a@h active refreshed")
		bind(2, "b@h")
		u.expect("3 partial active, b@h active registered")
		bind(2, "a@h>;expires=0, <sip:b@h>;expires=100, <sip:c@h")
		u.expect("4 partial active, a@h terminated unregistered, c@h active registered")
		<-time.After(2 * time.Minute)
		u.expect("5 partial active, b@h terminated expired")
		s.closed(wsFlow(2))
		u.expect("6 partial terminated, c@h terminated deactivated")
		<-time.After(10 * time.Second)
		bind(3, `a@h>;reg-id=1;+sip.instance="<i>"`[:0]+"a@h")
		u.expect("7 partial active, a@h active registered")
		u.subscribe()
		u.expect("8 full active, a@h active registered")
	})
}

// A flow that is registered anew with another URI is another contact (RFC 3680 §5.1).
func TestNotifyFlowReplaced(t *testing.T) {
	watching(t, func(s *server) {
		u := s.subscriber(9)
		u.expect("0 full init")
		for flow := range uint64(2) {
			s.send(wsFlow(flow+1), regText(fmt.Sprintf(`Contact: <sip:%d@h>;reg-id=1;+sip.instance="<i>"`, flow+1)))
			<-time.After(10 * time.Second)
			u.expect([]string{
				"1 partial active, 1@h active registered",
				"2 partial active, 1@h terminated unregistered, 2@h active registered",
			}[flow])
		}
	})
}

// The whole document (RFC 3680 §5.1, RFC 5628 §5) and the NOTIFY around it (RFC 6665 §4.2.2).
func TestNotifyText(t *testing.T) {
	watching(t, func(s *server) {
		s.send(wsFlow(1), register{uri: "sip:example.test", cseq: 7}.text("Call-ID: r&d",
			`Contact: <sip:a@a.invalid;transport=ws>;q=0.8;+sip.ice;methods="A,B";+sip.instance="<urn:x>";expires=600`))
		<-time.After(90 * time.Second)
		u := s.subscriber(9, "Event: reg;id=4", "Record-Route: <sip:p2;lr>, <sip:p1;lr>", "Expires: 100")
		n := u.next()
		u.answer(n, 200)
		for _, want := range []string{
			"NOTIFY sip:w9@w.invalid;transport=ws SIP/2.0\r\nVia: SIP/2.0/WS 198.51.100.1:5060;branch=z9hG4bK",
			"\r\nRoute: <sip:p2;lr>, <sip:p1;lr>\r\n", "\r\nFrom: <sip:alice@example.test>;tag=" + u.toTag + "\r\n",
			"\r\nTo: <sip:alice@example.test>;tag=f\r\n", "\r\nCall-ID: w9\r\n", "\r\nCSeq: 1 NOTIFY\r\n",
			"\r\nContact: <sip:198.51.100.1:5060;transport=ws>\r\n", "\r\nEvent: reg;id=4\r\n", "\r\nMax-Forwards: 70\r\n",
			"\r\nSubscription-State: active;expires=100\r\n", "\r\nContent-Type: application/reginfo+xml\r\n",
			`<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
				`<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" xmlns:gr="urn:ietf:params:xml:ns:gruuinfo" version="0" state="full">` +
				`<registration aor="sip:alice@example.test" id="` + shortID(alice) + `" state="active">` +
				`<contact id="` + n.doc.Registration.Contacts[0].ID + `" state="active" event="registered" duration-registered="90" expires="510" q="0.8" callid="r&amp;d" cseq="7">` +
				`<uri>sip:a@a.invalid;transport=ws</uri>` +
				`<unknown-param name="+sip.ice"></unknown-param>` +
				`<unknown-param name="methods">&#34;A,B&#34;</unknown-param>` +
				`<unknown-param name="+sip.instance">&#34;&lt;urn:x&gt;&#34;</unknown-param>` +
				`<gr:pub-gruu uri="sip:alice@example.test;gr=urn:x"></gr:pub-gruu>` +
				`</contact></registration></reginfo>`,
		} {
			if !strings.Contains(n.m.String(), want) {
				t.Errorf("no %s in\n%s", want, n.m)
			}
		}
	})
}

// RFC 6665 §4.2.1.4 and §4.4.3: refreshing, unsubscribing, polling, running out.
func TestSubscriptionEnds(t *testing.T) {
	watching(t, func(s *server) {
		u := s.subscriber(1, "Expires: 100")
		u.expect("0 full init")
		<-time.After(90 * time.Second)
		u.subscribe("Expires: 100")
		u.expect("1 full init")
		<-time.After(90 * time.Second)
		u.expectNothing()
		<-time.After(20 * time.Second)
		u.expect("2 full init, terminated timeout")
		if got := s.send(u.flow, u.text()); find(statusOf, got) != "481 Call/Transaction Does Not Exist" {
			t.Error(got)
		}

		u = s.subscriber(2)
		u.expect("0 full init")
		u.subscribe("Expires: 0")
		u.expect("1 full init, terminated timeout")

		u = s.subscriber(3, "Expires: 0") // a fetch
		u.expect("0 full init, terminated timeout")

		u = s.subscriber(4)
		u.expect("0 full init")
		late := &subscriber{s: s, flow: u.flow, callID: u.callID, toTag: u.toTag, cseq: u.cseq - 1}
		if got := s.send(u.flow, late.text()); find(statusOf, got) != "500 CSeq Not Higher Than Before" {
			t.Error(got)
		}
		u.subscribe("Expires: 0")
		u.expect("1 full init, terminated timeout")
		if len(s.notifier.dialogs) != 0 || len(s.notifier.aors) != 0 || s.notifier.count.Load() != 0 {
			t.Errorf("left: %d dialogs, %d AORs", len(s.notifier.dialogs), len(s.notifier.aors))
		}
		s.send(udpFlow, regText("Contact: <sip:a@h>"))
		u.expectNothing()
	})
}

// RFC 6665 §4.2.2: which answers to a NOTIFY end the subscription.
func TestNotifyFails(t *testing.T) {
	for _, test := range []struct {
		status int
		lines  []string
		lives  bool
	}{
		{404, nil, false}, {405, nil, false}, {480, nil, false}, {481, nil, false}, {489, nil, false}, {604, nil, false},
		{408, nil, false}, {500, nil, true}, {503, []string{"Retry-After: 3"}, true}, {491, nil, true}, {200, nil, true},
		{0, nil, false}, // no answer for 64*T1
	} {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			watching(t, func(s *server) {
				u := s.subscriber(1)
				n := u.next()
				if test.status > 0 {
					u.answer(n, test.status, test.lines...)
				} else {
					<-time.After(33 * time.Second)
				}
				s.send(udpFlow, regText("Contact: <sip:a@h>"))
				<-time.After(20 * time.Second)
				switch {
				case !test.lives:
					u.expectNothing()
				case test.status == 200:
					u.expect("1 partial active, a@h active registered")
				default:
					u.expect("1 full active, a@h active registered")
				}
			})
		})
	}
}

// A subscriber who does not answer holds up nobody: he has one NOTIFY outstanding, and what
// happens meanwhile is gathered for him.
func TestDeadSubscriberHoldsUpNobody(t *testing.T) {
	watching(t, func(s *server) {
		dead, live := s.subscriber(1), s.subscriber(2)
		unanswered := dead.next()
		live.expect("0 full init")
		for i := range 3 {
			s.send(udpFlow, regText(fmt.Sprintf("Contact: <sip:%d@h>", i)))
			live.expect(fmt.Sprintf("%d partial active, %d@h active registered", i+1, i))
		}
		s.send(udpFlow, regText("Contact: <sip:0@h>;expires=0"))
		live.expect("4 partial active, 0@h terminated unregistered")
		dead.expectNothing()
		dead.answer(unanswered, 200)
		dead.expect("1 partial active, 1@h active registered, 2@h active registered, 0@h terminated unregistered")
	})
}

// Far more changes than are gathered become the full state.
func TestGatheredChangesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, options{reg: Config{Inline: true, AnyUser: true, MaxContacts: 100}, auth: auth.Config{Mode: auth.None}})
		u := s.subscriber(1)
		unanswered := u.next()
		for i := range maxChanges + 10 {
			s.send(udpFlow, regText(fmt.Sprintf("Contact: <sip:%d@h>", i)))
		}
		for _, sub := range s.notifier.dialogs {
			if len(sub.changes) != 0 || !sub.full {
				t.Errorf("%d changes are kept", len(sub.changes))
			}
		}
		u.answer(unanswered, 200)
		if n := u.next(); n.doc.State != "full" || len(n.doc.Registration.Contacts) != maxChanges+10 {
			t.Error(n)
		}
		s.closed(u.flow)
		s.notifier.Close()
		<-time.After(time.Minute)
	})
}

// RFC 3680 §4.10: not more often than every five seconds in the long run, at once after a
// quiet time.
func TestNotifyRate(t *testing.T) {
	watching(t, func(s *server) {
		u := s.subscriber(1)
		u.expect("0 full init")
		<-time.After(time.Hour) // long enough for a whole burst
		var last told
		count := func() (sent int) {
			<-time.After(time.Second)
			for _, text := range s.net.take(u.flow) {
				m, err := sip.Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				last = told{m: m}
				u.answer(last, 200)
				sent++
			}
			return sent
		}
		sent := 0
		for i := range 100 {
			s.send(udpFlow, regText(fmt.Sprintf("Contact: <sip:x@h>;v=%d", i)))
			sent += count()
		}
		if most := notifyBurst + 100/5; sent > most || sent < most-2 {
			t.Errorf("%d NOTIFYs in 100 s", sent)
		}
		for range 10 {
			count()
		}
		if !strings.Contains(last.m.String(), `<unknown-param name="v">99<`) {
			t.Error("the last change was not told:", last.m)
		}
	})
}

// A subscriber whose page connects anew is told over the new connection, found by its
// registered contact; one who does not come back is dropped.
func TestSubscriberReconnects(t *testing.T) {
	for _, contact := range []string{
		"Contact: <sip:w1@w.invalid;transport=ws>",
		"Contact: <sip:alice@example.test;gr=urn:x>", // as JsSIP writes it
	} {
		watching(t, func(s *server) {
			bind := func(flow uint64) {
				s.send(wsFlow(flow), regText(`Contact: <sip:w1@w.invalid;transport=ws>;+sip.instance="<urn:x>"`))
			}
			bind(1)
			u := s.subscriber(1, contact)
			u.expect("0 full active, w1@w.invalid;transport=ws active registered")
			bind(2)
			s.closed(wsFlow(1))
			s.send(udpFlow, regText("Contact: <sip:b@h>"))
			u.flow = wsFlow(2)
			n := u.next()
			u.answer(n, 200)
			if want := "1 partial active, b@h active registered"; n.String() != want {
				t.Errorf("told %s, want %s", n, want)
			}
			if n.m.RequestURI() != "sip:w1@w.invalid;transport=ws" {
				t.Error(n.m.RequestURI())
			}
			s.closed(wsFlow(2))
			<-time.After(10 * time.Second)
			if len(s.notifier.dialogs) != 0 {
				t.Error("kept though nobody is there")
			}
		})
	}
}

// A NOTIFY that was under way when its connection closed is followed by the full state.
func TestConnectionClosesUnderNotify(t *testing.T) {
	watching(t, func(s *server) {
		s.send(wsFlow(1), regText(`Contact: <sip:w1@w.invalid;transport=ws>`))
		u := s.subscriber(1)
		u.next() // and no answer
		s.send(wsFlow(2), regText(`Contact: <sip:w1@w.invalid;transport=ws>`))
		s.closed(wsFlow(1))
		s.layer.Closed(wsFlow(1), errors.New("closed"))
		u.flow = wsFlow(2)
		n := u.next()
		u.answer(n, 200)
		if n.doc.State != "full" || n.doc.Version != 1 {
			t.Error(n)
		}
	})
}

// Reloaded pages leave subscriptions behind; they don't keep the user from new ones.
func TestSubscriptionLimit(t *testing.T) {
	watching(t, func(s *server) {
		for i := range uint64(maxPerAOR) {
			s.subscriber(i + 1).expect("0 full init")
		}
		u := &subscriber{s: s, flow: wsFlow(99), callID: "w99"}
		if got := s.send(u.flow, u.text()); find(statusOf, got) != "403 Too Many Subscriptions" {
			t.Error(got)
		}
		s.closed(wsFlow(3))
		s.subscriber(98).expect("0 full init")
		if n := len(s.notifier.dialogs); n != maxPerAOR {
			t.Errorf("%d subscriptions", n)
		}
	})
}

// What others do is told as well: another node, by the store's feed, and the operator.
func TestNotifyOfOthersChanges(t *testing.T) {
	watching(t, func(s *server) {
		u := s.subscriber(1)
		u.expect("0 full init")
		now := time.Now()
		b := store.Binding{Key: "sip:far@h", Contact: "sip:far@h", Q: 1000, Flow: udpFlow, Node: "far", Expires: now.Add(time.Hour)}
		update := store.Update{AOR: alice, Now: now, CallID: "far", CSeq: 1, Bindings: []store.Binding{b}}
		if _, err := s.store.Register(t.Context(), update); err != nil {
			t.Fatal(err)
		}
		u.expectNothing()
		s.notifier.changedElsewhere(nil)
		u.expect("1 partial active, far@h active registered")
		if _, err := s.reg.Change(t.Context(), store.Update{AOR: alice, Now: now, CallID: "op", RemoveAll: true, Operator: true}); err != nil {
			t.Fatal(err)
		}
		u.expect("2 partial terminated, far@h terminated deactivated")
	})
}

// cold is a store that has nothing in memory.
type cold struct{ store.Store }

func (cold) CachedLookup(string, time.Time) ([]store.Binding, bool) { return nil, false }
func (cold) CachedUser(string, string) (store.User, bool, bool)     { return store.User{}, false, false }

// broken is one that has lost its database besides.
type broken struct{ cold }

func (broken) Lookup(context.Context, string, time.Time) ([]store.Binding, error) {
	return nil, store.ErrUnavailable
}

// What is not in memory is asked of the store, off the goroutine that brought the request;
// where that fails the subscriber is asked to come again.
func TestSubscribeAsksTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := auth.Peer{Prefix: netip.MustParsePrefix("192.0.2.2/32")}
		o := options{store: cold{memory.New()}, auth: auth.Config{Trusted: []auth.Peer{peer}}}
		s := newServer(t, o)
		u := s.subscriber(1)
		u.expect("0 full init")
		s.deliver(tcpFlow(5), regText("Contact: <sip:b@h>"))
		u.expect("1 partial active, b@h active registered")
		nobody := &subscriber{s: s, flow: wsFlow(2), callID: "n"}
		s.deliver(nobody.flow, strings.Replace(nobody.text(), "SUBSCRIBE sip:alice", "SUBSCRIBE sip:carol", 1))
		synctest.Wait()
		if got := s.response(nobody.flow); find(statusOf, got) != "404 No Such User" {
			t.Error(got)
		}
		s.notifier.Close()

		o.store = broken{o.store.(cold)}
		s = newServer(t, o)
		u = &subscriber{s: s, flow: wsFlow(3), callID: "b"}
		s.deliver(u.flow, u.text())
		synctest.Wait()
		if got := s.response(u.flow); find(statusOf, got) != "503 Service Unavailable" || !strings.Contains(got, "\nRetry-After: ") {
			t.Error(got)
		}
		<-time.After(time.Minute)
	})
}

// What somebody saw before the latest look is not told any more, and a timer that fires while
// the subscription is refreshed ends nothing.
func TestNotifierRaces(t *testing.T) {
	watching(t, func(s *server) {
		u := s.subscriber(1)
		u.expect("0 full init")
		s.send(udpFlow, regText("Contact: <sip:a@h>"))
		u.expect("1 partial active, a@h active registered")
		w := s.notifier.aors[alice]
		s.notifier.compare(w, w.looks-1, nil)
		u.expectNothing()
		for _, sub := range s.notifier.dialogs {
			s.notifier.expired(sub)
		}
		u.expectNothing()
		s.send(udpFlow, regText("Contact: <sip:b@h>"))
		u.expect("2 partial active, b@h active registered")
	})
}
