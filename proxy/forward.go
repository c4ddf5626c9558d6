package proxy

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/sipway/sipway/sip"
)

// forwarded is RFC 3261 §16.6, steps 1 to 9: the request, whose message is m, as it goes to
// one target over one flow, with its part of the Max-Breadth. sole says that there will never
// be another target, so that a copy that was made already will do.
func (p *Proxy) forwarded(r *request, m *sip.Message, to sip.Flow, t *target, breadth int, sole bool) (*sip.Message, error) {
	if r.shared || !sole { // step 1
		m = m.Clone()
	}
	recorded := recordRoutes(m.Method())
	room := viaRoom + len(t.path)
	if recorded {
		room += routeRoom
	}
	m.Grow(room)
	p.assert(r, m, to, t.hop.client != nil || t.hop.owner.aor != "")
	m.SetRequestURI(t.uri) // step 2
	hops, ok := m.MaxForwards()
	if !ok {
		hops = 71
	}
	m.SetMaxForwards(hops - 1) // step 3
	if breadth > 0 {           // step 5, RFC 5393 §5.3.3
		m.Set(sip.HMaxBreadth, strconv.Itoa(breadth))
	}
	if t.path != "" {
		m.Prepend(sip.HRoute, t.path)
	}
	if recorded {
		var value [routeRoom]byte
		m.PrependBytes(sip.HRecordRoute, p.appendRecordRoute(value[:0], r, to, &t.hop, secureWay(m))) // step 4
	}
	if err := strictRoute(m); err != nil { // step 6
		return nil, err
	}
	m.PushVia(p.via(to, r.loop)) // step 8
	if to.Transport.Reliable() && !to.Transport.WebSocket() {
		m.EnsureContentLength() // step 9
	}
	return m, nil
}

// What forwarding usually adds to a request: a Via and a Max-Forwards; and a Record-Route.
const (
	viaRoom   = 160
	routeRoom = 320
)

// recordRoutes reports whether a request may create a dialog, or is of a method that is
// not known not to (RFC 3261 §16.6 step 4). The rest would carry the line for nothing.
func recordRoutes(m sip.Method) bool {
	switch m {
	case sip.ACK, sip.BYE, sip.CANCEL, sip.PRACK, sip.INFO, sip.UPDATE,
		sip.MESSAGE, sip.OPTIONS, sip.REGISTER, sip.PUBLISH:
		return false
	}
	return true
}

// secureWay reports whether a request goes to a sips URI, or by one: then the dialog is to
// stay on secure ways (RFC 3261 §16.6 step 4).
func secureWay(m *sip.Message) bool {
	if sip.IsSIPS(m.RequestURI()) {
		return true
	}
	for a, err := range m.Addresses(sip.HRoute) {
		return err == nil && sip.IsSIPS(a.URI)
	}
	return false
}

// appendRecordRoute appends two values, one for either side of the dialog: each side reaches us
// by its own transport, and the token behind the other's value names the flow to it. So
// nothing need be rewritten in the response (RFC 3261 §16.7 step 8).
func (p *Proxy) appendRecordRoute(b []byte, r *request, to sip.Flow, next *hop, secure bool) []byte {
	b = p.appendRoute(b, route{to, next.owner}, secure)
	b = append(b, ", "...)
	return p.appendRoute(b, route{r.flow, r.owner}, secure)
}

func (p *Proxy) appendRoute(b []byte, rt route, secure bool) []byte {
	f := rt.flow
	host, port := p.SentBy(f)
	if secure {
		b = append(b, "<sips:"...)
	} else {
		b = append(b, "<sip:"...)
	}
	b = p.tokens.encode(b, rt)
	b = append(append(b, '@'), host...)
	if port != 0 {
		b = strconv.AppendUint(append(b, ':'), uint64(port), 10)
	}
	if f.Transport != sip.UDP && !(secure && f.Transport == sip.TLS) { // RFC 5630 §5.3
		b = append(append(b, ";transport="...), f.Transport.Param()...)
	}
	return append(b, ";lr>"...)
}

// strictRoute turns the request into what a strict router expects, where the next Route is
// one (RFC 3261 §16.6 step 6).
func strictRoute(m *sip.Message) error {
	for route, err := range m.Addresses(sip.HRoute) {
		if err != nil {
			return refuse(400, "Bad Route")
		}
		u, err := sip.ParseURI(route.URI)
		if err != nil {
			return refuse(400, "Bad Route")
		}
		if !u.Params.Has("lr") {
			uri := strings.Clone(route.URI)
			m.Append(sip.HRoute, "<"+m.RequestURI()+">")
			m.PopValue(sip.HRoute)
			m.SetRequestURI(uri)
		}
		break
	}
	return nil
}

// via is the Via of a request of ours (RFC 3261 §16.6 step 8): its branch has 64 random
// bits, so that nobody can answer in another's place, and the loop detection value.
func (p *Proxy) via(f sip.Flow, loop uint32) sip.Via {
	host, port := p.SentBy(f)
	b := make([]byte, 0, 40)
	b = append(b, branchPrefix...)
	b = strconv.AppendUint(b, rand.Uint64(), 36)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(loop), 36)
	v := sip.Via{Transport: f.Transport.String(), Host: host, Port: port, Branch: string(b), RPort: -1}
	if f.Transport == sip.UDP {
		v.RPort = 0 // a NAT before us needs it as those of others do (RFC 3581 §3)
	}
	return v
}
