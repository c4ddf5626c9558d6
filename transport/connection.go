package transport

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
)

// stream is what a connection's messages are read from and written to: the socket itself,
// or TLS on it.
type stream interface {
	net.Conn          // Write never blocks
	wait() error      // returns when there is something to read, or an error
	buffered() []byte // what was read ahead, never empty after wait
	// fill reads ahead what has come, without waiting, and reports whether there may be more.
	// The error is one of wouldBlock where nothing has come, errOwned where there is no room.
	fill() (more bool, err error)
	discard(n int)   // passes over n bytes of it
	unread(b []byte) // puts a copy of b before what is to be read next
	bottom() *socket
}

// connection is an open flow over a stream.
//
// Who reads it owns it (see rest.go): nobody else reads, or ends the connection. Others ask
// for the end with shut. So Closed comes after the last Receive, and once.
type connection struct {
	layer  *Layer
	flow   sip.Flow
	sock   *socket
	stream stream
	ws     *webSocket // nil: messages are framed by their Content-Length
	tally  *tally
	opened int64 // by the layer's clock
	dialed bool  // by us: may be found by the server it leads to
	server sip.Server

	poller  *poller      // who reads it when it rests; nil: it never does
	reading atomic.Int32 // who reads it now: owned, resting, turning

	// Of who reads it.
	framer  *sip.Framer // nil over WebSocket
	limited bool        // the message that is read has a deadline
	slow    *time.Timer // ends it then; nil: there was none yet

	reason  atomic.Pointer[error] // why it ends, nil while it doesn't
	greeted atomic.Bool           // a valid message has come
	rtt     atomic.Int64          // of the last ping, in nanoseconds; 0: not known

	mu    sync.Mutex // guards what follows
	phase phase
	timer *time.Timer
	due   int64 // when the timer is to fire, by the layer's clock
}

// newConnection makes a connection of a socket. It is to be started.
func (l *Layer) newConnection(t sip.Transport, sock *socket, st stream) *connection {
	c := &connection{
		layer:  l,
		sock:   sock,
		stream: st,
		opened: l.cfg.clock.now(),
		flow: sip.Flow{
			Transport: t,
			Local:     addrPort(sock.LocalAddr()),
			Remote:    addrPort(sock.RemoteAddr()),
			ID:        l.flows.next(),
		},
	}
	c.tally = &l.flows.shard(c.flow.ID).tally[t]
	if st, ok := st.(*tlsStream); ok {
		st.wire.conn = c
	}
	sock.closed = c.wake
	return c
}

// start enters the connection in the table and has it read.
func (c *connection) start() error {
	c.tally.opened.Add(1)
	c.layer.flows.add(c)
	if c.layer.start(c.serve) {
		return nil
	}
	c.tally.closed.Add(1)
	c.layer.flows.remove(c)
	c.sock.abort(ErrShutdown)
	return ErrShutdown
}

// serve begins to read.
func (c *connection) serve() {
	c.watch()
	c.poller = c.layer.pollerOf(c)
	if c.ws == nil {
		c.framer = sip.NewFramer(c.layer.cfg.MaxMessage)
	}
	c.read()
}

// read reads until the connection can rest or comes to its end.
func (c *connection) read() {
	var err error
	if c.ws != nil {
		err = c.ws.read()
	} else {
		err = c.readMessages()
	}
	if err == errRest {
		if err = c.rest(); err == nil {
			return
		}
	}
	c.finish(err)
}

// readReady reads what there is, without waiting.
func (c *connection) readReady() (more bool, err error) {
	if err := c.ending(); err != nil {
		return false, err
	}
	if c.ws != nil {
		more, err = c.ws.readReady()
	} else {
		more, err = c.messagesReady()
	}
	switch {
	case err == nil || err == errOwned:
		return more, err
	case wouldBlock(err):
		return false, nil
	}
	return false, c.readError(err)
}

// finish brings the connection to its end.
func (c *connection) finish(err error) {
	if c.slow != nil {
		c.slow.Stop()
	}
	if c.framer != nil {
		c.framer.Release()
	}
	local := c.reason.Load() != nil // the end was our wish
	if c.dialed {
		c.tellAlert(err)
	}
	if broken := c.sock.broken(); broken != nil && !errors.Is(broken, net.ErrClosed) {
		err = broken // what failed first, of which the reader saw only the echo
	}
	c.shut(err)
	c.unwatch()
	c.tally.closed.Add(1)
	reason := *c.reason.Load()
	c.layer.handler.Closed(c.flow, reason)
	if errors.Is(reason, ErrPingTimeout) {
		c.sock.abort(reason) // nobody is there to say goodbye to
	}
	if c.ws != nil {
		c.ws.end(local, reason)
	}
	if st, ok := c.stream.(*tlsStream); ok {
		st.goodbye()
	}
	c.sock.linger()
	if c.ws != nil {
		c.ws.conn.CloseNow() // what it holds, for the socket is closed
	}
}

// shut asks who reads the connection to end it. Only the first reason counts. From
// now on the flow is not found any more.
func (c *connection) shut(reason error) {
	if !c.reason.CompareAndSwap(nil, &reason) {
		return
	}
	c.layer.flows.remove(c)
	if c.dialed {
		c.layer.calls.forget(c)
	}
	// The reader looks at the reason whenever it has changed the deadline itself.
	c.stream.SetReadDeadline(time.Unix(1, 0))
	c.wake()
}

// ending returns the reason of an end that was asked for.
func (c *connection) ending() error {
	if reason := c.reason.Load(); reason != nil {
		return *reason
	}
	return nil
}

// await waits for something to read.
func (c *connection) await() error {
	if err := c.ending(); err != nil {
		return err
	}
	if err := c.stream.wait(); err != nil {
		return c.readError(err)
	}
	return nil
}

// readError says why reading failed. A deadline is passed either because the end was asked
// for, or because a message took too long.
func (c *connection) readError(err error) error {
	if reason := c.ending(); reason != nil {
		return reason
	}
	if isTimeout(err) {
		return ErrSlowMessage
	}
	return err
}

// limit sets or clears the deadline of the message that is being read.
func (c *connection) limit(on bool) error {
	c.limited = on
	return c.setLimit(on)
}

// limitRecord sets or clears the deadline of a TLS record, where that of a message does not
// hold anyway.
func (c *connection) limitRecord(on bool) error {
	if c.limited {
		return c.ending()
	}
	return c.setLimit(on)
}

func (c *connection) setLimit(on bool) error {
	switch {
	case !on:
		c.slow.Stop()
	case c.slow == nil:
		c.slow = time.AfterFunc(c.layer.cfg.MessageTimeout, func() { c.shut(ErrSlowMessage) })
	default:
		c.slow.Reset(c.layer.cfg.MessageTimeout)
	}
	return c.ending()
}

// receive hands a message to the handler.
func (c *connection) receive(b []byte) {
	if admit := c.layer.cfg.Admit; admit != nil && !admit(c.flow, b) {
		c.shut(ErrFlood)
		return
	}
	c.layer.receive(c.flow, b, c.tally, c)
}

// send writes one message.
func (c *connection) send(b []byte) error {
	if c.ws != nil {
		return c.ws.send(b)
	}
	_, err := c.stream.Write(b)
	return err
}
