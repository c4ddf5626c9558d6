package proxy

import (
	"cmp"
	"strings"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
)

// record has the request noted among the calls that pass (RFC 3261 §12): an INVITE that was
// let pass begins one, a request with a To tag may belong to one. What is refused before is
// no call.
func (p *Proxy) record(c *responseContext) {
	if p.Calls == nil || c.request.again { // it was noted before
		return
	}
	r := c.request
	var call dialog.Request
	switch {
	case r.msg.ToTag() != "", c.method == sip.BYE: // its dialog may have none (RFC 3261 §12.2.1.1)
		call = p.Calls.Within(r.msg, r.sender())
	case c.method == sip.INVITE:
		caller := dialog.Party{Identity: cmp.Or(r.aor, identity(r.msg.From().URI)), Flow: r.flow, AOR: r.owner.aor, Client: r.owner.instance}
		call = p.Calls.Begin(r.msg, caller, identity(r.msg.RequestURI()))
	}
	if call.Known() {
		c.mu.Lock()
		c.call = call
		abandoned := c.closed
		c.mu.Unlock()
		switch { // while it was asked whether the caller is who he says
		case !abandoned:
		case p.Network.Alive(r.flow):
			call.Cancel("")
		default:
			call.Leave()
		}
	}
}

// sender is the flow that leads to the side of a call that the request is from: none where
// another proxy has sent it back to us, who then seems to be both sides.
func (r *request) sender() sip.Flow {
	if r.spiral {
		return sip.Flow{}
	}
	return r.flow
}

// recorded is the request among the calls that pass, if it belongs to one.
func (c *responseContext) recorded() dialog.Request {
	if c.proxy.Calls == nil {
		return dialog.Request{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.call
}

// recordSent has the request noted as it goes over a flow. A branch that tries several
// servers is one leg.
func (b *branch) recordSent(flow sip.Flow) {
	call := b.context.recorded()
	if !call.Known() {
		return
	}
	hop := &b.target.hop
	to := dialog.Party{Flow: flow, AOR: hop.owner.aor, Client: hop.owner.instance}
	if hop.client != nil {
		to.UserAgent = hop.client.UserAgent
	}
	if b.leg == 0 {
		// What has no leg leaves it: an earlier server's response may be reading it.
		if leg := call.Sent(b.target.uri, to); leg >= 0 {
			b.leg = int32(leg) + 1
		}
	} else {
		call.Moved(int(b.leg)-1, flow)
	}
}

// recordFinal has the final response to the request noted, if it is none of success; those
// are noted with their branch.
func (c *responseContext) recordFinal(status int, phrase string) {
	if status > 299 {
		c.recorded().Failed(status, cmp.Or(phrase, sip.ReasonPhrase(status)))
	}
}

// identity is what a URI says of who somebody is: "alice@example.test" of a SIP URI, the
// number of a tel URI.
func identity(uri string) string {
	if _, rest, ok := strings.Cut(uri, ":"); ok {
		uri = rest
	}
	if end := strings.IndexAny(uri, ";?>"); end >= 0 {
		uri = uri[:end]
	}
	return uri
}

// Reachable reports whether a side of a call can be reached now, and over which flow: that of
// the call, or the present one of the same client. Of a server that nobody registered it is
// not known once its connection has gone: it may well take another one.
func (p *Proxy) Reachable(side *dialog.Party) (sip.Flow, bool) {
	f := side.Flow
	if p.Network.Alive(f) {
		return f, true
	}
	if side.AOR == "" {
		return f, !f.Transport.WebSocket()
	}
	return p.presentFlow(owner{side.AOR, side.Client}, false)
}
