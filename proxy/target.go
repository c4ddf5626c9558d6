package proxy

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// target is one place that a request is sent to.
type target struct {
	uri  string // the Request-URI
	path string // Routes to put before those of the request (RFC 3327 §5.1)
	hop  hop
	rank int // the higher, the sooner it is tried; targets of one rank are tried together

	// next are other flows to the same instance, tried one after the other where this one
	// fails: never two of them at a time (RFC 5626 §7).
	next []target

	secure bool // the contact is a sips URI
}

// findTargets is RFC 3261 §16.5: it determines the target set and has the request
// forwarded to it.
func (p *Proxy) findTargets(c *responseContext) {
	r := c.request
	if recordRoutes(r.msg.Method()) {
		r.owner = p.ownerOf(r)
	}
	p.disarm(r)
	if err := keepPrivate(r); err != nil {
		c.reject(err)
		return
	}
	p.record(c)
	if err := p.timeSession(c); err != nil {
		c.reject(err)
		return
	}
	switch {
	case p.foreignGRUU(r):
		c.reject(refuse(403, "Contact Is Another User's GRUU"))
	case p.isGRUU(&r.uri):
		p.toGRUU(c)
	case r.next != nil && r.next.gone && r.next.owner.aor != "":
		p.toOwner(c)
	case p.isLost(r):
		p.toContact(c)
	default:
		p.follow(c)
	}
}

// follow determines the targets of a request whose URI says nothing that would have to be
// looked into first.
func (p *Proxy) follow(c *responseContext) {
	r := c.request
	switch {
	case r.next != nil:
		c.forward(append(r.room[:0], target{uri: r.msg.RequestURI(), hop: *r.next}))
	case r.msg.Has(sip.HRoute):
		nextRoute(c)
	case !p.ours(&r.uri) && !r.uri.IsSIP():
		c.reject(refuse(404, "")) // of the services nobody is named who stands for them
	case !p.ours(&r.uri):
		uri := r.uri
		c.forward([]target{{uri: r.msg.RequestURI(), hop: hop{uri: &uri}}})
	case r.uri.User == "" && r.uri.IsSIP():
		c.reject(notAllowed()) // to us, and no user of ours
	default:
		c.home = true
		if !p.enter(c) {
			c.reject(refuse(482, "Merged Request"))
			return
		}
		if r.stranger && r.msg.Method() == sip.OPTIONS {
			p.nobody(p.aor(&r.uri), c) // who is there rings for a call, and tells nobody else
			return
		}
		c.disposition = readDisposition(r.msg)
		r.preferences = readPreferences(r.msg)
		if c.method == sip.SUBSCRIBE {
			r.event, _, _ = r.msg.Event() // without one nothing is implied
		}
		p.lookup(p.aor(&r.uri), c)
	}
}

// nextRoute sends the request to where its first Route says.
func nextRoute(c *responseContext) {
	r := c.request
	for route, err := range r.msg.Addresses(sip.HRoute) {
		u := sip.URI{}
		if err == nil { // a search for its servers may outlive the request
			u, err = sip.ParseURI(strings.Clone(route.URI))
		}
		if err != nil {
			c.reject(refuse(400, "Bad Route"))
			return
		}
		c.forward([]target{{uri: r.msg.RequestURI(), hop: hop{uri: &u}}})
		return
	}
}

// lookup asks the location service, which answers from memory or is waited for.
func (p *Proxy) lookup(aor string, c *responseContext) {
	if bindings, known := p.Locations.Lookup(aor); known {
		p.forwardTo(bindings, aor, c)
		return
	}
	p.waiting(func(ctx context.Context) {
		bindings, err := p.Locations.LookupStore(ctx, aor)
		if err != nil {
			p.storeFailed(c, aor, err)
			return
		}
		p.forwardTo(bindings, aor, c)
	})
}

func (p *Proxy) forwardTo(bindings []store.Binding, aor string, c *responseContext) {
	targets := p.appendTargets(c.request.room[:0], bindings)
	if c.redirect(targets) || c.park(aor, targets) {
		return
	}
	if len(targets) == 0 {
		p.nobody(aor, c)
		return
	}
	c.forward(targets)
}

// targetsOf makes the targets of an AOR's bindings.
func (p *Proxy) targetsOf(bindings []store.Binding) []target { return p.appendTargets(nil, bindings) }

// appendTargets is targetsOf, into room of the caller's that is empty.
func (p *Proxy) appendTargets(targets []target, bindings []store.Binding) []target {
	targets = slices.Grow(targets, len(bindings))
	for i := range bindings {
		if t, ok := p.bindingTarget(&bindings[i]); ok && !contains(targets, &t) {
			targets = addTarget(targets, t)
		}
	}
	return targets
}

// nobody answers at once where there is no target: 404 for a user who does not exist, 480
// for one who is not here. A stranger hears 480 of both, before we know ourselves: he could
// find out else who our users are, by trying names.
func (p *Proxy) nobody(aor string, c *responseContext) {
	flow, stranger := c.request.flow, c.request.stranger
	answer := func(exists bool) {
		switch {
		case !stranger:
			c.reject(absent(exists))
		case !exists && p.Unknown != nil:
			p.Unknown(flow)
		}
	}
	if stranger {
		c.reject(absent(true))
	}
	user, domain := splitAOR(aor)
	if _, exists, ok := p.Users.CachedUser(user, domain); ok {
		answer(exists)
		return
	}
	p.waiting(func(ctx context.Context) {
		_, err := p.Users.User(ctx, user, domain)
		switch {
		case err == nil || errors.Is(err, store.ErrNotFound):
			answer(err == nil)
		case !stranger:
			p.storeFailed(c, aor, err)
		}
	})
}

func absent(exists bool) error {
	if exists {
		return refuse(480, "")
	}
	return refuse(404, "")
}

func (p *Proxy) storeFailed(c *responseContext, aor string, err error) {
	p.Logger.Warn("location service failed", "aor", aor, "call-id", c.callID, "error", err)
	c.reject(&replyError{status: 503, edit: func(m *sip.Message) { m.Append(sip.HRetryAfter, "5") }})
}

// Way returns how a request gets to a binding's contact now: its Request-URI and the flow. ok is
// false where there is no way, or a connection would have to be opened first.
func (p *Proxy) Way(b *store.Binding) (uri string, f sip.Flow, ok bool) {
	t, ok := p.bindingTarget(b)
	return t.uri, t.hop.flow, ok && t.hop.flow.Transport != 0
}

// bindingTarget makes a target of a binding. ok is false where nothing reaches it any more.
func (p *Proxy) bindingTarget(b *store.Binding) (t target, ok bool) {
	contact, err := sip.ParseURI(b.Contact)
	if err != nil {
		return t, false
	}
	t = target{
		uri: requestURI(b.Contact, &contact), path: b.Path, rank: rankOf(b.Q), secure: contact.IsSIPS(),
		hop: hop{registered: true, client: b},
	}
	switch {
	case b.Flow.Transport.Reliable():
		if p.Network.Alive(b.Flow) {
			t.hop.flow = b.Flow
			return t, true
		}
		// A browser's connection can't be opened from here; a phone's can.
		if b.Flow.Transport.WebSocket() || b.Path != "" || unreachable(contact.Host) {
			return t, false
		}
		t.hop.locate(contact)
	case b.Path == "" && !contactIsUDP(&contact):
		t.hop.locate(contact)
	default:
		t.hop.flow = b.Flow
		if b.Path == "" {
			t.hop.flow.Remote = contactOrSource(&contact, b.Flow.Remote)
		}
	}
	return t, true
}

func contactIsUDP(u *sip.URI) bool {
	transport, ok := u.Params.Get("transport")
	return !ok || equalFold(transport, "udp")
}

// requestURI is the contact without what can't stand in a Request-URI: headers and the
// method parameter (RFC 3261 §19.1.1).
func requestURI(contact string, u *sip.URI) string {
	if u.Headers == "" && !u.Params.Has("method") {
		return contact
	}
	clean := *u
	clean.Headers = ""
	clean.Params = u.Params.Without("method")
	return clean.String()
}
