package dialog

import (
	"context"
	"slices"
	"time"

	"github.com/sipway/sipway/sip"
)

// How often bodies are described, and all calls looked at, or more often where lost ones are to
// be found sooner. Between, a call costs nothing.
const (
	describeEvery = time.Second
	sweepEvery    = 5 * describeEvery
)

// Run looks after the calls until ctx ends.
func (t *Calls) Run(ctx context.Context) {
	tick := time.NewTicker(describeEvery)
	defer tick.Stop()
	every := int(max(min(sweepEvery, t.BothLost), describeEvery) / describeEvery)
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		t.describe()
		if n%every == 0 {
			t.sweep()
		}
	}
}

// describe lets go of the bodies that came lately.
func (t *Calls) describe() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		fresh := s.fresh
		s.fresh = nil
		fresh = slices.DeleteFunc(fresh, func(c *Call) bool {
			c.fresh = false
			return c.gone // whoever wants its record has it described
		})
		s.mu.Unlock()
		for _, c := range fresh {
			c.describe()
		}
	}
}

// describe has the call's bodies described. No lock is held meanwhile.
func (c *Call) describe() {
	c.shard.mu.Lock()
	bodies := c.sdp
	c.sdp = [2][]byte{}
	c.shard.mu.Unlock()
	var media [2]Media
	for side, body := range bodies {
		if body != nil {
			media[side] = c.table.Describe(body)
		}
	}
	c.shard.mu.Lock()
	for side, body := range bodies {
		if body != nil {
			c.media[side] = media[side]
		}
	}
	c.shard.mu.Unlock()
}

// sweep ends the calls of which nothing can be expected any more.
func (t *Calls) sweep() {
	for i := range t.shards {
		for _, c := range t.shards[i].all(nil) {
			c.check()
		}
	}
}

// all appends the shard's calls.
func (s *shard) all(calls []*Call) []*Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls = slices.Grow(calls, len(s.calls))
	for _, c := range s.calls {
		for ; c != nil; c = c.next {
			calls = append(calls, c)
		}
	}
	return calls
}

// check ends the call if its connections are lost, its timer has passed or nothing was heard
// of it for too long. One that is being set up ends with its INVITE.
func (c *Call) check() {
	c.shard.mu.Lock()
	parties, answered := c.parties, c.answered != 0
	c.shard.mu.Unlock()
	if !answered {
		return
	}
	var flows [2]sip.Flow
	var found [2]bool
	for side := range parties {
		flows[side], found[side] = c.table.reach(&parties[side])
	}
	c.shard.mu.Lock()
	if parties == c.parties { // else it moved meanwhile, and is there
		c.place(flows, found)
	}
	cause := c.why()
	ended := cause != Running && c.finish(given, cause, ByServer)
	c.shard.mu.Unlock()
	c.tell(ended)
}

// reach returns the flow that leads to a party now. Over UDP there is always one.
func (t *Calls) reach(p *Party) (sip.Flow, bool) {
	if t.Reachable == nil || !p.Flow.Transport.Reliable() {
		return p.Flow, true
	}
	return t.Reachable(p)
}

// place notes where the two sides are now.
func (c *Call) place(flows [2]sip.Flow, found [2]bool) {
	lost := 0
	for side := range found {
		if found[side] {
			c.parties[side].Flow = flows[side]
		} else {
			lost++
		}
	}
	c.lost = since(c.lost, lost > 0, c.now())
	c.bothLost = since(c.bothLost, lost > 1, c.now())
}

// since is when something began that is so now, 0 where it is not.
func since(began time.Duration, is bool, now time.Duration) time.Duration {
	switch {
	case !is:
		return 0
	case began == 0:
		return now
	}
	return began
}

// why returns what has ended the call by now, Running where nothing has.
func (c *Call) why() Cause {
	now := c.now()
	passed := func(from, limit time.Duration) bool { return from != 0 && now-from >= limit }
	switch {
	case passed(c.bothLost, c.table.BothLost), passed(c.lost, c.table.OneLost):
		return Lost
	case c.expires != 0 && now >= c.expires: // RFC 4028 §8.3
		return Expired
	case passed(c.heard, c.table.MaxSilence):
		return Silent
	}
	return Running
}

// Stop ends the records of all calls, at the end of the server.
func (t *Calls) Stop() {
	for i := range t.shards {
		s := &t.shards[i]
		for _, c := range s.all(nil) {
			s.mu.Lock()
			ended := c.finish(given, Stopped, ByServer)
			s.mu.Unlock()
			c.tell(ended)
		}
	}
}
