package proxy

import (
	"slices"
	"strconv"

	"github.com/sipway/sipway/sip"
)

// redirect answers with 302 and the targets' contacts, where the caller asks for that (RFC
// 3841 §9.1) and is a trusted peer: to anybody else they would tell where our users are. It
// is false where there is nothing that the peer could reach itself, and the request is
// forwarded all the same.
func (c *responseContext) redirect(targets []target) bool {
	if !c.disposition.redirect || !c.proxy.Auth.Trusted(c.request.flow) {
		return false
	}
	c.secure = c.request.uri.IsSIPS()
	var contacts []string
	for _, t := range c.suit(slices.Clone(targets)) {
		u, err := sip.ParseURI(t.uri)
		if err != nil || t.path != "" || unreachable(u.Host) || t.hop.flow.Transport.WebSocket() {
			continue
		}
		q := strconv.FormatFloat(float64(min(t.rank, topRank))/topRank, 'f', 3, 64)
		contacts = append(contacts, "<"+t.uri+">;q="+q)
	}
	if contacts == nil {
		return false
	}
	c.reject(&replyError{status: 302, edit: func(m *sip.Message) {
		for _, contact := range contacts {
			m.Append(sip.HContact, contact)
		}
	}})
	return true
}
