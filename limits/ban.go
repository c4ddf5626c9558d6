package limits

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Reason says why a source was banned.
type Reason uint8

const (
	Manual     Reason = iota // by an operator
	Scanner                  // it calls itself one
	Guesser                  // wrong passwords
	Sweep                    // requests for users who don't exist
	Unanswered               // challenges that it did not answer
	Garbage                  // messages that can't be read
	reasonCount
)

var reasonNames = [reasonCount]string{"manual", "scanner", "passwords", "sweep", "challenges", "malformed"}

// String names the reason for logs and metrics.
func (r Reason) String() string { return reasonNames[r] }

// Ban is a source that is not heard for a while.
type Ban struct {
	Source netip.Prefix
	Reason Reason
	Since  time.Time
	Until  time.Time
	Count  int // its bans of late
}

// describe makes a ban of a record, whose set is locked.
func (l *Limiter) describe(k key, r *record, why Reason) Ban {
	return Ban{Source: k.prefix(), Reason: why, Since: time.Now(), Until: l.began.Add(time.Duration(r.until)), Count: int(r.strikes)}
}

// enter puts a ban on the list, which is for people: it has no say in who is heard.
func (l *Limiter) enter(b Ban) {
	l.banned[b.Reason].Add(1)
	l.mu.Lock()
	if len(l.bans) >= banRoom {
		l.prune()
	}
	if len(l.bans) < banRoom {
		l.bans[b.Source] = b
	}
	say, more := l.mayLog(b.Since)
	l.mu.Unlock()
	if say {
		l.cfg.Logger.Warn("source banned", "source", b.Source, "reason", b.Reason.String(),
			"for", b.Until.Sub(b.Since).Round(time.Second), "count", b.Count, "unsaid", more)
	}
}

// saysPerSecond bounds the lines about bans in the log.
const saysPerSecond = 5

// mayLog reports whether a line about a ban may be logged, and how many were not since the
// last one. The caller holds mu.
func (l *Limiter) mayLog(now time.Time) (say bool, more int) {
	if now.Sub(l.said.since) >= time.Second {
		l.said.since, l.said.lines = now, 0
	}
	if l.said.lines == saysPerSecond {
		l.said.more++
		return false, 0
	}
	l.said.lines++
	more, l.said.more = l.said.more, 0
	return true, more
}

// prune drops what has ended. The caller holds mu.
func (l *Limiter) prune() {
	now := time.Now()
	for source, b := range l.bans {
		if !b.Until.After(now) {
			delete(l.bans, source)
		}
	}
}

// Bans returns the bans of this moment, in the order of their ends.
func (l *Limiter) Bans() []Ban {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	l.prune()
	list := make([]Ban, 0, len(l.bans))
	for _, b := range l.bans {
		list = append(list, b)
	}
	l.mu.Unlock()
	slices.SortFunc(list, func(a, b Ban) int {
		return cmp.Or(a.Until.Compare(b.Until), a.Source.Addr().Compare(b.Source.Addr()))
	})
	return list
}

// Ban bans the source of an address for so long, whoever it is: a user with a flow of his
// own is heard all the same, and an exempt source too.
func (l *Limiter) Ban(a netip.Addr, length time.Duration) Ban {
	now, k := l.now(), sourceKey(a)
	set, r := l.sources.use(k, now)
	r.until = now + int64(length)
	r.strikes = min(r.strikes+1, 200)
	r.kept = true
	b := l.describe(k, r, Manual)
	set.mu.Unlock()
	l.enter(b)
	return b
}

// Unban ends the ban of the source of an address, forgets its offences, and reports whether
// there was one.
func (l *Limiter) Unban(a netip.Addr) bool {
	now := l.now()
	set, r := l.sources.at(sourceKey(a))
	banned := r != nil && r.until > now
	if r != nil {
		r.until, r.strikes, r.offences, r.kept = 0, 0, 0, false
	}
	set.mu.Unlock()
	l.mu.Lock()
	delete(l.bans, source(a))
	l.mu.Unlock()
	return banned
}

// Stats are counts of a [Limiter].
type Stats struct {
	Dropped uint64              // messages over UDP that were not read
	Closed  uint64              // connections that were closed for what they sent
	Turned  uint64              // connections of banned sources that were not taken
	Refused uint64              // requests of users above their limit
	Guesses uint64              // passwords that were not looked at
	Banned  [reasonCount]uint64 // bans by Reason
	Bans    int                 // of this moment
}

// Stats returns the counts of this moment.
func (l *Limiter) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	s := Stats{
		Dropped: l.dropped.Load(), Closed: l.closed.Load(), Turned: l.turned.Load(),
		Refused: l.refused.Load(), Guesses: l.guesses.Load(),
	}
	for i := range l.banned {
		s.Banned[i] = l.banned[i].Load()
	}
	l.mu.Lock()
	l.prune()
	s.Bans = len(l.bans)
	l.mu.Unlock()
	return s
}
