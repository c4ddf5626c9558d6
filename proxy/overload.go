package proxy

import (
	"strconv"
	"strings"

	"github.com/sipway/sipway/sip"
)

// Seconds that those are told to wait who are refused for want of room: somebody who calls
// tries again soon, what a program sends can wait.
const (
	retryCall  = 5
	retryOther = 30
)

// Stats are counts of a [Proxy].
type Stats struct {
	Calls   int   // INVITEs outside a dialog that are being answered
	Merging int   // requests that may arrive a second time
	Refused int64 // calls that were answered with 503 for want of room, or at the end
	// Parked is how many waits there are for users whose flow broke just now, CameBack and
	// InVain how many ended with the user's return and without it.
	Parked           int
	CameBack, InVain int64
	// Finals counts calls by the class of their first final response, 2 to 6.
	Finals [7]int64
}

// Stats returns the counts of this moment.
func (p *Proxy) Stats() Stats {
	p.merges.mu.Lock()
	defer p.merges.mu.Unlock()
	s := Stats{Calls: int(p.calls.Load()), Merging: len(p.merges.running), Refused: p.refused.Load()}
	s.Parked, s.CameBack, s.InVain = int(p.parked.Load()), p.cameBack.Load(), p.inVain.Load()
	for class := range s.Finals {
		s.Finals[class] = p.finals[class].Load()
	}
	return s
}

// tally counts the first final response to a call.
func (c *responseContext) tally(status int) {
	if status >= 200 && c.counted && !c.tallied.Swap(true) {
		c.proxy.finals[min(status/100, 6)].Add(1)
	}
}

// Priority reports whether a request is to be served when others are refused: one within a
// dialog, as it ends or keeps work that was accepted, and a call for help. It may look at
// any request, be it for the proxy or not.
func (p *Proxy) Priority(m *sip.Message) bool { return m.ToTag() != "" || p.emergency(m) }

// emergency reports whether a request is for an emergency service: by its URN (RFC 5031
// §4.2) or by one of the configured numbers.
func (p *Proxy) emergency(m *sip.Message) bool {
	uri := m.RequestURI()
	if isSOS(uri) || len(p.numbers) == 0 {
		return isSOS(uri)
	}
	_, number, _ := strings.Cut(uri, ":")
	if end := strings.IndexAny(number, "@;?"); end >= 0 {
		number = number[:end]
	}
	return p.numbers[number]
}

// isSOS reports whether a URI is that of the emergency services, or of one of them.
func isSOS(uri string) bool {
	const sos = "urn:service:sos"
	return len(uri) >= len(sos) && equalFold(uri[:len(sos)], sos) && (len(uri) == len(sos) || uri[len(sos)] == '.')
}

// admit counts a call that begins, and refuses it where there are too many (RFC 3261
// §21.5.4). An eighth more is kept for emergencies.
func (p *Proxy) admit(c *responseContext) error {
	m := c.request.msg
	if c.method != sip.INVITE || m.ToTag() != "" {
		return nil
	}
	if p.draining.Load() && !p.emergency(m) {
		p.refused.Add(1)
		return unavailable(retryCall)
	}
	limit := int64(p.MaxCalls)
	if p.calls.Add(1) > limit && (!p.emergency(m) || p.calls.Load() > limit+limit/8+1) {
		p.calls.Add(-1)
		p.refused.Add(1)
		return unavailable(retryCall)
	}
	c.counted = true
	return nil
}

// Drain has new calls refused from now on, but for those for help; those that are being set up
// and requests within dialogs go on.
func (p *Proxy) Drain() { p.draining.Store(true) }

// unavailable is a 503 with the seconds after which to try again.
func unavailable(seconds int) error {
	return &replyError{status: 503, edit: func(m *sip.Message) {
		m.Append(sip.HRetryAfter, strconv.Itoa(seconds))
	}}
}

// contextEnded hears that a request has its final response and no branch is left.
func (p *Proxy) contextEnded(c *responseContext) {
	p.leave(c.merge)
	if c.counted {
		p.calls.Add(-1)
	}
}
