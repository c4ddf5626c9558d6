package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

// TestSlowReader: a peer that doesn't read is closed when the queue is full, and neither
// the sender nor another peer waits for it.
func TestSlowReader(t *testing.T) {
	l, r := newLayer(t, Config{})
	slow := dialWS(t, listen(t, l, sip.WS))
	writeWS(t, slow, 1, request(sip.WS, 1))
	slowFlow := expectSeq(t, r, 1).flow
	other := dialStream(t, listen(t, l, sip.TCP))
	write(t, other, request(sip.TCP, 2))
	otherFlow := expectSeq(t, r, 2).flow

	message := bytes.Repeat([]byte("m"), 10000)
	var err error
	for sent := 0; err == nil; sent++ {
		if sent > 10000 {
			t.Fatal("100 MB sent to a peer that doesn't read")
		}
		err = l.Send(slowFlow, message)
		if err := l.Send(otherFlow, []byte("ok")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(other, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(err, ErrQueueFull) || !errors.Is(err, ErrFlowClosed) {
		t.Errorf("Send: %v", err)
	}
	if e := next(t, r.closed); e.flow != slowFlow || !errors.Is(e.err, ErrQueueFull) {
		t.Errorf("closed %+v", e)
	}
	if l.Alive(slowFlow) || !l.Alive(otherFlow) {
		t.Error("the wrong one was closed")
	}
}

// TestNoProgress: little may wait, but not for long.
func TestNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLayer(t, Config{})
		c := listenMem(t, l, sip.TCP).Dial()
		write(t, c, request(sip.TCP, 1))
		e := <-r.received
		start := time.Now()
		if err := l.Send(e.flow, []byte("never read")); err != nil {
			t.Fatal(err)
		}
		if e := <-r.closed; !errors.Is(e.err, ErrQueueFull) || time.Since(start) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(start), e.err)
		}
	})
}

// TestQueueKeepsOrder: what the kernel takes at once and what waits arrives in the order of
// the sends, whole, though the sender writes each message where the one before was.
func TestQueueKeepsOrder(t *testing.T) {
	const count, size = 100, 50000
	l, r := newLayer(t, Config{OutQueue: count * size})
	c := dialStream(t, listen(t, l, sip.TCP))
	write(t, c, request(sip.TCP, 1))
	f := expectSeq(t, r, 1).flow
	b := make([]byte, size)
	for n := range count {
		for i := range b {
			b[i] = byte(n)
		}
		if err := l.Send(f, b); err != nil {
			t.Fatal(err)
		}
	}
	l.CloseFlow(f.ID, nil) // what waits is still sent
	got, err := io.ReadAll(c)
	if err != nil || len(got) != count*size {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for i, b := range got {
		if b != byte(i/size) {
			t.Fatalf("byte %d is of message %d", i, b)
		}
	}
}

// TestHalfOpen: a peer that has closed its sending half has closed the flow, and one that
// was reset likewise.
func TestHalfOpen(t *testing.T) {
	l, r := newLayer(t, Config{})
	at := listen(t, l, sip.TCP)
	for n, end := range []func(*net.TCPConn) error{
		(*net.TCPConn).CloseWrite,
		func(c *net.TCPConn) error { c.SetLinger(0); return c.Close() },
	} {
		c := dialStream(t, at)
		write(t, c, request(sip.TCP, n+1))
		f := expectSeq(t, r, n+1).flow
		if err := end(c.(*net.TCPConn)); err != nil {
			t.Fatal(err)
		}
		if e := next(t, r.closed); e.flow != f || e.err == nil {
			t.Errorf("closed %+v", e)
		}
	}
}

// TestCloseOnce: whoever closes a flow, at whatever moment, it is closed once, after its
// last message, and no Send succeeds then.
func TestCloseOnce(t *testing.T) {
	l, r := newLayer(t, Config{})
	ws, tcp := listen(t, l, sip.WS), listen(t, l, sip.TCP)
	for n := range 100 {
		var client io.Closer
		if n%2 == 0 {
			c := dialWS(t, ws)
			writeWS(t, c, 1, request(sip.WS, n+1))
			client = closerFunc(c.CloseNow)
		} else {
			c := dialStream(t, tcp)
			write(t, c, request(sip.TCP, n+1))
			client = c
		}
		f := expectSeq(t, r, n+1).flow
		var all sync.WaitGroup
		all.Go(func() { client.Close() })
		all.Go(func() { l.CloseFlow(f.ID, nil) })
		all.Go(func() { l.CloseFlow(f.ID, io.ErrClosedPipe) })
		all.Go(func() {
			for l.Send(f, []byte("x")) == nil {
			}
		})
		if e := next(t, r.closed); e.flow != f || e.err == nil {
			t.Fatalf("closed %+v", e)
		}
		all.Wait()
		if err := l.Send(f, nil); !errors.Is(err, ErrFlowClosed) {
			t.Fatalf("Send after Closed: %v", err)
		}
		none(t, r.closed)
	}
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

// TestIncarnations: no two connections bear the same number, and those of a later layer are
// greater.
func TestIncarnations(t *testing.T) {
	var last uint64
	for range 2 {
		l, r := newLayer(t, Config{})
		at := listen(t, l, sip.TCP)
		for n := range 3 {
			c := dialStream(t, at)
			write(t, c, request(sip.TCP, n+1))
			f := expectSeq(t, r, n+1).flow
			if f.ID <= last || f.ID >= 1<<53 {
				t.Errorf("incarnation %d after %d", f.ID, last)
			}
			last = f.ID
		}
	}
}

func TestDial(t *testing.T) {
	l, r := newLayer(t, Config{})
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	to := addrPort(peer.Addr())

	// Callers for the same address share one connection.
	flows := make(chan sip.Flow, 10)
	for range cap(flows) {
		go func() {
			f, err := l.Dial(t.Context(), sip.Server{Transport: sip.TCP, Addr: to})
			if err != nil {
				t.Error(err)
			}
			flows <- f
		}()
	}
	first := next(t, flows)
	for range cap(flows) - 1 {
		if f := next(t, flows); f != first {
			t.Errorf("another flow %v", f)
		}
	}
	if first.Remote != to || first.ID == 0 {
		t.Errorf("flow %v", first)
	}
	conn, err := peer.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Send(first, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	write(t, conn, request(sip.TCP, 1))
	if e := expectSeq(t, r, 1); e.flow != first {
		t.Errorf("answer on %v", e.flow)
	}

	// A closed one is replaced.
	conn.Close()
	next(t, r.closed)
	second, err := l.Dial(t.Context(), sip.Server{Transport: sip.TCP, Addr: to})
	if err != nil || second.ID == first.ID {
		t.Errorf("%v, %v", second, err)
	}

	// Accepted connections aren't taken for the way to their source address.
	c := dialStream(t, listen(t, l, sip.TCP))
	write(t, c, request(sip.TCP, 2))
	in := expectSeq(t, r, 2).flow
	if f, err := l.Dial(t.Context(), sip.Server{Transport: sip.TCP, Addr: in.Remote}); err == nil {
		t.Errorf("dialled %v", f)
	}
	for _, tr := range []sip.Transport{sip.WS, sip.WSS} {
		if _, err := l.Dial(t.Context(), sip.Server{Transport: tr, Addr: to}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v: %v", tr, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Dial(ctx, sip.Server{Transport: sip.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:5060")}); err == nil {
		t.Error("a cancelled context was waited for")
	}
}

// TestDialSelf connects a layer to itself, over IPv6 where there is any.
func TestDialSelf(t *testing.T) {
	loopback := "[::1]:0"
	if !hasIPv6() {
		loopback = "127.0.0.1:0"
	}
	l, r := newLayer(t, Config{})
	at, err := l.Listen(sip.TCP, loopback, Binding{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := l.Dial(t.Context(), sip.Server{Transport: sip.TCP, Addr: at})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Send(out, []byte(request(sip.TCP, 1))); err != nil {
		t.Fatal(err)
	}
	in := expectSeq(t, r, 1).flow
	if in.Remote != out.Local || in.Local != out.Remote || in.ID == out.ID {
		t.Errorf("one end %v to %v, the other %v to %v", out.Local, out.Remote, in.Local, in.Remote)
	}
	l.CloseFlow(out.ID, nil)
	if a, b := next(t, r.closed).flow, next(t, r.closed).flow; a == b {
		t.Error("one end was closed twice")
	}
}

// TestConcurrent sends and closes from everywhere while messages come in.
func TestConcurrent(t *testing.T) {
	l, r := newLayer(t, Config{})
	r.onReceive = func(f sip.Flow, _ *sip.Message) { l.Send(f, []byte("SIP/2.0 200 OK\r\n\r\n")) }
	tcp, ws, udp := listen(t, l, sip.TCP), listen(t, l, sip.WS), listen(t, l, sip.UDP)
	const each = 20
	var all sync.WaitGroup
	for n := range 10 {
		all.Go(func() {
			c := dialStream(t, tcp)
			for range each {
				write(t, c, request(sip.TCP, n))
			}
			c.Close()
		})
		all.Go(func() {
			c := dialWS(t, ws)
			for range each {
				writeWS(t, c, 1, request(sip.WS, n))
			}
			c.CloseNow()
		})
		all.Go(func() {
			c := dialUDP(t, udp)
			b := make([]byte, 100)
			for range each {
				write(t, c, request(sip.UDP, n))
				if _, err := c.Read(b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	closed := 0
	for closed < 20 {
		e := next(t, r.closed)
		closed++
		l.Send(e.flow, []byte("x"))
		l.Stats()
		l.Listeners()
	}
	all.Wait()
}

func TestHandlerSetLater(t *testing.T) {
	r := newRecorder()
	l := New(Config{}, nil)
	l.Handle(r)
	defer l.Close()
	write(t, dialUDP(t, listen(t, l, sip.UDP)), request(sip.UDP, 1))
	expectSeq(t, r, 1)
	if ls := l.Listeners(); len(ls) != 1 || ls[0].Transport != sip.UDP {
		t.Errorf("listeners %v", ls)
	}
}

// TestCloseAtOnce: Close doesn't wait for a peer that doesn't read.
func TestCloseAtOnce(t *testing.T) {
	l, r := newLayer(t, Config{OutQueue: 64 << 20})
	c := dialStream(t, listen(t, l, sip.TCP))
	write(t, c, request(sip.TCP, 1))
	f := expectSeq(t, r, 1).flow
	for l.flows.get(f.ID).sock.flushed() {
		if err := l.Send(f, make([]byte, 100000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	next(t, r.closed)
}

// A layer that accepts no more works on: over what is open, and over UDP.
func TestStopAccepting(t *testing.T) {
	l, r := newLayer(t, Config{})
	tcp, ws, udp := listen(t, l, sip.TCP), listen(t, l, sip.WS), listen(t, l, sip.UDP)
	open := dialStream(t, tcp)
	write(t, open, request(sip.TCP, 1))
	flow := expectSeq(t, r, 1).flow
	l.StopAccepting()
	for _, at := range []netip.AddrPort{tcp, ws} {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			c.Close()
			t.Errorf("%v is still there", at)
		}
	}
	write(t, open, request(sip.TCP, 2))
	expectSeq(t, r, 2)
	datagrams, err := net.Dial("udp", udp.String())
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	write(t, datagrams, request(sip.UDP, 3))
	expectSeq(t, r, 3)
	if flows := l.Flows(); len(flows) != 1 || flows[0] != flow {
		t.Errorf("%v", flows)
	}
}
