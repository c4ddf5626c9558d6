package registrar

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/transaction"
	"github.com/sipway/sipway/store"
)

const (
	// notifyInterval is the shortest average time between two NOTIFYs to a subscriber (RFC
	// 3680 §4.10), notifyBurst how many may come at once after a quiet time.
	notifyInterval = 5 * time.Second
	notifyBurst    = 5

	// maxChanges is how many changes are gathered for a subscriber; above it the next NOTIFY
	// has the full state.
	maxChanges = 50
)

// dialogID identifies a subscription (RFC 6665 §4.4.1).
type dialogID struct{ callID, localTag, remoteTag, event string }

// subscription is one subscription with its dialog. Guarded by the notifier's mu; what was
// given to newSubscription does not change.
type subscription struct {
	n    *Notifier
	w    *watchedAOR // nil once it is over
	id   dialogID
	aor  string
	from string // values of From, To and Event in NOTIFY
	to   string

	event  string
	routes string // value of Route (RFC 3261 §12.1.1)

	target      string // the subscriber's contact
	flow        sip.Flow
	remoteCSeq  uint32
	localCSeq   uint32
	expires     time.Time
	expiry      *time.Timer
	version     uint32    // of the next document
	nextAllowed time.Time // of the NOTIFYs, if they came at regular intervals
	wake        *time.Timer

	sending bool // a NOTIFY has no final response yet, or the 200 is on its way
	full    bool // the next NOTIFY has the full state
	changes []contactChange
	ended   string // why it is over, which the last NOTIFY has to say
}

func newSubscription(q *subscribe, localTag string) *subscription {
	from, _ := q.msg.Get(sip.HFrom)
	s := &subscription{
		n: q.Notifier, aor: strings.Clone(q.aor),
		id:      dialogID{strings.Clone(q.msg.CallID()), strings.Clone(localTag), strings.Clone(q.msg.FromTag()), strings.Clone(q.id)},
		from:    "<" + q.msg.To().URI + ">;tag=" + localTag,
		to:      strings.Clone(from),
		event:   strings.Clone(q.event),
		routes:  strings.Clone(strings.Join(slices.Collect(q.msg.Lines(sip.HRecordRoute)), ", ")),
		sending: true,
	}
	s.refreshed(q)
	return s
}

// refreshed takes what a SUBSCRIBE says anew (RFC 3261 §12.2.2: the remote target). It comes
// over the connection that the subscriber has now.
func (s *subscription) refreshed(q *subscribe) {
	s.target, s.flow = strings.Clone(q.target), q.tx.Flow()
	s.flow.Remote = contactPort(s.target, s.flow)
	s.remoteCSeq = q.msg.CSeq().Seq
	s.expires = q.now.Add(q.duration)
	if s.expiry != nil {
		s.expiry.Reset(q.duration)
	}
}

// contactPort is where a UDP client listens: the port of its contact where that has the
// address that it sends from.
func contactPort(target string, f sip.Flow) netip.AddrPort {
	if f.ID != 0 {
		return f.Remote
	}
	u, err := sip.ParseURI(target)
	if err != nil {
		return f.Remote
	}
	addr, ok := sip.HostAddr(u.Host)
	if !ok || addr != f.Remote.Addr().Unmap() {
		return f.Remote
	}
	port := u.Port
	if port == 0 {
		port = f.Transport.DefaultPort()
	}
	return netip.AddrPortFrom(f.Remote.Addr(), port)
}

// contact is ours in the dialogs of a flow.
func (n *Notifier) contact(f sip.Flow) string {
	host, port := n.sentBy(f)
	b := append([]byte("<sip:"), host...)
	if port != 0 {
		b = strconv.AppendUint(append(b, ':'), uint64(port), 10)
	}
	if f.Transport != sip.UDP {
		b = append(append(b, ";transport="...), f.Transport.Param()...)
	}
	return string(append(b, '>'))
}

// add takes a subscription in, if there is room for it.
func (n *Notifier) add(s *subscription, bindings []store.Binding) *refusal {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.aors[s.aor]; w != nil && len(w.subs) >= maxPerAOR {
		for _, other := range slices.Clone(w.subs) { // of pages that were reloaded
			if _, _, ok := n.reach(other); !ok {
				n.drop(other)
			}
		}
		if len(w.subs) >= maxPerAOR {
			return &refusal{status: 403, reason: "Too Many Subscriptions"}
		}
	}
	if len(n.dialogs) >= maxSubscriptions {
		return busy("Too Many Subscriptions")
	}
	w := n.aors[s.aor]
	if w == nil {
		w = &watchedAOR{aor: s.aor, known: bindings, causes: make(map[string]store.Event)}
		w.expiry = time.AfterFunc(regDuration, func() { n.look(w) })
		n.aors[s.aor] = w
		n.count.Add(1)
		n.arm(w)
	}
	s.w = w
	w.subs = append(w.subs, s)
	n.dialogs[s.id] = s
	s.expiry = time.AfterFunc(time.Until(s.expires), func() { n.expired(s) })
	return nil
}

// drop forgets a subscription. The caller holds mu.
func (n *Notifier) drop(s *subscription) {
	w := s.w
	if w == nil {
		return
	}
	s.w = nil
	s.expiry.Stop()
	if s.wake != nil {
		s.wake.Stop()
	}
	delete(n.dialogs, s.id)
	w.subs = slices.DeleteFunc(w.subs, func(other *subscription) bool { return other == s })
	if len(w.subs) == 0 {
		w.expiry.Stop()
		delete(n.aors, w.aor)
		n.count.Add(-1)
	}
}

// expired ends a subscription that was not refreshed (RFC 6665 §4.2.2).
func (n *Notifier) expired(s *subscription) {
	n.mu.Lock()
	if s.w == nil || time.Now().Before(s.expires) {
		n.mu.Unlock()
		return
	}
	s.ended = "timeout"
	due := n.due(s)
	n.mu.Unlock()
	n.send(due)
}

// changed hears of what this node does to a binding.
func (n *Notifier) changed(e store.Event, b *store.Binding) {
	if n.count.Load() == 0 {
		return
	}
	n.mu.Lock()
	w := n.aors[b.AOR]
	switch {
	case w == nil:
	case e.Removal():
		w.causes[b.Key] = e
	default:
		delete(w.causes, b.Key)
	}
	n.mu.Unlock()
	if w != nil {
		n.look(w)
	}
}

// changedElsewhere hears of what others do to bindings of the AORs, or of any.
func (n *Notifier) changedElsewhere(aors []string) {
	n.mu.Lock()
	var changed []*watchedAOR
	for _, aor := range aors {
		if w := n.aors[aor]; w != nil {
			changed = append(changed, w)
		}
	}
	if aors == nil {
		for _, w := range n.aors {
			changed = append(changed, w)
		}
	}
	n.mu.Unlock()
	for _, w := range changed {
		n.look(w)
	}
}

// look finds out what has changed and tells it.
func (n *Notifier) look(w *watchedAOR) {
	n.mu.Lock()
	w.looks++
	look := w.looks
	n.mu.Unlock()
	if bindings, known := n.r.Lookup(w.aor); known {
		n.compare(w, look, bindings)
		return
	}
	n.r.tasks.start(func() {
		ctx, cancel := context.WithTimeout(context.Background(), n.r.cfg.StoreTimeout)
		defer cancel()
		if bindings, err := n.r.LookupStore(ctx, w.aor); err == nil {
			n.compare(w, look, bindings)
		}
	})
}

// compare tells the subscribers what has become of the contacts. What an earlier look saw is
// of no interest any more once a later one was compared.
func (n *Notifier) compare(w *watchedAOR, look uint64, bindings []store.Binding) {
	n.mu.Lock()
	if look < w.seen || len(w.subs) == 0 {
		n.mu.Unlock()
		return
	}
	w.seen = look
	changes := difference(w.known, bindings, w.causes, time.Now())
	w.known = bindings
	maps.DeleteFunc(w.causes, func(key string, _ store.Event) bool {
		return !slices.ContainsFunc(bindings, func(b store.Binding) bool { return b.Key == key })
	})
	n.arm(w)
	var due []*notify
	if len(changes) > 0 {
		for _, s := range w.subs {
			s.gather(changes)
			due = append(due, n.due(s))
		}
	}
	n.mu.Unlock()
	for _, d := range due {
		n.send(d)
	}
}

// arm sets the timer to when the next binding expires. The caller holds mu.
func (n *Notifier) arm(w *watchedAOR) {
	if len(w.known) == 0 {
		w.expiry.Stop()
		return
	}
	next := w.known[0].Expires
	for i := range w.known {
		if w.known[i].Expires.Before(next) {
			next = w.known[i].Expires
		}
	}
	w.expiry.Reset(max(time.Until(next), time.Millisecond))
}

// gather adds changes to those that the subscriber is still to be told. Of a contact only
// the last one counts.
func (s *subscription) gather(changes []contactChange) {
	if s.full {
		return
	}
	for _, c := range changes {
		s.changes = append(slices.DeleteFunc(s.changes, func(old contactChange) bool { return old.id == c.id }), c)
	}
	if len(s.changes) > maxChanges {
		s.full, s.changes = true, nil
	}
}

// notify is a NOTIFY that is to be sent.
type notify struct {
	s    *subscription
	flow sip.Flow
	m    *sip.Message
}

// due returns the subscription's next NOTIFY if it is time for one, else nil. The caller
// holds mu, and sends it without.
func (n *Notifier) due(s *subscription) *notify {
	now := time.Now()
	switch {
	case s.w == nil || s.sending || !s.full && len(s.changes) == 0 && s.ended == "":
		return nil
	case s.ended != "":
		s.full = true
	case now.Add((notifyBurst - 1) * notifyInterval).Before(s.nextAllowed):
		n.wakeAt(s, s.nextAllowed.Add(-(notifyBurst-1)*notifyInterval))
		return nil
	}
	flow, target, ok := n.reach(s)
	if !ok {
		n.drop(s)
		return nil
	}
	if s.nextAllowed.Before(now) {
		s.nextAllowed = now
	}
	s.nextAllowed = s.nextAllowed.Add(notifyInterval)
	d := &notify{s, flow, s.notify(flow, target, now)}
	s.sending, s.full, s.changes = true, false, nil
	if s.ended != "" {
		n.drop(s)
	}
	return d
}

// wakeAt has the subscription looked at again. The caller holds mu.
func (n *Notifier) wakeAt(s *subscription, at time.Time) {
	if s.wake != nil {
		s.wake.Stop()
	}
	s.wake = time.AfterFunc(time.Until(at), func() {
		n.mu.Lock()
		due := n.due(s)
		n.mu.Unlock()
		n.send(due)
	})
}

// notify writes the next NOTIFY (RFC 6665 §4.2.2).
func (s *subscription) notify(flow sip.Flow, target string, now time.Time) *sip.Message {
	n := s.n
	host, port := n.sentBy(flow)
	m := sip.NewRequest(sip.NOTIFY, target)
	m.PushVia(sip.Via{
		Transport: flow.Transport.String(), Host: host, Port: port,
		Branch: "z9hG4bKre" + strconv.FormatUint(rand.Uint64(), 36), RPort: -1,
	})
	m.SetMaxForwards(70)
	if s.routes != "" {
		m.Append(sip.HRoute, s.routes)
	}
	m.Append(sip.HFrom, s.from)
	m.Append(sip.HTo, s.to)
	m.Append(sip.HCallID, s.id.callID)
	s.localCSeq++
	m.Append(sip.HCSeq, strconv.FormatUint(uint64(s.localCSeq), 10)+" NOTIFY")
	m.Append(sip.HContact, n.contact(flow))
	m.Append(sip.HEvent, s.event)
	if s.ended != "" {
		m.Append(sip.HSubscriptionState, "terminated;reason="+s.ended)
	} else {
		left := max(1, int(s.expires.Sub(now)/time.Second))
		m.Append(sip.HSubscriptionState, "active;expires="+strconv.Itoa(left))
	}
	changes := s.changes
	if s.full {
		changes = nil
	}
	m.SetBody(reginfoType, n.r.document(s.aor, s.version, s.w.known, changes, now))
	s.version++
	return m
}

// reach returns the flow to the subscriber and the Request-URI for it: his contact, over the
// connection that his last SUBSCRIBE came by, or where that has closed the one that the
// contact is bound over now. A GRUU gives way to the contact behind it (RFC 5627 §6.1). The
// caller holds mu.
func (n *Notifier) reach(s *subscription) (flow sip.Flow, target string, ok bool) {
	open := s.flow.ID == 0 || n.r.flows.Alive(s.flow)
	u, err := sip.ParseURI(s.target)
	if err != nil {
		return s.flow, s.target, open
	}
	if g, isGRUU := n.r.gruu(&u); isGRUU {
		bindings, _ := n.r.Lookup(g.aor)
		bindings, _ = g.bindings(bindings)
		for i := range bindings {
			b := &bindings[i]
			if open && b.Flow.ID == s.flow.ID || !open && n.r.ownFlow(b) {
				return b.Flow, b.Contact, true
			}
		}
	} else if aor, bound := n.r.LookupContact(&u); bound && !open {
		bindings, _ := n.r.Lookup(aor)
		for i := range bindings {
			b := &bindings[i]
			if c, err := sip.ParseURI(b.Contact); err == nil && contactHash(&c) == contactHash(&u) && n.r.ownFlow(b) {
				return b.Flow, s.target, true
			}
		}
	}
	return s.flow, s.target, open
}

// ownFlow reports whether the binding has an open connection to this node.
func (r *Registrar) ownFlow(b *store.Binding) bool {
	return b.Flow.ID != 0 && b.Node == r.cfg.Node && b.Epoch == r.cfg.Epoch && r.flows.Alive(b.Flow)
}

// send sends a NOTIFY, nil for none.
func (n *Notifier) send(d *notify) {
	if d == nil {
		return
	}
	if _, err := n.requester.Request(d.flow, d.m, d.s); err != nil {
		d.s.Error(nil, err)
	}
}

// Response implements [transaction.ClientHandler]: what was gathered meanwhile is due after
// the final response.
func (s *subscription) Response(_ *transaction.Client, m *sip.Message) {
	status := m.Status()
	if status < 200 {
		return
	}
	n := s.n
	n.mu.Lock()
	s.sending = false
	switch {
	case status < 300:
	case keeps(status):
		s.full, s.changes = true, nil // it has missed something
		wait, err := m.RetryAfter()
		if err != nil {
			wait = uint32(notifyInterval / time.Second)
		}
		s.nextAllowed = time.Now().Add(notifyBurst*notifyInterval + time.Duration(min(wait, 3600))*time.Second)
	default:
		n.drop(s)
	}
	due := n.due(s)
	n.mu.Unlock()
	n.send(due)
}

// keeps reports whether a subscription outlives a NOTIFY that got this response. Most say
// that the subscriber does not know of it any more or can't be reached (RFC 6665 §4.2.2, RFC
// 5057 §5.1).
func keeps(status int) bool { return status == 491 || status == 500 || status == 503 }

// Error implements [transaction.ClientHandler]: no response came (RFC 6665 §4.2.2), or the
// connection has closed. Where the subscriber has another by now, it gets all of it there.
func (s *subscription) Error(_ *transaction.Client, _ error) {
	n := s.n
	n.mu.Lock()
	s.sending = false
	old := s.flow
	if flow, _, ok := n.reach(s); !ok || flow == old {
		n.drop(s)
	} else {
		s.flow = flow
	}
	s.full, s.changes = true, nil
	due := n.due(s)
	n.mu.Unlock()
	n.send(due)
}
