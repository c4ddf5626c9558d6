package proxy

import "github.com/sipway/sipway/sip"

// suit returns those of the targets that suit the request: those the caller prefers, and of
// one to a sips URI only those that registered such a contact. It is called before they are
// put into the set, while the request is there.
func (c *responseContext) suit(targets []target) []target {
	switch {
	case !c.home:
	case c.request.preferences.some():
		targets = c.request.preferences.apply(targets)
	case implies(targets):
		wanted := implied(c.method, c.request.event)
		targets = wanted.apply(targets)
	}
	n := 0
	for _, t := range targets {
		if !c.secure && t.secure {
			t.uri = "sip:" + t.uri[len("sips:"):] // RFC 5630 §5.3: the flow stays a secure one
		}
		if c.secure && !t.secure && t.hop.client != nil {
			continue
		}
		targets[n] = t
		n++
	}
	return targets[:n]
}

// unsuited answers where none of the targets suits.
func (c *responseContext) unsuited() error {
	if !c.secure {
		return refuse(480, "")
	}
	return &replyError{status: 480, edit: func(m *sip.Message) { // RFC 5630 §5.3
		host, _ := c.proxy.SentBy(c.tx.Flow())
		m.Append(sip.HWarning, "380 "+host+` "SIPS Not Allowed"`)
	}}
}

// carries reports whether a request to the target may take the flow: one to a sips URI, or
// to a client that registered one, only a secure one.
func (c *responseContext) carries(f sip.Flow, t *target) bool {
	return f.Transport.Secure() || !c.secure && !t.secure
}
