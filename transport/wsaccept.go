package transport

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

// subprotocol is the WebSocket subprotocol of SIP (RFC 7118 §4).
const subprotocol = "sip"

// Limits of the HTTP side, which sees one small GET of each client.
const (
	handshakeTimeout = 10 * time.Second
	maxHandshake     = 16 << 10 // bytes of its head; cookies and tokens fit
)

// wsServer is the HTTP server of one WebSocket listener.
type wsServer struct {
	layer     *Layer
	transport sip.Transport
	path      string
}

// serveWS gives the connections of a listener to net/http, once they are ready.
func (ln *streamListener) serveWS(at netip.AddrPort) error {
	l := ln.layer
	server := &http.Server{
		Handler:        &wsServer{l, ln.transport, cmp.Or(ln.Path, "/")},
		ReadTimeout:    handshakeTimeout, // of a body too, which nobody asked for
		IdleTimeout:    handshakeTimeout,
		MaxHeaderBytes: maxHandshake,
		ErrorLog:       slog.NewLogLogger(l.cfg.Logger.Handler(), slog.LevelDebug),
	}
	if err := l.listening(ln.transport, at, closers{ln.Listener, server}); err != nil {
		return err
	}
	ready := &readyListener{ln.Listener, make(chan struct{}), make(chan stream)}
	l.start(func() {
		defer close(ready.ended)
		ln.acceptAll(func(sock *socket, st stream) {
			select {
			case ready.streams <- st:
			case <-ready.ended:
				sock.abort(ErrShutdown)
			}
		})
	})
	l.start(func() { server.Serve(ready) }) // returns when the listener is closed
	return nil
}

// readyListener gives net/http the connections whose beginning was read already.
type readyListener struct {
	net.Listener
	ended   chan struct{} // closed when no more are accepted
	streams chan stream
}

// Accept is for net/http.
func (r *readyListener) Accept() (net.Conn, error) {
	select {
	case st := <-r.streams:
		return st, nil
	case <-r.ended:
		return nil, net.ErrClosed
	}
}

// closers are closed together.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, one := range c {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

// ServeHTTP does the handshake and returns: the connection is read on a goroutine of its
// own, so that nothing of net/http stays in memory with it.
func (s *wsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != s.path && s.layer.cfg.HTTP != nil:
		s.layer.cfg.HTTP.ServeHTTP(w, r)
		return
	case r.URL.Path != s.path:
		http.NotFound(w, r)
		return
	case !hasToken(r.Header, "Upgrade", "websocket"):
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "This is a SIP over WebSocket server (RFC 7118). Connect with a WebSocket client.",
			http.StatusUpgradeRequired)
		return
	case !hasToken(r.Header, "Sec-WebSocket-Protocol", subprotocol): // RFC 7118 §4.1
		http.Error(w, `The client must offer the WebSocket subprotocol "sip" (RFC 7118 section 4.1).`,
			http.StatusBadRequest)
		return
	case s.layer.cfg.CheckOrigin != nil && !s.layer.cfg.CheckOrigin(r):
		s.layer.tell("websocket of another origin refused", "origin", r.Header.Get("Origin"), "host", r.Host, "remote", r.RemoteAddr)
		http.Error(w, "Pages of this origin may not connect.", http.StatusForbidden)
		return
	}
	opened, ok := s.identify(w, r)
	if !ok {
		return
	}
	h := &hijacker{ResponseWriter: w}
	conn, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // the origin was checked above
	})
	if err != nil {
		s.layer.cfg.Logger.Debug("websocket handshake failed", "remote", r.RemoteAddr, "err", err)
		return
	}
	if client, ok := s.layer.forwardedFor(r, addrPort(h.ws.RemoteAddr())); ok {
		if err := s.layer.identify(h.ws.bottom(), net.TCPAddrFromAddrPort(client)); err != nil {
			s.layer.flows.shard(0).tally[s.transport].refused.Add(1)
			h.ws.bottom().abort(err)
			return
		}
	}
	h.ws.open(s.layer, s.transport, conn, opened)
}

// identify asks who is there. Where he is refused, that is answered.
func (s *wsServer) identify(w http.ResponseWriter, r *http.Request) (opened func(sip.Flow), ok bool) {
	if s.layer.cfg.Identify == nil {
		return nil, true
	}
	opened, refusal := s.layer.cfg.Identify(r)
	if refusal == nil {
		return opened, true
	}
	if refusal.Challenge != "" {
		w.Header().Set("WWW-Authenticate", refusal.Challenge)
	}
	http.Error(w, refusal.Text, refusal.Status)
	return nil, false
}

// open makes the connection a flow, of which opened is told unless it is nil.
func (w *webSocket) open(l *Layer, t sip.Transport, conn *websocket.Conn, opened func(sip.Flow)) {
	conn.SetReadLimit(int64(l.cfg.MaxMessage))
	w.conn = conn
	w.c = l.newConnection(t, w.bottom(), w.stream)
	w.c.ws = w
	if opened != nil {
		opened(w.c.flow)
	}
	w.c.start()
}

// hijacker hands coder/websocket the connection with buffers of a few bytes instead of the
// two of 4 KiB that belong to net/http.
type hijacker struct {
	http.ResponseWriter
	ws *webSocket
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	st := conn.(stream) // of our listener
	early, err := brw.Reader.Peek(brw.Reader.Buffered())
	if err != nil {
		return nil, nil, err
	}
	st.unread(early)
	h.ws = &webSocket{stream: st}
	h.ws.br = bufio.NewReaderSize(h.ws, wsReadBuffer)
	return h.ws, bufio.NewReadWriter(h.ws.br, bufio.NewWriterSize(h.ws, wsWriteBuffer)), nil
}

// hasToken reports whether a list header has the token, in any case.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
