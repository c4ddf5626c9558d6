package registrar

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// malformedExpires is the interval that one that can't be read stands for (RFC 3261
// §10.2.1.1).
const malformedExpires = 3600

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
	if len(contacts) > 2*q.cfg.MaxContacts { // all there may be replaced by as many
		return tooMany()
	}
	path, refused := q.path()
	if refused != nil {
		return refused
	}
	userAgent, _ := q.msg.Get(sip.HUserAgent)
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
	return nil
}

// removeAll is step 6 for "*", which stands alone and with an Expires of zero.
func (q *request) removeAll(contacts int) *refusal {
	if expires, err := q.msg.Expires(); contacts > 1 || err != nil || expires != 0 {
		return &refusal{status: 400, reason: "Contact * Must Be Alone and Expire at Once"}
	}
	q.update.RemoveAll = true
	return nil
}

// path returns the path vector in its order (RFC 3327 §5.3). A client that does not say
// that it supports Path is not refused: the phones behind an edge proxy rarely know of it.
func (q *request) path() (string, *refusal) {
	if !q.msg.Has(sip.HPath) {
		return "", nil
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
		return uint32(q.cfg.DefaultExpires / time.Second)
	case err != nil:
		return malformedExpires
	}
	return seconds
}

// outbound reports whether reg-id means something: whoever the client has its connection
// to, we or an edge proxy that says so in its Path, keeps flows (RFC 5626 §6).
func (q *request) outbound() bool {
	if q.direct {
		return true
	}
	for a, err := range q.msg.Addresses(sip.HPath) {
		uri, uriErr := sip.ParseURI(a.URI)
		if err == nil && uriErr == nil && uri.Params.Has("ob") {
			return true
		}
	}
	return false
}

// bind is step 7 for one contact: it fills in the binding.
func (q *request) bind(b *store.Binding, c *sip.Contact) *refusal {
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
	// A target is made of the contact, and no Request-URI has headers (RFC 3261 §19.1.1).
	b.Contact = strings.TrimSuffix(c.URI[:len(c.URI)-len(uri.Headers)], "?")
	b.Params = withoutExpires(string(c.Params))
	b.Q = c.Q()
	b.Methods, _ = c.Params.Get("methods")
	b.Instance = c.Instance()
	if b.Instance != "" && q.outbound() { // else reg-id is ignored (RFC 5626 §6)
		b.RegID = c.RegID()
	}
	b.Key = bindingKey(b, &uri)
	return nil
}

// grant returns the interval that a client gets, 0 for a removal.
func (q *request) grant(seconds uint32) (time.Duration, *refusal) {
	asked := time.Duration(seconds) * time.Second
	if asked > 0 && asked < time.Hour && asked < q.cfg.MinExpires {
		return 0, tooBrief(q.cfg.MinExpires)
	}
	return min(asked, q.cfg.MaxExpires), nil
}

// withoutExpires returns the contact's parameters but for expires, which the registrar
// sets; what is left keeps its bytes. Mostly expires stands last, and nothing is copied.
func withoutExpires(params string) string {
	var kept []byte
	from := 0 // where what is to be kept, and is not yet in kept, begins
	for i := 0; i < len(params); {
		end := paramEnd(params, i+1)
		if isExpires(params[i+1 : end]) {
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

// isExpires reports whether a parameter, written "name=value" or "name", is expires.
func isExpires(param string) bool {
	const (
		name       = "expires"
		whiteSpace = " \t\r\n"
	)
	param = strings.TrimLeft(param, whiteSpace)
	return len(param) >= len(name) && strings.EqualFold(param[:len(name)], name) &&
		(len(param) == len(name) || strings.IndexByte("="+whiteSpace, param[len(name)]) >= 0)
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
