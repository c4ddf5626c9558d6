package proxy

import "github.com/sipway/sipway/sip"

// best is RFC 3261 §16.7 step 6: it chooses among the final responses. The caller holds mu.
// A 408 to another request than an INVITE ends at the server transaction (RFC 4320 §4.2).
func (c *responseContext) best() *sip.Message {
	var best *sip.Message
	for _, m := range c.request.finals {
		if best == nil || rank(m.Status()) < rank(best.Status()) {
			best = m
		}
	}
	if best == nil {
		return c.tx.NewResponse(408, "")
	}
	switch best.Status() {
	case 401, 407:
		c.aggregate(best)
	case 430:
		// It is for the proxy that looked the flow up; a caller can do nothing with it (RFC
		// 5626 §7).
		if c.home {
			return c.tx.NewResponse(480, "")
		}
	case 503:
		// It would say that nothing at all can be served here; only the one who sent it
		// can't.
		return c.tx.NewResponse(500, "Next Hop Unavailable")
	}
	return best
}

// rank orders status codes, the best one lowest: 6xx first, then the lowest class; within
// 4xx what tells the client how to do better, then what a person decided, and last what
// merely says that nobody was there.
func rank(status int) int {
	if status >= 600 {
		return status - 600
	}
	class := status / 100 * 1000
	switch status {
	case 401, 407:
		return class
	case 415, 420, 484:
		return class + 1
	case 404, 410:
		return class + 600
	case 430, 480:
		return class + 700
	case 482: // a UA that was called by itself, or twice: it speaks for nobody else
		return class + 750
	case 487:
		return class + 800
	case 408:
		return class + 900
	}
	return class + status%100 + 10
}

// aggregate is RFC 3261 §16.7 step 7: the challenges of all branches go upstream together.
func (c *responseContext) aggregate(best *sip.Message) {
	for _, m := range c.request.finals {
		if m == best || m.Status() != 401 && m.Status() != 407 {
			continue
		}
		for _, id := range [...]sip.HeaderID{sip.HWWWAuthenticate, sip.HProxyAuthenticate} {
			for challenge := range m.Lines(id) {
				best.Append(id, challenge)
			}
		}
	}
}
