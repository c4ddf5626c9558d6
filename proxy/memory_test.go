package proxy

import (
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// What an answered call leaves for 64*T1 after its end, two transactions and their response
// context above all, is little: at a thousand calls a second it is held 32,000 times.
func TestEndedCallsHoldLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := newBenchPeer(t, daveUDP, bobUDP, "sip:bob@192.0.2.8:5060")
		peer.call(t, "first")
		before := heap()
		const n = 2000
		for i := range n {
			peer.call(t, strconv.Itoa(i))
		}
		<-time.After(6 * time.Second) // Timer K of the BYE
		if each := (heap() - before) / n; each > 2200 {
			t.Errorf("%d bytes a call", each)
		} else {
			t.Logf("%d bytes a call", each)
		}
		<-time.After(time.Minute)
		if s := peer.w.layer.Stats(); s.InviteClients+s.Clients+s.InviteServers+s.Servers != 0 {
			t.Errorf("transactions are left: %+v", s)
		}
	})
}

// A response context fills its place in memory: a field more would take an eighth of that again.
// What is needed until the request has its answer alone belongs in the request.
func TestContextSize(t *testing.T) {
	const class = 512 // of Go's allocator
	if size := unsafe.Sizeof(responseContext{}); size > class {
		t.Errorf("%d bytes", size)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
