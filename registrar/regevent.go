package registrar

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/transaction"
	"github.com/sipway/sipway/store"
)

// RegEvent is the name of the event package (RFC 3680 §4.1).
const RegEvent = "reg"

const (
	// regDuration is how long a subscription lasts that asks for no time, and at most (RFC
	// 3680 §4.4); minRegDuration is the shortest that may be asked for.
	regDuration    = 3761 * time.Second
	minRegDuration = time.Minute

	// maxSubscriptions bounds the subscriptions in all, some 2 KB each, maxPerAOR those to
	// one user's registrations.
	maxSubscriptions = 20_000
	maxPerAOR        = 20
)

// Requester sends requests; a transaction layer.
type Requester interface {
	Request(f sip.Flow, m *sip.Message, h transaction.ClientHandler) (*transaction.Client, error)
}

// Notifier is the notifier of the registration event package (RFC 3680, RFC 6665, RFC 5628):
// it tells those who have subscribed to an AOR what becomes of its contacts. It is safe for
// concurrent use.
//
// Every subscription has one NOTIFY under way at most. What happens meanwhile is gathered,
// so that a subscriber who does not answer holds up nobody and nothing grows.
type Notifier struct {
	r         *Registrar
	requester Requester
	sentBy    func(f sip.Flow) (host string, port uint16)
	stops     [2]func()
	count     atomic.Int64 // of aors: with none, a change costs nothing

	// mu is taken before the locks of the store's memory and of the registrar's index.
	mu      sync.Mutex
	aors    map[string]*watchedAOR
	dialogs map[dialogID]*subscription
}

// watchedAOR is an AOR that somebody has subscribed to. Guarded by the notifier's mu.
type watchedAOR struct {
	aor    string
	known  []store.Binding        // what the subscribers were told of, or are about to be
	causes map[string]store.Event // why bindings went, by key, until that is seen
	subs   []*subscription
	looks  uint64      // how often somebody has begun to look at the bindings
	seen   uint64      // the latest look that was compared
	expiry *time.Timer // when the next binding expires
}

// NewNotifier returns a notifier for the registrar's AORs. sentBy is where peers reach us
// over a flow's transport, for Via and Contact.
func NewNotifier(r *Registrar, requester Requester, sentBy func(f sip.Flow) (host string, port uint16)) *Notifier {
	n := &Notifier{
		r: r, requester: requester, sentBy: sentBy,
		aors: make(map[string]*watchedAOR), dialogs: make(map[dialogID]*subscription),
	}
	n.stops = [2]func(){r.Watch(n.changed), r.store.Watch(n.changedElsewhere)}
	return n
}

// Close ends the subscriptions without telling anybody: whoever still wants to know finds
// out by his next SUBSCRIBE, which is answered with 481.
func (n *Notifier) Close() {
	for _, stop := range n.stops {
		stop()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.dialogs {
		n.drop(s)
	}
}

// Request processes a SUBSCRIBE of the event package to an AOR of ours, or to us within a
// dialog that such a one has made.
func (n *Notifier) Request(tx *transaction.Server) {
	q := &subscribe{Notifier: n, tx: tx, msg: tx.Request(), now: time.Now()}
	err := q.check()
	switch {
	case err != nil:
		q.refuse(err)
	case q.msg.ToTag() != "":
		q.refresh()
	default:
		q.begin()
	}
}

// subscribe is a SUBSCRIBE on its way.
type subscribe struct {
	*Notifier
	tx   *transaction.Server
	msg  *sip.Message
	now  time.Time
	aor  string
	user string
	host string

	target   string // the subscriber's contact
	event    string // value of Event
	id       string // its id parameter
	duration time.Duration
}

// check is RFC 6665 §4.2.1.1: what can be refused without knowing who asks.
func (q *subscribe) check() *refusal {
	for option := range q.msg.Values(sip.HRequire) {
		return &refusal{status: 420, header: sip.HUnsupported, value: option}
	}
	var err error
	if _, q.id, err = q.msg.Event(); err != nil {
		return badHeader(err)
	}
	if q.event = RegEvent; q.id != "" {
		q.event += ";id=" + q.id
	}
	if !q.accepted() {
		return &refusal{status: 406} // RFC 3680 §4.5
	}
	contacts, err := q.msg.Contacts()
	if err != nil {
		return badHeader(err)
	}
	if len(contacts) != 1 || contacts[0].Star {
		return &refusal{status: 400, reason: "One Contact Is Needed"}
	}
	if u, err := sip.ParseURI(contacts[0].URI); err != nil || !u.IsSIP() {
		return &refusal{status: 400, reason: "Bad Contact"}
	}
	q.target = contacts[0].URI
	return q.checkDuration()
}

// accepted reports whether the subscriber takes the documents that we write.
func (q *subscribe) accepted() bool {
	if !q.msg.Has(sip.HAccept) {
		return true
	}
	for value := range q.msg.Values(sip.HAccept) {
		media, _, _ := strings.Cut(value, ";")
		switch strings.ToLower(strings.TrimSpace(media)) {
		case reginfoType, "application/*", "*/*":
			return true
		}
	}
	return false
}

// checkDuration is RFC 6665 §4.2.1.1: a notifier may shorten the time, never lengthen it.
func (q *subscribe) checkDuration() *refusal {
	seconds, err := q.msg.Expires()
	switch {
	case errors.Is(err, sip.ErrMissing):
		q.duration = regDuration
	case err != nil:
		return badHeader(err)
	default:
		q.duration = min(time.Duration(seconds)*time.Second, regDuration)
	}
	if q.duration > 0 && q.duration < minRegDuration {
		return tooBrief(minRegDuration)
	}
	return nil
}

// begin makes a subscription: who asks must be the AOR's user, or somebody who may register
// it (RFC 3680 §4.6).
func (q *subscribe) begin() {
	uri, err := q.msg.URI()
	if err != nil {
		q.refuse(&refusal{status: 400, reason: "Bad Request-URI"})
		return
	}
	var ours bool
	if q.host, ours = q.r.ownDomain(uri.Host); !ours || !uri.IsSIP() || uri.User == "" {
		q.refuse(&refusal{status: 404})
		return
	}
	q.user = uri.UserUnescaped()
	q.aor = q.user + "@" + q.host
	if q.r.auth.Bound(q.tx.Flow(), q.aor) {
		q.look()
		return
	}
	q.r.auth.Authenticate(q.tx.Flow(), q.msg, q.host, false, func(d auth.Decision) {
		switch {
		case !d.OK():
			q.sent(auth.Reject(q.tx, d))
		case d.Outcome != auth.Trusted && d.AOR() != q.aor && !(d.Domain == q.host && q.r.thirdParties[d.AOR()]):
			q.refuse(&refusal{status: 403, reason: "Not Your Address-of-Record"})
		case d.AOR() == q.aor:
			q.look()
		default:
			q.checkUser()
		}
	})
}

// checkUser refuses a subscription to a user who does not exist.
func (q *subscribe) checkUser() {
	if q.r.cfg.AnyUser {
		q.look()
		return
	}
	if _, exists, known := q.r.store.CachedUser(q.user, q.host); known {
		q.known(exists, nil)
		return
	}
	q.wait(func(ctx context.Context) {
		_, err := q.r.store.User(ctx, q.user, q.host)
		q.known(err == nil, err)
	})
}

func (q *subscribe) known(exists bool, err error) {
	switch {
	case exists:
		q.look()
	case err == nil || errors.Is(err, store.ErrNotFound):
		q.refuse(&refusal{status: 404, reason: "No Such User"})
	default:
		q.refuse(busy(""))
	}
}

// look finds out what there is to be told.
func (q *subscribe) look() {
	if bindings, known := q.r.Lookup(q.aor); known {
		q.accept(bindings)
		return
	}
	q.wait(func(ctx context.Context) {
		bindings, err := q.r.LookupStore(ctx, q.aor)
		if err != nil {
			q.refuse(busy(""))
			return
		}
		q.accept(bindings)
	})
}

// wait runs f where it may block.
func (q *subscribe) wait(f func(ctx context.Context)) {
	started := q.r.tasks.start(func() {
		ctx, cancel := context.WithTimeout(context.Background(), q.r.cfg.StoreTimeout)
		defer cancel()
		f(ctx)
	})
	if !started {
		q.refuse(busy(""))
	}
}

// accept answers with 200 and sends the first NOTIFY, which has the full state.
func (q *subscribe) accept(bindings []store.Binding) {
	m := q.response(q.duration)
	s := newSubscription(q, m.ToTag())
	if err := q.add(s, bindings); err != nil {
		q.refuse(err)
		return
	}
	q.respond(m, s)
}

// response is the 200: a dialog begins with it (RFC 6665 §4.2.1.1, RFC 3261 §12.1.1).
func (q *subscribe) response(duration time.Duration) *sip.Message {
	m := q.tx.NewResponse(200, "")
	for route := range q.msg.Lines(sip.HRecordRoute) {
		m.Append(sip.HRecordRoute, route)
	}
	m.Append(sip.HContact, q.contact(q.tx.Flow()))
	m.Append(sip.HExpires, strconv.Itoa(int(duration/time.Second)))
	return m
}

// respond sends the 200 and then lets NOTIFYs go.
func (q *subscribe) respond(m *sip.Message, s *subscription) {
	if err := q.tx.Respond(m); err != nil {
		q.sent(err)
		q.mu.Lock()
		q.drop(s)
		q.mu.Unlock()
		return
	}
	q.mu.Lock()
	s.sending = false
	s.full, s.changes = true, nil
	if q.duration == 0 {
		s.ended = "timeout" // RFC 6665 §4.4.3, §4.2.1.4
	}
	due := q.due(s)
	q.mu.Unlock()
	q.send(due)
}

// refresh is a SUBSCRIBE within the dialog of a subscription, whose tag only the two sides
// know: it needs no challenge.
func (q *subscribe) refresh() {
	id := dialogID{q.msg.CallID(), q.msg.ToTag(), q.msg.FromTag(), q.id}
	q.mu.Lock()
	s := q.dialogs[id]
	if s == nil || s.ended != "" {
		q.mu.Unlock()
		q.refuse(&refusal{status: 481}) // RFC 6665 §4.1.2.2
		return
	}
	if seq := q.msg.CSeq().Seq; seq <= s.remoteCSeq {
		q.mu.Unlock()
		q.refuse(&refusal{status: 500, reason: "CSeq Not Higher Than Before"}) // RFC 3261 §12.2.2
		return
	}
	s.refreshed(q)
	q.mu.Unlock()
	m := q.response(q.duration)
	if err := q.tx.Respond(m); err != nil {
		q.sent(err)
	}
	q.mu.Lock()
	s.full, s.changes = true, nil
	if q.duration == 0 {
		s.ended = "timeout"
	}
	due := q.due(s)
	q.mu.Unlock()
	q.send(due)
}

func (q *subscribe) refuse(r *refusal) {
	m := q.tx.NewResponse(r.status, r.reason)
	if r.header != sip.HUnknown {
		m.Append(r.header, r.value)
	}
	q.sent(q.tx.Respond(m))
}

// sent takes the error of sending a response, of which there is nothing more to be done.
func (q *subscribe) sent(err error) {
	if err != nil {
		q.r.cfg.Logger.Debug("response to SUBSCRIBE not sent", "aor", q.aor, "error", err)
	}
}
