package auth

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipway/sipway/sip"
)

// maxBound is how many users are believed on one connection. A person's client has one or
// two; what registers more for others is told to authenticate each request, or is better
// a trusted peer.
const maxBound = 32

// boundFlows knows who has registered on which connection. A flow has an entry only while
// it is open, so what is kept is bounded by the open connections.
type boundFlows struct {
	mu     sync.RWMutex
	byFlow map[uint64][]boundUser // by sip.Flow.ID; no empty ones
}

type boundUser struct {
	aor   string
	until time.Time
}

// Bind notes that the user of an AOR has proven who it is on a connection, and is believed
// there until then; a time that has passed takes that back. It is for what came straight
// from the user: a request that a proxy passed on says nothing about who else uses the
// proxy's connection. Without Config.FlowCalls, and over UDP, it does nothing.
func (a *Authenticator) Bind(f sip.Flow, aor string, until time.Time) {
	if f.ID == 0 {
		return
	}
	now := time.Now()
	if !until.After(now) {
		a.bound.remove(f.ID, aor)
		a.surrender(f, aor)
		return
	}
	if !a.cfg.FlowCalls {
		return
	}
	a.bound.add(f.ID, aor, until, now)
	// The connection may have closed before the user was added, and Closed found nothing
	// to remove. It was not alive any more before that, and its ID never comes back: so
	// either we see here that it is dead, or Closed is still to come.
	if !a.flows.Alive(f) {
		a.Closed(f)
	}
}

// Bound reports whether the user of the AOR is believed on the flow, by a registration or by
// what was shown when it was opened.
func (a *Authenticator) Bound(f sip.Flow, aor string) bool {
	if f.ID == 0 {
		return false
	}
	if owner, ok := a.leases.owner(f); ok {
		return owner == aor
	}
	return a.cfg.FlowCalls && a.bound.has(f.ID, aor)
}

// Closed forgets what was bound to the flow. It is called when the flow has closed.
func (a *Authenticator) Closed(f sip.Flow) {
	a.bound.mu.Lock()
	delete(a.bound.byFlow, f.ID)
	a.bound.mu.Unlock()
	a.leases.closed(f)
}

func (b *boundFlows) has(flow uint64, aor string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, u := range b.byFlow[flow] {
		if u.aor == aor {
			return time.Now().Before(u.until)
		}
	}
	return false
}

func (b *boundFlows) add(flow uint64, aor string, until, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	users := b.byFlow[flow]
	at := slices.IndexFunc(users, func(u boundUser) bool { return u.aor == aor })
	if at >= 0 {
		users[at].until = until
		return
	}
	if len(users) == maxBound {
		users = slices.DeleteFunc(users, func(u boundUser) bool { return !now.Before(u.until) })
	}
	if len(users) < maxBound {
		users = append(users, boundUser{strings.Clone(aor), until})
	}
	b.byFlow[flow] = users
}

func (b *boundFlows) remove(flow uint64, aor string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	users, ok := b.byFlow[flow]
	if !ok {
		return
	}
	users = slices.DeleteFunc(users, func(u boundUser) bool { return u.aor == aor })
	if len(users) == 0 {
		delete(b.byFlow, flow)
		return
	}
	b.byFlow[flow] = users
}

// User returns the AOR of the one user who is believed on the flow; ok is false where there is
// none, or several.
func (a *Authenticator) User(f sip.Flow) (aor string, ok bool) {
	if aor, ok = a.leases.owner(f); ok || !a.cfg.FlowCalls || f.ID == 0 {
		return aor, ok
	}
	a.bound.mu.RLock()
	defer a.bound.mu.RUnlock()
	now := time.Now()
	for _, u := range a.bound.byFlow[f.ID] {
		if now.Before(u.until) {
			if ok {
				return "", false
			}
			aor, ok = u.aor, true
		}
	}
	return aor, ok
}
