package sip

import (
	"net/netip"
	"testing"
)

// Clones and responses are what they were when the message that they were made of is released,
// and its memory is that of others.
func TestReleaseSparesCopies(t *testing.T) {
	parse := func(branch string) *Message {
		m, err := Parse([]byte("OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;rport;branch=" + branch + "\r\n" +
			"From: <sip:a@example.test>;tag=a\r\nTo: <sip:example.test>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		m.SetReceived(netip.MustParseAddrPort("192.0.2.2:5060"))
		m.Set(HTo, "<sip:"+branch+"@example.test>")
		return m
	}
	m := parse("z9hG4bK1")
	clone, response := m.Clone(), NewResponse(m, 200, "", "t")
	clone.Append(HReason, "of the clone")
	written := [...]string{clone.String(), response.String()}
	m.Release()
	for range 3 {
		parse("z9hG4bKother")
	}
	for i, m := range [...]*Message{clone, response} {
		if got := m.String(); got != written[i] {
			t.Errorf("message %d has become\n%s\nof\n%s", i, got, written[i])
		}
		if v := m.Via(); v.Branch != "z9hG4bK1" || v.Received != "192.0.2.2" || m.To().URI != "sip:z9hG4bK1@example.test" {
			t.Errorf("message %d: %+v, %+v", i, v, m.To())
		}
	}
}
