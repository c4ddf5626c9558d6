package transport

import (
	"errors"
	"os"
)

// The reasons that [Layer.Send], [Layer.Dial] and [Handler] Closed give, to be looked for
// with errors.Is. A connection that its peer closed has io.EOF or a close error of
// WebSocket as its reason.
var (
	// ErrFlowClosed: the flow's connection is gone, or no listener has its local address.
	ErrFlowClosed = errors.New("transport: flow is closed")
	// ErrQueueFull: the peer doesn't read, and as much as may wait for it waits.
	ErrQueueFull = errors.New("transport: peer does not read")
	// ErrDropped: the system took no datagram at this moment. UDP may lose it anywhere.
	ErrDropped = errors.New("transport: datagram dropped")
	// ErrPingTimeout: a pinged peer stayed silent.
	ErrPingTimeout = errors.New("transport: no pong in time")
	// ErrExpired: what proved the user of a connection has expired.
	ErrExpired = errors.New("transport: the proof of the user has expired")
	// ErrNoMessage: a new connection sent no valid message in time.
	ErrNoMessage = errors.New("transport: no SIP message in time")
	// ErrSlowMessage: a message was begun and not completed in time.
	ErrSlowMessage = errors.New("transport: message not complete in time")
	// ErrUnsupported: nothing can be dialled over this transport. A WebSocket client can't
	// be called back (RFC 7118 §5).
	ErrUnsupported = errors.New("transport: cannot dial over this transport")
	// ErrNoCertificate: TLS and WSS need one to listen.
	ErrNoCertificate = errors.New("transport: no certificate to listen with")
	// ErrPreamble: a connection to a listener for front ends did not begin as theirs do.
	ErrPreamble = errors.New("transport: no PROXY protocol")
	// ErrTooMany: as many connections are open, of this source or in all, as may be.
	ErrTooMany = errors.New("transport: too many connections")
	// ErrFlood: Config.Admit or AdmitFrom would not have it.
	ErrFlood = errors.New("transport: not admitted")
	// ErrShutdown: the layer is closed or closing.
	ErrShutdown = errors.New("transport: shut down")
)

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
