package store

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Lease says until when a process counts as alive that runs a node.
type Lease struct {
	Node  string
	Epoch int64
	Until time.Time // kept to the millisecond
}

// LeaseMemory is how long a node is known after the end of its lease: longer than any
// binding that was made there.
const LeaseMemory = 7 * 24 * time.Hour

// Leases are the latest leases by node. A map that others may read is not modified any
// more. nil knows of none.
type Leases map[string]Lease

// NewLeases returns the leases of the list.
func NewLeases(list []Lease) Leases {
	l := make(Leases, len(list))
	for _, lease := range list {
		l[lease.Node] = lease
	}
	return l
}

// With returns the leases with one replaced, and without those that ended LeaseMemory
// before that one.
func (l Leases) With(lease Lease) Leases {
	next := make(Leases, len(l)+1)
	for node, old := range l {
		if old.Until.Add(LeaseMemory).After(lease.Until) {
			next[node] = old
		}
	}
	lease.Node, lease.Until = strings.Clone(lease.Node), stamp(lease.Until)
	next[lease.Node] = lease
	return next
}

// List returns the leases by node.
func (l Leases) List() []Lease {
	return slices.SortedFunc(maps.Values(l), func(a, b Lease) int { return cmp.Compare(a.Node, b.Node) })
}

// Void reports whether the binding hangs on a connection that ended with its process: the
// node has a later epoch by now, or its lease ran out. The bindings of a node that never
// had a lease are believed, and those of an epoch that is not known yet.
func (l Leases) Void(b *Binding, now time.Time) bool {
	if len(l) == 0 || !b.NeedsFlow() {
		return false
	}
	lease, ok := l[b.Node]
	return ok && (lease.Epoch > b.Epoch || lease.Epoch == b.Epoch && !lease.Until.After(now))
}

// Live returns those of the bindings that exist at now, in their order: not expired and not
// void. Where that is all of them or none it allocates nothing.
func (l Leases) Live(bindings []Binding, now time.Time) []Binding {
	return only(bindings, func(b *Binding) bool { return b.Live(now) && !l.Void(b, now) })
}
