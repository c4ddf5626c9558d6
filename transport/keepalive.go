package transport

import (
	"math/rand/v2"
	"time"
)

// phase is what a connection's timer waits for. There is one bare timer for a connection and
// no goroutine until it fires.
type phase uint8

const (
	fresh  phase = iota // the first valid message
	quiet               // the time to ping
	pinged              // a sign of life after a ping
)

// watch starts the timer.
func (c *connection) watch() {
	cfg := &c.layer.cfg
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case cfg.FirstMessageTimeout > 0:
		c.phase = fresh
		c.timer = time.AfterFunc(cfg.FirstMessageTimeout, c.tick)
	case c.pings():
		c.phase = quiet
		c.timer = time.AfterFunc(jitter(cfg.PingInterval), c.tick)
	}
}

func (c *connection) unwatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}

// pings reports whether the connection is kept alive by pings from here (RFC 7118 §6). Over
// TCP the kernel probes the peer, and the client may send its CRLFs.
func (c *connection) pings() bool { return c.ws != nil && c.layer.cfg.PingInterval > 0 }

// tick is called by the timer.
func (c *connection) tick() {
	cfg := &c.layer.cfg
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ending() != nil:
	case c.phase == fresh && !c.greeted.Load():
		c.shut(ErrNoMessage)
	case !c.pings():
	case c.phase == pinged && !c.sock.heard.Load():
		c.shut(ErrPingTimeout)
	case c.phase == pinged:
		c.phase = quiet
		c.timer.Reset(max(jitter(cfg.PingInterval)-cfg.PingTimeout, 0))
	default:
		c.sock.heard.Store(false)
		if err := c.ws.write(opPing, nil); err != nil {
			c.shut(err)
			return
		}
		c.phase = pinged
		c.timer.Reset(cfg.PingTimeout)
	}
}

// jitter takes up to a fifth off d (RFC 5626 §4.4 does so), so that connections that were
// made in the same moment are not pinged in the same moment for ever.
func jitter(d time.Duration) time.Duration {
	return d - rand.N(max(d/5, 1))
}
