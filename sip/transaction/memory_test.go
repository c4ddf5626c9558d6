package transaction

import (
	"fmt"
	"runtime"
	"testing"
	"weak"

	"github.com/sipway/sipway/sip"
)

// A transaction that has ended is garbage at once, though timers ran for it that the runtime
// still knows.
func TestEndedIsCollected(t *testing.T) {
	s := &sink{request: func(*Server) {}}
	l := New(Config{}, s, s)
	var clients []weak.Pointer[Client]
	var servers []weak.Pointer[Server]
	s.request = func(tx *Server) { servers = append(servers, weak.Make(tx)) }
	for i := range 100 {
		req := newRequest(t, sip.INVITE, tcp, fmt.Sprintf("z9hG4bK%d", i))
		c, err := l.Request(tcp, req, nil)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, weak.Make(c))
		l.Receive(tcp, newResponse(req, 486))
		l.Receive(tcp, newRequest(t, sip.INFO, tcp, fmt.Sprintf("z9hG4bK%d", i)))
		_ = servers[i].Value().Reply(200, "")
	}
	runtime.GC()
	for i := range clients {
		if clients[i].Value() != nil || servers[i].Value() != nil {
			t.Fatalf("transaction %d is still there", i)
		}
	}
	runtime.KeepAlive(l)
}

// A request that is absorbed costs no memory.
func TestRetransmissionAllocatesNothing(t *testing.T) {
	s := &sink{request: func(tx *Server) { _ = tx.Reply(200, "") }}
	l := New(Config{}, s, s)
	m := newRequest(t, sip.OPTIONS, udp, "z9hG4bKs")
	l.Receive(udp, m)
	if n := testing.AllocsPerRun(100, func() { l.Receive(udp, m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Over UDP an INVITE that was answered lives on for 32 s, without the message it was made of.
func TestAnsweredInviteHoldsNoMessage(t *testing.T) {
	s := &sink{request: func(*Server) {}}
	l := New(Config{}, s, s)
	for _, status := range []int{200, 487} {
		req := newRequest(t, sip.INVITE, udp, fmt.Sprintf("z9hG4bK%d", status))
		held := weak.Make(req)
		if _, err := l.Request(udp, req, nil); err != nil {
			t.Fatal(err)
		}
		l.Receive(udp, newResponse(req, status))
		runtime.GC()
		if held.Value() != nil {
			t.Errorf("%d: the INVITE is still there", status)
		}
	}
	if n := l.Stats().InviteClients; n != 2 {
		t.Errorf("%d transactions live on", n)
	}
}
