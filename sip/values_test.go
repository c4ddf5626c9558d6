package sip_test

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

func TestParseAddress(t *testing.T) {
	for _, test := range []struct {
		value string
		want  sip.Address
		print string
	}{
		{`"A. G. Bell" <sip:agb@bell-telephone.com> ;tag=a48s`,
			sip.Address{Display: `"A. G. Bell"`, URI: "sip:agb@bell-telephone.com", Params: ";tag=a48s"},
			`"A. G. Bell" <sip:agb@bell-telephone.com>;tag=a48s`},
		{"sip:+12125551212@server.phone2net.com;tag=887s",
			sip.Address{URI: "sip:+12125551212@server.phone2net.com", Params: ";tag=887s"},
			"<sip:+12125551212@server.phone2net.com>;tag=887s"},
		{"Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=hyh8",
			sip.Address{Display: "Anonymous", URI: "sip:c8oqz84zk7z@privacy.org", Params: ";tag=hyh8"}, ""},
		{`"<\"a\\>,;" <sip:a@b;x=";">;y="<"`,
			sip.Address{Display: `"<\"a\\>,;"`, URI: `sip:a@b;x=";"`, Params: `;y="<"`}, ""},
		{"caller<sip:a@b>", sip.Address{Display: "caller", URI: "sip:a@b"}, "caller <sip:a@b>"},
		{`"Joe"<sip:a@b>`, sip.Address{Display: `"Joe"`, URI: "sip:a@b"}, `"Joe" <sip:a@b>`},
		{"Jos\u00e9 (home) <sip:a@b>", sip.Address{Display: "Jos\u00e9 (home)", URI: "sip:a@b"}, ""},
		{" < sip:a@b > ; x = 1 ;; ", sip.Address{URI: "sip:a@b", Params: "; x = 1 ;;"}, "<sip:a@b>; x = 1 ;;"},
		{`sip:a@b;x="<sip:c@d>"`, sip.Address{URI: "sip:a@b", Params: `;x="<sip:c@d>"`}, `<sip:a@b>;x="<sip:c@d>"`},
		{"sip:a@b ;tag=1", sip.Address{URI: "sip:a@b", Params: ";tag=1"}, "<sip:a@b>;tag=1"},
	} {
		got, err := sip.ParseAddress(test.value)
		if err != nil {
			t.Errorf("%s: %v", test.value, err)
			continue
		}
		equal(t, test.value, got, test.want)
		if test.print == "" {
			test.print = test.value
		}
		equal(t, "print", got.String(), test.print)
	}
	for _, value := range []string{
		"", " ", "sip", `"a`, `"a" sip:a@b`, `"a"`, "<sip:a@b", "<>", "< >", "a, b <sip:a@b>", `a "b" <sip:a@b>`,
		"sip:a@b,c", "sip:a@b?c", "sip:a b", "<sip:a@b> c", "<sip:a@b>;=1", `<sip:a@b>;x="1`, `<sip:a@b>;x="1"2`, `<sip:a@b>;x=1"2"`,
		";tag=1", ":a",
	} {
		if got, err := sip.ParseAddress(value); err == nil {
			t.Errorf("%q is %+v, want an error", value, got)
		}
	}
	equal(t, "tag", sip.Address{Params: ";a;TAG = x ;b"}.Tag(), "x")
}

func TestParams(t *testing.T) {
	p := sip.Params(`; a ;b=1; C = "x;\"=y\\" ;;d=;e="";a=2 `)
	type pair struct{ name, value string }
	var got []pair
	for name, value := range p.All() {
		got = append(got, pair{name, value})
	}
	equal(t, "All", got, []pair{{"a", ""}, {"b", "1"}, {"C", `"x;\"=y\\"`}, {"d", ""}, {"e", `""`}, {"a", "2"}})
	for name, want := range map[string]string{"A": "", "b": "1", "c": `x;"=y\`, "d": "", "e": ""} {
		value, ok := p.Get(name)
		equal(t, name, value, want)
		equal(t, "has "+name, ok && p.Has(name), true)
	}
	_, ok := p.Get("f")
	equal(t, "has f", ok, false)
	equal(t, "Without", p.Without("A", "d", "x"), `;b=1;C="x;\"=y\\";e=""`)
	for range p.All() {
		break // a consumer may stop
	}
}

func TestParseVia(t *testing.T) {
	for _, test := range []struct {
		value string
		want  sip.Via
		print string
	}{
		{"SIP/2.0/UDP erlang.bell-telephone.com:5060;branch=z9hG4bK87asdks7",
			sip.Via{Transport: "UDP", Host: "erlang.bell-telephone.com", Port: 5060, Branch: "z9hG4bK87asdks7", RPort: -1,
				Params: ";branch=z9hG4bK87asdks7"}, ""},
		{"SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1",
			sip.Via{Transport: "UDP", Host: "first.example.com", Port: 4000, Branch: "z9hG4bKa7c6a8dlze.1", RPort: -1,
				Params: ";ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1"},
			"SIP/2.0/UDP first.example.com:4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1"},
		{"sip/2.0/ws [2001:db8::1]:80;Received=2001:db8::2;RPORT=7;branch=x",
			sip.Via{Transport: "ws", Host: "[2001:db8::1]", Port: 80, Branch: "x", Received: "2001:db8::2", RPort: 7,
				Params: ";Received=2001:db8::2;RPORT=7;branch=x"},
			"SIP/2.0/ws [2001:db8::1]:80;Received=2001:db8::2;RPORT=7;branch=x"},
		{"SIP/2.0/SCTP h", sip.Via{Transport: "SCTP", Host: "h", RPort: -1}, ""},
		{"SIP/2.0/UDP h;rport", sip.Via{Transport: "UDP", Host: "h", RPort: 0, Params: ";rport"}, ""},
		{"SIP/2.0/UDP h;x=\"a,b;branch=c\"", sip.Via{Transport: "UDP", Host: "h", RPort: -1, Params: ";x=\"a,b;branch=c\""}, ""},
	} {
		got, err := sip.ParseVia(test.value)
		if err != nil {
			t.Errorf("%s: %v", test.value, err)
			continue
		}
		equal(t, test.value, got, test.want)
		if test.print == "" {
			test.print = test.value
		}
		equal(t, "print", got.String(), test.print)
	}
	for _, value := range []string{"", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/UDP h, SIP/2.0/UDP i", "SIP/2.0/UDP h;", "SIP/2.0/UDP h:", "SIP/2.0/UDP h;b@d"} {
		if got, err := sip.ParseVia(value); err == nil {
			t.Errorf("%q is %+v, want an error", value, got)
		}
	}
}

func TestViaBuilt(t *testing.T) {
	v := sip.Via{Transport: "TCP", Host: "h", Branch: "z9hG4bK1", RPort: 0, Params: ";alias"}
	equal(t, "print", v.String(), "SIP/2.0/TCP h;branch=z9hG4bK1;rport;alias")
	equal(t, "sent-by", v.SentBy(), "h")
	for branch, want := range map[string]bool{"z9hG4bK1": true, "Z9HG4BK1": true, "z9hG4bK": false, "1": false, "": false} {
		v := sip.Via{Branch: branch}
		equal(t, branch, v.HasMagicCookie(), want)
	}
	for received, want := range map[string]bool{"192.0.2.1": true, "[::1]": true, "::1": true, "": false, "h": false} {
		v := sip.Via{Received: received}
		_, ok := v.ReceivedAddr()
		equal(t, received, ok, want)
	}
}

func withHeader(t *testing.T, lines string) *sip.Message {
	t.Helper()
	return mustParse(t, strings.Replace(basic, "Contact: <sip:alice@192.0.2.5:5062>", lines, 1))
}

func TestContacts(t *testing.T) {
	m := withHeader(t, `Contact: "a, b" <sip:a@b>;q=0.7;expires=60, sip:c@d;expires=x;reg-id=2;+sip.instance="<urn:uuid:1>"
m: *
m: <sip:e@f>;expires=99999999999;reg-id=0`)
	contacts, err := m.Contacts()
	if err != nil || len(contacts) != 4 {
		t.Fatal(contacts, err)
	}
	equal(t, "star", contacts[2].Star && !contacts[0].Star, true)
	for i, want := range map[int]uint32{0: 60, 1: 3600, 3: math.MaxUint32} {
		seconds, ok := contacts[i].Expires()
		equal(t, "expires", seconds, want)
		equal(t, "has expires", ok, true)
	}
	_, ok := contacts[2].Expires()
	equal(t, "has expires", ok, false)
	equal(t, "instance", contacts[1].Instance(), "<urn:uuid:1>")
	equal(t, "reg-id", []int{contacts[0].RegID(), contacts[1].RegID(), contacts[3].RegID()}, []int{0, 2, 0})
	for q, want := range map[string]int{"": 1000, ";q=1": 1000, ";q=0": 0, ";q=0.5": 500, ";q=0.33": 330, ";q=1.000": 1000,
		";q=0.": 0, ";q=2": 1000, ";q=.5": 1000, ";q=-1": 1000, ";q=0.5555": 1000, ";q=x": 1000, ";q=0.x": 1000} {
		equal(t, "q"+q, sip.Contact{Address: sip.Address{Params: sip.Params(q)}}.Q(), want)
	}
	none, err := withHeader(t, "X-No: contact").Contacts()
	equal(t, "none", len(none) == 0 && err == nil, true)

	_, err = withHeader(t, "Contact: <sip:a@b>, nobody").Contacts()
	fault, ok := errors.AsType[*sip.Error](err)
	if !ok || fault.Status != 400 || fault.Header != "Contact" {
		t.Errorf("error is %v", err)
	}
}

func TestAddresses(t *testing.T) {
	m := withHeader(t, "Record-Route: <sip:p1;lr>, <sip:p2;lr>\nRecord-Route: <sip:p3;lr>, p4, <sip:p5>\nRefer-To: <sip:x@y>;a=b")
	var uris []string
	var last error
	for a, err := range m.Addresses(sip.HRecordRoute) {
		uris = append(uris, a.URI)
		last = err
	}
	equal(t, "URIs", uris, []string{"sip:p1;lr", "sip:p2;lr", "sip:p3;lr", ""})
	if fault, ok := errors.AsType[*sip.Error](last); !ok || fault.Header != "Record-Route" {
		t.Errorf("error is %v", last)
	}
	referTo, err := m.Address(sip.HReferTo)
	equal(t, "Refer-To", referTo, sip.Address{URI: "sip:x@y", Params: ";a=b"})
	equal(t, "error", err, nil)
	_, err = m.Address(sip.HReferredBy)
	equal(t, "error", err, sip.ErrMissing)
	if _, err = withHeader(t, "Refer-To: nobody").Address(sip.HReferTo); err == nil {
		t.Error("no error")
	}
	for range m.Addresses(sip.HRecordRoute) {
		break // a consumer may stop
	}
}

func TestSeconds(t *testing.T) {
	m := withHeader(t, `Expires: 60
Min-Expires: 4294967296
Min-SE: 90;x=y
Retry-After: 120 (I'm in a meeting);duration=3600
Flow-Timer: soon
Session-Expires: 1800;refresher=uas`)
	for _, test := range []struct {
		name string
		get  func() (uint32, error)
		want uint32
	}{
		{"Expires", m.Expires, 60}, {"Min-Expires", m.MinExpires, math.MaxUint32}, {"Min-SE", m.MinSE, 90}, {"Retry-After", m.RetryAfter, 120},
	} {
		got, err := test.get()
		equal(t, test.name, got, test.want)
		equal(t, test.name, err, nil)
	}
	_, err := m.FlowTimer()
	fault, ok := errors.AsType[*sip.Error](err)
	if !ok || fault.Header != "Flow-Timer" || m.String()[fault.Offset:][:4] != "soon" {
		t.Errorf("error is %v", err)
	}
	seconds, refresher, err := m.SessionExpires()
	equal(t, "Session-Expires", seconds == 1800 && refresher == "uas" && err == nil, true)
	_, _, err = mustParse(t, basic).SessionExpires()
	equal(t, "error", err, sip.ErrMissing)
	m.Set(sip.HExpires, "x")
	_, err = m.Expires()
	if fault, ok := errors.AsType[*sip.Error](err); !ok || fault.Offset != -1 {
		t.Errorf("error of an edited line is %v", err)
	}
}

func TestValueAndParams(t *testing.T) {
	m := withHeader(t, `Event: dialog ; id=7
Subscription-State: terminated;reason=timeout;retry-after=30`)
	pkg, id, err := m.Event()
	equal(t, "Event", pkg == "dialog" && id == "7" && err == nil, true)
	state, params, err := m.SubscriptionState()
	equal(t, "Subscription-State", state == "terminated" && err == nil, true)
	reason, _ := params.Get("reason")
	equal(t, "reason", reason, "timeout")
	media, params, err := withHeader(t, "X-Y: z").ContentType()
	equal(t, "Content-Type", media == "text/plain" && params == "" && err == nil, true)

	none := mustParse(t, strings.Replace(basic, "Content-Type: text/plain\n", "", 1))
	_, _, err1 := none.Event()
	_, _, err2 := none.SubscriptionState()
	_, _, err3 := none.ContentType()
	equal(t, "missing", []error{err1, err2, err3}, []error{sip.ErrMissing, sip.ErrMissing, sip.ErrMissing})
	empty := withHeader(t, "Event: ;id=1\nSubscription-State:")
	_, _, err1 = empty.Event()
	_, _, err2 = empty.SubscriptionState()
	for _, err := range []error{err1, err2} {
		if _, ok := errors.AsType[*sip.Error](err); !ok {
			t.Errorf("error is %v", err)
		}
	}
}

func TestTransport(t *testing.T) {
	for _, test := range []struct {
		t                 sip.Transport
		name, param       string
		port              uint16
		reliable, sec, ws bool
	}{
		{sip.UDP, "UDP", "udp", 5060, false, false, false},
		{sip.TCP, "TCP", "tcp", 5060, true, false, false},
		{sip.TLS, "TLS", "tls", 5061, true, true, false},
		{sip.WS, "WS", "ws", 80, true, false, true},
		{sip.WSS, "WSS", "ws", 443, true, true, true},
	} {
		equal(t, "String", test.t.String(), test.name)
		equal(t, "Param", test.t.Param(), test.param)
		equal(t, "DefaultPort", test.t.DefaultPort(), test.port)
		equal(t, test.name, []bool{test.t.Reliable(), test.t.Secure(), test.t.WebSocket()}, []bool{test.reliable, test.sec, test.ws})
		got, ok := sip.ParseTransport(strings.ToLower(test.name))
		equal(t, "ParseTransport", ok && got == test.t, true)
	}
	_, ok := sip.ParseTransport("sctp")
	equal(t, "sctp", ok, false)
	equal(t, "none", sip.Transport(0).String()+sip.Transport(9).String()+sip.Transport(9).Param(), "")
	f := sip.Flow{Transport: sip.WS, Remote: netip.MustParseAddrPort("192.0.2.7:4711"), ID: 12}
	equal(t, "flow", f.String(), "ws 192.0.2.7:4711#12")
	equal(t, "flow without ID", sip.Flow{Transport: sip.UDP, Remote: f.Remote}.String(), "udp 192.0.2.7:4711")
}

func TestHeadersInOrder(t *testing.T) {
	var names []string
	for name := range mustParse(t, basic).Headers() {
		names = append(names, name)
	}
	equal(t, "names", names, []string{"Via", "Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Contact", "X-Odd", "Content-Type", "Content-Length"})
	equal(t, "lines", len(slices.Collect(mustParse(t, basic).Lines(sip.HVia))), 2)
}
