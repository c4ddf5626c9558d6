package proxy

import (
	"sync"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// Recursion says which contacts of a redirection are tried in the place of the branch that
// redirects, and are not passed upstream.
type Recursion uint8

const (
	// RecurseOwn follows a redirection to users of ours.
	RecurseOwn Recursion = iota
	// RecurseAny follows it wherever the caller could have called himself, too.
	RecurseAny
	// RecurseNever leaves it to the caller.
	RecurseNever
)

// mayRecurse reports whether a redirection is followed at all. What is not ours is not
// redirected by us (RFC 3261 §16.5), and a caller may forbid it (RFC 3841 §9.1).
func (c *responseContext) mayRecurse() bool {
	return c.proxy.Recurse != RecurseNever && c.home && !c.disposition.noRecurse && !c.disposition.noFork
}

// redirection is a 3xx that is being followed.
type redirection struct {
	context *responseContext
	branch  *branch
	m       *sip.Message
	rest    []string // Contact values that are not followed
	some    bool     // others are

	mu    sync.Mutex
	found []target
	open  int // look-ups that are awaited, and one for reading the contacts
}

// maxRedirected bounds the contacts of one redirection that are followed, maxBranches the targets
// that a request goes to if they were not all there at the beginning: who redirects to himself
// by ever new names would have us send to them without an end.
const (
	maxRedirected = 20
	maxBranches   = 100
)

// recurse is the recursion of RFC 3261 §16.7 step 4. The branch stays open until the targets
// are known, so that nothing is decided without them. What was followed is taken out of the
// response; without any contact left it does not count.
func (c *responseContext) recurse(b *branch, m *sip.Message) {
	if !c.hold() {
		c.failed(b, m)
		return
	}
	r := &redirection{context: c, branch: b, m: m, open: 1}
	tries := 0
	for value := range m.Values(sip.HContact) {
		if tries < maxRedirected && r.follow(value) {
			tries++
			r.some = true
		} else {
			r.rest = append(r.rest, value)
		}
	}
	r.resolved(nil)
}

// follow has a contact looked up, if it may be followed.
func (r *redirection) follow(value string) bool {
	a, err := sip.ParseAddress(value)
	if err != nil {
		return false
	}
	u, err := sip.ParseURI(a.URI)
	c := r.context
	if err != nil || !u.IsSIP() || u.IsSIPS() != c.secure { // RFC 5630 §5.3
		return false
	}
	// The contacts of a redirection are tried in the order of their own q, all of them
	// before what ranks below the branch.
	rank := r.branch.target.rank - (topRank-rankOf(sip.Contact{Address: a}.Q()))/rankStep
	p := c.proxy
	switch {
	case p.ours(&u) && u.User != "":
		aor, instance := p.aor(&u), everyone
		if p.isGRUU(&u) {
			var ok bool
			if aor, instance, ok = p.Locations.GRUU(&u); !ok {
				return false
			}
		}
		r.mu.Lock()
		r.open++
		r.mu.Unlock()
		p.bindingsOf(aor, func(bindings []store.Binding) {
			bindings, _ = instance(bindings)
			targets := p.targetsOf(bindings)
			for i := range targets {
				targets[i].rank = rank
			}
			r.resolved(targets)
		})
	case p.Recurse == RecurseAny && !p.ours(&u) && !byFlowAlone(&u) && p.mayCallOut(c.request):
		r.mu.Lock()
		r.found = append(r.found, target{uri: requestURI(a.URI, &u), hop: hop{uri: &u}, rank: rank})
		r.mu.Unlock()
	default:
		return false
	}
	return true
}

// everyone is the choice of an AOR among its bindings, as that of a GRUU is its instance.
func everyone(bindings []store.Binding) (kept []store.Binding, valid bool) { return bindings, true }

// resolved takes the targets of one look-up, and goes on after the last.
func (r *redirection) resolved(targets []target) {
	r.mu.Lock()
	r.found = append(r.found, targets...)
	r.open--
	last := r.open == 0
	r.mu.Unlock()
	if !last {
		return
	}
	c, m := r.context, r.m
	followed := c.add(r.found...)
	c.proxy.Logger.Debug("redirection", "call-id", c.callID, "targets", followed, "left", len(r.rest))
	switch {
	case len(r.rest) == 0 && followed > 0:
		m = nil
	case !r.some:
	case len(r.rest) == 0: // nobody there who was not tried before
		m = c.tx.NewResponse(480, "")
	default:
		m.Remove(sip.HContact)
		for _, value := range r.rest {
			m.Append(sip.HContact, value)
		}
	}
	c.failed(r.branch, m)
	c.release(nil)
}
