package proxy

import (
	"strings"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
)

// Asserted identity (RFC 3325). The trust domain is made of us and our trusted peers: what
// they assert is believed, and they are told whom we have authenticated. Others' assertions
// are taken away. Our own users see what the trust domain asserts of who calls them, unless
// he wants it kept private; others outside of it do only if he asks for that.

// disarm takes away what a request from outside the trust domain may not say to others, and
// what it says to us alone: assertions, the identity it would like, tokens.
func (p *Proxy) disarm(r *request) {
	if p.Auth.TakesTokens() {
		dropTokens(r, sip.HAuthorization)
		dropTokens(r, sip.HProxyAuthorization)
	}
	if !r.msg.Has(sip.HPAssertedIdentity) && !r.msg.Has(sip.HPPreferredIdentity) || p.Auth.Trusted(r.flow) {
		return
	}
	m := r.editable()
	m.Remove(sip.HPAssertedIdentity)  // §5
	m.Remove(sip.HPPreferredIdentity) // §6
}

// dropTokens removes bearer tokens: whoever gets one can be its user. JsSIP sends it in every
// request, ACK and BYE among them.
func dropTokens(r *request, id sip.HeaderID) {
	var kept []string
	found := false
	for value := range r.msg.Lines(id) {
		if auth.Bearer(value) != "" {
			found = true
		} else {
			kept = append(kept, value)
		}
	}
	if !found {
		return
	}
	m := r.editable()
	m.Remove(id)
	for _, value := range kept {
		m.Append(id, value)
	}
}

// claim is whom a request says it is from.
type claim struct {
	aor       string // of a user of ours, "" for none
	anonymous bool   // From names nobody (RFC 3323 §4.1.1.3)
	display   string // the user's name as he would have it
}

// claimOf reads From and, where that is anonymous, P-Preferred-Identity (RFC 3325 §6): users of
// ours who hide their name from who is called tell it to us.
func (p *Proxy) claimOf(r *request) (c claim, err error) {
	address := r.msg.From()
	from, err := sip.ParseURI(address.URI)
	if err != nil {
		return c, err
	}
	c.anonymous = isAnonymous(&from)
	if !c.anonymous && p.ours(&from) {
		c.aor = p.aor(&from)
		c.display = address.Display
	}
	for a, err := range r.msg.Addresses(sip.HPPreferredIdentity) {
		if err != nil {
			return c, err
		}
		u, err := sip.ParseURI(a.URI)
		if err != nil || !u.IsSIP() || !p.ours(&u) {
			continue
		}
		if aor := p.aor(&u); c.anonymous && c.aor == "" || aor == c.aor {
			c.aor, c.display = aor, a.Display
			break
		}
	}
	return c, nil
}

func isAnonymous(u *sip.URI) bool { return equalFold(u.Host, "anonymous.invalid") }

// nameAddr writes the address of a user of ours.
func nameAddr(display, aor string) string {
	user, domain := splitAOR(aor)
	b := make([]byte, 0, len(display)+len(aor)+8)
	if isDisplay(display) {
		b = append(append(b, display...), ' ')
	}
	b = append(b, "<sip:"...)
	b = sip.AppendEscaped(b, user, sip.UserChars)
	return string(append(append(append(b, '@'), domain...), '>'))
}

// isDisplay reports whether a text is a display name (RFC 3261 §25.1), and nothing that would
// begin another value in a list of addresses. Parsers are lenient, and what they let pass in
// From is not to become an assertion.
func isDisplay(text string) bool {
	if text == "" {
		return false
	}
	if text[0] != '"' {
		return strings.Trim(text, displayChars) == ""
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i == len(text)-1
		case c == '\\':
			i++
		case c < ' ' && c != '\t' || c == 0x7f:
			return false
		}
	}
	return false
}

// displayChars are those of tokens, and the blanks between them.
const displayChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~ \t"

// assert has a request that goes to another node carry what that may know of who sent it. m
// is the copy that is sent, to is where, and ours says that a user of ours is there.
func (p *Proxy) assert(r *request, m *sip.Message, to sip.Flow, ours bool) {
	if r.aor != "" && mayAssert(m.Method()) && p.Auth.TrustsTo(to) {
		m.Append(sip.HPAssertedIdentity, nameAddr(r.display, r.aor))
		return
	}
	if m.Has(sip.HPAssertedIdentity) && !p.mayShow(m, to, ours) {
		m.Remove(sip.HPAssertedIdentity)
	}
}

// mayShow reports whether an asserted identity may go to the flow (RFC 3325 §5, §7).
func (p *Proxy) mayShow(m *sip.Message, to sip.Flow, user bool) bool {
	if p.Auth.TrustsTo(to) {
		return true
	}
	wishes := readPrivacy(m)
	return wishes.has("none") || user && len(wishes) == 0
}

// mayAssert reports whether requests of a method carry an identity (RFC 3325 §9.1, RFC 5876
// §4).
func mayAssert(m sip.Method) bool {
	switch m {
	case sip.ACK, sip.CANCEL, sip.BYE, sip.PRACK, sip.INFO, sip.UPDATE, sip.REGISTER:
		return false
	}
	return true
}

// disarmResponse does for a response what disarm and assert do for a request. from is the
// flow it came by.
func (p *Proxy) disarmResponse(c *responseContext, m *sip.Message, from sip.Flow) {
	if !m.Has(sip.HPAssertedIdentity) && !m.Has(sip.HPPreferredIdentity) {
		return
	}
	if !p.Auth.TrustsTo(from) {
		m.Remove(sip.HPAssertedIdentity)
		m.Remove(sip.HPPreferredIdentity)
		return
	}
	if !p.mayShow(m, c.tx.Flow(), c.fromUser) {
		m.Remove(sip.HPAssertedIdentity)
	}
}
