package registrar

import (
	"strconv"
	"time"

	"github.com/sipway/sipway/sip"
)

// supports reports whether the client says that it knows an extension: in Supported, or by
// requiring it of us (RFC 3261 §20.32).
func (q *request) supports(option string) bool {
	return q.msg.HasToken(sip.HSupported, option) || q.msg.HasToken(sip.HRequire, option)
}

// firstHopKeepsFlows reports whether reg-id means something: whoever the client has its
// connection to keeps flows. That is us, or an edge proxy that says so in its Path, the one
// that stands last because later proxies put theirs before it (RFC 3327 §5.2, RFC 5626 §6).
func (q *request) firstHopKeepsFlows() bool {
	if q.direct {
		return true
	}
	keeps := false
	for a, err := range q.msg.Addresses(sip.HPath) {
		uri, uriErr := sip.ParseURI(a.URI)
		keeps = err == nil && uriErr == nil && uri.Params.Has("ob")
	}
	return keeps
}

// asksOutbound reports whether the client relies on its reg-id: it would rather register
// without one than have it ignored.
func (q *request) asksOutbound(contacts []sip.Contact) bool {
	if !q.supports("outbound") {
		return false
	}
	for i := range contacts {
		if contacts[i].RegID() > 0 && contacts[i].Instance() != "" {
			return true
		}
	}
	return false
}

// appendOutbound says in the 200 that the binding is one of a flow, if it is and the client
// knows what that means (RFC 5626 §6).
func (q *request) appendOutbound(b []byte) []byte {
	if !q.flow || !q.supports("outbound") {
		return b
	}
	b = sip.AppendField(b, sip.HRequire, "outbound")
	// Over UDP the client knows better how long its NAT remembers it (RFC 5626 §4.4).
	if q.direct && q.cfg.FlowTimer > 0 && q.tx.Flow().ID != 0 {
		b = sip.AppendField(b, sip.HFlowTimer, strconv.Itoa(int(q.cfg.FlowTimer/time.Second)))
	}
	return b
}
