package interop

import "testing"

// A desk phone with ICE and DTLS-SRTP: real audio between it and a page, called
// from either side.
func TestPageTalksToUDPPhone(t *testing.T) {
	s := startServer(t, settings{md5: true})
	alice, carol := openPage(t, s, jsSIP, "alice"), newBarePhone(t, s, "carol")
	alice.register(t)
	carol.register(t)

	a, c := connect(t, alice, carol)
	alice.hears(t, a)
	release(t, alice, a, carol, c)

	c, a = connect(t, carol, alice)
	alice.hears(t, a)
	release(t, carol, c, alice, a)
}

// Phones of another stack than ours, which take the first challenge, SHA-256
// (RFC 8760 §2.4): over UDP and TCP, each calling the other, until one leaves.
func TestDeskPhones(t *testing.T) {
	s := startServer(t, settings{})
	carol, dave := newDeskPhone(t, s, "udp", "carol"), newDeskPhone(t, s, "tcp", "dave")
	carol.register(t)
	dave.register(t)

	c, d := connect(t, carol, dave)
	release(t, carol, c, dave, d)

	d, c = connect(t, dave, carol)
	release(t, carol, c, dave, d)

	dave.unregister(t)
	fails(t, carol, "dave", 480)
}
