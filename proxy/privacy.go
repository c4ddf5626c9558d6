package proxy

import (
	"slices"
	"strings"

	"github.com/sipway/sipway/sip"
)

// privacy is what a sender wants kept private: the values of Privacy (RFC 3323 §4.2, RFC 3325
// §9.3), in lower case.
type privacy []string

func readPrivacy(m *sip.Message) (all privacy) {
	for line := range m.Lines(sip.HPrivacy) {
		for value := range strings.FieldsFuncSeq(line, func(c rune) bool { return c == ';' || c == ',' || c == ' ' || c == '\t' }) {
			all = append(all, strings.ToLower(value))
		}
	}
	return all
}

func (p privacy) has(value string) bool { return slices.Contains(p, value) }

// informational are header fields that nobody needs to make the call, and that say something
// of who calls (RFC 3323 §5.3).
var informational = [...]string{"Subject", "Call-Info", "Organization", "User-Agent", "Reply-To", "In-Reply-To"}

// keepPrivate does what a proxy can for the privacy that a request asks for. That is all of
// "id", which is seen to where the request is sent. Of "header" and "user" it is the header
// fields that only inform: Via, Contact, Record-Route and From lead responses and the dialog's
// requests back, and to replace them takes a back-to-back user agent (§5.1, §5.3), as media
// takes a relay ("session"). The values stay in place for a privacy service behind us. Who
// says "critical" is told that it is not all (§5).
func keepPrivate(r *request) error {
	if !r.msg.Has(sip.HPrivacy) {
		return nil
	}
	wishes := readPrivacy(r.msg)
	if wishes.has("none") {
		return nil
	}
	if wishes.has("critical") && !r.inDialog {
		from, err := sip.ParseURI(r.msg.From().URI)
		anonymous := err == nil && isAnonymous(&from)
		var beyond privacy
		for _, value := range wishes {
			switch value {
			case "critical", "id":
				continue
			case "header", "session", "user", "history":
			default:
				value = "unknown" // nobody's words stand in our reason
			}
			if !beyond.has(value) && !(value == "user" && anonymous) {
				beyond = append(beyond, value)
			}
		}
		if beyond != nil {
			return refuse(500, "Privacy Not Supported: "+strings.Join(beyond, ", "))
		}
	}
	if wishes.has("header") || wishes.has("user") {
		m := r.editable()
		for _, name := range informational {
			m.RemoveNamed(name)
		}
	}
	return nil
}
