package auth

import (
	"strconv"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/transaction"
)

// Outcome is what became of an authentication.
type Outcome uint8

const (
	// Refused: the request is answered with Decision.Status.
	Refused Outcome = iota
	// Challenged: the same, with Decision.Challenges.
	Challenged
	// Authenticated: the sender is Decision.User.
	Authenticated
	// Trusted: the sender is a trusted peer, who may speak for anybody.
	Trusted
)

var outcomeNames = [...]string{"refused", "challenged", "authenticated", "trusted"}

// String names the outcome for logs.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "outcome " + strconv.Itoa(int(o))
}

// Decision is what [Authenticator.Authenticate] found out.
type Decision struct {
	Outcome Outcome

	// User and Domain are who is Authenticated: the user part, without escapes, and the
	// realm.
	User, Domain string

	// Expires is when the proof ends, a token's end with its grace; zero for never.
	Expires time.Time

	// NextNonce is for the 200 to the user, in Authentication-Info (RFC 7616 §3.5); "" for
	// none.
	NextNonce string

	// Status answers the request where it may not pass; 0 means that nothing may be sent.
	Status int
	// Reason is the response's reason phrase, "" for the standard one.
	Reason string
	// Challenges are the values of Header, in the order in which they have to stand.
	Challenges []string
	Header     sip.HeaderID
	// RetryAfter is the response's Retry-After in seconds, 0 for none.
	RetryAfter int

	// Cause says more than may be sent, for the log. It holds no credentials.
	Cause string
}

// OK reports whether the request may pass: its sender is Authenticated or Trusted.
func (d *Decision) OK() bool { return d.Outcome == Authenticated || d.Outcome == Trusted }

// AOR returns the address-of-record of the authenticated user, "" for a trusted peer.
func (d *Decision) AOR() string {
	if d.Outcome != Authenticated {
		return ""
	}
	return d.User + "@" + d.Domain
}

// Reject answers a request that may not pass. The error is that of
// [transaction.Server.Respond].
func Reject(tx *transaction.Server, d Decision) error {
	if d.OK() || d.Status == 0 {
		return nil
	}
	m := tx.NewResponse(d.Status, d.Reason)
	for _, challenge := range d.Challenges {
		m.Append(d.Header, challenge)
	}
	if d.RetryAfter > 0 {
		m.Append(sip.HRetryAfter, strconv.Itoa(d.RetryAfter))
	}
	err := tx.Respond(m)
	m.Release()
	return err
}
