package transport

import (
	"net"
	"net/netip"
	"time"
)

// census counts the accepted connections of every source, and knows those that have shown
// nothing yet: no valid message has come over them, be it that a TLS handshake, a front end's
// header or a WebSocket upgrade is under way, or that they are silent. They cost an attacker
// next to nothing, so they are the ones that make room. It is guarded by Layer.mu.
type census struct {
	sources map[netip.Addr]headcount
	first   *socket // of those that have shown nothing, in the order in which they came
	last    *socket
	fresh   int
}

// headcount is of one source. Those without a connection have none.
type headcount struct{ open, fresh int }

// standing is what the census knows of a socket.
type standing struct {
	source     netip.Addr // counted as, invalid for one that isn't
	fresh      bool
	since      int64 // by the layer's clock
	prev, next *socket
}

// halfOpenGrace is how long a connection that has shown nothing is safe from those that come
// after it. An honest client needs much less for its handshake; if new ones always
// won, a crowd that comes back at once would throw each other out.
const halfOpenGrace = time.Second

// freshShare is the part of MaxHalfOpen that one source may have.
const freshShare = 8

// enter counts an accepted connection. It is false where there is no room. Another one that
// has to make room is to be closed by the caller, when he has let go of Layer.mu.
func (l *Layer) enter(s *socket, remote netip.Addr) (ok bool, evicted *socket) {
	c, most := &l.census, l.cfg.MaxHalfOpen
	exempt := l.cfg.Exempt != nil && l.cfg.Exempt(remote)
	if most > 0 && !exempt {
		s.standing.since = l.cfg.clock.now()
		c.push(s)
	}
	// Whose connection it is that a front end passes on comes later.
	if !exempt && !l.believes(remote) && !l.assign(s, remote) {
		c.gone(s)
		return false, nil
	}
	if !s.standing.fresh || c.fresh <= most {
		return true, nil
	}
	oldest := c.first
	if s.standing.since-oldest.standing.since < int64(halfOpenGrace) {
		c.gone(s)
		return false, nil
	}
	c.settle(oldest)
	return true, oldest
}

// assign counts a connection as the source's, unless that has as many as it may have.
func (l *Layer) assign(s *socket, remote netip.Addr) bool {
	c, source := &l.census, sourceOf(remote)
	n := c.sources[source]
	switch most, half := l.cfg.MaxPerSource, l.cfg.MaxHalfOpen; {
	case most > 0 && n.open >= most:
		return false
	case half > 0 && s.standing.fresh && n.fresh >= max(half/freshShare, 1):
		return false
	}
	n.open++
	if s.standing.fresh {
		n.fresh++
	}
	if c.sources == nil {
		c.sources = make(map[netip.Addr]headcount)
	}
	c.sources[source], s.standing.source = n, source
	return true
}

// identify says whose a connection is that a front end has passed on.
func (l *Layer) identify(s *socket, client *net.TCPAddr) error {
	s.client = client
	remote := addrPort(client).Addr()
	if l.cfg.AdmitFrom != nil && !l.cfg.AdmitFrom(remote) {
		return ErrFlood
	}
	if l.cfg.Exempt != nil && l.cfg.Exempt(remote) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.census.leave(s) // of the front end it was none, or of the header before this one
	if !l.assign(s, remote) {
		return ErrTooMany
	}
	return nil
}

// settled notes that a connection has shown what it is for.
func (l *Layer) settled(s *socket) {
	l.mu.Lock()
	l.census.settle(s)
	l.mu.Unlock()
}

func (c *census) push(s *socket) {
	s.standing.fresh = true
	s.standing.prev = c.last
	if c.last != nil {
		c.last.standing.next = s
	} else {
		c.first = s
	}
	c.last = s
	c.fresh++
}

func (c *census) settle(s *socket) {
	st := &s.standing
	if !st.fresh {
		return
	}
	st.fresh = false
	c.fresh--
	if st.prev != nil {
		st.prev.standing.next = st.next
	} else {
		c.first = st.next
	}
	if st.next != nil {
		st.next.standing.prev = st.prev
	} else {
		c.last = st.prev
	}
	st.prev, st.next = nil, nil
	if n, ok := c.sources[st.source]; ok {
		n.fresh--
		c.sources[st.source] = n
	}
}

// leave takes the connection from its source.
func (c *census) leave(s *socket) {
	st := &s.standing
	n, ok := c.sources[st.source]
	if !ok {
		return
	}
	n.open--
	if st.fresh {
		n.fresh--
	}
	if n.open == 0 {
		delete(c.sources, st.source)
	} else {
		c.sources[st.source] = n
	}
	st.source = netip.Addr{}
}

// gone forgets a connection.
func (c *census) gone(s *socket) {
	c.settle(s)
	c.leave(s)
}

// sourceOf is the address, or the /64 of an IPv6 one: a customer has at least that many.
func sourceOf(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}
