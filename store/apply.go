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

	// Replace has the keys of bindings whose place the request takes, such as the ghost
	// that a reloaded page has left. They are removed first, whatever their Call-ID and
	// CSeq; what is not there is no error.
	Replace []string

	// Bindings are added, or refresh the binding of the same key; one whose Expires is not
	// after Now removes it. AOR, CallID, CSeq, Created and Updated are filled in by the
	// store. Of several with the same key the last counts.
	Bindings []Binding

	// MaxContacts is how many bindings may be left; 0 means any number. Refreshing and
	// removing is possible also above it.
	MaxContacts int

	// DropOldest makes room for new bindings where MaxContacts is reached: those bindings
	// go that were not refreshed for longest and that the request does not name. Without
	// it, or where that is not enough, the update fails with ErrTooManyContacts.
	DropOldest bool

	// Operator says that no REGISTER asks for the update: what it removes is Removed.
	Operator bool
}

// removal is what the update's removals are.
func (u *Update) removal() Event {
	if u.Operator {
		return Removed
	}
	return Unregistered
}

// Query reports whether the update asks for no change (RFC 3261 §10.3 step 6: a REGISTER
// without Contact).
func (u *Update) Query() bool {
	return !u.RemoveAll && len(u.Bindings) == 0 && len(u.Replace) == 0
}

// Apply is RFC 3261 §10.3 steps 6 to 8: it returns what becomes of the current bindings of
// an AOR, some of which the leases may have made void. It modifies no argument; the result
// shares no memory with u. Replacement by instance and reg-id (RFC 5626 §6) is equality of
// keys.
//
// A binding keeps its place when it is refreshed and takes everything else, the flow
// included, from the update: what is known about the old flow's end no longer concerns it.
func Apply(current []Binding, leases Leases, u Update) (Result, error) {
	r := Result{Before: leases.Live(current, u.Now)}
	if u.Query() {
		r.Bindings = r.Before
		return r, nil
	}
	if len(r.Before) < len(current) {
		r.bury(current, u.Now)
	}
	var err error
	if u.RemoveAll {
		err = r.removeAll(&u)
	} else {
		err = r.merge(&u)
	}
	if err != nil {
		return Result{}, err
	}
	return r, nil
}

// bury notes what did not exist any more.
func (r *Result) bury(current []Binding, now time.Time) {
	for i := range current {
		switch {
		case !current[i].Live(now):
			r.Gone = append(r.Gone, Change{Expired, current[i]})
		case index(r.Before, current[i].Key) < 0:
			r.Gone = append(r.Gone, Change{NodeGone, current[i]})
		}
	}
}

func (r *Result) removeAll(u *Update) error {
	for i := range r.Before {
		if late(&r.Before[i], u) {
			return ErrOrder
		}
		r.Gone = append(r.Gone, Change{u.removal(), r.Before[i]})
	}
	r.Removed = len(r.Before)
	return nil
}

// merge applies the update's bindings to a copy of the set.
func (r *Result) merge(u *Update) error {
	// The result is kept for long, so it has room for what is new and no more.
	fresh := 0
	for i := range u.Bindings {
		if index(r.Before, u.Bindings[i].Key) < 0 {
			fresh++
		}
	}
	next := make([]Binding, 0, len(r.Before)+fresh)
	for i := range r.Before {
		if !slices.Contains(u.Replace, r.Before[i].Key) {
			next = append(next, r.Before[i])
		}
	}
	for i := range u.Bindings {
		b := u.Bindings[i]
		at := index(r.Before, b.Key)
		if at >= 0 && late(&r.Before[at], u) && !slices.Contains(u.Replace, b.Key) {
			// RFC 3261 §10.3 step 7: the update is aborted, with all that was tentative.
			return ErrOrder
		}
		b.AOR, b.CallID, b.CSeq = u.AOR, u.CallID, u.CSeq
		b.Updated, b.Expires = stamp(u.Now), stamp(b.Expires)
		b.Created = b.Updated
		next = put(next, b, u.Now)
	}
	return r.account(next, u)
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

// account holds the new set to its limit and compares it with the one before.
func (r *Result) account(next []Binding, u *Update) error {
	for i := range next {
		if index(r.Before, next[i].Key) < 0 {
			r.Added++
		}
	}
	for u.MaxContacts > 0 && r.Added > 0 && len(next) > u.MaxContacts {
		at := oldest(next, u)
		if at < 0 {
			return ErrTooManyContacts
		}
		r.Gone = append(r.Gone, Change{Dropped, next[at]})
		r.Removed++
		next = slices.Delete(next, at, at+1)
	}
	for i := range r.Before {
		b := &r.Before[i]
		at := index(next, b.Key)
		switch {
		case at >= 0 && next[at] != *b:
			r.Refreshed++
		case at >= 0:
		case slices.Contains(u.Replace, b.Key):
			r.Gone = append(r.Gone, Change{Replaced, *b})
			r.Removed++
		case !r.dropped(b.Key):
			r.Gone = append(r.Gone, Change{u.removal(), *b})
			r.Removed++
		}
	}
	if len(next) > 0 {
		r.Bindings = next
	}
	return nil
}

// oldest returns the place of the binding that may be dropped for a new one, or -1.
func oldest(set []Binding, u *Update) int {
	if !u.DropOldest {
		return -1
	}
	found := -1
	for i := range set {
		if index(u.Bindings, set[i].Key) < 0 && (found < 0 || set[i].Updated.Before(set[found].Updated)) {
			found = i
		}
	}
	return found
}

func (r *Result) dropped(key string) bool {
	return slices.ContainsFunc(r.Gone, func(c Change) bool { return c.Event == Dropped && c.Binding.Key == key })
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
