package proxy

import (
	"strconv"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
)

// defaultMinSE is the least that RFC 4028 §5 allows.
const defaultMinSE = 90 * time.Second

// sessionTimer is what is remembered of a request for its response (RFC 4028 §8.1).
type sessionTimer struct {
	interval uint32 // asked for in the request as it was forwarded; 0: it is not ours to see to
	uac      bool   // its sender supports session timers
}

// refreshes reports whether a request is a session refresh request (RFC 4028 §3).
func refreshes(m sip.Method) bool { return m == sip.INVITE || m == sip.UPDATE }

// timeSession is RFC 4028 §8.1: the session timer that a request asks for is kept above
// what it and we allow, and below what we want. Where none is asked for, one is only where
// the configuration says so.
func (p *Proxy) timeSession(c *responseContext) error {
	r := c.request
	if !r.msg.Has(sip.HSessionExpires) {
		if p.SessionExpires > 0 && refreshes(c.method) {
			p.askForTimer(c)
		}
		return nil
	}
	asked, _, err := r.msg.SessionExpires()
	if err != nil || !refreshes(c.method) {
		return nil // which means nothing here
	}
	least, ours := requestMinSE(r.msg), seconds(p.MinSE)
	uac := r.msg.HasToken(sip.HSupported, "timer")
	interval := asked
	switch {
	case asked >= ours:
	case uac && c.method == sip.INVITE:
		return &replyError{status: 422, edit: func(m *sip.Message) { m.Append(sip.HMinSE, format(ours)) }}
	case !uac && least < ours:
		least = ours
		r.editable().Set(sip.HMinSE, format(ours))
	}
	if p.SessionExpires > 0 {
		interval = min(interval, seconds(p.SessionExpires))
		c.timer = sessionTimer{max(interval, least), uac}
	}
	if interval = max(interval, least); interval != asked {
		setInterval(r.editable(), interval)
	}
	return nil
}

// askForTimer puts a session timer into a request that has none.
func (p *Proxy) askForTimer(c *responseContext) {
	r := c.request
	interval := max(seconds(p.SessionExpires), requestMinSE(r.msg))
	c.timer = sessionTimer{interval, r.msg.HasToken(sip.HSupported, "timer")}
	r.editable().Append(sip.HSessionExpires, format(interval))
}

// requestMinSE is the Min-SE of a request, 0 where there is none.
func requestMinSE(m *sip.Message) uint32 {
	if !m.Has(sip.HMinSE) {
		return 0
	}
	least, err := m.MinSE()
	if err != nil {
		return 0
	}
	return least
}

// setInterval changes the interval and leaves what stands behind it: no refresher is ours to
// name or to change.
func setInterval(m *sip.Message, interval uint32) {
	value, _ := m.Get(sip.HSessionExpires)
	m.Set(sip.HSessionExpires, format(interval)+strings.TrimLeft(value, "0123456789"))
}

// timeAnswer is RFC 4028 §8.2: where the called side knows no session timers and the calling
// one does, that one is told to refresh.
func (c *responseContext) timeAnswer(m *sip.Message) {
	t := c.timer
	if t.interval == 0 || !t.uac || m.Has(sip.HSessionExpires) || !refreshes(m.Method()) {
		return
	}
	m.Append(sip.HSessionExpires, format(t.interval)+";refresher=uac")
	m.Append(sip.HRequire, "timer")
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

func format(seconds uint32) string { return strconv.FormatUint(uint64(seconds), 10) }
