package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// hop is the next element on a request's way: a flow that is there, or a URI to find one
// for (RFC 3261 §16.6 step 7), or a flow that has gone.
type hop struct {
	flow sip.Flow // Transport is 0 where uri is to be located
	uri  *sip.URI
	gone bool

	// registered says that a client of ours is behind it: when it can't be reached, the
	// user is unavailable and not the service.
	registered bool

	// client is the binding that the hop was made of, owner whose it is within a dialog.
	client *store.Binding
	owner  owner
}

// locate has the hop's flow found by a URI.
func (h *hop) locate(u sip.URI) { h.uri = &u }

// Locator finds the servers that a URI leads to, and knows which of them failed lately.
type Locator interface {
	// Locate returns the servers of a URI (RFC 3263 §4), the best one first, one with each
	// call of next. What a server must be looked up for is looked up when it is its turn.
	// The error is that of a look-up, and io.EOF after the last server.
	Locate(u *sip.URI) (next func(ctx context.Context) (sip.Server, error))

	// Usable reports whether the server is one that has not failed, or not lately.
	Usable(s sip.Server) bool

	// Failed notes that a server did not answer or could not be connected to: for that
	// time, 0 for the locator's own choice, others are preferred to it.
	Failed(s sip.Server, pause time.Duration)

	// Declined notes that a server asked to be left alone for that time (RFC 3261 §21.5.4).
	Declined(s sip.Server, pause time.Duration)

	// Answered notes that a server is there.
	Answered(s sip.Server)
}

var errInner = errors.New("proxy: address is for this machine or link alone")

// mayReach refuses what leads from outside to this machine itself, its link or a group:
// whoever may call any address, or have a name point to it, could have us speak to what
// listens there for no one but its neighbours. A peer that is trusted may be there.
func (p *Proxy) mayReach(from sip.Flow, s sip.Server) error {
	to, src := s.Addr.Addr().Unmap(), from.Remote.Addr().Unmap()
	switch {
	case to.IsLoopback() && src.IsLoopback(),
		to.IsLinkLocalUnicast() && (src.IsLinkLocalUnicast() || src.IsLoopback()):
		return nil
	case to.IsLoopback(), to.IsLinkLocalUnicast(), to.IsUnspecified(), to.IsMulticast():
		if !p.Auth.Trusted(sip.Flow{Transport: s.Transport, Remote: s.Addr}) {
			return errInner
		}
	}
	return nil
}

// connect finds or opens a flow to the first server of the URI that takes a connection.
func (p *Proxy) connect(ctx context.Context, from sip.Flow, u *sip.URI) (sip.Flow, error) {
	next := p.Locator.Locate(u)
	for failed := error(nil); ; {
		s, err := next(ctx)
		if err != nil {
			return sip.Flow{}, firstError(failed, err)
		}
		f, err := p.dial(ctx, from, s)
		if err == nil {
			return f, nil
		}
		failed = err
	}
}

// dial opens a flow to a server, for a request that came by another one, and notes it where
// that fails. It takes no longer than a server is waited for that does not answer, as there
// may be another one.
func (p *Proxy) dial(ctx context.Context, from sip.Flow, s sip.Server) (sip.Flow, error) {
	if err := p.mayReach(from, s); err != nil {
		return sip.Flow{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.FailoverAfter)
	defer cancel()
	f, err := p.Network.Dial(ctx, s)
	if err != nil {
		p.Locator.Failed(s, 0)
	}
	return f, err
}

// firstError returns err, the first one that is not nil of those before it.
func firstError(failed, err error) error {
	if failed != nil {
		return failed
	}
	return err
}
