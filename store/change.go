package store

import "iter"

// Event says what happened to a binding.
type Event uint8

// What can happen to a binding.
const (
	Added        Event = 1 + iota
	Refreshed          // and perhaps moved to another flow
	Unregistered       // its user agent asked for its removal
	Replaced           // another binding took its place (Update.Replace)
	Dropped            // to make room for a new one (Update.DropOldest)
	Expired
	FlowClosed // the connection that it was bound over closed
	NodeGone   // the node that had its connection is no more (Leases.Void)
	Removed    // by the operator
)

// Removal reports whether the binding does not exist any more.
func (e Event) Removal() bool { return e >= Unregistered }

// Change is one event. The binding is the one that there is now, or was last.
type Change struct {
	Event   Event
	Binding Binding
}

// Result is the outcome of an update.
type Result struct {
	// Bindings is the resulting set, oldest first, and Before is the one that the update
	// found. Both are without what does not exist at Update.Now. They are shared:
	// read-only.
	Bindings, Before []Binding

	// Added, Refreshed and Removed count bindings. What did not exist was not removed.
	Added, Refreshed, Removed int

	// Gone says of every binding that is not there any more why. Besides those that the
	// update removed, that is what had expired or become void and was not swept yet.
	Gone []Change
}

// Changes yields what happened: first the removals, then additions and refreshes in the
// order of Bindings. The bindings are shared: read-only. It allocates nothing.
func (r *Result) Changes() iter.Seq2[Event, *Binding] {
	return func(yield func(Event, *Binding) bool) {
		for i := range r.Gone {
			if !yield(r.Gone[i].Event, &r.Gone[i].Binding) {
				return
			}
		}
		for i := range r.Bindings {
			b := &r.Bindings[i]
			at := index(r.Before, b.Key)
			switch {
			case at < 0:
				if !yield(Added, b) {
					return
				}
			case r.Before[at] != *b:
				if !yield(Refreshed, b) {
					return
				}
			}
		}
	}
}
