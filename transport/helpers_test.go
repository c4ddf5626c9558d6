package transport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

// patience bounds every wait of these tests; it is only reached by a failure.
const patience = 10 * time.Second

// TestMain checks that no goroutine of the package outlives the tests.
func TestMain(m *testing.M) {
	if os.Getenv(idleServerEnv) != "" {
		idleServer()
		return
	}
	code := m.Run()
	if left := leftGoroutines(); left != "" && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:\n"+left)
		code = 1
	}
	os.Exit(code)
}

func leftGoroutines() string {
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		var left []string
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "sipway/transport.") && !strings.Contains(g, "leftGoroutines") {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
	}
}

// event is one call of a Handler.
type event struct {
	flow sip.Flow
	m    *sip.Message
	err  error
}

// recorder is a Handler that passes on what it gets.
type recorder struct {
	received, malformed, closed chan event
	onReceive                   func(sip.Flow, *sip.Message) // before it is passed on
}

func newRecorder() *recorder {
	return &recorder{make(chan event, 4096), make(chan event, 4096), make(chan event, 4096), nil}
}

func (r *recorder) Receive(f sip.Flow, m *sip.Message) {
	if r.onReceive != nil {
		r.onReceive(f, m)
	}
	r.received <- event{f, m, nil}
}

func (r *recorder) Malformed(f sip.Flow, m *sip.Message, err error) {
	r.malformed <- event{f, m, err}
}

func (r *recorder) Closed(f sip.Flow, err error) { r.closed <- event{f, nil, err} }

// next waits for a value.
func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// none checks that nothing has come.
func none(t testing.TB, c <-chan event) {
	t.Helper()
	select {
	case e := <-c:
		t.Fatalf("unexpected event %+v", e)
	default:
	}
}

// newLayer returns a layer that the test shuts down and checks at its end.
func newLayer(t testing.TB, cfg Config) (*Layer, *recorder) {
	t.Helper()
	r := newRecorder()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := New(cfg, r)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := l.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for tr, s := range l.Stats() {
			if s.Flows != 0 {
				t.Errorf("%v: %d flows left", tr, s.Flows)
			}
		}
	})
	return l, r
}

func listen(t testing.TB, l *Layer, tr sip.Transport) netip.AddrPort {
	t.Helper()
	at, err := l.Listen(tr, "127.0.0.1:0", Binding{})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// request is a small request of a given number.
func request(tr sip.Transport, n int) string { return requestBody(tr, n, "") }

func requestBody(tr sip.Transport, n int, body string) string {
	return fmt.Sprintf("MESSAGE sip:bob@example.test SIP/2.0\r\n"+
		"Via: SIP/2.0/%v client.invalid;branch=z9hG4bK%d;rport\r\n"+
		"Max-Forwards: 70\r\n"+
		"From: <sip:alice@example.test>;tag=a\r\n"+
		"To: <sip:bob@example.test>\r\n"+
		"Call-ID: call-%d\r\n"+
		"CSeq: %d MESSAGE\r\n"+
		"Content-Length: %d\r\n\r\n%s", tr, n, n, n, len(body), body)
}

func expectSeq(t testing.TB, r *recorder, n int) event {
	t.Helper()
	e := next(t, r.received)
	if got := e.m.CSeq().Seq; got != uint32(n) {
		t.Fatalf("got message %d, want %d", got, n)
	}
	return e
}

// hasIPv6 reports whether this machine speaks IPv6 at all.
func hasIPv6() bool {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// dialStream connects a plain TCP client.
func dialStream(t testing.TB, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func dialWS(t testing.TB, at netip.AddrPort) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+at.String()+"/", &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func writeWS(t testing.TB, c *websocket.Conn, typ websocket.MessageType, s string) {
	t.Helper()
	if err := c.Write(t.Context(), typ, []byte(s)); err != nil {
		t.Fatal(err)
	}
}

// memListener is a listener in memory, for tests in virtual time.
type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newMemListener() *memListener {
	return &memListener{make(chan net.Conn), make(chan struct{})}
}

func (m *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memListener) Close() error {
	select {
	case <-m.closed:
	default:
		close(m.closed)
	}
	return nil
}

func (m *memListener) Addr() net.Addr { return memAddr(5060) }

// Dial returns the client's end of a new connection.
func (m *memListener) Dial() net.Conn {
	client, server := net.Pipe()
	m.conns <- memConn{server}
	return client
}

// memConn is one end of a pipe with addresses as of TCP.
type memConn struct{ net.Conn }

func (memConn) LocalAddr() net.Addr  { return memAddr(5060) }
func (memConn) RemoteAddr() net.Addr { return memAddr(40000) }

func memAddr(port uint16) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port))
}

// listenMem starts a listener in memory.
func listenMem(t testing.TB, l *Layer, tr sip.Transport) *memListener {
	t.Helper()
	m := newMemListener()
	ln := &streamListener{Listener: m, layer: l, transport: tr}
	if tr.Secure() {
		ln.tls = withTLSDefaults(l.cfg.TLS)
	}
	if err := ln.serve(addrPort(m.Addr())); err != nil {
		t.Fatal(err)
	}
	return m
}

// dialMemWS connects a WebSocket client in memory.
func dialMemWS(t testing.TB, m *memListener) *websocket.Conn {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return m.Dial(), nil },
	}}
	c, _, err := websocket.Dial(t.Context(), "ws://sip.example.test/", &websocket.DialOptions{
		HTTPClient:   client,
		Subprotocols: []string{"sip"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
