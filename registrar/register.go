package registrar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/transaction"
	"github.com/sipway/sipway/store"
)

// request is a REGISTER on its way through the steps of RFC 3261 §10.3.
type request struct {
	*Registrar
	tx       *transaction.Server
	msg      *sip.Message
	now      time.Time
	domain   string // of the Request-URI
	decision auth.Decision
	user     string // of the AOR, without escapes
	update   store.Update
	first    [1]store.Binding // room for the usual one contact
	adds     int              // how many contacts the update binds
	direct   bool             // the request came straight from the user agent
	outbound bool             // its reg-id means something (RFC 5626 §6)
	flow     bool             // it registers or removes a flow
	fresh    bool             // its AOR was not bound over its flow before
	natted   bool             // it binds a contact that is not where it came from

	// These stay with the memory, which is used again.
	then   func(auth.Decision)       // authenticated
	tell   func(store.Result, error) // told
	fields []byte                    // room for what a 200 says
}

// ended are requests that are over. What a REGISTER needs would be a third of its garbage.
var ended sync.Pool // of *request

func (r *Registrar) begin(tx *transaction.Server) *request {
	q, _ := ended.Get().(*request)
	if q == nil {
		q = new(request)
		q.then, q.tell = q.authenticated, q.told
	}
	q.Registrar, q.tx, q.msg, q.now = r, tx, tx.Request(), time.Now()
	return q
}

// keptFields bounds the room that a request holds on to.
const keptFields = 4 << 10

// done ends the request, whose memory is another's then.
func (q *request) done() {
	if cap(q.fields) > keptFields {
		q.fields = nil
	}
	*q = request{then: q.then, tell: q.tell, fields: q.fields}
	ended.Put(q)
}

// Request processes a REGISTER for a domain of ours.
func (r *Registrar) Request(tx *transaction.Server) {
	q := r.begin(tx)
	err := q.checkDomain()
	if err == nil {
		err = q.checkRequire()
	}
	if err != nil {
		q.refuse(err)
		q.done()
		return
	}
	// Step 3.
	r.auth.Authenticate(tx.Flow(), q.msg, q.domain, false, q.then)
}

// checkDomain is step 1: do we have bindings for the domain of the Request-URI?
func (q *request) checkDomain() *refusal {
	var ours bool
	if q.domain, ours = q.uris[q.msg.RequestURI()]; ours {
		return nil
	}
	uri, err := q.msg.URI()
	if err != nil {
		return &refusal{status: 400, reason: "Bad Request-URI"}
	}
	if !uri.IsSIP() {
		return &refusal{status: 416} // RFC 3261 §8.2.2.1
	}
	if q.domain, ours = q.ownDomain(uri.Host); !ours {
		return &refusal{status: 404, reason: "Domain Not Served Here"}
	}
	return nil
}

// checkRequire is step 2: whatever the client insists on must be supported (RFC 3261
// §8.2.2.3). We are the proxy in front of the registrar as well, so this goes for
// Proxy-Require too (RFC 3261 §16.3 step 5).
func (q *request) checkRequire() *refusal {
	if !q.msg.Has(sip.HRequire) && !q.msg.Has(sip.HProxyRequire) {
		return nil
	}
	var unknown []string
	for _, id := range [...]sip.HeaderID{sip.HRequire, sip.HProxyRequire} {
		for option := range q.msg.Values(id) {
			if !slices.ContainsFunc(understood[:], func(o string) bool { return strings.EqualFold(o, option) }) {
				unknown = append(unknown, option)
			}
		}
	}
	if unknown == nil {
		return nil
	}
	return &refusal{status: 420, header: sip.HUnsupported, value: strings.Join(unknown, ", ")}
}

// authenticated goes on once it is known who sends the request.
func (q *request) authenticated(d auth.Decision) {
	if !d.OK() {
		q.logRejected(&d)
		q.sent(auth.Reject(q.tx, d))
		q.tx.Release(q.msg)
		q.done()
		return
	}
	q.decision, q.direct = d, q.firstHop()
	err := q.checkAOR()
	if err == nil {
		err = q.checkOwner()
	}
	if err == nil {
		err = q.readContacts()
	}
	if err != nil {
		q.refuse(err)
		q.done()
		return
	}
	switch {
	case q.cfg.Inline:
		q.commit(context.Background())
	case q.commitLater():
	case !q.tasks.start(q.waitForStore):
		q.refuse(busy("Too Many Registrations in Progress"))
		q.done()
	}
}

// checkAOR is step 5: the AOR of the To header field must be one of the domain. It is
// brought into its canonical form: no parameters, no escapes. A sips AOR is the same as
// the sip one (RFC 5630 §4.1); a tel URI is no AOR (RFC 3261 §10.2).
func (q *request) checkAOR() *refusal {
	to, err := sip.ParseURI(q.msg.To().URI)
	if err != nil {
		return &refusal{status: 400, reason: "Bad To"}
	}
	host, ours := q.ownDomain(to.Host)
	q.user = to.UserUnescaped()
	if !to.IsSIP() || !ours || host != q.domain || q.user == "" || strings.ContainsFunc(q.user, isControl) {
		return &refusal{status: 404, reason: "No Address-of-Record of This Domain"}
	}
	q.update = store.Update{
		AOR:    q.user + "@" + host,
		CallID: q.msg.CallID(), CSeq: q.msg.CSeq().Seq,
		Now: q.now, MaxContacts: q.limits.Load().MaxContacts,
	}
	return nil
}

func isControl(c rune) bool { return c < 0x20 || c == 0x7f }

// checkOwner is step 4: a user registers nobody else. A trusted peer may, and so may a user
// who was made a third party, within the domain.
func (q *request) checkOwner() *refusal {
	d := &q.decision
	if d.Outcome == auth.Trusted || d.Domain == q.domain && (d.User == q.user || q.thirdParties[d.AOR()]) {
		return nil
	}
	return &refusal{status: 403, reason: "Not Your Address-of-Record"}
}

// waitForStore commits on a goroutine of its own.
func (q *request) waitForStore() {
	ctx, cancel := context.WithTimeout(context.Background(), q.cfg.StoreTimeout)
	defer cancel()
	q.commit(ctx)
}

// commit is the end of steps 6 and 7: all of the update is made durable or nothing of it. The
// REGISTER is answered then. Where the store has an error it may go on to read the update, whose
// memory is then not used again.
func (q *request) commit(ctx context.Context) {
	defer q.tx.Release(q.msg)
	if err := q.checkUser(ctx); err != nil {
		q.failed(err)
		return
	}
	q.noteFlow()
	result, err := q.store.Register(ctx, q.update)
	if errors.Is(err, store.ErrTooManyContacts) && q.makeRoom(ctx) {
		result, err = q.store.Register(ctx, q.update)
	}
	q.committed(&result, err)
}

// commitLater is commit where the store says later what became of the update. It does nothing
// where something would have to be waited for besides.
func (q *request) commitLater() bool {
	if q.later == nil || !q.owner() || !q.tasks.enter(maxTasks) {
		return false
	}
	q.noteFlow()
	if !q.later.RegisterLater(q.update, q.tell) {
		q.tasks.done()
		return false
	}
	return true
}

// told hears what became of the update.
func (q *request) told(result store.Result, err error) {
	defer q.tasks.done()
	if errors.Is(err, store.ErrTooManyContacts) && q.tasks.start(q.waitForStore) {
		return // there may be room to be made, which takes the store
	}
	defer q.tx.Release(q.msg)
	q.committed(&result, err)
}

// noteFlow notes what the update binds over a flow that may close.
func (q *request) noteFlow() {
	if q.bindsFlow() && q.index.add(q.tx.Flow().ID, q.update.AOR) {
		q.fresh = true
	}
}

func (q *request) bindsFlow() bool { return q.adds > 0 && q.tx.Flow().ID != 0 }

// committed answers the REGISTER when the store is done.
func (q *request) committed(result *store.Result, err error) {
	f, bindsFlow := q.tx.Flow(), q.bindsFlow()
	// If the flow closed while the store was busy, Closed may have come too early to void
	// what was bound. Whether anything was is not even certain if there is an error.
	if bindsFlow && !q.flows.Alive(f) {
		q.index.add(f.ID, q.update.AOR) // Closed may have taken the note
		q.Closed(f)
		q.refuse(busy("Flow Closed"))
		return
	}
	if err != nil {
		q.failed(err)
		return
	}
	if bindsFlow {
		q.noteContacts(f)
	}
	q.bindFlow(f, result.Bindings)
	q.logDone(result)
	q.ok(q.reachable(result.Bindings))
	q.watchers.tellResult(result)
	if q.adds > 0 {
		if q.natted {
			q.keepNAT(f, result.Bindings)
		}
		q.returns.came(f, q.update.AOR, result.Bindings, q.fresh)
	}
	if q.fresh {
		q.probeOthers(f, result.Bindings)
	}
	q.done()
}

// checkUser makes sure that a user exists who was registered by somebody else; one who was
// authenticated does.
func (q *request) checkUser(ctx context.Context) error {
	if q.owner() || q.cfg.AnyUser {
		return nil
	}
	_, exists, known := q.store.CachedUser(q.user, q.domain)
	if !known {
		_, err := q.store.User(ctx, q.user, q.domain)
		return err
	}
	if !exists {
		return store.ErrNotFound
	}
	return nil
}

// owner reports whether it is the user of the AOR who was authenticated.
func (q *request) owner() bool {
	d := &q.decision
	return d.Outcome == auth.Authenticated && d.User == q.user && d.Domain == q.domain
}

// makeRoom allows for what there is no room for, and reports whether trying again is of use.
func (q *request) makeRoom(ctx context.Context) bool {
	q.update.DropOldest = q.cfg.DropOldest
	return q.dropUnreachable(ctx) || q.cfg.DropOldest
}

// dropUnreachable adds to the update the removal of bindings that can't be reached any
// more and only take up room: those of browsers that were connected before a restart, or
// whose end the store has not yet heard of. It reports whether there are any. The others
// must show that they are there, so that there is room at the next attempt.
func (q *request) dropUnreachable(ctx context.Context) bool {
	bindings, err := q.store.Lookup(ctx, q.update.AOR, q.now)
	if err != nil {
		return false
	}
	var dead []store.Binding
	for i := range bindings {
		if !q.canReach(&bindings[i]) {
			dead = append(dead, store.Binding{Key: bindings[i].Key})
		} else {
			q.probe(&bindings[i], &q.update.Bindings[0])
		}
	}
	// In front: what the request says of the same binding comes later and counts.
	q.update.Bindings = append(dead, q.update.Bindings...)
	return len(dead) > 0
}

// bindFlow lets the user be believed on the connection for as long as a binding over it
// lives.
func (q *request) bindFlow(f sip.Flow, bindings []store.Binding) {
	if f.ID == 0 || !q.owner() || !q.direct {
		return
	}
	var until time.Time
	for i := range bindings {
		b := &bindings[i]
		if b.Over(q.cfg.Node, q.cfg.Epoch, f.ID) && b.Expires.After(until) {
			until = b.Expires
		}
	}
	q.auth.Bind(f, q.update.AOR, until)
}

// firstHop reports whether the request came straight from the user agent (RFC 5626 §6).
func (q *request) firstHop() bool {
	vias := 0
	for range q.msg.Values(sip.HVia) {
		if vias++; vias > 1 {
			return false
		}
	}
	return true
}
