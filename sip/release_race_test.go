//go:build race

package sip

import (
	"net/netip"
	"testing"
)

// Under the race detector a message that was released can't be used unnoticed.
func TestReleasedMessageShows(t *testing.T) {
	for name, use := range map[string]func(m *Message){
		"released again": (*Message).Release,
		"written":        func(m *Message) { m.Bytes() },
		"cloned":         func(m *Message) { m.Clone() },
	} {
		m := NewRequest(OPTIONS, "sip:example.test")
		m.Append(HCallID, "a")
		m.Release()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s without a panic", name)
				}
			}()
			use(m)
		}()
	}
}

// So do the strings of its edited lines, while those it was received with stay what they are.
func TestReleasedEditsShow(t *testing.T) {
	m, err := Parse([]byte("OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK1\r\n" +
		"From: <sip:a@example.test>;tag=a\r\nTo: <sip:example.test>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	m.SetReceived(netip.MustParseAddrPort("192.0.2.2:5060"))
	received, id := m.Via().Received, m.CallID()
	m.Release()
	if received == "192.0.2.2" || id != "c" {
		t.Errorf("received is %q, the Call-ID %q", received, id)
	}
}
