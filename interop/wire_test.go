package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A wire carries bytes to the server as they are, and brings back whole
// messages: what is wrong with what it sends is not its business.
type wire struct {
	send  func(b []byte) error
	flush func() error // says that nothing follows; the server may then close
	close func()

	// in has the messages from the server; it is closed when the server
	// closed the connection.
	in chan []byte
}

// transports are the ways to the server.
var transports = []string{"udp", "tcp", "ws"}

func (s *server) addr(transport string) string {
	return map[string]string{"udp": s.udp, "tcp": s.tcp, "ws": s.ws, "tls": s.tls, "wss": s.wss}[transport]
}

// connect opens a new flow to the server.
func (s *server) connect(t *testing.T, transport string) *wire {
	t.Helper()
	w := &wire{in: make(chan []byte, 1024)}
	var err error
	if transport == "ws" {
		err = w.dialWebSocket(t, s.addr(transport))
	} else {
		err = w.dial(transport, s.addr(transport))
	}
	if err != nil {
		t.Fatalf("%s: %v", transport, err)
	}
	return w
}

func (w *wire) dial(network, addr string) error {
	conn, err := net.Dial(network, addr)
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(2 * patience))
	w.send = func(b []byte) error { _, err := conn.Write(b); return err }
	w.close = func() { conn.Close() }
	if tcp, ok := conn.(*net.TCPConn); ok {
		w.flush = tcp.CloseWrite
		go w.receive(messages(bufio.NewReader(conn)))
		return nil
	}
	w.flush = func() error { return nil }
	go w.receive(func() ([]byte, error) {
		b := make([]byte, 64<<10)
		for {
			n, err := conn.Read(b)
			// The server's port can't be gone; the kernel tells here of
			// packets that came when it was.
			if !errors.Is(err, syscall.ECONNREFUSED) {
				return bytes.Clone(b[:n]), err
			}
		}
	})
	return nil
}

func (w *wire) dialWebSocket(t *testing.T, addr string) error {
	ctx := t.Context()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/", &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		return err
	}
	conn.SetReadLimit(-1)
	w.send = func(b []byte) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return conn.Write(ctx, websocket.MessageBinary, b)
	}
	// The pong comes when all before the ping was read.
	w.flush = func() error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return conn.Ping(ctx)
	}
	w.close = func() { conn.CloseNow() }
	go w.receive(func() ([]byte, error) {
		_, b, err := conn.Read(ctx)
		return b, err
	})
	return nil
}

// receive moves messages to in until there are no more.
func (w *wire) receive(next func() ([]byte, error)) {
	defer close(w.in)
	for {
		b, err := next()
		if err != nil {
			return
		}
		w.in <- b
	}
}

// messages takes a stream apart (RFC 3261 §18.3). What the server sends is
// well-formed, or the test fails for want of an answer.
func messages(in *bufio.Reader) func() ([]byte, error) {
	return func() ([]byte, error) {
		var message []byte
		length := 0
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return nil, err
			}
			if line == "\r\n" && message == nil {
				continue // keepalive
			}
			message = append(message, line...)
			if line == "\r\n" {
				break
			}
			if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Content-Length") {
				if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
					return nil, err
				}
			}
		}
		body := make([]byte, length)
		_, err := io.ReadFull(in, body)
		return append(message, body...), err
	}
}

// next returns the next message from the server. It is false when the server
// has closed the connection; neither in time fails the test.
func (w *wire) next(t *testing.T) ([]byte, bool) {
	t.Helper()
	select {
	case b, ok := <-w.in:
		return b, ok
	case <-time.After(patience):
		t.Fatalf("neither an answer nor the end of the connection in %v", patience)
		return nil, false
	}
}

// final returns the status of the next final response.
func (w *wire) final(t *testing.T) (status int, open bool) {
	t.Helper()
	for {
		b, open := w.next(t)
		if !open {
			return 0, false
		}
		if status := statusOf(b); status >= 200 {
			return status, true
		}
	}
}

// statusOf returns the status of a response, 0 for anything else.
func statusOf(b []byte) int {
	rest, ok := bytes.CutPrefix(b, []byte("SIP/2.0 "))
	if !ok || len(rest) < 3 {
		return 0
	}
	status, _ := strconv.Atoi(string(rest[:3]))
	return status
}

// probe asks the server an ordinary question on the wire, and returns the final
// responses that came before its answer.
func (w *wire) probe(t *testing.T, transport string) (before []int) {
	t.Helper()
	callID := fmt.Sprintf("probe-%d", time.Now().UnixNano())
	if err := w.send(probeRequest(transport, callID)); err != nil {
		t.Fatalf("%s: %v", transport, err)
	}
	for {
		b, open := w.next(t)
		if !open {
			t.Fatalf("%s: the connection was closed instead of an answer to OPTIONS", transport)
		}
		status := statusOf(b)
		if bytes.Contains(b, []byte("Call-ID: "+callID+"\r\n")) {
			if status != 200 {
				t.Fatalf("%s: OPTIONS was answered with %d", transport, status)
			}
			return before
		}
		if status >= 200 {
			before = append(before, status)
		}
	}
}

func probeRequest(transport, callID string) []byte {
	return fmt.Appendf(nil, "OPTIONS sip:%[1]s SIP/2.0\r\n"+
		"Via: SIP/2.0/%[2]s probe.invalid;branch=z9hG4bK-%[3]s;rport\r\n"+
		"Max-Forwards: 70\r\n"+
		"From: <sip:alice@%[1]s>;tag=probe\r\n"+
		"To: <sip:%[1]s>\r\n"+
		"Call-ID: %[3]s\r\n"+
		"CSeq: 1 OPTIONS\r\n"+
		"Content-Length: 0\r\n\r\n", domain, strings.ToUpper(transport), callID)
}
