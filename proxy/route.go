package proxy

import (
	"net/netip"
	"strings"

	"github.com/sipway/sipway/sip"
)

// preprocess is RFC 3261 §16.4. It takes our own Routes off; what the last of them says
// becomes r.next.
func (p *Proxy) preprocess(r *request) error {
	if _, ok := p.ownRoute(&r.uri); ok && r.msg.Has(sip.HRoute) {
		if err := undoStrictRouting(r); err != nil {
			return err
		}
	}
	p.stripMaddr(r)

	var last route
	for {
		own, is, err := p.popOwnRoute(r)
		if err != nil {
			return err
		}
		if !is {
			break
		}
		r.popped++
		if own.flow.Transport == 0 {
			continue
		}
		if last.flow.Transport == 0 {
			r.owner = own.owner // the first of ours names the way to the sender
		}
		last = own
	}
	if last.flow.Transport == 0 {
		return nil
	}
	r.inDialog = r.msg.ToTag() != ""
	if r.popped == 1 && last.flow.Transport == r.flow.Transport && sameFlow(last.flow, r.flow) {
		// RFC 5626 §5.3.1: the sender's own flow, so the request goes out, and where to
		// is not in the token.
		return nil
	}
	r.next = p.dialogHop(last, &r.uri, r.msg)
	return nil
}

// ownRoute reports whether a URI is one that we put into a Record-Route, or addresses one
// of our listeners: a Route that a client was configured with. Of the former it returns
// what its token says.
func (p *Proxy) ownRoute(u *sip.URI) (route, bool) {
	if !u.IsSIP() {
		return route{}, false
	}
	if u.User == "" {
		return route{}, p.Local(u.Host, u.Port) || p.OwnDomain(u.Host)
	}
	// A token is known by its signature, whatever name or address stands beside it.
	return p.tokens.decode(u.User)
}

// popOwnRoute removes the first Route if it is ours.
func (p *Proxy) popOwnRoute(r *request) (own route, is bool, err error) {
	for a, err := range r.msg.Addresses(sip.HRoute) {
		if err != nil {
			return own, false, refuse(400, "Bad Route")
		}
		u, err := sip.ParseURI(a.URI)
		if err != nil {
			return own, false, refuse(400, "Bad Route")
		}
		if own, is = p.ownRoute(&u); is {
			r.editable().PopValue(sip.HRoute)
		}
		break
	}
	return own, is, nil
}

// undoStrictRouting is for a request from a strict router, which put our Record-Route into
// the Request-URI and the remote target behind the Routes.
func undoStrictRouting(r *request) error {
	var routes []string
	for value := range r.msg.Values(sip.HRoute) {
		routes = append(routes, value)
	}
	if len(routes) == 0 {
		return refuse(400, "Bad Route")
	}
	target, err := sip.ParseAddress(routes[len(routes)-1])
	if err != nil {
		return refuse(400, "Bad Route")
	}
	parsed, err := sip.ParseURI(target.URI)
	if err != nil {
		return refuse(400, "Bad Route")
	}
	// Our own URI goes to the front of the Routes, where it is popped like any other.
	routes = append([]string{"<" + r.msg.RequestURI() + ">"}, routes[:len(routes)-1]...)
	m := r.editable()
	m.Set(sip.HRoute, strings.Join(routes, ", "))
	m.SetRequestURI(target.URI)
	r.uri = parsed
	return nil
}

// stripMaddr removes a maddr that is ours, with the port and transport by which the
// request came.
func (p *Proxy) stripMaddr(r *request) {
	uri := &r.uri
	maddr, ok := uri.Params.Get("maddr")
	if !ok || !(p.Local(maddr, uri.Port) || p.OwnDomain(maddr)) {
		return
	}
	if t, ok := uri.Params.Get("transport"); ok && !equalFold(t, r.flow.Transport.Param()) {
		return // to be forwarded to ourselves by that transport; nobody does
	}
	uri.Params = uri.Params.Without("maddr", "transport")
	uri.Port = 0
	r.editable().SetRequestURI(uri.String())
}

// sameFlow compares what a token keeps of a flow.
func sameFlow(a, b sip.Flow) bool {
	if a.ID != 0 || b.ID != 0 {
		return a.ID == b.ID
	}
	return a.Remote == b.Remote
}

// dialogHop is where a request goes by what its last own Route says.
func (p *Proxy) dialogHop(rt route, uri *sip.URI, m *sip.Message) *hop {
	h := &hop{flow: rt.flow, registered: true, owner: rt.owner}
	onward := m.Has(sip.HRoute)
	if !rt.flow.Transport.Reliable() {
		if present, ok := p.presentFlow(rt.owner, onward); ok && present.Transport == sip.UDP {
			h.flow = present // what the NAT before the phone makes of it now
		} else if !onward {
			h.flow.Remote = contactOrSource(uri, rt.flow.Remote)
		}
		return h
	}
	if f, ok := p.Network.Flow(rt.flow.ID); ok {
		h.flow = f
		return h
	}
	// The connection has gone. The client may have come back, over another one.
	if present, ok := p.presentFlow(rt.owner, onward); ok {
		h.flow = present
		return h
	}
	// A peer with an address of its own may be called again, a browser may not.
	if onward || !unreachable(uri.Host) {
		return nil
	}
	h.flow, h.gone = sip.Flow{}, true
	return h
}

// contactOrSource chooses where to send to a UDP client: to its contact where that has the
// address it sends from, as the client then says itself on which port it listens; else a
// NAT stands between, and what it sent from is what reaches it.
func contactOrSource(contact *sip.URI, source netip.AddrPort) netip.AddrPort {
	addr, ok := sip.HostAddr(contact.Host)
	if !ok || addr != source.Addr().Unmap() {
		return source
	}
	port := contact.Port
	if port == 0 {
		port = sip.UDP.DefaultPort()
	}
	return netip.AddrPortFrom(source.Addr(), port)
}

// unreachable reports whether no connection can be opened to the host: RFC 7118 §5
// has browsers write names of the domain "invalid" (RFC 2606).
func unreachable(host string) bool {
	const invalid = ".invalid"
	return len(host) >= len(invalid) && equalFold(host[len(host)-len(invalid):], invalid)
}
