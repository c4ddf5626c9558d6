package floor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The echo server's own WebSocket must do for an independent client.
func TestEchoWS(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Echo(ctx, l) }()
	c, _, err := websocket.Dial(t.Context(), "ws://"+l.WS.Addr().String(), &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range [][]byte{[]byte("a"), bytes.Repeat([]byte("b"), 125), append([]byte("INVITE "), bytes.Repeat([]byte("c"), 3000)...)} {
		if err := c.Write(t.Context(), websocket.MessageText, message); err != nil {
			t.Fatal(err)
		}
		for range times(message) {
			kind, got, err := c.Read(t.Context())
			if err != nil || kind != websocket.MessageText || !bytes.Equal(got, message) {
				t.Fatalf("%d bytes: %v, %d back, %v", len(message), kind, len(got), err)
			}
		}
	}
	c.CloseNow()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestIdle(t *testing.T) {
	ws, admin := listen(t), listen(t)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Idle(ctx, ws, admin) }()
	c, _, err := websocket.Dial(t.Context(), "ws://"+ws.Addr().String(), &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Subprotocol() != "sip" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	response, err := http.Get("http://" + admin.Addr().String() + "/debug/pprof/heap?gc=1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("heap profile: %s, %v", response.Status, err)
	}
	c.CloseNow()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
