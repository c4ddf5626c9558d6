package proxy

import (
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/sipway/sipway/sip"
)

// validate is RFC 3261 §16.3, steps 1 to 5; step 6 is authorize. It parses the
// Request-URI.
func (p *Proxy) validate(r *request) (err error) {
	// Step 1: the parser has checked what every element needs.
	if r.uri, err = r.msg.URI(); err != nil {
		return refuse(400, "Bad Request-URI")
	}
	// Step 2. Without a listener for TLS a sips request can't be kept secure to its end (RFC
	// 5630 §5.3), so that scheme is refused as well.
	switch u := &r.uri; {
	case equalFold(u.Scheme, "sip"), u.IsTel(), isSOS(r.msg.RequestURI()):
	case !u.IsSIPS() || !p.Secure:
		return refuse(416, "")
	case !r.flow.Transport.Secure():
		return refuse(400, "SIPS over an Insecure Transport")
	}
	// Step 3. OPTIONS to ourselves is not forwarded.
	if hops, ok := r.msg.MaxForwards(); ok && hops == 0 && !(r.msg.Method() == sip.OPTIONS && p.isSelf(&r.uri)) {
		return refuse(483, "")
	}
	if p.looped(r) {
		return refuse(482, "")
	}
	return p.checkProxyRequire(r.msg)
}

// looped is RFC 3261 §16.3 step 4 in the wording of RFC 5393 §4.2.2: a Via of ours whose
// branch has the same loop detection value means that nothing has changed since.
func (p *Proxy) looped(r *request) bool {
	suffix := ""
	for value := range r.msg.Values(sip.HVia) {
		if !strings.Contains(value, branchPrefix) {
			continue
		}
		v, err := sip.ParseVia(value)
		if err != nil || !p.ownVia(&v) {
			continue
		}
		r.spiral = true
		if suffix == "" {
			suffix = loopSuffix(r.loop)
		}
		if strings.HasSuffix(v.Branch, suffix) {
			return true
		}
	}
	return false
}

func (p *Proxy) ownVia(v *sip.Via) bool {
	t, ok := sip.ParseTransport(v.Transport)
	if !ok || !strings.HasPrefix(v.Branch, branchPrefix) {
		return false
	}
	host, _ := p.SentBy(sip.Flow{Transport: t})
	return equalFold(v.Host, host) || p.Local(v.Host, v.Port)
}

// loopHash depends on all that decides where a request goes: the Request-URI and the
// Routes as received (RFC 5393 §4.2.1). It does not depend on the method.
func (p *Proxy) loopHash(m *sip.Message) uint32 {
	var h maphash.Hash
	h.SetSeed(p.loopSeed)
	h.WriteString(m.RequestURI())
	for route := range m.Lines(sip.HRoute) {
		h.WriteByte(0)
		h.WriteString(route)
	}
	return uint32(h.Sum64())
}

// branchPrefix begins the branches of this proxy: the magic cookie and a mark that spares
// looking closer at other elements' Vias.
const branchPrefix = "z9hG4bKsw"

func loopSuffix(loop uint32) string { return "." + strconv.FormatUint(uint64(loop), 36) }

// checkProxyRequire is RFC 3261 §16.3 step 5. This proxy has no extension that a client
// may require of it.
func (p *Proxy) checkProxyRequire(m *sip.Message) error {
	var unsupported []string
	for option := range m.Values(sip.HProxyRequire) {
		unsupported = append(unsupported, option)
	}
	if unsupported == nil {
		return nil
	}
	return &replyError{status: 420, edit: func(m *sip.Message) {
		m.Append(sip.HUnsupported, strings.Join(unsupported, ", "))
	}}
}

// equalFold compares ASCII text; header values and hosts have no other letters that fold.
func equalFold(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }
