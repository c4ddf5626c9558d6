package admin

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sipway/sipway/store"
)

// Registrations looks at who is registered, and changes it. Three implement it: a running
// server, a [Client] of one, and [Offline] for a store that no server has to be asked about.
//
// Errors: those of the store, [ErrNoServer], and what [BadRequest] makes.
type Registrations interface {
	// List returns a page of the registrations that the query selects.
	List(ctx context.Context, q Query) (Page, error)

	// Count returns how many registrations the query selects; its limit and place don't
	// count.
	Count(ctx context.Context, q Query) (int, error)

	// Show returns all registrations of an address-of-record, oldest first, or
	// store.ErrNotFound.
	Show(ctx context.Context, aor string) ([]Registration, error)

	// Remove ends the registrations of an address-of-record: all of them, or the one whose
	// contact URI or key is contact. It returns what it ended, or store.ErrNotFound. With
	// kick the connections that they came over are closed too, which ends whatever else
	// lives on those.
	Remove(ctx context.Context, aor, contact string, kick bool) ([]Removal, error)
}

// Live is what a running server alone can do.
type Live interface {
	Registrations

	// Ping sends an OPTIONS to every contact of an address-of-record and waits for the
	// answers as long as ctx lasts. Contacts that do not answer are no error of Ping;
	// store.ErrNotFound is where there are no contacts.
	Ping(ctx context.Context, aor string) ([]Pong, error)

	// Watch returns the events of the registrations that the query selects, from now until
	// ctx ends, which closes the channel. Who reads too slowly is told how many were left
	// out. Two changes of the same moment may come in either order.
	Watch(ctx context.Context, q Query) (<-chan Event, error)
}

// Pong is a contact's answer to an OPTIONS.
type Pong struct {
	Registration
	Status int     `json:"status,omitempty"` // of its final response, 0 for none
	Reason string  `json:"reason,omitempty"`
	RTT    float64 `json:"rtt_ms,omitempty"`
	Error  string  `json:"error,omitempty"` // why there is none
}

// Page is a part of a list.
type Page struct {
	Registrations []Registration `json:"registrations"`
	// Next is where the list goes on, "" at its end. It is to be taken as it is.
	Next string `json:"next,omitempty"`
}

// Registration is one binding. The names are fixed: scripts read them.
type Registration struct {
	AOR       string    `json:"aor"`
	Key       string    `json:"key"`
	Contact   string    `json:"contact"`
	Params    string    `json:"params,omitempty"`
	Path      string    `json:"path,omitempty"`
	Q         float64   `json:"q"`
	Methods   string    `json:"methods,omitempty"`
	Instance  string    `json:"instance,omitempty"`
	PubGRUU   string    `json:"pub_gruu,omitempty"` // public GRUU (RFC 5627)
	RegID     int       `json:"reg_id,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
	CallID    string    `json:"call_id"`
	CSeq      uint32    `json:"cseq"`
	Transport string    `json:"transport"`
	Remote    string    `json:"remote"`
	Local     string    `json:"local"`
	Flow      uint64    `json:"flow,omitempty"` // incarnation of the connection, none over UDP
	Node      string    `json:"node,omitempty"`
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
	Expires   time.Time `json:"expires"`
	ExpiresIn int64     `json:"expires_in"` // seconds

	// State is what the server knows of the way to the contact; absent where no server
	// was asked.
	State *State `json:"state,omitempty"`
}

// State is what the server that has the connection knows of a contact.
type State struct {
	// Reachable is false where the connection has gone, but not yet the registration.
	Reachable bool `json:"reachable"`
	// Of the connection; none over UDP.
	Opened    time.Time `json:"opened,omitzero"`
	LastHeard time.Time `json:"last_heard,omitzero"` // when bytes last came
	RTT       float64   `json:"rtt_ms,omitempty"`    // round trip, if known
	TLS       string    `json:"tls,omitempty"`       // the version, "TLS 1.3"
	Peer      []string  `json:"peer,omitempty"`      // the names of the client's certificate
}

// Removal is a registration that was ended.
type Removal struct {
	Registration
	Kicked bool `json:"kicked"` // its connection was closed
}

// NewRegistration describes a binding.
func NewRegistration(b *store.Binding, now time.Time) Registration {
	gruu := ""
	if b.Instance != "" {
		gruu = string(b.AppendPublicGRUU(nil))
	}
	return Registration{
		PubGRUU: gruu,
		AOR:     b.AOR, Key: b.Key, Contact: b.Contact, Params: b.Params, Path: b.Path, Q: float64(b.Q) / 1000,
		Methods: b.Methods, Instance: b.Instance, RegID: b.RegID, UserAgent: b.UserAgent, CallID: b.CallID, CSeq: b.CSeq,
		Transport: strings.ToLower(b.Flow.Transport.String()), Remote: b.Flow.Remote.String(), Local: b.Flow.Local.String(),
		Flow: b.Flow.ID, Node: b.Node,
		Created: b.Created.UTC(), Updated: b.Updated.UTC(), Expires: b.Expires.UTC(), ExpiresIn: int64(b.Expires.Sub(now) / time.Second),
	}
}

// ErrNoServer means that there is no server that could be asked, or that it does not answer.
var ErrNoServer = errors.New("no server answers")

// described says in a text of its own what an error means here.
type described struct {
	text string
	error
}

func (e described) Error() string { return e.text }
func (e described) Unwrap() error { return e.error }

// badRequest is an error of the one who asks.
type badRequest struct{ error }

// BadRequest makes an error one of those who asked, who get it with status 400.
func BadRequest(err error) error { return badRequest{err} }

func (e badRequest) Unwrap() error { return e.error }

// IsBadRequest reports whether the error is one of those who asked.
func IsBadRequest(err error) bool {
	_, ok := errors.AsType[badRequest](err)
	return ok
}
