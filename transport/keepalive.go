package transport

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/sipway/sipway/sip"
)

// phase is what a connection's timer waits for. There is one bare timer for a connection and
// no goroutine until it fires.
type phase uint8

const (
	fresh  phase = iota // the first valid message
	quiet               // the time to ping
	pinged              // a sign of life after a ping or another probe
)

// clock counts nanoseconds since a layer was made. It is monotonic, and fits an atomic.
type clock struct{ began time.Time }

func (c clock) now() int64 { return int64(time.Since(c.began)) }

func (c clock) time(at int64) time.Time { return c.began.Add(time.Duration(at)) }

// FlowInfo is what is known of an open connection.
type FlowInfo struct {
	Opened    time.Time
	LastHeard time.Time // when bytes last came from the peer
	// RTT is the round trip to the client: of the last WebSocket ping, or else the kernel's
	// estimate for the TCP connection. 0 where neither is known.
	RTT time.Duration
}

// Info describes the open connection with this incarnation.
func (l *Layer) Info(id uint64) (FlowInfo, bool) {
	c := l.flows.get(id)
	if c == nil {
		return FlowInfo{}, false
	}
	info := FlowInfo{
		Opened:    l.cfg.clock.time(c.opened),
		LastHeard: l.cfg.clock.time(c.sock.heardAt.Load()),
		RTT:       time.Duration(c.rtt.Load()),
	}
	if info.RTT == 0 {
		info.RTT = c.sock.roundTrip()
	}
	return info, true
}

// Probe has the peer of a connection show that it is there: by the pong to a ping over
// WebSocket, and otherwise by its kernel's acknowledgement of a line end, which every
// implementation must ignore between messages (RFC 3261 §7.5). The connection of a peer that
// sends nothing within the time is closed with [ErrPingTimeout]. Probe returns at once.
// Flows of UDP, and connections that have sent no valid message yet, are left alone.
func (l *Layer) Probe(f sip.Flow, within time.Duration) {
	if c := l.flows.get(f.ID); c != nil {
		c.probe(within, true)
	}
}

// ProbeSilent is [Layer.Probe] within Config.ProbeTimeout, for a connection that a request
// was just sent over, unless bytes have come from its peer during the last
// Config.ProbeAfter. Over TCP the request itself is what the kernel must see acknowledged.
func (l *Layer) ProbeSilent(f sip.Flow) {
	c := l.flows.get(f.ID)
	if c == nil || l.cfg.clock.now()-c.sock.heardAt.Load() < int64(l.cfg.ProbeAfter) {
		return
	}
	c.probe(l.cfg.ProbeTimeout, c.ws != nil)
}

// probe asks, or takes care that an answer that is awaited comes in time. Who is known to be
// far away has up to twice as long.
func (c *connection) probe(within time.Duration, ask bool) {
	within = max(within, min(3*time.Duration(c.rtt.Load()), 2*within))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending() != nil || !c.greeted.Load() {
		return
	}
	if c.phase == pinged && !c.sock.heard.Load() {
		// It was asked before, and only the deadline may come nearer.
		if c.layer.cfg.clock.now()+int64(within) < c.due {
			c.arm(within)
		}
		return
	}
	c.ask(within, ask)
}

// ask demands a sign of life within the time. The caller holds mu.
func (c *connection) ask(within time.Duration, send bool) {
	c.sock.heard.Store(false)
	var err error
	switch {
	case !send:
	case c.ws != nil:
		// The pong brings back when it was asked for (RFC 6455 §5.5.3).
		var at [pingSize]byte
		binary.BigEndian.PutUint64(at[:], uint64(c.layer.cfg.clock.now()))
		err = c.ws.write(opPing, at[:])
	default:
		_, err = c.stream.Write(crlf)
	}
	if err != nil {
		c.shut(err)
		return
	}
	c.phase = pinged
	c.arm(within)
}

// pingSize is the length of a ping's payload: when it was sent, by the layer's clock.
const pingSize = 8

// ponged takes the round trip from a pong's payload.
func (c *connection) ponged(at [pingSize]byte) {
	took := c.layer.cfg.clock.now() - int64(binary.BigEndian.Uint64(at[:]))
	if took > 0 && took < int64(time.Minute) { // else it is not what we sent
		c.rtt.Store(took)
	}
}

// watch starts the timer.
func (c *connection) watch() {
	cfg := &c.layer.cfg
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case cfg.FirstMessageTimeout > 0: // phase fresh
		c.arm(cfg.FirstMessageTimeout)
	case c.pings():
		c.phase = quiet
		c.arm(jitter(cfg.PingInterval))
	}
}

// greet notes the first valid message: from now on the connection is kept alive.
func (c *connection) greet() {
	c.layer.settled(c.sock)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeted.Store(true)
	if c.phase == fresh && c.pings() && c.ending() == nil {
		c.phase = quiet
		c.arm(jitter(c.layer.cfg.PingInterval))
	}
}

func (c *connection) unwatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}

// arm has tick called after d, and not before. The caller holds mu.
func (c *connection) arm(d time.Duration) {
	c.due = c.layer.cfg.clock.now() + int64(d)
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.tick)
	} else {
		c.timer.Reset(d)
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
	case cfg.clock.now() < c.due: // the timer was set anew while it fired
	case c.phase == fresh && !c.greeted.Load():
		c.shut(ErrNoMessage)
	case c.phase == pinged && !c.answered():
		c.tally.dead.Add(1)
		c.shut(ErrPingTimeout)
	case !c.pings():
		c.phase = quiet
	case c.phase == pinged:
		c.phase = quiet
		c.arm(max(jitter(cfg.PingInterval)-cfg.PingTimeout, 0))
	default:
		c.ask(cfg.PingTimeout, true)
	}
}

// answered reports whether the peer has shown, since it was asked, that it is there.
func (c *connection) answered() bool {
	return c.sock.heard.Load() || c.ws == nil && c.sock.acknowledged()
}

// jitter takes up to a fifth off d (RFC 5626 §4.4 does so), so that connections that were
// made in the same moment are not pinged in the same moment for ever.
func jitter(d time.Duration) time.Duration {
	return d - rand.N(max(d/5, 1))
}
