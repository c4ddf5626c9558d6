package locate

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/sipway/sipway/sip"
)

var (
	// ErrNoServer says that nothing that a URI leads to can be sent to from here.
	ErrNoServer = errors.New("locate: no server for the URI")
	// ErrDeclined says that every server asked to be left alone for a time that is not over.
	ErrDeclined = errors.New("locate: the servers asked to be left alone")
)

// Locator finds servers. Its methods are safe for concurrent use.
type Locator struct {
	cfg Config
	box *box
}

// New returns a locator.
func New(cfg Config) *Locator {
	return &Locator{cfg: cfg.withDefaults(), box: newBox()}
}

// Locate returns the servers that a URI leads to, the best one first, one with each call of
// next: what a server must be looked up for is looked up when it is its turn. Servers that
// failed lately come last, those that asked to be left alone not at all. The error says why
// there is none, and is io.EOF after the last one. next must not be called concurrently.
func (l *Locator) Locate(u *sip.URI) (next func(ctx context.Context) (sip.Server, error)) {
	return l.search(l.begin(u)).next
}

func (l *Locator) search(servers []sip.Server, steps []step, err error) *search {
	return &search{locator: l, ready: servers, steps: steps, err: err}
}

// Usable reports whether a server is one that has not failed, or not lately. Of those that
// ask when the time is over only one is told so: it is to find out.
func (l *Locator) Usable(s sip.Server) bool { return l.box.look(s) == usable }

// Failed notes that a server could not be connected to or did not answer, so that for some
// time, 0 for the locator's own choice, others are preferred to it.
func (l *Locator) Failed(s sip.Server, d time.Duration) { l.box.failed(s, d) }

// Declined notes that a server asked to be left alone for that time.
func (l *Locator) Declined(s sip.Server, d time.Duration) { l.box.decline(s, d) }

// Answered notes that a server is there.
func (l *Locator) Answered(s sip.Server) { l.box.answered(s) }

// step is a look-up that leads to servers, or to further look-ups that come next.
type step func(ctx context.Context) ([]sip.Server, []step, error)

// search is what is left of the servers of a URI.
type search struct {
	locator  *Locator
	steps    []step
	ready    []sip.Server
	seen     []sip.Server
	doubtful []sip.Server // that failed lately, in their order
	declined bool         // one was passed over that asked for it
	err      error        // the first look-up that failed
	yielded  bool
}

func (s *search) next(ctx context.Context) (sip.Server, error) {
	for {
		switch {
		case len(s.ready) > 0:
			server := s.ready[0]
			s.ready = s.ready[1:]
			if s.take(server) {
				s.yielded = true
				return server, nil
			}
		case len(s.steps) > 0:
			if ctx.Err() != nil {
				return sip.Server{}, context.Cause(ctx)
			}
			do := s.steps[0]
			servers, steps, err := do(ctx)
			s.ready = servers
			s.steps = slices.Concat(steps, s.steps[1:])
			if s.err == nil {
				s.err = err
			}
		case len(s.doubtful) > 0:
			server := s.doubtful[0]
			s.doubtful = s.doubtful[1:]
			s.yielded = true
			return server, nil
		default:
			return sip.Server{}, s.end()
		}
	}
}

// take reports whether it is a server's turn.
func (s *search) take(server sip.Server) bool {
	if slices.Contains(s.seen, server) {
		return false
	}
	s.seen = append(s.seen, server)
	switch s.locator.box.look(server) {
	case doubtful:
		s.doubtful = append(s.doubtful, server)
		return false
	case declined:
		s.declined = true
		return false
	}
	return true
}

func (s *search) end() error {
	switch {
	case s.yielded:
		return io.EOF
	case s.err != nil:
		return s.err
	case s.declined:
		return ErrDeclined
	}
	return ErrNoServer
}
