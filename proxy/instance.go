package proxy

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// addTarget adds the target of a binding to the AOR's others. Of one instance there is one
// at a time (RFC 5626 §7): the one with the highest q, and of those the one that was
// refreshed last (RFC 5627 §6.1). The others wait behind it.
func addTarget(targets []target, t target) []target {
	instance := t.hop.client.Instance
	at := slices.IndexFunc(targets, func(other target) bool {
		return instance != "" && equalFold(other.hop.client.Instance, instance)
	})
	if at < 0 {
		return append(targets, t)
	}
	flows := append([]target{targets[at]}, targets[at].next...)
	flows[0].next = nil
	flows = append(flows, t)
	slices.SortStableFunc(flows, func(a, b target) int {
		return cmp.Or(b.rank-a.rank, b.hop.client.Updated.Compare(a.hop.client.Updated))
	})
	targets[at] = flows[0]
	targets[at].next = flows[1:]
	return targets
}

// flowFailed notes that an edge proxy, or the node that owns the flow, has none to the client
// any more (RFC 5626 §11.5): until the client registers anew nobody is to be sent there.
func (b *branch) flowFailed(m *sip.Message) {
	if client := b.target.hop.client; m.Status() == 430 && client != nil {
		b.context.proxy.Locations.FlowFailed(client)
	}
}

// isGRUU reports whether the URI is one that only the location service understands.
func (p *Proxy) isGRUU(u *sip.URI) bool {
	return u.Params != "" && u.User != "" && u.Params.Has("gr") && u.IsSIP() && p.OwnDomain(u.Host)
}

// toGRUU is RFC 5627 §6.1. A request to a GRUU goes to the one instance, and carries its
// contact for Request-URI, as browsers know no temporary GRUU of their own. Within a dialog
// the route that the dialog was given still says where it goes, as long as that is there.
func (p *Proxy) toGRUU(c *responseContext) {
	r := c.request
	aor, of, ok := p.Locations.GRUU(&r.uri)
	onRoute := r.next != nil && !r.next.gone || r.msg.Has(sip.HRoute)
	switch {
	case !ok && onRoute:
		p.follow(c)
		return
	case !ok:
		c.reject(refuse(404, ""))
		return
	}
	p.located(aor, c, func(bindings []store.Binding) {
		bindings, valid := of(bindings)
		switch {
		case onRoute:
			p.rewriteURI(r, bindings)
			p.follow(c)
		case !valid:
			c.reject(refuse(404, ""))
		default:
			c.home = true
			c.disposition = readDisposition(r.msg)
			p.toBindings(bindings, aor, c, func(bindings []store.Binding) []target {
				bindings, _ = of(bindings)
				return p.targetsOf(bindings)
			})
		}
	})
}

// foreignGRUU reports whether a user begins a dialog with somebody else's GRUU for contact, to
// whom the requests of the other side would go (RFC 5627 §6.2).
func (p *Proxy) foreignGRUU(r *request) bool {
	if r.aor == "" || !recordRoutes(r.msg.Method()) {
		return false
	}
	value, ok := r.msg.Get(sip.HContact)
	if !ok || !strings.Contains(value, ";gr") {
		return false
	}
	contact, err := sip.ParseAddress(value)
	if err != nil {
		return false
	}
	u, err := sip.ParseURI(contact.URI)
	if err != nil || !p.isGRUU(&u) {
		return false
	}
	aor, _, ok := p.Locations.GRUU(&u)
	return ok && aor != r.aor
}

// located calls then with the bindings that the AOR has now, unless the location service
// fails, which answers the request.
func (p *Proxy) located(aor string, c *responseContext, then func([]store.Binding)) {
	if bindings, known := p.Locations.Lookup(aor); known {
		then(bindings)
		return
	}
	p.waiting(func(ctx context.Context) {
		bindings, err := p.Locations.LookupStore(ctx, aor)
		if err != nil {
			p.storeFailed(c, aor, err)
			return
		}
		then(bindings)
	})
}

// toBindings forwards a request to one of an instance's bindings. Where there is none the
// instance is not here, and no other will do: pick knows it among the user's bindings, should
// it come back in a moment.
func (p *Proxy) toBindings(bindings []store.Binding, aor string, c *responseContext, pick func([]store.Binding) []target) {
	if targets := p.targetsOf(bindings); len(targets) > 0 {
		c.forward(targets)
	} else if !c.parkForOne(aor, pick) {
		p.nobody(aor, c)
	}
}

// rewriteURI puts the instance's contact into the Request-URI of a request whose way is
// known: the contact that is bound over that very flow, else the one refreshed last.
func (p *Proxy) rewriteURI(r *request, bindings []store.Binding) {
	var found *store.Binding
	for i := range bindings {
		b := &bindings[i]
		if r.next != nil && sameFlow(b.Flow, r.next.flow) {
			found = b
			break
		}
		if found == nil || b.Updated.After(found.Updated) {
			found = b
		}
	}
	if found == nil {
		return
	}
	if contact, err := sip.ParseURI(found.Contact); err == nil {
		r.editable().SetRequestURI(requestURI(found.Contact, &contact))
		r.uri = contact
	}
}

// isLost reports whether a request is for a browser's contact and no route leads there, as
// the client has written none. Where one did and has gone, its token says whose it was.
func (p *Proxy) isLost(r *request) bool {
	return unreachable(r.uri.Host) && r.uri.IsSIP() && !r.routed()
}

// toContact forwards a request to a browser's contact over the flow that it is bound over
// now. The contact stays the same when the browser connects anew, so a dialog outlives its
// connection.
func (p *Proxy) toContact(c *responseContext) {
	r := c.request
	aor, ok := p.Locations.LookupContact(&r.uri)
	if !ok {
		c.reject(refuse(480, "")) // which ends no dialog, as 404 would
		return
	}
	p.located(aor, c, func(bindings []store.Binding) {
		t, ok := p.contactTarget(bindings, &r.uri)
		if !ok {
			c.reject(refuse(480, ""))
			return
		}
		t.uri = r.msg.RequestURI()
		c.forward([]target{t})
	})
}

// contactTarget returns the target of the binding that has the contact. Host and user are
// what a client's contact is known by: "ob" comes and goes (RFC 5626 §4.3).
func (p *Proxy) contactTarget(bindings []store.Binding, u *sip.URI) (t target, ok bool) {
	for i := range bindings {
		contact, err := sip.ParseURI(bindings[i].Contact)
		if err == nil && equalFold(contact.Host, u.Host) && contact.UserUnescaped() == u.UserUnescaped() {
			return p.bindingTarget(&bindings[i])
		}
	}
	return t, false
}

// ackToInstance does for an ACK what toGRUU does for other requests within a dialog, as far
// as memory knows the bindings.
func (p *Proxy) ackToInstance(r *request) {
	if r.next == nil || !p.isGRUU(&r.uri) {
		return
	}
	aor, of, ok := p.Locations.GRUU(&r.uri)
	if bindings, known := p.Locations.Lookup(aor); ok && known {
		bindings, _ = of(bindings)
		p.rewriteURI(r, bindings)
	}
}
