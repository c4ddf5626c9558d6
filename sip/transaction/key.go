package transaction

import (
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/sipway/sipway/sip"
)

// A transaction is found by a hash of what its rule of matching compares, all of it: were
// something left out, a peer could fill one chain of the table by varying that. What the
// rules compare by the rules of a header field is compared byte by byte here, since a
// retransmission is a copy, and the ACK and CANCEL of a transaction copy it from the request.

// hasher hashes under a key of its own, which no peer knows.
type hasher struct{ seed maphash.Seed }

// mix is an odd number with an even spread of bits, so that the same parts in another order
// or cut differently give another hash.
const mix = 0x9e3779b97f4a7c15

func (h hasher) text(sum uint64, s string) uint64 {
	return (sum ^ maphash.String(h.seed, s)) * mix
}

func (h hasher) number(sum, n uint64) uint64 {
	sum = (sum ^ n) * mix
	return sum ^ sum>>32
}

// client hashes what a response is matched by: the branch of the topmost Via and the method
// of the CSeq (RFC 3261 §17.1.3). The branch alone is unguessable, for the user makes it;
// the flow is not compared, since a response may come over another one (RFC 3261 §18.2.2).
func (h hasher) client(branch string, method sip.Method) uint64 {
	return h.text(h.text(0, branch), string(method))
}

func (c *Client) matches(branch string, method sip.Method) bool {
	return c.branch == branch && c.method == method
}

// request is a request as it is matched to a server transaction (RFC 3261 §17.2.3): method
// is that of the transaction looked for, INVITE for an ACK and a CANCEL, and toTag its To
// tag, which an ACK need not share.
type request struct {
	*sip.Message
	flow   sip.Flow
	method sip.Method
	toTag  string
	hash   uint64 // of all that it is matched by
	moved  bool   // it may have come over another TCP connection of its sender's
}

func (h hasher) request(f sip.Flow, m *sip.Message, method sip.Method, toTag string) request {
	r := request{Message: m, flow: f, method: method, toTag: toTag}
	r.hash = h.server(&r)
	return r
}

func (h hasher) server(r *request) uint64 {
	v := r.Via()
	sum := h.text(0, v.Branch)
	sum = h.text(sum, v.Host)
	sum = h.number(sum, uint64(v.Port))
	sum = h.text(sum, string(r.method))
	if r.flow.ID != 0 && !redials(r.flow) {
		sum = h.number(sum, r.flow.ID)
	} else { // of TCP too, though matches compares the flow: findMoved does not
		source := r.flow.Remote.Addr().As16()
		sum = (sum ^ maphash.Bytes(h.seed, source[:])) * mix
	}
	if v.HasMagicCookie() {
		return sum
	}
	sum = h.text(sum, r.RequestURI())
	sum = h.text(sum, r.toTag)
	sum = h.text(sum, r.FromTag())
	sum = h.text(sum, r.CallID())
	return h.number(sum, uint64(r.CSeq().Seq))
}

// identity is what a server transaction keeps of its request to be matched by. It shares no
// memory with the message where it outlives the answer: that of an INVITE does by 64*T1, and
// another one where a connection may have to be opened for the answer.
type identity struct {
	branch, host string
	port         uint16
	method       sip.Method
	// legacy is more of the request where its branch does not identify it.
	legacy *legacy
}

// legacy is what the rules for RFC 2543 match by (RFC 3261 §17.2.3).
type legacy struct {
	request *sip.Message
	ackTag  string // the To tag of the final response, which the ACK has
}

func newIdentity(f sip.Flow, m *sip.Message) identity {
	v := m.Via()
	id := identity{v.Branch, v.Host, v.Port, intern(m.Method()), nil}
	if id.method == sip.INVITE || redials(f) {
		text := v.Branch + v.Host
		id.branch, id.host = text[:len(v.Branch)], text[len(v.Branch):]
	}
	if !v.HasMagicCookie() {
		id.legacy = &legacy{request: m}
	}
	return id
}

// intern returns a method that shares no memory with a message.
func intern(m sip.Method) sip.Method {
	switch m {
	case sip.INVITE:
		return sip.INVITE
	case sip.BYE:
		return sip.BYE
	case sip.REGISTER:
		return sip.REGISTER
	case sip.OPTIONS:
		return sip.OPTIONS
	case sip.CANCEL:
		return sip.CANCEL
	}
	return sip.Method(strings.Clone(string(m)))
}

// matches is RFC 3261 §17.2.3. Beyond what it asks for, a request has to come over the same
// stream flow or from the same UDP address: the branches of browsers are numbers of seven
// digits and all their sent-by are made up.
func (s *Server) matches(r *request) bool {
	v, id := r.Via(), &s.id
	if v.Branch != id.branch || v.Host != id.host || v.Port != id.port ||
		r.method != id.method || !sameSource(r.flow, s.flow, r.moved) {
		return false
	}
	if id.legacy == nil {
		return true
	}
	m := id.legacy.request
	return r.RequestURI() == m.RequestURI() &&
		r.toTag == m.ToTag() &&
		r.FromTag() == m.FromTag() &&
		r.CallID() == m.CallID() &&
		r.CSeq().Seq == m.CSeq().Seq
}

func sameSource(f, g sip.Flow, moved bool) bool {
	if (f.ID != 0 || g.ID != 0) && !(moved && redials(f) && f.Transport == g.Transport) {
		return f.ID == g.ID
	}
	return f.Remote.Addr() == g.Remote.Addr()
}

// find returns the transaction that r belongs to, nil for none.
func (l *Layer) find(r request) *Server {
	return l.servers.find(r.hash, func(s *Server) bool { return s.matches(&r) })
}

// findMoved is find for an ACK or CANCEL, which need not come over the connection of their
// INVITE: that may have closed, and been replaced by its sender, or by us for a response (RFC
// 3261 §18.2.2).
func (l *Layer) findMoved(r request) *Server {
	if s := l.find(r); s != nil || !redials(r.flow) {
		return s
	}
	r.moved = true
	return l.find(r)
}

// findInvite returns the transaction that an ACK belongs to, nil for none. The ACK of an RFC
// 2543 client has the To tag of the response, while the INVITE has the same or none.
func (l *Layer) findInvite(f sip.Flow, ack *sip.Message) *Server {
	s := l.findMoved(l.hash.request(f, ack, sip.INVITE, ack.ToTag()))
	if ack.Via().HasMagicCookie() {
		return s
	}
	if s == nil {
		s = l.findMoved(l.hash.request(f, ack, sip.INVITE, ""))
	}
	if s == nil || !s.answeredWith(ack.ToTag()) {
		return nil
	}
	return s
}

// answeredWith reports whether tag is the To tag of the final response, of the last one
// where an INVITE had several.
func (s *Server) answeredWith(tag string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id.legacy.ackTag == tag
}

// tag returns the To tag for the responses that this element itself gives to req. It is a
// keyed hash of the request, so that a request that was answered without a transaction gets
// the same tag when it is repeated (RFC 3261 §8.2.7), and a CANCEL the tag of its INVITE.
func (l *Layer) tag(req *sip.Message) string {
	v := req.Via()
	if v == nil {
		return ""
	}
	sum := l.hash.text(0, v.Branch)
	sum = l.hash.text(sum, v.Host)
	sum = l.hash.text(sum, req.CallID())
	sum = l.hash.text(sum, req.FromTag())
	sum = l.hash.number(sum, uint64(req.CSeq().Seq))
	return strconv.FormatUint(l.hash.number(sum, mix), 36)
}
