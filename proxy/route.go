package proxy

import (
	"net/netip"
	"strings"

	"github.com/sipway/sipway/sip"
)

// maxOwnRoutes bounds the Routes of ours that are taken off, each of which has the rest
// written anew. A dialog has two of them for each time that its requests pass here.
const maxOwnRoutes = 20

// preprocess is RFC 3261 §16.4, and with strictRoute what RFC 3261 §16.12 sums up. It takes
// our own Routes off; what the last of them says becomes r.next.
func (p *Proxy) preprocess(r *request) error {
	// What we put into Record-Routes has a token. A URI of our address alone may be a phone's
	// contact, where the address is the domain of both.
	if r.msg.Has(sip.HRoute) {
		if flow, own := p.ownRoute(&r.uri); own && flow.Transport != 0 {
			if err := undoStrictRouting(r); err != nil {
				return err
			}
		}
	}
	p.stripMaddr(r)

	var last sip.Flow
	var first string
	var room [maxToken]byte
	var named []byte // the owner of last
	for a, err := range r.msg.Addresses(sip.HRoute) {
		u := sip.URI{}
		if err == nil {
			u, err = sip.ParseURI(a.URI)
		}
		if err != nil {
			return refuse(400, "Bad Route")
		}
		flow, name, own := p.readRoute(&u, room[:0])
		if !own {
			break
		}
		if r.popped++; r.popped > maxOwnRoutes {
			return refuse(400, "Too Many Routes")
		}
		if flow.Transport == 0 {
			continue
		}
		if first == "" {
			first = u.User
		}
		last, named = flow, name
	}
	if r.popped > 0 {
		r.editable().PopValues(sip.HRoute, r.popped)
	}
	if last.Transport == 0 {
		return nil
	}
	r.inDialog = r.msg.ToTag() != ""
	if r.popped == 1 && last.Transport == r.flow.Transport && sameFlow(last, r.flow) {
		// RFC 5626 §5.3.1: the sender's own flow, so the request goes out, and where to
		// is not in the token.
		return nil
	}
	if p.dialogHop(r, last, named) {
		r.next = &r.onward
	}
	if recordRoutes(r.msg.Method()) {
		if r.next != nil {
			r.next.owner = p.tokens.ownerOf(named)
		}
		_, named, _ = p.tokens.decode(first, room[:0])
		r.owner = p.tokens.ownerOf(named) // the first of ours names the way to the sender
	}
	return nil
}

// ownRoute reports whether a URI is one that we put into a Record-Route, or addresses one
// of our listeners: a Route that a client was configured with. Of the former it returns
// the flow.
func (p *Proxy) ownRoute(u *sip.URI) (flow sip.Flow, own bool) {
	var room [maxToken]byte
	flow, _, own = p.readRoute(u, room[:0])
	return flow, own
}

// readRoute is ownRoute, and returns who is behind the flow, as tokenCoder.decode does.
func (p *Proxy) readRoute(u *sip.URI, room []byte) (flow sip.Flow, named []byte, own bool) {
	if !u.IsSIP() {
		return flow, nil, false
	}
	if u.User == "" {
		return flow, nil, p.Local(u.Host, u.Port) || p.OwnDomain(u.Host)
	}
	// A token is known by its signature, whatever name or address stands beside it.
	return p.tokens.decode(u.User, room)
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
	target, err := sip.ParseAddress(strings.Clone(routes[len(routes)-1]))
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

// dialogHop finds where a request goes by its last own Route: the flow f that its token names,
// or the present flow of the same client, whom it names as well. It is false where the route does
// not say.
func (p *Proxy) dialogHop(r *request, f sip.Flow, named []byte) bool {
	h, onward := &r.onward, r.msg.Has(sip.HRoute)
	*h = hop{flow: f, registered: true}
	if !f.Transport.Reliable() {
		if present, ok := p.presentFlow(p.tokens.ownerOf(named), onward); ok {
			h.flow = present // a phone may have moved, or the NAT before it has given it another port
		} else if !onward {
			h.flow.Remote = contactOrSource(&r.uri, f.Remote)
		}
		return true
	}
	var ok bool
	if h.flow, ok = p.Network.Flow(f.ID); ok {
		return true
	}
	// The connection has gone. The client may have come back, over another one.
	o := p.tokens.ownerOf(named)
	if h.flow, ok = p.presentFlow(o, onward); ok {
		return true
	}
	// A peer with an address of its own may be called again, a browser may not.
	if onward || !byFlowAlone(&r.uri) {
		return false
	}
	*h = hop{gone: true, registered: true, owner: o}
	return true
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

// byFlowAlone reports whether nobody but the flow's owner gets to a contact: no connection can
// be opened to a WebSocket client (RFC 7118 §5), be its contact's host an address.
func byFlowAlone(u *sip.URI) bool {
	name, _ := u.Params.Get("transport")
	t, ok := sip.ParseTransport(name)
	return unreachable(u.Host) || ok && t.WebSocket()
}

// unreachable reports whether no connection can be opened to the host: RFC 7118 §5
// has browsers write names of the domain "invalid" (RFC 2606).
func unreachable(host string) bool {
	const invalid = ".invalid"
	return len(host) >= len(invalid) && equalFold(host[len(host)-len(invalid):], invalid)
}
