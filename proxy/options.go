package proxy

import "github.com/sipway/sipway/sip"

// own are the methods that the proxy answers itself, in the name of its domains.
const own = "OPTIONS, REGISTER"

// notAllowed answers another request to the proxy itself (RFC 3261 §21.4.6).
func notAllowed() error {
	return &replyError{status: 405, edit: func(m *sip.Message) { m.Append(sip.HAllow, own) }}
}

// answerOptions answers an OPTIONS to the proxy itself (RFC 3261 §11.2). Allow lists what
// passes through; other methods pass as well.
func (c *responseContext) answerOptions() {
	m := c.tx.NewResponse(200, "")
	m.Append(sip.HAllow, "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REGISTER")
	m.Append(sip.HAccept, "application/sdp, */*")
	m.Append(sip.HAcceptEncoding, "identity")
	m.Append(sip.HAcceptLanguage, "en")
	m.Append(sip.HSupported, "path, outbound, gruu")
	m.Append(sip.HAllowEvents, "reg") // of our users' registrations (RFC 3680)
	c.finish()
	c.respond(m)
}
