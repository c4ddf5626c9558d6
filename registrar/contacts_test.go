package registrar

import (
	"fmt"
	"testing"

	"github.com/sipway/sipway/sip"
)

// A browser's contact leads to the AOR that has it over an open flow, whatever stands behind
// its host, and as long as that flow is the one it was bound over last.
func TestLookupContact(t *testing.T) {
	s := inline(t)
	bind := func(f sip.Flow, callID, aor, contact string) {
		t.Helper()
		got := s.send(f, regText("Call-ID: "+callID, "To: <sip:"+aor+">", "From: <sip:"+aor+">;tag=f", "Contact: <"+contact+">"))
		if find(statusOf, got) != "200 OK" {
			t.Fatal(got)
		}
	}
	want := func(contact, aor string) {
		t.Helper()
		u, err := sip.ParseURI(contact)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := s.reg.LookupContact(&u); got != aor || ok != (aor != "") {
			t.Errorf("%s: %q, %t; want %q", contact, got, ok, aor)
		}
	}
	bind(wsFlow(1), "a", alice, "sip:a@one.invalid;transport=ws")
	bind(wsFlow(2), "b", bob, "sip:b@two.invalid;transport=ws")
	bind(udpFlow, "c", bob, "sip:c@192.0.2.1:5060")
	bind(udpFlow, "d", bob, "sip:d@udp.invalid")
	want("sip:a@one.invalid;transport=ws", alice)
	want("sip:a@ONE.invalid;ob", alice)
	want("sip:%61@one.invalid", alice)
	want("sip:b@two.invalid", bob)
	want("sip:b@one.invalid", "")
	want("sip:A@one.invalid", "")
	want("sip:c@192.0.2.1:5060", "") // can be sent to without us
	want("sip:d@udp.invalid", "")    // no flow that could end
	want("tel:+123", "")

	bind(wsFlow(4), "e", bob, "sip:a@one.invalid") // who would have what is for alice
	want("sip:a@one.invalid", alice)
	s.closed(wsFlow(4))

	bind(wsFlow(3), "a", alice, "sip:a@one.invalid;transport=ws") // connected anew
	s.closed(wsFlow(1))                                           // late
	want("sip:a@one.invalid", alice)
	s.closed(wsFlow(3))
	want("sip:a@one.invalid", "")
	s.closed(wsFlow(2))
	if n := len(s.reg.index.contacts); n != 0 {
		t.Errorf("%d contacts of closed flows are left", n)
	}
}

// A client that invents contacts can't have the index grow without end.
func TestContactsOfAFlowAreBounded(t *testing.T) {
	x := flowIndex{flows: make(map[uint64]*flowAORs)}
	x.add(1, alice)
	for i := range uint64(maxFlowContacts + 10) {
		x.bindContact(1, i, alice)
		x.bindContact(1, i, alice)
	}
	if len(x.contacts) != maxFlowContacts || len(x.flows[1].contacts) != maxFlowContacts {
		t.Error(len(x.contacts), len(x.flows[1].contacts))
	}
	x.bindContact(2, 1, bob) // a flow that has closed
	if got, _ := x.contact(1); got != alice {
		t.Error(fmt.Sprint("bound over a flow that is not there: ", got))
	}
}
