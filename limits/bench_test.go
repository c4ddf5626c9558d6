package limits

import (
	"fmt"
	"net/netip"
	"testing"
	"unsafe"

	"github.com/sipway/sipway/sip"
)

// TestRoom: a look at a record waits for two cache lines and no third.
func TestRoom(t *testing.T) {
	var s set
	if at, size := unsafe.Offsetof(s.records), unsafe.Sizeof(record{}); at > 64 || size > 64 {
		t.Errorf("records at %d of %d bytes each, want at most 64", at, size)
	}
}

// BenchmarkRequest is what an authenticated request costs here, from one of many users.
func BenchmarkRequest(b *testing.B) {
	l := New(Config{})
	const users = 1 << 14
	var aors [users]string
	var flows [users]sip.Flow
	for i := range users {
		aors[i] = fmt.Sprintf("user%d@example.test", i)
		flows[i] = sip.Flow{Transport: sip.UDP, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5060)}
	}
	message := []byte("REGISTER sip:example.test SIP/2.0")
	n := 0
	for b.Loop() {
		n = (n + 7919) % users
		if !l.Admit(flows[n], message) || l.Guessing(flows[n], aors[n]) || !l.Succeeded(flows[n], aors[n]) {
			b.Fatal("not within its limits")
		}
	}
}
