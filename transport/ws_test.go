package transport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

func TestWSRequestAndResponse(t *testing.T) {
	for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		l, r := newLayer(t, Config{})
		c := dialWS(t, listen(t, l, sip.WS))
		if c.Subprotocol() != "sip" {
			t.Fatalf("subprotocol %q", c.Subprotocol())
		}
		// RFC 7118 §5: no Content-Length needed.
		writeWS(t, c, typ, strings.Replace(requestBody(sip.WS, 1, "hi"), "Content-Length: 2\r\n", "", 1))
		e := expectSeq(t, r, 1)
		if e.flow.Transport != sip.WS || string(e.m.Body()) != "hi" || e.m.Via().Received != "127.0.0.1" {
			t.Errorf("flow %v, body %q, Via %+v", e.flow, e.m.Body(), e.m.Via())
		}
		for _, out := range []struct {
			bytes string
			typ   websocket.MessageType
		}{
			{"SIP/2.0 200 Schön\r\n\r\n", websocket.MessageText},
			{"SIP/2.0 200 \xff\r\n\r\n", websocket.MessageBinary},
			{strings.Repeat("m", 70000), websocket.MessageText},
		} {
			if err := l.Send(e.flow, []byte(out.bytes)); err != nil {
				t.Fatal(err)
			}
			c.SetReadLimit(-1)
			gotType, b, err := c.Read(t.Context())
			if err != nil || gotType != out.typ || string(b) != out.bytes {
				t.Errorf("got %v %.40q %v", gotType, b, err)
			}
		}
		c.Close(websocket.StatusNormalClosure, "bye")
		e = next(t, r.closed)
		if websocket.CloseStatus(e.err) != websocket.StatusNormalClosure {
			t.Errorf("closed by %v", e.err)
		}
		if err := l.Send(e.flow, nil); !errors.Is(err, ErrFlowClosed) {
			t.Errorf("Send after the close: %v", err)
		}
	}
}

// TestWSHandshakeRefused: who doesn't do as RFC 7118 §4.1 says is told so.
func TestWSHandshakeRefused(t *testing.T) {
	l, _ := newLayer(t, Config{CheckOrigin: func(r *http.Request) bool {
		return r.Header.Get("Origin") != "https://evil.example"
	}})
	at := listen(t, l, sip.WS)
	upgrade := "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, test := range []struct {
		path, headers string
		status        int
		text          string
	}{
		{"/", "", http.StatusUpgradeRequired, "RFC 7118"},
		{"/other", upgrade + "Sec-WebSocket-Protocol: sip\r\n", http.StatusNotFound, ""},
		{"/", upgrade, http.StatusBadRequest, `"sip"`},
		{"/", upgrade + "Sec-WebSocket-Protocol: sipx, xmpp\r\n", http.StatusBadRequest, `"sip"`},
		{"/", upgrade + "Sec-WebSocket-Protocol: sip\r\nOrigin: https://evil.example\r\n", http.StatusForbidden, "origin"},
		{"/", strings.Replace(upgrade, "13", "12", 1) + "Sec-WebSocket-Protocol: sip\r\n", http.StatusBadRequest, ""},
		{"/", upgrade + "Sec-WebSocket-Protocol: xmpp, sip\r\nOrigin: https://good.example\r\n", http.StatusSwitchingProtocols, ""},
	} {
		c := dialStream(t, at)
		write(t, c, "GET "+test.path+" HTTP/1.1\r\nHost: sip.example.test\r\n"+test.headers+"\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			if resp.Header.Get("Sec-WebSocket-Protocol") != "sip" {
				t.Error("subprotocol not echoed")
			}
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != test.status || !strings.Contains(string(body), test.text) {
			t.Errorf("%q: %d %q, want %d", test.headers, resp.StatusCode, body, test.status)
		}
	}
}

// rawWS connects and does the handshake by hand; what follows the handshake is the test's.
func rawWS(t testing.TB, at netip.AddrPort, early string) net.Conn {
	t.Helper()
	return rawWSOn(t, dialStream(t, at), early)
}

// rawWSOn is rawWS on a connection that is open.
func rawWSOn(t testing.TB, c net.Conn, early string) net.Conn {
	t.Helper()
	write(t, c, "GET / HTTP/1.1\r\nHost: sip.example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
		"Sec-WebSocket-Protocol: sip\r\n\r\n"+early)
	var head []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b...) {
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// clientFrame is a masked frame; first is its first byte.
func clientFrame(first byte, payload string) string {
	b := appendFrame(nil, 0, []byte(payload))
	head := len(b) - len(payload)
	b[0] = first
	b[1] |= masked
	mask := [4]byte{1, 2, 3, 4}
	out := append(append([]byte(nil), b[:head]...), mask[:]...)
	for i, c := range []byte(payload) {
		out = append(out, c^mask[i%4])
	}
	return string(out)
}

// TestWSFragments: a message may come in any number of frames, with control frames between
// them, in any number of segments, and the frames before and after are found.
func TestWSFragments(t *testing.T) {
	m := requestBody(sip.WS, 1, strings.Repeat("v=0\r\n", 4000))
	var fragmented strings.Builder
	for s, first := m, byte(opText); s != ""; first = 0 {
		n := min(len(s), 1+rand.IntN(2000))
		if n == len(s) {
			first |= final
		}
		fragmented.WriteString(clientFrame(first, s[:n]))
		if n < len(s) {
			fragmented.WriteString(clientFrame(final|opPong, "pong"))
			fragmented.WriteString(clientFrame(0, ""))
		}
		s = s[n:]
	}
	input := clientFrame(final|opPong, "") + fragmented.String() + clientFrame(final|opPong, strings.Repeat("p", 125)) +
		clientFrame(final|opText, request(sip.WS, 2)) + clientFrame(final|opBinary, request(sip.WS, 3)) +
		clientFrame(final|opPing, "hello")
	for _, size := range []int{1, 5, 1000, len(input)} {
		l, r := newLayer(t, Config{})
		at := listen(t, l, sip.WS)
		first := min(size, len(input))
		c := rawWS(t, at, input[:first]) // the first segment comes with the handshake
		for s := input[first:]; s != ""; {
			n := min(size, len(s))
			write(t, c, s[:n])
			s = s[n:]
		}
		if e := expectSeq(t, r, 1); len(e.m.Body()) != 20000 {
			t.Errorf("body of %d bytes", len(e.m.Body()))
		}
		expectSeq(t, r, 2)
		expectSeq(t, r, 3)
		pong := make([]byte, 7)
		if _, err := io.ReadFull(c, pong); err != nil || string(pong) != "\x8a\x05hello" {
			t.Errorf("pong %q, %v", pong, err)
		}
		none(t, r.malformed)
	}
}

// TestWSBroken: what breaks off is never taken for a whole message.
func TestWSBroken(t *testing.T) {
	whole := clientFrame(opText, request(sip.WS, 1)) + clientFrame(final, "")
	for _, n := range []int{1, 6, 8, 100, len(whole) - 6, len(whole) - 1} {
		l, r := newLayer(t, Config{})
		rawWS(t, listen(t, l, sip.WS), whole[:n]).Close()
		next(t, r.closed)
		none(t, r.received)
		none(t, r.malformed)
	}
}

func TestWSKeepaliveAndMalformed(t *testing.T) {
	l, r := newLayer(t, Config{})
	c := dialWS(t, listen(t, l, sip.WS))
	for _, s := range []string{"", "\r\n", "\r\n\r\n", "\x00"} {
		writeWS(t, c, websocket.MessageText, s)
	}
	if typ, b, err := c.Read(t.Context()); err != nil || string(b) != "\r\n" || typ != websocket.MessageText {
		t.Fatalf("pong %v %q %v", typ, b, err)
	}
	writeWS(t, c, websocket.MessageText, "nonsense")
	if e := next(t, r.malformed); e.m != nil || e.err == nil {
		t.Errorf("%+v", e)
	}
	writeWS(t, c, websocket.MessageText, request(sip.WS, 1))
	expectSeq(t, r, 1)
	if s := l.Stats()[sip.WS]; s.In != 2 || s.Malformed != 1 || s.Keepalives != 4 || s.Flows != 1 {
		t.Errorf("%+v", s)
	}
}

// The limit holds for a message that is read at once and for one that is read in parts.
func TestWSTooLarge(t *testing.T) {
	for _, limit := range []int{2000, chunkSize + 1000} {
		l, r := newLayer(t, Config{MaxMessage: limit})
		at := listen(t, l, sip.WS)
		room := limit - len(requestBody(sip.WS, 1, strings.Repeat("b", 1000))) + 1000
		fits := requestBody(sip.WS, 1, strings.Repeat("b", room))
		c := dialWS(t, at)
		writeWS(t, c, websocket.MessageText, fits)
		expectSeq(t, r, 1)
		writeWS(t, c, websocket.MessageText, fits+"b")
		_, _, err := c.Read(t.Context())
		if websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
			t.Errorf("limit %d: client sees %v", limit, err)
		}
		if e := next(t, r.closed); !errors.Is(e.err, websocket.ErrMessageTooBig) {
			t.Errorf("limit %d: closed by %v", limit, e.err)
		}
	}
}

func TestWSShutdown(t *testing.T) {
	l, r := newLayer(t, Config{})
	at := listen(t, l, sip.WS)
	c := dialWS(t, at)
	writeWS(t, c, websocket.MessageText, request(sip.WS, 1))
	expectSeq(t, r, 1)
	seen := make(chan error, 1)
	go func() {
		_, _, err := c.Read(context.Background())
		seen <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := next(t, seen); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("client sees %v", err)
	}
	if e := next(t, r.closed); e.err != ErrShutdown {
		t.Errorf("closed by %v", e.err)
	}
	if _, err := net.Dial("tcp", at.String()); err == nil {
		t.Error("still listening")
	}
	if _, err := l.Listen(sip.WS, "127.0.0.1:0", Binding{}); !errors.Is(err, ErrShutdown) {
		t.Errorf("Listen: %v", err)
	}
}

// TestWSPing: a peer that answers pings stays, for hours; one that stops is closed when the
// deadline has passed.
func TestWSPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLayer(t, Config{})
		m := listenMem(t, l, sip.WS)
		c := dialMemWS(t, m)
		defer c.CloseNow()
		writeWS(t, c, websocket.MessageText, request(sip.WS, 1))
		f := (<-r.received).flow

		ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour)
		defer stop()
		pings := 0
		reader := make(chan error)
		go func() {
			_, _, err := c.Read(ctx) // answers pings until the context is over
			reader <- err
		}()
		<-time.After(2*time.Hour - time.Millisecond)
		if pings = int(l.Stats()[sip.WS].Keepalives); pings < 235 || pings > 305 || !l.Alive(f) {
			t.Errorf("%d pongs in 2 h, alive %v", pings, l.Alive(f))
		}
		<-reader
		if e := <-r.closed; e.flow != f {
			t.Errorf("closed %v", e.flow)
		}
	})
}

func TestWSPingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLayer(t, Config{PingInterval: 20 * time.Second, PingTimeout: 5 * time.Second})
		c := dialMemWS(t, listenMem(t, l, sip.WS))
		defer c.CloseNow()
		writeWS(t, c, websocket.MessageText, request(sip.WS, 1))
		e := <-r.received
		start := time.Now()
		closed := <-r.closed // the client reads nothing, so it sends no pong
		if closed.flow != e.flow || closed.err != ErrPingTimeout {
			t.Errorf("%+v", closed)
		}
		if took := time.Since(start); took < 21*time.Second || took > 25*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// TestWSTrafficIsLife: any byte counts as a sign of life, not only a pong.
func TestWSTrafficIsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLayer(t, Config{WriteTimeout: time.Hour})
		c := dialMemWS(t, listenMem(t, l, sip.WS))
		defer c.CloseNow()
		for n := range 100 {
			writeWS(t, c, websocket.MessageText, request(sip.WS, n+1)) // and never reads
			e := expectSeq(t, r, n+1)
			<-time.After(9 * time.Second)
			if !l.Alive(e.flow) {
				t.Fatal("closed")
			}
		}
	})
}

func TestWSSlowMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLayer(t, Config{PingInterval: -1})
		c := dialMemWS(t, listenMem(t, l, sip.WS))
		defer c.CloseNow()
		writeWS(t, c, websocket.MessageText, request(sip.WS, 1))
		<-r.received
		w, err := c.Writer(t.Context(), websocket.MessageText)
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(w, requestBody(sip.WS, 2, strings.Repeat("b", 10000))) // and no last frame
		start := time.Now()
		if e := <-r.closed; e.err != ErrSlowMessage || time.Since(start) != 20*time.Second {
			t.Errorf("after %v: %v", time.Since(start), e.err)
		}
	})
}
