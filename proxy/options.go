package proxy

import (
	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
)

// own are the methods that the proxy answers itself, in the name of its domains.
const own = "OPTIONS, REGISTER"

// notAllowed answers another request to the proxy itself (RFC 3261 §21.4.6).
func notAllowed() error {
	return &replyError{status: 405, edit: func(m *sip.Message) { m.Append(sip.HAllow, own) }}
}

// Answer answers an OPTIONS that asks the proxy itself, and nil any other request. It does so
// without a transaction (RFC 3261 §11.2): it says the same to a retransmission.
func (p *Proxy) Answer(f sip.Flow, m *sip.Message) *sip.Message {
	if m.Method() != sip.OPTIONS || m.ToTag() != "" || m.Has(sip.HRoute) || m.Has(sip.HProxyRequire) {
		return nil
	}
	if u, err := m.URI(); err != nil || u.IsSIPS() || !p.isSelf(&u) {
		return nil
	}
	resp := p.Transactions.NewResponse(m, 200, "")
	if !auth.Spare(f, m) {
		describe(resp)
	}
	return resp
}

// answerOptions answers an OPTIONS to the proxy itself that is not as simple.
func (c *responseContext) answerOptions() {
	m := c.tx.NewResponse(200, "")
	describe(m)
	c.finish()
	c.respond(m)
}

// describe says what the proxy can do. Allow lists what passes through; other methods pass as
// well.
func describe(m *sip.Message) {
	m.Append(sip.HAllow, "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REGISTER")
	m.Append(sip.HAccept, "application/sdp, */*")
	m.Append(sip.HAcceptEncoding, "identity")
	m.Append(sip.HAcceptLanguage, "en")
	m.Append(sip.HSupported, "path, outbound, gruu")
	m.Append(sip.HAllowEvents, "reg") // of our users' registrations (RFC 3680)
}
