package auth

import (
	"strings"
	"sync"
	"time"

	"github.com/sipway/sipway/sip"
)

// leases knows the connections whose users are known by a token or a ticket. One with a
// token lives as long as that, and the grace. A flow has an entry only while it is open.
type leases struct {
	mu     sync.RWMutex
	byFlow map[uint64]*lease // by sip.Flow.ID
}

// lease is what tokens say of one connection.
type lease struct {
	// owner is the AOR that was proven at the upgrade, "" for none: it is the only one that
	// anything is sent for on this connection.
	owner string

	until map[string]time.Time // by AOR, when the connection's right to be it ends
	timer *time.Timer          // fires at the first of these ends
}

// Identify notes that the user at the other end of a connection was known when it was
// opened: no other than that of the AOR is served on it. The zero time sets the connection
// no end. It is called before the first message of the flow is received.
func (a *Authenticator) Identify(f sip.Flow, aor string, expires time.Time) {
	a.leases.mu.Lock()
	defer a.leases.mu.Unlock()
	l := a.leases.of(f)
	l.owner = strings.Clone(aor)
	if !expires.IsZero() {
		a.extend(f, l, aor, expires)
	}
}

// lease notes that a connection lives as long as its user's token.
func (a *Authenticator) lease(f sip.Flow, aor string, expires time.Time) {
	a.leases.mu.Lock()
	l := a.leases.of(f)
	if l.owner == "" || len(l.until) > 0 { // a ticket sets no end, and a token takes none away
		a.extend(f, l, aor, expires)
	}
	a.leases.mu.Unlock()
	if !a.flows.Alive(f) { // as in Bind
		a.Closed(f)
	}
}

// extend sets the end of an AOR's lease. The caller holds leases.mu.
func (a *Authenticator) extend(f sip.Flow, l *lease, aor string, expires time.Time) {
	if l.until == nil {
		l.until = make(map[string]time.Time, 1)
	}
	if _, known := l.until[aor]; !known {
		if len(l.until) == maxBound {
			return // what registers so many is no person's client
		}
		aor = strings.Clone(aor)
	}
	if at := expires.Add(a.tokens.Load().Grace); at.After(l.until[aor]) {
		l.until[aor] = at
	}
	a.arm(f, l)
}

// arm has the timer fire at the first end. The caller holds leases.mu.
func (a *Authenticator) arm(f sip.Flow, l *lease) {
	var first time.Time
	for _, at := range l.until {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	switch {
	case first.IsZero():
		if l.timer != nil {
			l.timer.Stop()
		}
	case l.timer == nil:
		l.timer = time.AfterFunc(time.Until(first), func() { a.expire(f) })
	default:
		l.timer.Reset(time.Until(first))
	}
}

// expire closes a connection whose token has, and the grace.
func (a *Authenticator) expire(f sip.Flow) {
	a.leases.mu.Lock()
	l := a.leases.byFlow[f.ID]
	ended := false
	if l != nil {
		for _, at := range l.until {
			ended = ended || !time.Now().Before(at)
		}
		if !ended {
			a.arm(f, l) // it was extended while the timer fired
		}
	}
	a.leases.mu.Unlock()
	if ended {
		a.cfg.Expired(f)
	}
}

// surrender ends an AOR's lease: it has no binding over the connection any more. What was
// proven at the upgrade stays.
func (a *Authenticator) surrender(f sip.Flow, aor string) {
	a.leases.mu.Lock()
	defer a.leases.mu.Unlock()
	if l := a.leases.byFlow[f.ID]; l != nil && l.owner == "" {
		delete(l.until, aor)
		a.arm(f, l)
	}
}

// of returns the lease of a flow, which it makes. The caller holds mu.
func (s *leases) of(f sip.Flow) *lease {
	l := s.byFlow[f.ID]
	if l == nil {
		l = new(lease)
		s.byFlow[f.ID] = l
	}
	return l
}

// owner returns the AOR that was proven when the flow was opened.
func (s *leases) owner(f sip.Flow) (aor string, ok bool) {
	if f.ID == 0 {
		return "", false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := s.byFlow[f.ID]
	if l == nil || l.owner == "" {
		return "", false
	}
	return l.owner, true
}

func (s *leases) closed(f sip.Flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.byFlow[f.ID]; l != nil && l.timer != nil {
		l.timer.Stop()
	}
	delete(s.byFlow, f.ID)
}

// Owner returns the AOR of the user that was known when the flow was opened; ok is false where
// none was.
func (a *Authenticator) Owner(f sip.Flow) (aor string, ok bool) { return a.leases.owner(f) }
