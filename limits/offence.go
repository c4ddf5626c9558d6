package limits

import (
	"net/netip"
	"strings"

	"github.com/sipway/sipway/sip"
)

// Challenged hears that a request without credentials was answered with a challenge.
func (l *Limiter) Challenged(f sip.Flow) { l.offend(f, Unanswered, challenge) }

// Unknown hears that a stranger has asked for a user who does not exist.
func (l *Limiter) Unknown(f sip.Flow) { l.offend(f, Sweep, failure) }

// Malformed hears of a message that can't be read.
func (l *Limiter) Malformed(f sip.Flow) { l.offend(f, Garbage, malformed) }

// Received hears of a request, before anybody else does. It reports whether it is to be
// heard: one that calls itself a scanner is not, and its source is banned.
func (l *Limiter) Received(f sip.Flow, m *sip.Message) bool {
	if l == nil || !isScanner(m) || l.exempt(f) {
		return true
	}
	l.offend(f, Scanner, l.bounds.Load().scanner)
	return false
}

// scanners are what the names of scanners begin with. They can be told to call themselves
// something else, which those who run them rarely do.
var scanners = [...]string{"friendly-scanner", "sipvicious", "sundayddr", "sipcli", "vaxsipuseragent", "pplsip", "sip-scan", "friendly-request"}

func isScanner(m *sip.Message) bool {
	agent, _ := m.Get(sip.HUserAgent)
	for _, s := range scanners {
		if len(agent) >= len(s) && strings.EqualFold(agent[:len(s)], s) {
			return true
		}
	}
	return false
}

// Guessing reports whether so many wrong passwords for the user came from the flow's source
// that a further one is not to be looked at. It is answered like a wrong one.
func (l *Limiter) Guessing(f sip.Flow, user string) bool {
	if l == nil {
		return false
	}
	until := l.guessed.Load()
	if until == 0 || until <= l.now() {
		return false
	}
	set, r := l.pairs.at(l.pairKey(f.Remote.Addr(), user))
	guessing := r != nil && r.until > l.now()
	set.mu.Unlock()
	if guessing {
		l.guesses.Add(1)
	}
	return guessing
}

// Failed hears of a wrong password. The user may not exist.
func (l *Limiter) Failed(f sip.Flow, user string) {
	if l == nil || l.exempt(f) {
		return
	}
	now, b := l.now(), l.bounds.Load()
	set, r := l.pairs.use(l.pairKey(f.Remote.Addr(), user), now)
	weight := int64(failure)
	switch {
	case r.until > now: // a phone with an old password may go on all day
		weight = challenge
	case r.offences.spill(&b.guess, 1, now):
		b.strike(r, now)
		r.offences = 0
		l.guessedUntil(r.until)
	}
	set.mu.Unlock()
	l.offend(f, Guesser, weight)
}

// guessedUntil notes an end of a pair.
func (l *Limiter) guessedUntil(end int64) {
	for last := l.guessed.Load(); end > last && !l.guessed.CompareAndSwap(last, end); {
		last = l.guessed.Load()
	}
}

// Succeeded hears that a request was authenticated as one of the user's. From now on the
// flow is his. It reports whether he is within his limit.
func (l *Limiter) Succeeded(f sip.Flow, user string) bool {
	if l == nil {
		return true
	}
	now, source, b := l.now(), f.Remote.Addr(), l.bounds.Load()
	// The request, and the challenge before it, were not a stranger's.
	set, r := l.sources.use(sourceKey(source), now)
	r.requests.give(&b.source, 1)
	r.offences.give(&b.offence, challenge)
	set.mu.Unlock()

	u := l.userOf(user)
	set, r = l.flows.use(flowKey(f), now)
	r.user = u
	set.mu.Unlock()
	if l.takeUser(u, now) || l.exempt(f) {
		return true
	}
	l.refused.Add(1)
	return false
}

// offend counts an offence of the flow's source.
func (l *Limiter) offend(f sip.Flow, why Reason, weight int64) {
	if l == nil || l.exempt(f) {
		return
	}
	now, k, b := l.now(), sourceKey(f.Remote.Addr()), l.bounds.Load()
	set, r := l.sources.use(k, now)
	if !r.offences.spill(&b.offence, weight, now) || r.until > now {
		set.mu.Unlock()
		return
	}
	b.strike(r, now)
	// What it does next weighs more than it did at first.
	r.offences = bucket(now + b.offence.size*3/4)
	ban := l.describe(k, r, why)
	set.mu.Unlock()
	l.disown(f)
	l.enter(ban)
}

// disown forgets whose flow it is: a user who has his own source banned is no better than it.
func (l *Limiter) disown(f sip.Flow) {
	set, r := l.flows.at(flowKey(f))
	if r != nil {
		r.user = 0
	}
	set.mu.Unlock()
}

// strike bans a record for longer than the last time. Its set is locked.
func (b *bounds) strike(r *record, now int64) {
	if now-r.until > int64(forgiven) {
		r.strikes = 0
	}
	length := b.firstBan << min(r.strikes, 20)
	r.until = now + int64(min(length, b.maxBan))
	r.strikes = min(r.strikes+1, 200)
}

// source is the one that an address stands for, as an operator writes it.
func source(a netip.Addr) netip.Prefix { return sourceKey(a.Unmap()).prefix() }
