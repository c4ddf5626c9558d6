package registrar

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// malformedExpires is the interval that one that can't be read stands for (RFC 3261
// §10.2.1.1).
const malformedExpires = 3600

// Bounds of what one binding has us keep, in bytes: several times what clients write. A message
// may have 64 KiB, an AOR 20 bindings.
const (
	maxContact   = 4 << 10 // URI and parameters
	maxPath      = 4 << 10
	maxCallID    = 1 << 10
	maxUserAgent = 256 // of which the rest is left out
)

// readContacts is steps 6 and 7 up to the store's part: it says in the update what becomes
// of each contact. Without any the update is a query.
func (q *request) readContacts() *refusal {
	if !q.msg.Has(sip.HContact) {
		return nil // step 6
	}
	contacts, err := q.msg.Contacts()
	if err != nil {
		return badHeader(err)
	}
	for i := range contacts {
		if contacts[i].Star {
			return q.removeAll(len(contacts))
		}
	}
	if len(contacts) > 2*q.limits.Load().MaxContacts { // all there may be replaced by as many
		return tooMany()
	}
	path, refused := q.path()
	switch {
	case refused != nil:
		return refused
	case len(path) > maxPath:
		return tooLong("Path")
	case len(q.update.CallID) > maxCallID:
		return tooLong("Call-ID")
	}
	if q.outbound = q.firstHopKeepsFlows(); !q.outbound && q.asksOutbound(contacts) {
		return &refusal{status: 439} // RFC 5626 §6
	}
	userAgent, _ := q.msg.Get(sip.HUserAgent)
	userAgent = userAgent[:min(len(userAgent), maxUserAgent)]
	flows := 0
	q.update.Bindings = q.first[:0]
	for i := range contacts {
		q.update.Bindings = append(q.update.Bindings, store.Binding{
			Path: path, UserAgent: userAgent,
			Flow: q.tx.Flow(), Node: q.cfg.Node, Epoch: q.cfg.Epoch,
		})
		b := &q.update.Bindings[i]
		if refused := q.bind(b, &contacts[i]); refused != nil {
			return refused
		}
		if b.Expires.After(q.now) {
			q.adds++
			flows += min(b.RegID, 1)
		}
	}
	if flows > 0 && q.adds > 1 {
		// RFC 5626 §6: a flow is registered by a request of its own.
		return &refusal{status: 400, reason: "More Than One Contact with reg-id"}
	}
	return q.checkSIPS()
}

// removeAll is step 6 for "*", which stands alone and with an Expires of zero.
func (q *request) removeAll(contacts int) *refusal {
	if expires, err := q.msg.Expires(); contacts > 1 || err != nil || expires != 0 {
		return &refusal{status: 400, reason: "Contact * Must Be Alone and Expire at Once"}
	}
	q.update.RemoveAll = true
	return nil
}

// path returns the path vector in its order. A client that does not say that it supports
// Path is to learn that a proxy has put itself in the way (RFC 3327 §5.3).
func (q *request) path() (string, *refusal) {
	if !q.msg.Has(sip.HPath) {
		return "", nil
	}
	if !q.cfg.PathWithoutSupport && !q.supports("path") {
		return "", &refusal{status: 420, header: sip.HUnsupported, value: "path"}
	}
	for _, err := range q.msg.Addresses(sip.HPath) {
		if err != nil {
			return "", badHeader(err)
		}
	}
	return strings.Join(slices.Collect(q.msg.Lines(sip.HPath)), ", "), nil
}

// expiresHeader returns the interval, in seconds, of contacts that name none (step 7).
func (q *request) expiresHeader() uint32 {
	seconds, err := q.msg.Expires()
	switch {
	case errors.Is(err, sip.ErrMissing):
		return uint32(q.limits.Load().DefaultExpires / time.Second)
	case err != nil:
		return malformedExpires
	}
	return seconds
}

// bind is step 7 for one contact: it fills in the binding.
func (q *request) bind(b *store.Binding, c *sip.Contact) *refusal {
	if len(c.URI)+len(c.Params) > maxContact {
		return tooLong("Contact")
	}
	uri, err := sip.ParseURI(c.URI)
	if err != nil {
		return &refusal{status: 400, reason: "Bad Contact"}
	}
	seconds, said := c.Expires()
	if !said {
		seconds = q.expiresHeader()
	}
	granted, refused := q.grant(seconds)
	if refused != nil {
		return refused
	}
	if granted > 0 {
		b.Expires = q.now.Add(granted + q.cfg.Grace)
	}
	if err := q.checkLoop(c, &uri); err != nil {
		return err
	}
	// A target is made of the contact, and no Request-URI has headers (RFC 3261 §19.1.1).
	b.Contact = strings.TrimSuffix(c.URI[:len(c.URI)-len(uri.Headers)], "?")
	b.Params = withoutOurs(string(c.Params))
	b.Q = c.Q()
	b.Methods, _ = c.Params.Get("methods")
	b.Instance = c.Instance()
	if b.Instance != "" && q.outbound { // else reg-id is ignored (RFC 5626 §6)
		b.RegID = c.RegID()
		q.flow = q.flow || b.RegID > 0
	}
	b.Key = bindingKey(b, &uri)
	q.natted = q.natted || b.Flow.Transport == sip.UDP && namesOther(b, &uri)
	return nil
}

// checkLoop is RFC 5627 §5.1: the contact of an instance is a SIP URI, and neither the AOR
// itself nor one of its GRUUs, to which calls would come round for ever.
func (q *request) checkLoop(c *sip.Contact, uri *sip.URI) *refusal {
	if c.Instance() == "" {
		return nil
	}
	if !uri.IsSIP() {
		return &refusal{status: 403, reason: "Contact Is No SIP URI"}
	}
	host, ours := q.ownDomain(uri.Host)
	if !ours || uri.Port != 0 {
		return nil
	}
	aor := uri.UserUnescaped() + "@" + host
	if g, ok := q.gruu(uri); ok {
		aor = g.aor
	}
	if aor == q.update.AOR {
		return &refusal{status: 403, reason: "Contact Is the Address-of-Record"}
	}
	return nil
}

// grant returns the interval that a client gets, 0 for a removal.
func (q *request) grant(seconds uint32) (time.Duration, *refusal) {
	asked := time.Duration(seconds) * time.Second
	if asked > 0 && asked < time.Hour && asked < q.limits.Load().MinExpires {
		return 0, tooBrief(q.limits.Load().MinExpires)
	}
	return q.jitter(min(asked, q.limits.Load().MaxExpires, q.proofLasts())), nil
}

// proofLasts returns how long what the user has shown is good for. A connection closes when
// that ends, and its bindings with it, so the limit is for those that have none.
func (q *request) proofLasts() time.Duration {
	if q.decision.Expires.IsZero() || q.direct && q.tx.Flow().ID != 0 {
		return q.limits.Load().MaxExpires
	}
	return max(q.decision.Expires.Sub(q.now).Truncate(time.Second), time.Second)
}

// jitter takes a random part of the interval away, down to a whole second.
func (q *request) jitter(granted time.Duration) time.Duration {
	spread := min(granted*time.Duration(q.cfg.Jitter)/100, granted-q.limits.Load().MinExpires)
	if spread < time.Second {
		return granted
	}
	return granted - rand.N(spread+time.Second).Truncate(time.Second)
}

// withoutOurs returns the contact's parameters but for those that the registrar sets; what is
// left keeps its bytes. Mostly expires stands last, and nothing is copied.
func withoutOurs(params string) string {
	var kept []byte
	from := 0 // where what is to be kept, and is not yet in kept, begins
	for i := 0; i < len(params); {
		end := paramEnd(params, i+1)
		if isOurs(params[i+1 : end]) {
			if from == 0 && end == len(params) {
				return params[:i]
			}
			kept = append(kept, params[from:i]...)
			from = end
		}
		i = end
	}
	if from == 0 {
		return params
	}
	return string(append(kept, params[from:]...))
}

// isOurs reports whether a parameter, written "name=value" or "name", is one that a client
// can't set: the interval is ours to grant, and so are GRUUs (RFC 5627 §5.1).
func isOurs(param string) bool {
	name, _, _ := strings.Cut(param, "=")
	switch name = strings.Trim(name, " \t\r\n"); len(name) {
	case len("expires"):
		return strings.EqualFold(name, "expires")
	case len("pub-gruu"):
		return strings.EqualFold(name, "pub-gruu")
	case len("temp-gruu"):
		return strings.EqualFold(name, "temp-gruu")
	}
	return false
}

// paramEnd returns the index of the first ';' of s from i on that stands in no quoted
// string, or len(s).
func paramEnd(s string, i int) int {
	quoted := false
	for ; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == ';':
			return i
		}
	}
	return len(s)
}
