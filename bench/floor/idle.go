package floor

import (
	"context"
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/coder/websocket"
)

// Idle is the plain coder/websocket server: an accept in the handler and a
// read loop that stays there. It also answers pprof's heap at the usual path
// of the second listener, for its collector to be run.
func Idle(ctx context.Context, ws, admin net.Listener) error {
	clients := &http.Server{Handler: http.HandlerFunc(serveIdle)}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	operators := &http.Server{Handler: mux}
	context.AfterFunc(ctx, func() {
		clients.Close()
		operators.Close()
	})
	ended := make(chan error, 2)
	go func() { ended <- clients.Serve(ws) }()
	go func() { ended <- operators.Serve(admin) }()
	<-ended
	clients.Close()
	operators.Close()
	if err := <-ended; err != http.ErrServerClosed {
		return err
	}
	return nil
}

func serveIdle(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"sip"}})
	if err != nil {
		return // Accept has answered
	}
	defer c.CloseNow()
	for {
		if _, _, err := c.Read(r.Context()); err != nil {
			return
		}
	}
}
