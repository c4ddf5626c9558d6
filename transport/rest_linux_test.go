package transport

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"

	"golang.org/x/sys/unix"
)

// awaitReader waits until a connection is read by whom it should be.
func awaitReader(t testing.TB, c *connection, want int32) {
	t.Helper()
	for deadline := time.Now().Add(patience); c.reading.Load() != want; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%v is read by %d, want %d", c.flow, c.reading.Load(), want)
		}
	}
}

// dialAny returns what writes a message to a listener in as many writes as it is given parts.
func dialAny(t testing.TB, l *Layer, tr sip.Transport, ca *authority) func(parts ...string) {
	t.Helper()
	at := listen(t, l, tr)
	var c net.Conn
	if tr.Secure() {
		var err error
		if c, err = tls.Dial("tcp", at.String(), ca.clientConfig()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	} else {
		c = dialStream(t, at)
	}
	if tr.WebSocket() {
		c = rawWSOn(t, c, "")
	}
	return func(parts ...string) {
		for i, part := range parts {
			if tr.WebSocket() {
				opcode := byte(opText)
				if i > 0 {
					opcode = 0 // a continuation
				}
				if i == len(parts)-1 {
					opcode |= final
				}
				part = clientFrame(opcode, part)
			}
			write(t, c, part)
		}
	}
}

// TestUDPErrorHidesNothing: a datagram that came behind an error is read though nothing else
// comes.
func TestUDPErrorHidesNothing(t *testing.T) {
	l, r := newLayer(t, Config{})
	begun, goOn := make(chan struct{}, 100), make(chan struct{})
	r.onReceive = func(sip.Flow, *sip.Message) {
		begun <- struct{}{}
		<-goOn
	}
	busy, at := dialUDP(t, listen(t, l, sip.UDP)), listen(t, l, sip.UDP)
	gone, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	write(t, busy, request(sip.UDP, 1))
	next(t, begun)
	// While the poller is busy with one address, both come to the other.
	for _, s := range l.datagrams()[1].sockets {
		if err := s.raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		}); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.conn.WriteTo([]byte("refused"), gone.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	// From many, so that each of the address's sockets gets some.
	const clients = 20
	for n := range clients {
		write(t, dialUDP(t, at), request(sip.UDP, 2+n))
	}
	close(goOn)
	for range 1 + clients {
		next(t, r.received)
	}
}

// Connections of all transports rest between messages, and after such as came in pieces.
func TestRest(t *testing.T) {
	ca := newAuthority(t)
	l, r := newLayer(t, Config{TLS: ca.serverConfig(t)})
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS, sip.WS, sip.WSS} {
		send := dialAny(t, l, tr, ca)
		for n := 1; n <= 6; n += 2 {
			send(request(tr, n))
			c := l.flows.get(expectSeq(t, r, n).flow.ID)
			awaitReader(t, c, resting)
			whole := requestBody(tr, n+1, strings.Repeat("body", 5000))
			send(whole[:100], whole[100:101], whole[101:15_000], whole[15_000:])
			expectSeq(t, r, n+1)
			awaitReader(t, c, resting)
		}
	}
}

// A resting connection has no goroutine.
func TestRestHasNoGoroutine(t *testing.T) {
	l, r := newLayer(t, Config{})
	reading := func() bool {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		return strings.Contains(stacks, "transport.(*connection).read(") || strings.Contains(stacks, "transport.(*connection).serve(")
	}
	tcp, ws := dialAny(t, l, sip.TCP, nil), dialAny(t, l, sip.WS, nil)
	tcp(request(sip.TCP, 1))
	expectSeq(t, r, 1)
	ws(request(sip.WS, 2))
	c := l.flows.get(expectSeq(t, r, 2).flow.ID)
	awaitReader(t, c, resting)
	for deadline := time.Now().Add(patience); reading(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("somebody waits to read")
		}
	}
}

// Where more comes than one poller can read, the others help it, and no message is lost or
// overtakes another of its connection.
func TestPollersSpread(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	const clients, messages = 300, 5
	l, r := newLayer(t, Config{})
	at := listen(t, l, sip.TCP)
	blocked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.onReceive = func(sip.Flow, *sip.Message) {
		once.Do(func() { close(blocked) })
		<-release
	}
	var conns []net.Conn
	for range clients {
		conns = append(conns, dialStream(t, at))
	}
	for deadline := time.Now().Add(patience); len(l.Flows()) < clients; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("too few connections")
		}
	}
	for _, c := range l.flows.all() {
		awaitReader(t, c, resting)
	}
	write(t, conns[0], request(sip.TCP, 1))
	<-blocked
	for _, c := range conns[1:] {
		write(t, c, request(sip.TCP, 1))
	}
	close(release)
	for n := 2; n <= messages; n++ {
		for _, c := range conns {
			write(t, c, request(sip.TCP, n))
		}
	}
	last := make(map[uint64]uint32)
	expect := func(n int) {
		for range n {
			e := next(t, r.received)
			if seq := e.m.CSeq().Seq; seq != last[e.flow.ID]+1 {
				t.Fatalf("message %d after %d", seq, last[e.flow.ID])
			}
			last[e.flow.ID]++
		}
	}
	expect(clients * messages)
	if n := l.pollers.active.Load(); n != 2 {
		t.Fatalf("%d pollers read, want 2", n)
	}
	for _, c := range conns {
		write(t, c, request(sip.TCP, messages+1))
	}
	expect(clients)
	for _, c := range l.flows.all() {
		awaitReader(t, c, resting)
		if c.poller != l.pollerOf(c) {
			t.Fatal("a connection has stayed with the poller that has too much to do")
		}
	}
}

// A resting connection whose socket is closed below it comes to its end, once.
func TestRestAborted(t *testing.T) {
	l, r := newLayer(t, Config{})
	for n, send := range []func(...string){dialAny(t, l, sip.TCP, nil), dialAny(t, l, sip.WS, nil)} {
		send(request([]sip.Transport{sip.TCP, sip.WS}[n], n+1))
		f := expectSeq(t, r, n+1).flow
		c := l.flows.get(f.ID)
		awaitReader(t, c, resting)
		c.sock.abort(io.ErrClosedPipe)
		if e := next(t, r.closed); e.flow != f || e.err == nil {
			t.Errorf("closed %+v", e)
		}
		none(t, r.closed)
	}
}

// A UDP socket that is never read empty makes the pollers share the sockets, and none of its
// datagrams is lost or overtakes another of its sender.
func TestPollersSpreadUDP(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	const datagrams = (fullRounds + 1) * maxBatch
	l, r := newLayer(t, Config{})
	blocked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.onReceive = func(sip.Flow, *sip.Message) {
		once.Do(func() { close(blocked) })
		<-release
	}
	at := listen(t, l, sip.UDP)
	c := dialUDP(t, at)
	write(t, c, request(sip.UDP, 1))
	<-blocked
	for n := 2; n <= datagrams; n++ {
		write(t, c, request(sip.UDP, n))
	}
	close(release)
	for n := 1; n <= datagrams; n++ {
		expectSeq(t, r, n)
	}
	if n := l.pollers.active.Load(); n != 2 {
		t.Errorf("%d pollers read, want 2", n)
	}
	for n := range 20 { // from sources of both sockets
		write(t, dialUDP(t, at), request(sip.UDP, n))
		expectSeq(t, r, n)
	}
}

// A UDP socket that its next poller can't take is read all the same, by a goroutine.
func TestUDPWithoutNextPoller(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	l, r := newLayer(t, Config{})
	at := listen(t, l, sip.UDP)
	l.pollers.all[1].close()
	l.spread()
	var clients [20]net.Conn // sources of both sockets
	for n := range clients {
		clients[n] = dialUDP(t, at)
	}
	for n := range 2 * len(clients) { // by the second time each socket has changed over
		write(t, clients[n%len(clients)], request(sip.UDP, n))
		expectSeq(t, r, n)
	}
}

// What asks for the end of a connection while it is read is heeded when it has been: the
// handler's closing of the socket, and the end of the stream that came with its last message.
func TestEndWhileRead(t *testing.T) {
	l, r := newLayer(t, Config{})
	blocked, release := make(chan struct{}), make(chan struct{})
	r.onReceive = func(f sip.Flow, m *sip.Message) {
		switch m.CSeq().Seq {
		case 1:
			close(blocked)
			<-release
		case 3:
			l.flows.get(f.ID).sock.abort(io.ErrClosedPipe)
		}
	}
	at := listen(t, l, sip.TCP)
	first, second, third := dialStream(t, at), dialStream(t, at), dialStream(t, at)
	for deadline := time.Now().Add(patience); len(l.Flows()) < 3; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("too few connections")
		}
	}
	for _, c := range l.flows.all() {
		awaitReader(t, c, resting)
	}
	write(t, first, request(sip.TCP, 1))
	<-blocked
	write(t, second, request(sip.TCP, 2))
	if err := second.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(release)
	expectSeq(t, r, 1)
	f := expectSeq(t, r, 2).flow
	if e := next(t, r.closed); e.flow != f {
		t.Errorf("closed %+v, want %v", e, f)
	}
	write(t, third, request(sip.TCP, 3))
	f = expectSeq(t, r, 3).flow
	if e := next(t, r.closed); e.flow != f || e.err == nil {
		t.Errorf("closed %+v, want %v", e, f)
	}
}
