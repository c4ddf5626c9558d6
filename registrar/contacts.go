package registrar

import (
	"hash/maphash"
	"strings"

	"github.com/sipway/sipway/sip"
)

// A browser's contact has a name of the domain "invalid", which nobody can resolve (RFC 7118
// §5, RFC 2606). Requests to it that come without a Route, as those of a SUBSCRIBE dialog of
// JsSIP do, are for the client that has registered it. Which AOR that is stands in an index,
// for the clients of this node; an entry goes with the flow that the contact was bound over.

// boundContact is an entry of the index.
type boundContact struct {
	flow uint64
	aor  string
}

// maxFlowContacts is how many contacts are noted for one flow, which may be that of an edge
// proxy with many browsers behind it, or of a client that invents a contact each time.
const maxFlowContacts = 1 << 16

var contactSeed = maphash.MakeSeed()

// contactHash is made of what a client's contact is known by: user and host. Whether "ob"
// stands behind it depends on the request (RFC 5626 §4.3).
func contactHash(u *sip.URI) uint64 {
	var room [128]byte
	b := appendUnescaped(room[:0], u.User, false)
	b = appendFolded(append(b, '@'), u.Host)
	return maphash.Bytes(contactSeed, b)
}

// isInvalid reports whether a host can't be resolved by anybody.
func isInvalid(host string) bool {
	const invalid = ".invalid"
	return len(host) >= len(invalid) && strings.EqualFold(host[len(host)-len(invalid):], invalid)
}

// LookupContact returns the AOR that a browser has bound the contact URI to, on this node and
// over a flow that is open. Only the AOR's bindings tell whether it is bound still.
func (r *Registrar) LookupContact(u *sip.URI) (aor string, ok bool) {
	if !u.IsSIP() || !isInvalid(u.Host) {
		return "", false
	}
	return r.index.contact(contactHash(u))
}

// noteContacts notes what the update has bound over the flow.
func (q *request) noteContacts(f sip.Flow) {
	for i := range q.update.Bindings {
		b := &q.update.Bindings[i]
		if !b.Expires.After(q.now) || !strings.Contains(b.Contact, ".invalid") {
			continue
		}
		if u, err := sip.ParseURI(b.Contact); err == nil && u.IsSIP() && isInvalid(u.Host) {
			q.index.bindContact(f.ID, contactHash(&u), q.update.AOR)
		}
	}
}

// bindContact notes a contact for a flow that an AOR was noted for.
func (x *flowIndex) bindContact(flow, contact uint64, aor string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.flows[flow]
	if f == nil {
		return // it has closed
	}
	old, known := x.contacts[contact]
	switch {
	case known && old.aor != aor && old.flow != flow:
		return // nobody takes what is for another user by registering that one's contact
	case known && old == (boundContact{flow, aor}) || len(f.contacts) == maxFlowContacts:
		return
	}
	if x.contacts == nil {
		x.contacts = make(map[uint64]boundContact)
	}
	x.contacts[contact] = boundContact{flow, strings.Clone(aor)}
	if !known || old.flow != flow {
		f.contacts = append(f.contacts, contact)
	}
}

// dropContacts forgets the contacts of a flow, but not those that have moved to another. The
// caller holds mu.
func (x *flowIndex) dropContacts(flow uint64, f *flowAORs) {
	for _, contact := range f.contacts {
		if x.contacts[contact].flow == flow {
			delete(x.contacts, contact)
		}
	}
}

func (x *flowIndex) contact(contact uint64) (aor string, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b, ok := x.contacts[contact]
	return b.aor, ok
}
