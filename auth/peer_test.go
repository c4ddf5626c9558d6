package auth

import (
	"net/netip"
	"testing"

	"github.com/sipway/sipway/sip"
)

// Who is trusted by the listener he came to, and by the name in his certificate; and that the
// socket of a trusted UDP listener, by which anybody may be sent to, trusts nobody.
func TestTrustedByListenerAndName(t *testing.T) {
	inside := netip.MustParseAddrPort("10.0.0.1:5060")
	from := func(transport sip.Transport, local netip.AddrPort, id uint64) sip.Flow {
		return sip.Flow{Transport: transport, Local: local, Remote: netip.MustParseAddrPort("203.0.113.9:5060"), ID: id}
	}
	outside := netip.MustParseAddrPort("192.0.2.1:5060")
	a := newAuth(t, Config{
		Trusted:         []Peer{{Name: "pbx.test"}},
		TrustedListener: func(f sip.Flow) bool { return f.Local == inside },
		Names: func(f sip.Flow) []string {
			return map[uint64][]string{1: {"other.test", "PBX.test"}, 2: {"pbx.test.evil"}}[f.ID]
		},
	}, newUsers())
	for _, tc := range []struct {
		name     string
		flow     sip.Flow
		from, to bool
	}{
		{"nobody", from(sip.UDP, outside, 0), false, false},
		{"to the inner UDP listener", from(sip.UDP, inside, 0), true, false},
		{"to the inner TCP listener", from(sip.TCP, inside, 3), true, true},
		{"with the name", from(sip.TLS, outside, 1), true, true},
		{"with another name", from(sip.TLS, outside, 2), false, false},
		{"without TLS", from(sip.TCP, outside, 1), false, false},
	} {
		if f, to := a.Trusted(tc.flow), a.TrustsTo(tc.flow); f != tc.from || to != tc.to {
			t.Errorf("%s: trusted %v, %v to send to", tc.name, f, to)
		}
	}
}

func TestParsePeer(t *testing.T) {
	for _, text := range []string{"tls:pbx.example.test", "10.1.0.0/16", "192.0.2.7", "192.0.2.7:5060", "[2001:db8::2]:5070"} {
		p, err := ParsePeer(text)
		if err != nil || p.String() != text {
			t.Errorf("%s is %s, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "tls:", "tls:*.test", "tls:a b", "tls:sip:a.test", "pbx.test", "10.0.0.1:0"} {
		if p, err := ParsePeer(text); err == nil {
			t.Errorf("%s is %v", text, p)
		}
	}
}
