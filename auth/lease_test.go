package auth

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/auth/token"
	"github.com/sipway/sipway/sip"
)

// leased runs f with an authenticator and the flows that it has had closed.
func leased(t *testing.T, f func(t *testing.T, a *Authenticator, ended chan sip.Flow)) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan sip.Flow, 10)
		a := newAuth(t, Config{FlowCalls: true, Tokens: TokenPolicy{Grace: 10 * time.Second}, Expired: func(f sip.Flow) { ended <- f }}, newUsers())
		f(t, a, ended)
		a.Closed(browser)
		if len(a.leases.byFlow) != 0 {
			t.Errorf("%d leases of closed flows", len(a.leases.byFlow))
		}
	})
}

// endsAfter checks when the flow is closed.
func endsAfter(t *testing.T, ended chan sip.Flow, d time.Duration) {
	t.Helper()
	began := time.Now()
	select {
	case <-ended:
	case <-time.After(time.Hour):
	}
	if took := time.Since(began); took != d {
		t.Errorf("closed after %v, not %v", took, d)
	}
}

func in(d time.Duration) time.Time { return time.Now().Add(d) }

func TestLease(t *testing.T) {
	leased(t, func(t *testing.T, a *Authenticator, ended chan sip.Flow) {
		a.Identify(browser, "alice@"+domain, in(time.Minute))
		if !a.Bound(browser, "alice@"+domain) || a.Bound(browser, "bob@"+domain) {
			t.Error("it is not alice alone who is believed")
		}
		a.Bind(browser, "alice@"+domain, time.Time{}) // she unregisters
		a.lease(browser, "alice@"+domain, in(2*time.Minute))
		a.lease(browser, "alice@"+domain, in(time.Second)) // an older token takes nothing away
		endsAfter(t, ended, 2*time.Minute+10*time.Second)
	})
}

// The first token that ends, ends the connection of several users.
func TestLeaseOfSeveral(t *testing.T) {
	leased(t, func(t *testing.T, a *Authenticator, ended chan sip.Flow) {
		a.lease(browser, "alice@"+domain, in(3*time.Minute))
		a.lease(browser, "bob@"+domain, in(time.Minute))
		a.lease(browser, "carol@"+domain, in(2*time.Minute))
		a.Bind(browser, "bob@"+domain, time.Time{}) // who has unregistered does not count
		endsAfter(t, ended, 2*time.Minute+10*time.Second)
	})
}

// A ticket sets no end, and a token that is shown later sets none either.
func TestLeaseOfTicket(t *testing.T) {
	leased(t, func(t *testing.T, a *Authenticator, ended chan sip.Flow) {
		a.Identify(browser, "alice@"+domain, time.Time{})
		a.lease(browser, "alice@"+domain, in(time.Minute))
		endsAfter(t, ended, time.Hour)
	})
}

// A token that many users' requests carry over a proxy's connection does not end that.
func TestLeaseIsOfTheUserAlone(t *testing.T) {
	leased(t, func(t *testing.T, a *Authenticator, ended chan sip.Flow) {
		id := token.Identity{AOR: "alice@" + domain, Expires: in(time.Minute)}
		m := request(t, sip.REGISTER, "Via: SIP/2.0/WS y.invalid;branch=z9hG4bK2")
		if d := a.proven(browser, m, domain, false, id, nil); !d.OK() || d.AOR() != id.AOR || d.Expires != id.Expires.Add(10*time.Second) {
			t.Errorf("%+v", d)
		}
		endsAfter(t, ended, time.Hour)
	})
}
