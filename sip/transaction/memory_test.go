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
		c, err := l.Request(tcp, req.Clone(), nil)
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
	const runs = 100
	var copies []*sip.Message
	for range runs + 2 { // one to warm up, and the request itself
		copies = append(copies, newRequest(t, sip.OPTIONS, udp, "z9hG4bKs"))
	}
	receive := func() {
		l.Receive(udp, copies[0])
		copies = copies[1:]
	}
	receive()
	if n := testing.AllocsPerRun(runs, receive); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Over UDP an INVITE that was answered lives on for 32 s, without the message it was made of.
func TestAnsweredInviteHoldsNoMessage(t *testing.T) {
	s := &sink{request: func(*Server) {}}
	l := New(Config{}, s, s)
	for _, status := range []int{200, 487} {
		req := newRequest(t, sip.INVITE, udp, fmt.Sprintf("z9hG4bK%d", status))
		held, answer := weak.Make(req), newResponse(req, status)
		if _, err := l.Request(udp, req, nil); err != nil {
			t.Fatal(err)
		}
		l.Receive(udp, answer)
		runtime.GC()
		runtime.GC() // the first one leaves what was released to be used again
		if held.Value() != nil {
			t.Errorf("%d: the INVITE is still there", status)
		}
	}
	if n := l.Stats().InviteClients; n != 2 {
		t.Errorf("%d transactions live on", n)
	}
}
