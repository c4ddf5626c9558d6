package proxy

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"github.com/sipway/sipway/sip"
)

// Late2xx says what becomes of a 2xx to an INVITE that was answered with a 2xx before, by
// another phone.
type Late2xx uint8

const (
	// LateAuto is LateTerminate for a caller on a WebSocket, and else LateForward.
	LateAuto Late2xx = iota
	// LateForward passes it upstream, as RFC 3261 §16.7 step 5 demands: the caller has two
	// calls, and ends one of them.
	LateForward
	// LateTerminate acknowledges and ends it in the caller's place. The caller hears of one
	// call only. JsSIP, given two, ends the one that it goes on to show as established.
	LateTerminate
)

// terminates reports whether the caller is spared further 2xx.
func (c *responseContext) terminates() bool {
	switch c.proxy.Late2xx {
	case LateForward:
		return false
	case LateTerminate:
		return true
	}
	return c.tx.Flow().Transport.WebSocket()
}

// isLate reports whether a 2xx belongs to another dialog than the one that was forwarded
// first, and is not to be forwarded. Retransmissions belong to the same. The caller holds
// mu, and has noted the winner.
func (c *responseContext) isLate(b *branch, m *sip.Message) bool {
	return c.method == sip.INVITE && c.winner != nil &&
		(c.winner != b || c.winnerTag != c.proxy.tagHash(m)) && c.terminates()
}

// orphaned reports whether a 2xx comes to an INVITE whose caller has been given another final
// response: his transaction takes none after it, so the one who answered would be connected to
// nobody. The caller holds mu.
func (c *responseContext) orphaned(m *sip.Message) bool {
	return c.answered && c.winner == nil && m.Method() == sip.INVITE
}

func (p *Proxy) tagHash(m *sip.Message) uint64 { return maphash.String(p.loopSeed, m.ToTag()) }

// maxEnded bounds the dialogs of one branch that are ended, which forks behind it make.
const maxEnded = 16

// terminate sends the ACK of a late 2xx, and once for each dialog the BYE, over the flow that
// its INVITE took.
func (c *responseContext) terminate(b *branch, flow sip.Flow, ok *sip.Message) {
	c.mu.Lock()
	tag := c.proxy.tagHash(ok)
	first := !slices.Contains(b.ended, tag) && len(b.ended) < maxEnded
	if first {
		b.ended = append(b.ended, tag)
	}
	c.mu.Unlock()
	p := c.proxy
	p.Logger.Info("second answer ended", "call-id", c.callID, "flow", flow)
	ack, err := p.lateRequest(flow, ok, sip.ACK, ok.CSeq().Seq)
	if err == nil {
		err = p.Transactions.Send(flow, ack)
	}
	if err == nil && first {
		var bye *sip.Message
		if bye, err = p.lateRequest(flow, ok, sip.BYE, ok.CSeq().Seq+1); err == nil {
			bye.Append(sip.HReason, reasonElsewhere)
			_, err = p.Transactions.Request(flow, bye, nil)
		}
	}
	if err != nil {
		p.Logger.Debug("late 2xx not ended", "call-id", c.callID, "error", err)
	}
}

// lateRequest makes a request within the dialog of a 2xx as its caller would (RFC 3261
// §12.2.1.1), with the part of the route set that lies between us and the callee.
func (p *Proxy) lateRequest(flow sip.Flow, ok *sip.Message, method sip.Method, seq uint32) (*sip.Message, error) {
	contacts, err := ok.Contacts()
	if err != nil || len(contacts) == 0 {
		return nil, refuse(400, "Bad Contact")
	}
	var routes []string
	for value := range ok.Values(sip.HRecordRoute) {
		if p.ownRouteValue(value) {
			break
		}
		routes = append(routes, value)
	}
	slices.Reverse(routes)

	m := sip.NewRequest(method, contacts[0].URI)
	m.PushVia(p.via(flow, 0))
	m.SetMaxForwards(70)
	if len(routes) > 0 {
		m.Append(sip.HRoute, strings.Join(routes, ", "))
	}
	for _, id := range [...]sip.HeaderID{sip.HFrom, sip.HTo, sip.HCallID} {
		value, _ := ok.Get(id)
		m.Append(id, value)
	}
	m.Append(sip.HCSeq, strconv.FormatUint(uint64(seq), 10)+" "+string(method))
	m.Append(sip.HContentLength, "0")
	return m, strictRoute(m)
}

func (p *Proxy) ownRouteValue(value string) bool {
	a, err := sip.ParseAddress(value)
	if err != nil {
		return false
	}
	u, err := sip.ParseURI(a.URI)
	if err != nil {
		return false
	}
	_, own := p.ownRoute(&u)
	return own
}
