package registrar

import "github.com/sipway/sipway/sip"

// checkSIPS is RFC 5630 §5.2: a sips contact is bound only where all is sips that leads to it,
// or who calls a sips URI would be connected over ways that are not secure. What is removed
// leads nowhere.
func (q *request) checkSIPS() *refusal {
	secure, plain := 0, 0
	for i := range q.update.Bindings {
		switch b := &q.update.Bindings[i]; {
		case !b.Expires.After(q.now):
		case sip.IsSIPS(b.Contact):
			secure++
		default:
			plain++
		}
	}
	switch {
	case secure == 0:
		return nil
	case plain > 0:
		return &refusal{status: 400, reason: "SIPS Contact beside Another"}
	case !sip.IsSIPS(q.msg.RequestURI()):
		return &refusal{status: 400, reason: "SIPS Contact Needs a SIPS Request-URI"}
	case !q.tx.Flow().Transport.Secure():
		return &refusal{status: 400, reason: "SIPS over an Insecure Transport"}
	}
	for hop, err := range q.msg.Addresses(sip.HPath) {
		if err != nil || !sip.IsSIPS(hop.URI) {
			return &refusal{status: 400, reason: "SIPS Contact behind a SIP Path"}
		}
	}
	return nil
}
