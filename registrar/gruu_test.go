package registrar

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

var (
	pubGRUU  = regexp.MustCompile(`pub-gruu="([^"]*)"`)
	tempGRUU = regexp.MustCompile(`temp-gruu="([^"]*)"`)
)

// resolve returns the contacts that a GRUU leads to, and whether it is one.
func (s *server) resolve(gruu string) (contacts string, valid bool) {
	s.t.Helper()
	uri, err := sip.ParseURI(gruu)
	if err != nil {
		s.t.Fatal(gruu, err)
	}
	aor, of, ok := s.reg.GRUU(&uri)
	if !ok {
		return "", false
	}
	bindings, _ := s.reg.Lookup(aor)
	bindings, valid = of(bindings)
	for i := range bindings {
		contacts += bindings[i].Contact + " "
	}
	return strings.TrimSpace(contacts), valid
}

// bindGRUU registers an instance of alice and returns the response.
func (s *server) bindGRUU(flow uint64, callID, user, instance string, more ...string) string {
	s.t.Helper()
	got := s.send(wsFlow(flow), regText(append(more, "Call-ID: "+callID, "Supported: gruu, outbound",
		fmt.Sprintf(`Contact: <sip:%s@x.invalid;transport=ws>;+sip.instance="<%s>"`, user, instance))...))
	if find(statusOf, got) != "200 OK" {
		s.t.Fatal(got)
	}
	return got
}

const (
	phone = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
	other = "urn:uuid:00000000-7dec-11d0-a765-00a0c91e6bf6"
)

// RFC 5627 §5.2: who supports GRUUs gets both kinds for every contact with an instance.
func TestGRUUsInResponse(t *testing.T) {
	s := inline(t)
	got := s.bindGRUU(1, "c", "a", phone)
	public := "sip:alice@example.test;gr=" + phone
	if find(pubGRUU, got) != public || !strings.HasPrefix(find(tempGRUU, got), "sip:tgruu.") || !strings.HasSuffix(find(tempGRUU, got), "@example.test;gr") {
		t.Error(got)
	}
	if strings.Contains(got, "Supported: path, outbound, gruu") || strings.Contains(got, "Require: gruu") {
		t.Error("gruu is not to stand in Supported or Require:", got)
	}
	again := s.bindGRUU(1, "c", "a", phone)
	if find(pubGRUU, again) != public || find(tempGRUU, again) == find(tempGRUU, got) {
		t.Error("not a temporary GRUU of its own for each REGISTER:", again)
	}
	for _, lines := range [][]string{
		{"Contact: <sip:b@x.invalid>", "Supported: gruu", `Call-ID: d`}, // the other contact has them
	} {
		if got := s.send(wsFlow(1), regText(lines...)); strings.Count(got, "pub-gruu") != 1 || strings.Count(got, "temp-gruu") != 1 {
			t.Error(got)
		}
	}
	if got := s.send(wsFlow(1), regText()); strings.Contains(got, "gruu") {
		t.Error("GRUUs for a client that does not support them:", got)
	}
}

func TestGRUUOfOddNames(t *testing.T) {
	s := inline(t)
	got := s.send(wsFlow(1), regText("To: <sip:a%40%3bb@example.test>", "From: <sip:a%40%3bb@example.test>;tag=f", "Supported: gruu", `Contact: <sip:a@x.invalid>;+sip.instance="<my phone;1>"`))
	if find(pubGRUU, got) != "sip:a%40;b@example.test;gr=my%20phone%3B1" {
		t.Error(got)
	}
	for _, re := range []*regexp.Regexp{pubGRUU, tempGRUU} {
		if contacts, valid := s.resolve(find(re, got)); contacts != "sip:a@x.invalid" || !valid {
			t.Errorf("%s: %q, %t", find(re, got), contacts, valid)
		}
	}
}

// RFC 5627 §5.1: what could only lead back here is no contact, and no client makes GRUUs.
func TestGRUUContacts(t *testing.T) {
	s := inline(t)
	temp := find(tempGRUU, s.bindGRUU(1, "c", "a", phone))
	for contact, status := range map[string]string{
		"<sip:alice@Example.Test>":                                "403 Contact Is the Address-of-Record",
		"<sip:alice@example.test;gr=" + phone + ">":               "403 Contact Is the Address-of-Record",
		"<" + temp + ">":                                          "403 Contact Is the Address-of-Record",
		"<mailto:a@h>":                                            "403 Contact Is No SIP URI",
		"<sip:bob@example.test>":                                  "200 OK",
		"<sip:alice@example.test:5070>":                           "200 OK",
		`<sip:b@h>;pub-gruu="sip:evil@h";temp-gruu="sip:evil@h2"`: "200 OK",
	} {
		got := s.send(wsFlow(1), regText("Contact: "+contact+`;+sip.instance="<urn:x>"`, fmt.Sprint("Call-ID: ", len(contact)), "Supported: gruu"))
		if find(statusOf, got) != status || strings.Contains(got, "evil") {
			t.Errorf("%s: %s", contact, got)
		}
	}
}

// RFC 5627 §6.1: a GRUU leads to its instance alone, and what is none to nobody.
func TestGRUUResolves(t *testing.T) {
	s := inline(t)
	mine := s.bindGRUU(1, "c", "a", phone)
	s.bindGRUU(2, "d", "b", other)
	for _, test := range []struct {
		name, gruu, contacts string
		valid                bool
	}{
		{"public", find(pubGRUU, mine), "sip:a@x.invalid;transport=ws", true},
		{"public, in another case", "sip:alice@EXAMPLE.test;GR=" + strings.ToUpper(phone), "sip:a@x.invalid;transport=ws", true},
		{"temporary", find(tempGRUU, mine), "sip:a@x.invalid;transport=ws", true},
		{"public, of an instance that is not here", "sip:alice@example.test;gr=urn:uuid:1", "", true},
		{"a gr parameter without a value at an AOR", "sip:alice@example.test;gr", "", false},
		{"forged", "sip:tgruu.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@example.test;gr", "", false},
		{"cut", find(tempGRUU, mine)[:40] + "@example.test;gr", "", false},
		{"of another domain", strings.Replace(find(tempGRUU, mine), "@example.test", "@other.test", 1), "", false},
		{"of nobody's domain", "sip:alice@far.test;gr=" + phone, "", false},
		{"no user", "sip:example.test;gr=" + phone, "", false},
	} {
		if contacts, valid := s.resolve(test.gruu); contacts != test.contacts || valid != test.valid {
			t.Errorf("%s, %s: %q, %t; want %q, %t", test.name, test.gruu, contacts, valid, test.contacts, test.valid)
		}
	}
}

// RFC 5627 §5.1 and §5.3: how long a temporary GRUU lives. All times, a second passes
// between two events.
func TestTemporaryGRUU(t *testing.T) {
	type event func(s *server)
	bind := func(flow uint64, callID, user string, more ...string) event {
		return func(s *server) { s.bindGRUU(flow, callID, user, phone, more...) }
	}
	flow := func(flow uint64, callID string, regID int) event {
		return func(s *server) {
			s.send(wsFlow(flow), regText("Call-ID: "+callID, "Supported: gruu, outbound",
				fmt.Sprintf(`Contact: <sip:%d@x.invalid>;reg-id=%d;+sip.instance="<%s>"`, flow, regID, phone)))
		}
	}
	remove := func(s *server) { s.send(wsFlow(1), regText("Contact: *", "Expires: 0", "Call-ID: rm")) }
	closed := func(s *server) { s.closed(wsFlow(1)) }
	expire := func(s *server) { <-time.After(time.Hour) }
	for _, test := range []struct {
		name   string
		first  event
		then   []event
		valid  bool
		leadTo string
	}{
		{"refreshed", bind(1, "c", "a"), []event{bind(1, "c", "a"), bind(1, "c", "a")}, true, "sip:a@x.invalid;transport=ws"},
		{"another instance comes", bind(1, "c", "a"), []event{func(s *server) { s.bindGRUU(2, "d", "b", other) }}, true, "sip:a@x.invalid;transport=ws"},
		{"another Call-ID", bind(1, "c", "a"), []event{bind(1, "d", "a")}, false, ""},
		{"another Call-ID, rebooted", bind(1, "c", "a"), []event{bind(2, "d", "b")}, false, ""},
		{"unregistered", bind(1, "c", "a"), []event{remove}, false, ""},
		{"unregistered and back", bind(1, "c", "a"), []event{remove, bind(1, "c", "a")}, false, ""},
		{"connection closed", bind(1, "c", "a"), []event{closed}, false, ""},
		{"connection closed and back", bind(1, "c", "a"), []event{closed, bind(2, "c", "a")}, false, ""},
		{"expired", bind(1, "c", "a"), []event{expire}, false, ""},
		{"expired and back", bind(1, "c", "a"), []event{expire, bind(1, "c", "a")}, false, ""},
		{"a second flow", flow(1, "c", 1), []event{flow(2, "d", 2)}, true, "sip:1@x.invalid sip:2@x.invalid"},
		{"a flow replaced", flow(1, "c", 1), []event{flow(2, "c", 1), closed}, true, "sip:2@x.invalid"},
		{"one of two flows closed", func(s *server) { flow(1, "c", 1)(s); flow(2, "d", 2)(s) }, []event{closed}, true, "sip:2@x.invalid"},
		{"one of two flows with another Call-ID", func(s *server) { flow(1, "c", 1)(s); flow(2, "d", 2)(s) }, []event{flow(2, "e", 2)}, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inline(t)
				test.first(s)
				bindings, _ := s.reg.Lookup(alice)
				gruu := string(s.reg.gruus.appendTemporary(nil, &bindings[0], bindings, time.Now()))
				for _, e := range test.then {
					<-time.After(time.Second)
					e(s)
				}
				if contacts, valid := s.resolve(gruu); valid != test.valid || contacts != test.leadTo {
					t.Errorf("%q, %t; want %q, %t", contacts, valid, test.leadTo, test.valid)
				}
			})
		})
	}
}

// RFC 5627 §5.1: nobody but us can tell whether two temporary GRUUs are of one user.
func TestTemporaryGRUUsAreNotAlike(t *testing.T) {
	s := inline(t)
	seen := make(map[string]bool)
	for range 50 {
		got := find(tempGRUU, s.bindGRUU(1, "c", "a", phone))
		token := strings.TrimPrefix(got, "sip:tgruu.")
		if seen[token[:8]] || seen[token[30:38]] {
			t.Fatal("parts of the token are the same again:", got)
		}
		seen[token[:8]], seen[token[30:38]] = true, true
	}
}

func BenchmarkTemporaryGRUU(b *testing.B) {
	s := inline(b)
	s.bindGRUU(1, "c", "a", phone)
	bindings, _ := s.reg.Lookup(alice)
	room := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		room = s.reg.gruus.appendTemporary(room[:0], &bindings[0], bindings, time.Now())
	}
}

// Nobody but us makes temporary GRUUs: one of which a character is changed, or that is moved
// to another of our domains, is none.
func TestTemporaryGRUUIsAuthentic(t *testing.T) {
	s := inline(t)
	gruu := find(tempGRUU, s.bindGRUU(1, "c", "a", phone))
	isGRUU := func(text string) bool {
		u, err := sip.ParseURI(text)
		if err != nil {
			t.Fatal(err)
		}
		_, ok := s.reg.gruu(&u)
		return ok
	}
	if !isGRUU(gruu) {
		t.Fatal(gruu)
	}
	begin, end := len("sip:tgruu."), strings.IndexByte(gruu, '@')
	for i := begin; i < end-1; i++ { // the last one has bits that stand for nothing
		c := byte('A')
		if gruu[i] == c {
			c = 'B'
		}
		if isGRUU(gruu[:i] + string(c) + gruu[i+1:]) {
			t.Errorf("character %d changed", i)
		}
	}
	if isGRUU(gruu[:end] + "@other.test;gr") {
		t.Error("moved to another domain")
	}
	if isGRUU(gruu[:end-20] + "@example.test;gr") {
		t.Error("cut")
	}
}
