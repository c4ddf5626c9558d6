package digest

import (
	"strings"

	"github.com/sipway/sipway/sip"
)

// sameTarget reports whether the uri parameter names what the request is for. RFC 8760 §2.6
// leaves the rule to the server; equality would turn away clients in use, so the parameter may
//   - have another port, other parameters, no headers, or sip for sips,
//   - name only the server, as SIPp and some phones do: no user part,
//   - name the domain, which is the realm, where the Request-URI has an address.
//
// What is left of the check is that the answer to a challenge for one user can't be moved to a
// request for another one.
func sameTarget(param, requestURI, realm string) bool {
	if param == requestURI {
		return true
	}
	p, err := sip.ParseURI(param)
	if err != nil {
		return false
	}
	r, err := sip.ParseURI(requestURI)
	if err != nil {
		return false
	}
	if p.User != "" && p.UserUnescaped() != r.UserUnescaped() {
		return false
	}
	return strings.EqualFold(p.Host, r.Host) || strings.EqualFold(p.Host, realm)
}
