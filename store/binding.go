package store

import (
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
)

// Binding is one contact of an address-of-record (RFC 3261 §10). It is a value: the store
// never changes one that it has handed out. Times are kept to the millisecond.
type Binding struct {
	// AOR is the address-of-record, "user@host": the user unescaped, the host lower case.
	AOR string
	// Key tells the bindings of an AOR apart. The registrar sets it, from instance and
	// reg-id (RFC 5626 §6) or else from the contact URI in a canonical form, so that
	// contacts that the RFC holds for the same have the same key.
	Key string

	Contact   string // contact URI as sent
	Params    string // the contact's other parameters as sent, ";a=b;c", to be echoed
	Path      string // value of the Path headers (RFC 3327), outermost first
	Q         int    // preference in thousandths, 0 to 1000
	Methods   string // the contact's methods parameter (RFC 3840)
	Instance  string // +sip.instance, without the quotes
	RegID     int    // reg-id (RFC 5626), 0 where there is none
	UserAgent string // of the REGISTER

	CallID string // Call-ID and CSeq of the REGISTER that last touched it
	CSeq   uint32

	// Flow is the one the REGISTER came over. Node and Epoch say in which process's life
	// Flow.ID is meaningful.
	Flow  sip.Flow
	Node  string
	Epoch int64

	Created time.Time // when it was added; bindings of an AOR stand in this order
	Updated time.Time // when it was last added or refreshed
	Expires time.Time // from this instant on it does not exist
}

// Live reports whether the binding has not expired at now.
func (b *Binding) Live(now time.Time) bool { return b.Expires.After(now) }

// Over reports whether the binding belongs to this incarnation of a flow. Flow 0 is none.
func (b *Binding) Over(node string, epoch int64, flow uint64) bool {
	return flow != 0 && b.Flow.ID == flow && b.Epoch == epoch && b.Node == node
}

// NeedsFlow reports whether the contact can be reached over the binding's own connection
// only: that of a WebSocket client (RFC 7118 §5.2) or of one that asked for it (RFC 5626).
// Another contact may be connected to anew.
func (b *Binding) NeedsFlow() bool {
	return b.Flow.ID != 0 && (b.Flow.Transport.WebSocket() || b.RegID > 0)
}

// OwnAOR returns the AOR of a set, for keys of maps: the bindings' own string where there
// are any, since the other one may be part of a message.
func OwnAOR(aor string, set []Binding) string {
	if len(set) > 0 {
		return set[0].AOR
	}
	return aor
}

// Live returns those of the bindings that have not expired at now, in their order. Where
// that is all of them or none it allocates nothing.
func Live(bindings []Binding, now time.Time) []Binding {
	return Leases(nil).Live(bindings, now)
}

// only returns the bindings that are to be kept, like [Live].
func only(bindings []Binding, keep func(*Binding) bool) []Binding {
	first, n := 0, 0
	for i := range bindings {
		if keep(&bindings[i]) {
			if n == 0 {
				first = i
			}
			n++
		}
	}
	switch {
	case n == 0:
		return nil
	case n == len(bindings):
		return bindings
	}
	live := make([]Binding, 0, n)
	for i := first; i < len(bindings); i++ {
		if keep(&bindings[i]) {
			live = append(live, bindings[i])
		}
	}
	return live
}

// Without returns the bindings except those that are gone: the same slice where that is
// none of them, else a new one.
func Without(bindings []Binding, gone func(*Binding) bool) []Binding {
	for i := range bindings {
		if !gone(&bindings[i]) {
			continue
		}
		rest := make([]Binding, i, len(bindings)-1)
		copy(rest, bindings)
		for j := i + 1; j < len(bindings); j++ {
			if !gone(&bindings[j]) {
				rest = append(rest, bindings[j])
			}
		}
		return rest
	}
	return bindings
}

// texts lists the binding's strings.
func (b *Binding) texts() [maxTexts]*string {
	return [...]*string{
		&b.AOR, &b.Key, &b.Contact, &b.Params, &b.Path,
		&b.Methods, &b.Instance, &b.UserAgent, &b.CallID, &b.Node,
	}
}

// TextSize returns the bytes of all strings of the binding.
func (b *Binding) TextSize() int {
	n := 0
	for _, s := range b.texts() {
		n += len(*s)
	}
	return n
}

// Pack moves all strings of the binding into one new allocation, so that the binding pins
// neither a message nor a database row and costs the memory of its bytes.
func (b *Binding) Pack() {
	texts := b.texts()
	pack(texts[:])
}

// pack replaces strings by parts of one new string. What stands in one before is not there
// twice: an instance is a part of the binding's key.
func pack(texts []*string) {
	n := 0
	for _, s := range texts {
		n += len(*s)
	}
	var places [maxTexts]int
	var found strings.Builder
	found.Grow(n)
	for i, s := range texts {
		if places[i] = strings.Index(found.String(), *s); places[i] < 0 {
			places[i] = found.Len()
			found.WriteString(*s)
		}
	}
	all := strings.Clone(found.String()) // without the room that was not needed
	for i, s := range texts {
		*s = all[places[i] : places[i]+len(*s)]
	}
}

// maxTexts is the most strings that a value has.
const maxTexts = 10

// packLike is Pack for a refresh of old: where nothing but times and numbers changed, which
// is the rule, it takes old's strings and allocates nothing.
func (b *Binding) packLike(old *Binding) {
	mine, theirs := b.texts(), old.texts()
	for i := range mine {
		if *mine[i] != *theirs[i] {
			b.Pack()
			return
		}
	}
	for i := range mine {
		*mine[i] = *theirs[i]
	}
}
