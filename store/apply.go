package store

import (
	"slices"
	"time"
)

// Update is what one REGISTER asks of the bindings of one AOR.
type Update struct {
	AOR string
	Now time.Time

	// CallID and CSeq of the request order it among those of its user agent.
	CallID string
	CSeq   uint32

	// RemoveAll removes every binding (Contact: *). Bindings is not looked at then.
	RemoveAll bool

	// Bindings are added, or refresh the binding of the same key; one whose Expires is not
	// after Now removes it. AOR, CallID, CSeq, Created and Updated are filled in by the
	// store. Of several with the same key the last counts.
	Bindings []Binding

	// MaxContacts is how many bindings may be left; 0 means any number. Refreshing and
	// removing is possible also above it.
	MaxContacts int
}

// Query reports whether the update asks for no change (RFC 3261 §10.3 step 6: a REGISTER
// without Contact).
func (u *Update) Query() bool { return !u.RemoveAll && len(u.Bindings) == 0 }

// Result is the outcome of an update.
type Result struct {
	// Bindings is the resulting live set, oldest first. It is shared: read-only.
	Bindings []Binding
	// Added, Refreshed and Removed count bindings. What had expired was not there.
	Added, Refreshed, Removed int
}

// Apply is RFC 3261 §10.3 steps 6 to 8: it returns what becomes of the current bindings of
// an AOR. It modifies neither argument; the result shares no memory with u. Replacement by
// instance and reg-id (RFC 5626 §6) is equality of keys.
//
// A binding keeps its place when it is refreshed and takes everything else, the flow
// included, from the update: what is known about the old flow's end no longer concerns it.
func Apply(current []Binding, u Update) (Result, error) {
	live := Live(current, u.Now)
	if u.Query() {
		return Result{Bindings: live}, nil
	}
	if u.RemoveAll {
		for i := range live {
			if late(&live[i], &u) {
				return Result{}, ErrOrder
			}
		}
		return Result{Removed: len(live)}, nil
	}

	// The result is kept for long, so it has room for what is new and no more.
	fresh := 0
	for i := range u.Bindings {
		if index(live, u.Bindings[i].Key) < 0 {
			fresh++
		}
	}
	next := make([]Binding, len(live), len(live)+fresh)
	copy(next, live)
	for i := range u.Bindings {
		b := u.Bindings[i]
		at := index(live, b.Key)
		if at >= 0 && late(&live[at], &u) {
			// RFC 3261 §10.3 step 7: the update is aborted, with all that was tentative.
			return Result{}, ErrOrder
		}
		b.AOR, b.CallID, b.CSeq = u.AOR, u.CallID, u.CSeq
		b.Updated, b.Expires = stamp(u.Now), stamp(b.Expires)
		b.Created = b.Updated
		next = put(next, b, u.Now)
	}
	return account(live, next, u.MaxContacts)
}

// late reports whether the request came before the one that made the binding, or is the
// same. Requests of different Call-IDs have no order (RFC 3261 §10.3 step 7).
func late(b *Binding, u *Update) bool { return b.CallID == u.CallID && u.CSeq <= b.CSeq }

// stamp cuts a time to what every database keeps of it, so that a binding is the same
// value (==) whether it comes from memory or from a row.
func stamp(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()) }

// put adds, replaces or removes b in the set.
func put(set []Binding, b Binding, now time.Time) []Binding {
	at := index(set, b.Key)
	switch {
	case !b.Live(now) && at >= 0:
		return slices.Delete(set, at, at+1)
	case !b.Live(now):
		return set
	case at >= 0:
		b.Created = set[at].Created
		b.packLike(&set[at])
		set[at] = b
		return set
	default:
		b.Pack()
		return append(set, b)
	}
}

// account compares the sets before and after and holds the second to its limit.
func account(live, next []Binding, limit int) (Result, error) {
	r := Result{Bindings: next}
	kept := 0
	for i := range next {
		at := index(live, next[i].Key)
		if at < 0 {
			r.Added++
			continue
		}
		kept++
		if live[at] != next[i] {
			r.Refreshed++
		}
	}
	r.Removed = len(live) - kept
	if limit > 0 && r.Added > 0 && len(next) > limit {
		return Result{}, ErrTooManyContacts
	}
	if len(next) == 0 {
		r.Bindings = nil
	}
	return r, nil
}

// index returns the place of the binding with that key, or -1.
func index(set []Binding, key string) int {
	for i := range set {
		if set[i].Key == key {
			return i
		}
	}
	return -1
}
