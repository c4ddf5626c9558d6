package auth

import (
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// Guard counts who succeeds and who fails, and stops those who do either too often.
type Guard interface {
	// Challenged hears that a request without credentials was challenged.
	Challenged(f sip.Flow)
	// Guessing reports whether so many of the user's passwords that came from the flow's source
	// were wrong that a further one is to count as wrong, too.
	Guessing(f sip.Flow, user string) bool
	// Failed hears of a wrong password for the user, who may not exist.
	Failed(f sip.Flow, user string)
	// Succeeded hears that a request of the user was authenticated. It reports whether he
	// is within his limit.
	Succeeded(f sip.Flow, user string) bool
}

// overLimit is the Retry-After of a 503 to a user who sends too much, in seconds.
const overLimit = 5

// stranger is who takes the place of a user whose password is being guessed: nobody, whose
// password is always wrong, in the same time and with the same answer.
func (a *Authenticator) stranger(f sip.Flow, name, realm string) (u *store.User, guessing bool) {
	if a.cfg.Guard == nil || !a.cfg.Guard.Guessing(f, name+"@"+realm) {
		return nil, false
	}
	return &store.User{}, true
}

func (a *Authenticator) failed(f sip.Flow, name, realm string) {
	if a.cfg.Guard != nil {
		a.cfg.Guard.Failed(f, name+"@"+realm)
	}
}

// passed lets a decision pass if its user is within his limit.
func (a *Authenticator) passed(f sip.Flow, d Decision) Decision {
	if a.cfg.Guard == nil || a.cfg.Guard.Succeeded(f, d.AOR()) {
		return d
	}
	return Decision{Outcome: Refused, Status: 503, RetryAfter: overLimit, Cause: d.AOR() + " is above the limit of a user"}
}

// short is a size in bytes that requests of real clients are above: with a Contact, a
// User-Agent and what they can do, a REGISTER has 400 and more.
const short = 256

// Spare reports whether the answer to a request should be kept short: it came over UDP, where
// its source may be somebody else's address, and is so small that a full answer would be many times as
// large. It then gets one challenge only, the last one, which all know how to answer.
func Spare(f sip.Flow, m *sip.Message) bool {
	return f.Transport == sip.UDP && m.SourceSize() > 0 && m.SourceSize() < short
}
