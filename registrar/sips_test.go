package registrar

import (
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// RFC 5630 §5.2: who binds a sips contact must have come by sips URIs alone, over TLS.
func TestRegisterSIPS(t *testing.T) {
	const ok = "200 OK"
	for _, test := range []struct {
		name   string
		over   sip.Transport
		uri    string
		lines  []string
		status string
	}{
		{"over TLS", sip.TLS, "sips:example.test", []string{"Contact: <sips:a@h>"}, ok},
		{"over WSS", sip.WSS, "sips:example.test", []string{"Contact: <SIPS:a@h>"}, ok},
		{"From and To are not looked at", sip.TLS, "SIPS:example.test", []string{"Contact: <sips:a@h>", "To: <sips:alice@example.test>"}, ok},
		{"a sip contact", sip.TLS, "sips:example.test", []string{"Contact: <sip:a@h>"}, ok},
		{"two", sip.TLS, "sips:example.test", []string{"Contact: <sips:a@h>, <sips:b@h>"}, ok},
		{"in the place of a sip contact", sip.TLS, "sips:example.test", []string{"Contact: <sips:a@h>, <sip:old@h>;expires=0"}, ok},
		{"removed by a sip request", sip.UDP, "sip:example.test", []string{"Contact: <sips:a@h>;expires=0"}, ok},
		{"behind a sips proxy", sip.TLS, "sips:example.test", []string{"Contact: <sips:a@h>", "Supported: path", "Path: <sips:p;lr>"}, ok},
		{"sip Request-URI", sip.TLS, "sip:example.test", []string{"Contact: <sips:a@h>"}, "400 SIPS Contact Needs a SIPS Request-URI"},
		{"beside a sip contact", sip.TLS, "sips:example.test", []string{"Contact: <sips:a@h>, <sip:b@h>"}, "400 SIPS Contact beside Another"},
		{"beside another kind", sip.TLS, "sips:example.test", []string{"Contact: <mailto:b@h>, <sips:a@h>"}, "400 SIPS Contact beside Another"},
		{"over TCP", sip.TCP, "sips:example.test", []string{"Contact: <sips:a@h>"}, "400 SIPS over an Insecure Transport"},
		{"behind a sip proxy", sip.TLS, "sips:example.test", []string{"Contact: <sips:a@h>", "Supported: path", "Path: <sips:p;lr>, <sip:q;lr>"}, "400 SIPS Contact behind a SIP Path"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, f := inline(t), wsFlow(1)
			f.Transport = test.over
			if f.Transport == sip.UDP {
				f = udpFlow
			}
			got := s.send(f, register{uri: test.uri, cseq: 1}.text(test.lines...))
			if find(statusOf, got) != test.status {
				t.Fatalf("%s\nwant %s", got, test.status)
			}
			if bound, _ := s.reg.Lookup(alice); test.status != ok && len(bound) > 0 {
				t.Errorf("bound all the same: %v", bound)
			}
		})
	}
}

// RFC 5630 §5.2.1: a sips contact has sips GRUUs, which lead to the same instance as sip ones.
func TestSIPSGRUUs(t *testing.T) {
	s, f := inline(t), wsFlow(1)
	f.Transport = sip.WSS
	got := s.send(f, register{uri: "sips:example.test", cseq: 1}.text("Supported: gruu",
		`Contact: <sips:a@x.invalid;transport=ws>;+sip.instance="<`+phone+`>"`))
	public, temporary := find(pubGRUU, got), find(tempGRUU, got)
	if public != "sips:alice@example.test;gr="+phone || !strings.HasPrefix(temporary, "sips:tgruu.") {
		t.Fatal(got)
	}
	for _, gruu := range []string{public, temporary, "sip" + strings.TrimPrefix(public, "sips")} {
		if contacts, valid := s.resolve(gruu); !valid || contacts != "sips:a@x.invalid;transport=ws" {
			t.Errorf("%s leads to %q", gruu, contacts)
		}
	}
}

// RFC 5630 §5.1.1.1: of the sip and the sips version of a contact the later one is bound.
func TestSIPSReplacesSIP(t *testing.T) {
	s, f := inline(t), wsFlow(1)
	f.Transport = sip.TLS
	for i, scheme := range []string{"sip", "sips", "sip"} {
		contact := "<" + scheme + ":a@h>"
		got := s.send(f, register{uri: scheme + ":example.test", cseq: i + 1}.text("Contact: "+contact))
		if find(contactOf, got) != contact+";expires=600" {
			t.Errorf("%s leaves %s", contact, find(contactOf, got))
		}
	}
}
