package registrar

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"strconv"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// reginfoType is the type of the bodies of NOTIFY requests (RFC 3680 §4.5).
const reginfoType = "application/reginfo+xml"

// reginfo is a registration information document (RFC 3680 §5), about one AOR.
type reginfo struct {
	XMLName      xml.Name     `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
	GRUUs        string       `xml:"xmlns:gr,attr"`
	Version      uint32       `xml:"version,attr"`
	State        string       `xml:"state,attr"` // full or partial
	Registration registration `xml:"registration"`
}

type registration struct {
	AOR      string    `xml:"aor,attr"`
	ID       string    `xml:"id,attr"`
	State    string    `xml:"state,attr"` // init, active or terminated
	Contacts []contact `xml:"contact"`
}

type contact struct {
	ID         string         `xml:"id,attr"`
	State      string         `xml:"state,attr"` // active or terminated
	Event      string         `xml:"event,attr"`
	Registered int64          `xml:"duration-registered,attr"`
	Expires    *int64         `xml:"expires,attr"`
	Q          string         `xml:"q,attr"`
	CallID     string         `xml:"callid,attr"`
	CSeq       uint32         `xml:"cseq,attr"`
	URI        string         `xml:"uri"`
	Params     []unknownParam `xml:"unknown-param"`
	PubGRUU    *gruuElement   `xml:"gr:pub-gruu"`
}

type unknownParam struct {
	Name  string `xml:"name,attr"`
	Value string `xml:",chardata"`
}

// gruuElement is RFC 5628 §5's. There is none for temporary GRUUs: it would have to name the
// CSeq that the oldest of them is of, which nothing keeps.
type gruuElement struct {
	URI string `xml:"uri,attr"`
}

// contactChange is what a contact's state machine went through (RFC 3680 §4.7.1).
type contactChange struct {
	id      string
	event   string
	gone    bool
	binding store.Binding
}

// contactID identifies a contact. RFC 3680 §5.1: contacts whose URIs differ have different
// ones, so a flow that is registered anew with another URI is another contact.
func contactID(b *store.Binding) string { return shortID(b.Key, b.Contact) }

func shortID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// document returns the body of a NOTIFY. Without changes it has the full state.
func (r *Registrar) document(aor string, version uint32, bindings []store.Binding, changes []contactChange, now time.Time) []byte {
	user, domain := splitAOR(aor)
	doc := reginfo{
		GRUUs: "urn:ietf:params:xml:ns:gruuinfo", Version: version, State: "partial",
		Registration: registration{
			AOR: string(sip.AppendEscaped([]byte("sip:"), user, sip.UserChars)) + "@" + domain,
			ID:  shortID(aor), State: "active",
		},
	}
	reg := &doc.Registration
	if len(changes) == 0 {
		doc.State = "full"
		for i := range bindings {
			changes = append(changes, contactChange{contactID(&bindings[i]), "registered", false, bindings[i]})
		}
	}
	switch {
	case len(bindings) > 0:
	case doc.State == "full":
		reg.State = "init"
	default:
		reg.State = "terminated"
	}
	for i := range changes {
		reg.Contacts = append(reg.Contacts, r.contact(&changes[i], now))
	}
	body, err := xml.Marshal(&doc)
	if err != nil {
		panic(err) // nothing in a document can't be written
	}
	return append([]byte(xml.Header), body...)
}

// contact describes one contact.
func (r *Registrar) contact(c *contactChange, now time.Time) contact {
	b := &c.binding
	e := contact{
		ID: c.id, State: "active", Event: c.event, URI: b.Contact,
		Registered: max(0, int64(now.Sub(b.Created)/time.Second)),
		Q:          strconv.FormatFloat(float64(b.Q)/1000, 'f', -1, 64),
		CallID:     b.CallID, CSeq: b.CSeq,
	}
	if c.gone {
		e.State = "terminated"
	} else {
		left := r.remaining(b, now)
		e.Expires = &left
	}
	for name, value := range sip.Params(b.Params).All() {
		if !strings.EqualFold(name, "q") { // of RFC 3261, so not unknown
			e.Params = append(e.Params, unknownParam{name, value})
		}
	}
	if b.Instance != "" && r.gruus != nil {
		e.PubGRUU = &gruuElement{string(b.AppendPublicGRUU(nil))}
	}
	return e
}

// difference returns what happened to the contacts of an AOR between two looks at them.
// causes says of bindings that are gone, by key, what ended them.
func difference(before, after []store.Binding, causes map[string]store.Event, now time.Time) (changes []contactChange) {
	for i := range before {
		b := &before[i]
		other := withID(after, b)
		if other == nil {
			changes = append(changes, contactChange{contactID(b), endOf(b, after, causes, now), true, *b})
		}
	}
	for i := range after {
		b := &after[i]
		old := withID(before, b)
		switch {
		case old == nil || !old.Created.Equal(b.Created):
			changes = append(changes, contactChange{contactID(b), "registered", false, *b})
		case old.Params != b.Params || old.CallID != b.CallID || old.Path != b.Path:
			// A mere refresh is no change of state, and RFC 3680 §4.7.2 leaves it to us.
			changes = append(changes, contactChange{contactID(b), "refreshed", false, *b})
		}
	}
	return changes
}

// withID returns the binding that is the same contact.
func withID(set []store.Binding, b *store.Binding) *store.Binding {
	for i := range set {
		if set[i].Key == b.Key && set[i].Contact == b.Contact {
			return &set[i]
		}
	}
	return nil
}

// endOf says by which event a contact ended (RFC 3680 §4.7.1).
func endOf(b *store.Binding, after []store.Binding, causes map[string]store.Event, now time.Time) string {
	for i := range after {
		if after[i].Key == b.Key {
			return "unregistered" // its client registered another URI in its place
		}
	}
	switch causes[b.Key] {
	case store.Unregistered:
		return "unregistered"
	case store.Expired:
		return "expired"
	case store.Dropped:
		return "rejected" // others have the place, and it would only take one from them
	}
	if !b.Live(now) {
		return "expired"
	}
	// Its connection or its node is gone, or an operator removed it: it should come again.
	return "deactivated"
}
