package token

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sipway/sipway/sip"
)

var errNoAOR = errors.New("expects NAME, NAME@DOMAIN or a SIP URI of a domain of ours")

// maxAOR bounds an address-of-record, in bytes.
const maxAOR = 255

// AOR maps the value of a claim to an address-of-record: NAME, which is one of the first
// domain, NAME@DOMAIN, or a SIP URI. The domain must be one of the domains, which are in
// lower case.
func AOR(value string, domains []string) (string, error) {
	user, domain := value, ""
	if hasScheme(value) {
		u, err := sip.ParseURI(value)
		if err != nil || !u.IsSIP() {
			return "", errNoAOR
		}
		user, domain = u.UserUnescaped(), u.Host
	} else if at := strings.LastIndexByte(value, '@'); at >= 0 {
		user, domain = value[:at], value[at+1:]
	} else if len(domains) > 0 {
		domain = domains[0]
	}
	domain = strings.ToLower(domain)
	if user == "" || len(user)+1+len(domain) > maxAOR || !utf8.ValidString(user) || !slices.Contains(domains, domain) ||
		strings.ContainsFunc(user, func(c rune) bool { return c <= 0x20 || c == 0x7f || c == '@' }) {
		return "", errNoAOR
	}
	return user + "@" + domain, nil
}

func hasScheme(value string) bool {
	scheme, _, ok := strings.Cut(value, ":")
	return ok && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips"))
}
