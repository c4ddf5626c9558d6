package proxy

import (
	"slices"
	"strconv"
	"time"

	"github.com/sipway/sipway/sip"
)

// targetSet is the target set of RFC 3261 §16.5 as far as it has not been tried. It is tried
// in groups, one after the other (RFC 3261 §16.6). A group is made of the targets of one
// rank, which all ring at once. Guarded by the context's mu.
type targetSet struct {
	waiting []target  // highest rank first, then in the order of their arrival
	rank    int       // of the present group
	active  int       // its branches that have no final response and were not passed over
	serial  bool      // a group is a single target
	one     bool      // the first target is the only one
	started time.Time // when the last branch of the present group was started; INVITE only
}

// ranks of targets: a q of 1 stands for topRank, and what a redirection names ranks from the
// redirected branch downwards, above whatever ranked below that.
const topRank = 1000 * rankStep

const rankStep = 1000

// rankOf returns the rank of a q in thousandths.
func rankOf(q int) int { return q * rankStep }

// begin takes the first targets.
func (s *targetSet) begin(targets []target, d *disposition) {
	s.waiting, s.serial, s.one = targets, d.sequential, d.noFork
	if len(targets) < 2 {
		return
	}
	if d.parallel {
		for i := range targets {
			targets[i].rank = topRank
		}
	}
	slices.SortStableFunc(targets, func(a, b target) int { return b.rank - a.rank })
}

// insert adds a target behind those of its rank.
func (s *targetSet) insert(t target) {
	at := slices.IndexFunc(s.waiting, func(w target) bool { return w.rank < t.rank })
	if at < 0 {
		at = len(s.waiting)
	}
	s.waiting = slices.Insert(s.waiting, at, t)
}

// turn reports whether the first of the waiting targets is to be tried now.
func (s *targetSet) turn() bool {
	return len(s.waiting) > 0 && (s.active == 0 || !s.serial && s.waiting[0].rank >= s.rank)
}

// take removes the first of the waiting targets, whose turn it is.
func (s *targetSet) take() target {
	t := s.waiting[0]
	s.waiting[0] = target{}
	if s.waiting = s.waiting[1:]; s.one {
		s.waiting = nil
	}
	if s.active == 0 {
		s.rank = t.rank
	}
	s.active++
	return t
}

// known reports whether a target was in the set before (RFC 3261 §16.5). Two bindings with
// one URI are two targets where they are reached over different flows: tabs of one browser
// that share an address. The caller holds mu.
func (c *responseContext) known(t *target) bool {
	for _, b := range c.branches {
		if b.target.same(t) {
			return true
		}
	}
	return contains(c.request.set.waiting, t)
}

func contains(targets []target, t *target) bool {
	for i := range targets {
		if targets[i].same(t) {
			return true
		}
		if contains(targets[i].next, t) {
			return true
		}
	}
	return false
}

func (t *target) same(other *target) bool {
	return t.hop.flow == other.hop.flow && t.path == other.path &&
		(t.uri == other.uri || sameURI(t.uri, other.uri))
}

// sameURI compares as RFC 3261 §19.1.4 does.
func sameURI(a, b string) bool {
	u, err := sip.ParseURI(a)
	if err != nil {
		return false
	}
	v, err := sip.ParseURI(b)
	return err == nil && u.Equal(v)
}

// due takes the targets from the set that are to be tried now, as branches that the caller
// starts once it has let go of mu, which it holds.
func (c *responseContext) due() (due []*branch) {
	if c.closed {
		return nil
	}
	from := len(c.branches)
	for c.request.set.turn() && c.breadth.free() > len(c.branches)-from {
		c.branches = append(c.branchRoom(), c.newBranch(c.request.set.take()))
	}
	due = c.branches[from:]
	followed := c.watchAnswer(len(due) > 0)
	if len(due) == 0 {
		return nil
	}
	c.open += int32(len(due))
	c.breadth.divide(due, followed || c.holds > 0)
	return due
}

func (c *responseContext) branchRoom() []*branch {
	if c.branches == nil {
		return c.room[:0]
	}
	return c.branches
}

// newBranch makes the branch to a target; a context has room for one.
func (c *responseContext) newBranch(t target) *branch {
	b := &c.first
	if b.context != nil {
		b = new(branch)
	}
	b.context, b.target = c, t
	return b
}

func startAll(due []*branch) {
	for _, b := range due {
		b.start()
	}
}

// watchAnswer gives the present group its time to answer, where another one follows, and
// reports whether one does. The time counts from when the last of the group was started,
// also where it is known later that another group follows. The caller holds mu.
func (c *responseContext) watchAnswer(started bool) bool {
	if c.proxy.NoAnswer <= 0 || c.method != sip.INVITE {
		return false
	}
	set := &c.request.set
	if started {
		set.started = time.Now()
	}
	if len(set.waiting) == 0 || set.active == 0 {
		return false
	}
	left := c.proxy.NoAnswer - time.Since(set.started)
	if c.noAnswer == nil {
		c.noAnswer = time.AfterFunc(left, c.passOver)
	} else {
		c.noAnswer.Reset(left)
	}
	return true
}

// breadth is the Max-Breadth of a response context (RFC 5393 §5.3).
type breadth struct {
	incoming int32 // Incoming Max-Breadth
	used     int32 // Outgoing Max-Breadth, of the branches without a final response
}

// maxBreadth is what a request without Max-Breadth gets, and the most that one is granted
// (RFC 5393 §5.3.3).
const maxBreadth = 60

func (b *breadth) free() int { return int(b.incoming - b.used) }

// divide gives each of the branches its part of what is free. Where more branches may
// follow while these are tried, as much is kept for them.
func (b *breadth) divide(due []*branch, more bool) {
	free := b.free()
	if more {
		free -= (free - len(due)) / 2
	}
	b.used += int32(free)
	for i, br := range due {
		part := free / (len(due) - i)
		br.breadth = int32(part)
		free -= part
	}
}

// allot reads the Incoming Max-Breadth (RFC 5393 §5.3.3). A set that is too broad for it is
// tried serially, unless the caller asks for a parallel search: that is 440. The caller
// holds mu.
func (c *responseContext) allot(targets int) error {
	c.breadth.incoming = maxBreadth
	if value, ok := c.request.msg.Get(sip.HMaxBreadth); ok {
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return refuse(400, "Bad Max-Breadth")
		}
		c.breadth.incoming = int32(min(n, maxBreadth))
	}
	if c.breadth.incoming == 0 || c.disposition.parallel && targets > int(c.breadth.incoming) {
		return refuse(440, "")
	}
	return nil
}
