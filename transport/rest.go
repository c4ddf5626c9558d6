package transport

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// A connection rests when all that its reader could do is to wait for bytes. It has no
// goroutine then: a poller reads it when some come. Where reading must wait within a
// message (a WebSocket message in pieces), a goroutine of its own does, until it can rest
// again. Whoever is the reader owns what the connection has for reading; the others only ask
// for its end, with shut or by closing its socket.
//
// Who reads is one atomic word, and who changes it from resting is the reader from then on.
const (
	owned   int32 = iota // a goroutine of its own
	resting              // nobody
	turning              // its poller
)

var (
	// errOwned says that a goroutine must go on reading, for it has to wait.
	errOwned = errors.New("transport: to be read by a goroutine of its own")

	// errRest says that the goroutine that reads is needed no more.
	errRest = errors.New("transport: at rest")
)

// pollers are who reads resting connections: one for each core. The first is enough for a
// good while, and cheaper than two, which a few messages that come at a time would wake both.
type pollers struct {
	once   sync.Once
	all    []*poller     // not modified once it is made; empty where connections don't rest
	active atomic.Uint64 // how many of them read
}

// startPollers makes the pollers. Without them each connection has a goroutine.
func (l *Layer) startPollers() {
	all, err := newPollers(l)
	if err != nil {
		l.cfg.Logger.Warn("each connection has a goroutine", "err", err)
		return
	}
	for _, p := range all {
		if !l.start(p.run) {
			closePollers(all) // and so ends those that run
			return
		}
	}
	l.pollers.active.Store(1)
	l.pollers.all = all
}

func closePollers(all []*poller) {
	for _, p := range all {
		p.close()
	}
}

// spread has one more poller read connections. Each changes over when it is next read.
func (l *Layer) spread() {
	if n := l.pollers.active.Load(); n < uint64(len(l.pollers.all)) {
		l.pollers.active.CompareAndSwap(n, n+1)
	}
}

// pollerOf returns the poller that reads a connection when it rests, nil where it never
// does: where it has no descriptor, and after Shutdown.
func (l *Layer) pollerOf(c *connection) *poller {
	if c.sock.raw == nil {
		return nil
	}
	return l.poller(c.flow.ID)
}

// poller returns the poller that reads what has this incarnation, nil where there is none.
func (l *Layer) poller(id uint64) *poller {
	if !canRest {
		return nil
	}
	l.pollers.once.Do(l.startPollers)
	if len(l.pollers.all) == 0 {
		return nil
	}
	return l.pollers.all[id%l.pollers.active.Load()]
}

// mayRest reports whether the connection can be left to its poller. Nothing of a message
// must have been read.
func (c *connection) mayRest() bool {
	return c.poller != nil && len(c.stream.buffered()) == 0 && len(c.sock.in) == 0
}

// rest leaves the connection to its poller. If there is no error, the goroutine that owned
// it must not touch it any more.
func (c *connection) rest() error {
	c.reading.Store(resting) // before the first event can come
	if err := c.poller.add(c.sock.raw, c.flow.ID); err != nil && c.reading.CompareAndSwap(resting, owned) {
		return err
	}
	c.endIfAsked()
	return nil
}

// endIfAsked is for who has just let the connection rest: its end may have been asked for
// while it was read.
func (c *connection) endIfAsked() {
	if c.ending() != nil || c.sock.gone.Load() {
		c.wake()
	}
}

// wake brings a resting connection to its end, once that was asked for. One that is being
// read comes to it by itself. It doesn't wait.
func (c *connection) wake() {
	if c.reading.CompareAndSwap(resting, owned) {
		c.handOver(func() { c.finish(c.readError(net.ErrClosed)) })
	}
}

// handOver takes the connection from its poller and gives it to a goroutine. Its socket is
// one of those that Shutdown waits for, and so the goroutine is.
func (c *connection) handOver(to func()) {
	c.layer.running.Go(func() {
		c.poller.remove(c.sock.raw)
		to()
	})
}

// turn reads what has come for a resting connection, without waiting; last says that it may
// be the last. It reports whether there is more that no event will tell of. The poller calls
// it.
func (c *connection) turn(last bool) (more bool) {
	if !c.reading.CompareAndSwap(resting, turning) {
		return false // its end was asked for
	}
	more, err := c.readReady()
	switch {
	case err == errOwned:
		c.reading.Store(owned)
		c.handOver(c.read)
		return false
	case err != nil:
		c.reading.Store(owned)
		c.handOver(func() { c.finish(err) })
		return false
	}
	if p := c.layer.pollerOf(c); p != c.poller {
		c.reading.Store(owned)
		c.poller.remove(c.sock.raw)
		c.poller = p
		if err := c.rest(); err != nil {
			c.handOver(func() { c.finish(err) })
		}
		return false
	}
	c.reading.Store(resting)
	c.endIfAsked()
	return more || last
}
