package proxy

import (
	"strings"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
)

// authorize decides whether the request may pass (RFC 3261 §16.3 step 6) and goes on if
// so. Nobody but an authenticated user of ours speaks for one (the identity of From is
// checked as RFC 3325 §5 asks), and nobody but one has us send to a foreign domain: there
// is no open relay.
func (p *Proxy) authorize(c *responseContext) {
	r := c.request
	// A request within a dialog is not challenged: its route was given to the two sides of
	// that dialog only, and clients have no answer to a challenge there (RFC 3261 §22.1
	// for ACK, and for the others what browsers do). That is for what takes the flow to the
	// other side. Where the route names no such flow, the request goes wherever its URI says,
	// which was never ours to vouch for.
	if r.inDialog && r.next != nil || p.Auth.Trusted(r.flow) {
		p.authorized(c)
		return
	}
	claim, err := p.claimOf(r)
	if err != nil {
		c.reject(refuse(400, "Bad From"))
		return
	}
	owner, known := p.Auth.Owner(r.flow)
	switch {
	case claim.aor != "":
		p.authenticate(c, claim)
	case claim.anonymous && (known || r.routed() || !p.ours(&r.uri)):
		p.authenticate(c, claim) // whoever of ours it is
	case known:
		c.reject(refuse(403, "From Is Not "+owner))
	case p.ours(&r.uri) && !r.routed():
		r.stranger = true
		p.authorized(c)
	default:
		c.reject(refuse(403, "Relaying Denied"))
	}
}

// authenticate makes sure that a request is from the user who it says it is from, or, where it
// says nothing, from one of our users.
func (p *Proxy) authenticate(c *responseContext, claim claim) {
	r := c.request
	aor, realm := claim.aor, strings.ToLower(p.Domains[0])
	if aor == "" {
		aor, _ = p.Auth.User(r.flow)
	}
	if aor != "" {
		if p.Auth.Bound(r.flow, aor) {
			r.aor, r.display = aor, claim.display
			p.authorized(c)
			return
		}
		_, realm = splitAOR(aor)
	}
	p.prove(c, aor, claim.display, realm)
}

// prove has the sender show that he is that user, or where aor is "" some user of the realm.
func (p *Proxy) prove(c *responseContext, aor, display, realm string) {
	r := c.request
	p.Auth.Authenticate(r.flow, r.msg, realm, true, func(d auth.Decision) {
		switch {
		case !d.OK():
			if err := auth.Reject(c.tx, d); err != nil {
				p.Logger.Debug("challenge not sent", "call-id", r.msg.CallID(), "error", err)
			}
			c.finish()
		case aor != "" && d.AOR() != aor:
			c.reject(refuse(403, "From Is Not the Authenticated User"))
		default:
			dropCredentials(r, realm)
			r.aor, r.display = d.AOR(), display
			p.authorized(c)
		}
	})
}

// splitAOR returns the user part of an AOR, without escapes, and the domain. There may be
// another "@" in the user part, and after it whatever its sender wanted.
func splitAOR(aor string) (user, domain string) {
	at := strings.LastIndexByte(aor, '@')
	return aor[:max(at, 0)], aor[at+1:]
}

// authorized goes on with a request that may pass.
func (p *Proxy) authorized(c *responseContext) {
	if c.method == sip.INVITE && !c.request.stranger {
		c.tx.Sparing(false)
	}
	p.findTargets(c)
}

// mayCallOut reports whether a request that was let pass could have been addressed to a
// foreign domain as well.
func (p *Proxy) mayCallOut(r *request) bool {
	if r.aor != "" || p.Auth.Trusted(r.flow) {
		return true
	}
	from, err := sip.ParseURI(r.msg.From().URI)
	return err == nil && p.ours(&from) // and was authenticated as such
}

// dropCredentials removes what was meant for us: the next hop has no use for an answer to
// our challenge (RFC 3261 §22.3).
func dropCredentials(r *request, realm string) {
	var foreign []string
	own := false
	for value := range r.msg.Lines(sip.HProxyAuthorization) {
		if strings.Contains(value, `realm="`+realm+`"`) {
			own = true
		} else {
			foreign = append(foreign, value)
		}
	}
	if !own {
		return
	}
	m := r.editable()
	m.Remove(sip.HProxyAuthorization)
	for _, value := range foreign {
		m.Append(sip.HProxyAuthorization, value)
	}
}

// ours reports whether a URI is that of a user of ours: of one of our domains, or by one
// of our addresses or a telephone number, which stand for the first domain.
func (p *Proxy) ours(u *sip.URI) bool {
	return u.IsTel() || u.IsSIP() && (p.OwnDomain(u.Host) || p.Local(u.Host, u.Port)) || p.isHelp(u)
}

// isHelp reports whether a URI is the emergency services' URN, and somebody stands for them.
func (p *Proxy) isHelp(u *sip.URI) bool {
	return !u.IsSIP() && len(p.Emergency) > 0 && isSOS(u.String())
}

// aor is the address-of-record of a user of ours (RFC 3261 §10.3 step 5).
func (p *Proxy) aor(u *sip.URI) string {
	if p.isHelp(u) {
		return p.Emergency[0] + "@" + p.Domains[0]
	}
	domain := strings.ToLower(u.Host)
	if !p.domains[domain] {
		domain = p.Domains[0]
	}
	return u.UserUnescaped() + "@" + domain
}
