package registrar

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// supported are the extensions of a 200 (RFC 5627 §5.2 wants gruu to be left out), understood
// those that a REGISTER may require.
const supported = "path, outbound"

var understood = [...]string{"path", "outbound", "gruu"}

// dateText writes times as SIP-date (RFC 3261 §25.1), each second once.
type dateText struct {
	last atomic.Pointer[secondText]
}

type secondText struct {
	second int64
	text   string
}

func (d *dateText) at(t time.Time) string {
	if last := d.last.Load(); last != nil && last.second == t.Unix() {
		return last.text
	}
	fresh := &secondText{t.Unix(), t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}
	d.last.Store(fresh)
	return fresh.text
}

// refusal is a response other than 200.
type refusal struct {
	status int
	reason string       // "" for the standard phrase
	header sip.HeaderID // with value: what the status asks for, or HUnknown
	value  string
}

// badHeader answers a header field that can't be read.
func badHeader(err error) *refusal {
	reason := ""
	if e, ok := errors.AsType[*sip.Error](err); ok {
		reason = "Bad " + e.Header + ": " + e.Reason
	}
	return &refusal{status: 400, reason: reason}
}

func tooBrief(least time.Duration) *refusal {
	return &refusal{status: 423, header: sip.HMinExpires, value: strconv.Itoa(int(least / time.Second))}
}

func tooLong(header string) *refusal { return &refusal{status: 400, reason: header + " Too Long"} }

func tooMany() *refusal { return &refusal{status: 403, reason: "Too Many Contacts"} }

// busy asks the client to come again. All of them do when the store is back, so they are
// asked to come at different times.
func busy(reason string) *refusal {
	seconds := 5 + rand.IntN(20)
	return &refusal{status: 503, reason: reason, header: sip.HRetryAfter, value: strconv.Itoa(seconds)}
}

// refuse answers the request with anything but 200.
func (q *request) refuse(r *refusal) {
	q.log(slog.LevelInfo, "registration refused", slog.Int("status", r.status), slog.String("reason", r.reason))
	m := q.tx.NewResponse(r.status, r.reason)
	if r.header != sip.HUnknown {
		m.Append(r.header, r.value)
	}
	q.sent(q.tx.Respond(m))
	m.Release()
}

// failed answers what the store did not do.
func (q *request) failed(err error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		q.refuse(&refusal{status: 404, reason: "No Such User"})
	case errors.Is(err, store.ErrTooManyContacts):
		q.refuse(tooMany())
	case errors.Is(err, store.ErrOrder):
		// RFC 3261 §10.3 step 7: "the update MUST be aborted and the request fails", as
		// every update does that can't be committed, with 500.
		q.refuse(&refusal{status: 500, reason: "CSeq Not Higher Than Before"})
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		q.storeFailed(err)
		q.refuse(busy(""))
	default:
		q.storeFailed(err)
		q.refuse(&refusal{status: 500})
	}
}

// ok is step 8: a 200 with all current bindings.
func (q *request) ok(bindings []store.Binding) {
	b := q.fields[:0]
	if len(bindings) > 0 {
		b = q.appendContacts(b, bindings)
	}
	for path := range q.msg.Lines(sip.HPath) {
		b = sip.AppendField(b, sip.HPath, path) // RFC 3327 §5.3
	}
	if q.serviceRoute != "" {
		b = sip.AppendField(b, sip.HServiceRoute, q.serviceRoute) // RFC 3608 §6.1
	}
	b = q.appendOutbound(b)
	if next := q.decision.NextNonce; next != "" {
		b = sip.AppendField(b, sip.HAuthenticationInfo, `nextnonce="`+next+`"`) // RFC 7616 §3.5
	}
	b = sip.AppendField(b, sip.HSupported, supported)
	b = sip.AppendField(b, sip.HDate, q.date.at(q.now))
	q.fields = b
	q.sent(q.tx.ReplyWith(200, "", b))
}

// appendContacts writes the bindings as values of one Contact line. Each has its URI and
// parameters byte for byte, by which a client knows its own, and the time it has left,
// without which SIP.js registers again at once and for ever.
func (q *request) appendContacts(list []byte, bindings []store.Binding) []byte {
	gruus := q.gruus != nil && q.supports("gruu")
	list = append(append(list, sip.HContact.String()...), ": "...)
	for i := range bindings {
		b := &bindings[i]
		if i > 0 {
			list = append(list, ", "...)
		}
		list = append(append(append(list, '<'), b.Contact...), '>')
		list = append(append(list, b.Params...), ";expires="...)
		list = strconv.AppendInt(list, q.remaining(b, q.now), 10)
		if gruus && b.Instance != "" {
			list = q.appendGRUUs(list, b, bindings)
		}
	}
	return append(list, "\r\n"...)
}

// remaining is the time, in seconds, that a client is told its binding has left: less than
// it has, by the grace. Within that it is told a second, for 0 would say that it is gone.
func (r *Registrar) remaining(b *store.Binding, now time.Time) int64 {
	// The store keeps milliseconds, which must not cost the client a whole second.
	left := b.Expires.Sub(now) - r.cfg.Grace + time.Millisecond
	return max(int64(left/time.Second), 1)
}

// sent takes the error of sending a response: the client is gone then, and its flow's end
// is dealt with by Closed.
func (q *request) sent(err error) {
	if err != nil {
		q.log(slog.LevelDebug, "response to REGISTER not sent", slog.Any("error", err))
	}
}

// logRejected logs why a request was not let pass, as who tries passwords must not fill
// the log: one a second. A challenge is part of every registration.
func (q *request) logRejected(d *auth.Decision) {
	level := slog.LevelInfo
	if d.Outcome == auth.Challenged || !q.rejects.due() {
		level = slog.LevelDebug
	}
	q.log(level, "registration not authenticated", slog.Int("status", d.Status),
		slog.String("outcome", d.Outcome.String()), slog.String("cause", d.Cause))
}

func (q *request) logDone(r *store.Result) {
	level, text := slog.LevelDebug, "registration refreshed"
	switch {
	case r.Added > 0 && r.Added >= r.Removed:
		level, text = slog.LevelInfo, "registered"
	case r.Removed > 0:
		level, text = slog.LevelInfo, "unregistered"
	}
	q.log(level, text, slog.Int("added", r.Added), slog.Int("removed", r.Removed),
		slog.Int("contacts", len(r.Bindings)))
}

// log adds what tells one REGISTER from another.
func (q *request) log(level slog.Level, text string, attrs ...slog.Attr) {
	ctx := context.Background()
	if !q.cfg.Logger.Enabled(ctx, level) {
		return
	}
	aor := q.update.AOR
	if aor == "" {
		aor = q.msg.To().URI
	}
	q.cfg.Logger.LogAttrs(ctx, level, text, append([]slog.Attr{
		slog.String("aor", aor), slog.String("flow", q.tx.Flow().String()), slog.String("call-id", q.msg.CallID()),
	}, attrs...)...)
}

func (q *request) storeFailed(err error) {
	q.alarm.raise(q.cfg.Logger, "registration failed in the store", slog.String("aor", q.update.AOR), slog.Any("error", err))
}
