package proxy

import (
	"context"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// clientID is what tells the clients of an AOR apart for the life of a dialog: the instance
// where there is one, whichever of its flows is in use (RFC 5626 §3.1), else the contact.
func clientID(b *store.Binding) string {
	if b.Instance != "" {
		return b.Instance
	}
	return b.Key
}

// ownerOf names the client of ours that a request comes from: the one whose binding has the
// flow. Only where the sender was authenticated is it asked.
func (p *Proxy) ownerOf(r *request) owner {
	if r.owner.aor != "" || r.aor == "" {
		return r.owner
	}
	bindings, _ := p.Locations.Lookup(r.aor)
	for i := range bindings {
		if b := &bindings[i]; b.Flow.Transport == r.flow.Transport && sameFlow(b.Flow, r.flow) {
			return p.tokens.owner(r.aor, clientID(b))
		}
	}
	return owner{}
}

// bindingOf returns the binding of a dialog's client that reaches it now, of several the one
// refreshed last: an instance that has moved may have left another behind. Nobody else's
// will do, be it one of the same user: only who registers the same instance, or the same
// contact, with the same user's credentials is the same client.
func (p *Proxy) bindingOf(o owner, bindings []store.Binding) (found *store.Binding, ok bool) {
	for i := range bindings {
		b := &bindings[i]
		if (found == nil || b.Updated.After(found.Updated)) &&
			p.tokens.owner(o.aor, clientID(b)) == o && (b.Flow.ID == 0 || p.Network.Alive(b.Flow)) {
			found = b
		}
	}
	return found, found != nil
}

// presentFlow returns the flow that leads to a dialog's client now, as far as memory knows.
// onward says that the request goes on from there by Routes of its own.
func (p *Proxy) presentFlow(o owner, onward bool) (sip.Flow, bool) {
	if o.aor == "" {
		return sip.Flow{}, false
	}
	bindings, _ := p.Locations.Lookup(o.aor)
	b, ok := p.bindingOf(o, bindings)
	if !ok {
		return sip.Flow{}, false
	}
	return flowTo(b, onward), true
}

// flowTo returns the flow to a binding's client.
func flowTo(b *store.Binding, onward bool) sip.Flow {
	f := b.Flow
	if f.Transport == sip.UDP && !onward && b.Path == "" {
		if contact, err := sip.ParseURI(b.Contact); err == nil {
			f.Remote = contactOrSource(&contact, f.Remote)
		}
	}
	return f
}

// toOwner forwards a request within a dialog whose client has lost its flow: it may be back,
// and memory doesn't know, or be about to come back.
func (p *Proxy) toOwner(c *responseContext) {
	r := c.request
	o, uri := r.next.owner, r.msg.RequestURI()
	to := func(bindings []store.Binding) []target {
		b, ok := p.bindingOf(o, bindings)
		if !ok {
			return nil
		}
		return []target{{uri: uri, hop: hop{flow: flowTo(b, false), registered: true, owner: o}}}
	}
	p.bindingsOf(o.aor, func(bindings []store.Binding) {
		if targets := to(bindings); targets != nil {
			c.forward(targets)
		} else if !c.parkForOne(o.aor, to) {
			c.reject(refuse(480, "")) // which ends no dialog, as 481 would
		}
	})
}

// bindingsOf calls then with the bindings that an AOR of ours has now, none where it has
// none or the location service fails.
func (p *Proxy) bindingsOf(aor string, then func([]store.Binding)) {
	if bindings, known := p.Locations.Lookup(aor); known {
		then(bindings)
		return
	}
	p.waiting(func(ctx context.Context) {
		bindings, err := p.Locations.LookupStore(ctx, aor)
		if err != nil {
			p.Logger.Warn("location service failed", "aor", aor, "error", err)
		}
		then(bindings)
	})
}
