package interop

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A phone is a user agent of one of the four kinds, driven as its user would.
// Calls are known by a number that the phone gives out.
type phone interface {
	user() string
	inbox() *mailbox
	register(t *testing.T) // returns when the registrar has answered 200
	dial(t *testing.T, target string) (call int)
	answer(t *testing.T, call int)
	reject(t *testing.T, call, status int)
	hangup(t *testing.T, call int) // CANCEL while it rings, BYE afterwards
}

// An event is what happened to a phone. The kinds that every phone reports:
//
//	registered, unregistered
//	incoming      Call, Peer: it rings
//	progress      Call, Status: a provisional response to our INVITE
//	established   Call: the dialog is confirmed; for the called party: ACK came
//	ended         Call, Originator: BYE
//	failed        Call, Originator, Status: the call never stood
//
// Browser pages have more (testdata/browser/pages).
type event struct {
	Kind       string `json:"kind"`
	Call       int    `json:"call"`
	Peer       string `json:"peer"`
	Status     int    `json:"status"`
	Originator string `json:"originator"` // "local" or "remote"
	Cause      string `json:"cause"`
	Body       string `json:"body"`
	Took       int    `json:"took"` // milliseconds from the INVITE's sending to its final response
}

// String shows the fields that are set.
func (e event) String() string {
	text := e.Kind
	if e.Call != 0 {
		text += fmt.Sprintf(" call=%d", e.Call)
	}
	if e.Status != 0 {
		text += fmt.Sprintf(" status=%d", e.Status)
	}
	for _, field := range []string{e.Peer, e.Originator, e.Cause, e.Body} {
		if field != "" {
			text += fmt.Sprintf(" %q", field)
		}
	}
	return text
}

// A mailbox keeps a phone's events until a test takes them.
type mailbox struct {
	owner string

	mu      sync.Mutex
	waiting []event       // not yet taken
	seen    []event       // all of them, for the failure's message
	arrived chan struct{} // closed and replaced at each post
}

func newMailbox(owner string) *mailbox {
	return &mailbox{owner: owner, arrived: make(chan struct{})}
}

func (m *mailbox) post(e event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, e)
	m.seen = append(m.seen, e)
	close(m.arrived)
	m.arrived = make(chan struct{})
}

// take removes and returns the first event that ok accepts. Where none is
// there, next is closed at the next post.
func (m *mailbox) take(ok func(event) bool) (e event, found bool, next <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.waiting, ok)
	if i < 0 {
		return event{}, false, m.arrived
	}
	e = m.waiting[i]
	m.waiting = slices.Delete(m.waiting, i, i+1)
	return e, true, nil
}

// await returns the next event of that kind; with a call number, of that call.
// It fails the test at once when the call has ended instead.
func (m *mailbox) await(t *testing.T, kind string, call int) event {
	t.Helper()
	over := func(e event) bool {
		return e.Kind == kind && (call == 0 || e.Call == call) ||
			call != 0 && e.Call == call && (e.Kind == "failed" || e.Kind == "ended") ||
			e.Kind == "registrationFailed"
	}
	limit := time.After(patience)
	for {
		e, found, next := m.take(over)
		if found && e.Kind == kind {
			return e
		}
		if found {
			t.Fatalf("%s: awaited %s of call %d, got: %v\nall events:\n%s", m.owner, kind, call, e, m.history())
		}
		select {
		case <-next:
		case <-limit:
			t.Fatalf("%s: no %s of call %d in %v\nall events:\n%s", m.owner, kind, call, patience, m.history())
		}
	}
}

// count returns how many events of that kind there were since mark.
func (m *mailbox) count(kind string, mark int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, e := range m.seen[mark:] {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// mark is the number of events so far.
func (m *mailbox) mark() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}

func (m *mailbox) history() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var text strings.Builder
	for _, e := range m.seen {
		fmt.Fprintf(&text, "\t%v\n", e)
	}
	return text.String()
}

// ring makes a call from one phone to another as far as its ringing.
func ring(t *testing.T, from, to phone) (caller, callee int) {
	t.Helper()
	caller = from.dial(t, to.user())
	in := to.inbox().await(t, "incoming", 0)
	if in.Peer != from.user() {
		t.Errorf("%s rings for %q, not %q", to.user(), in.Peer, from.user())
	}
	return caller, in.Call
}

// connect makes a call that stands on both sides: the caller has the 200, the
// called party the ACK.
func connect(t *testing.T, from, to phone) (caller, callee int) {
	t.Helper()
	caller, callee = ring(t, from, to)
	to.answer(t, callee)
	from.inbox().await(t, "established", caller)
	to.inbox().await(t, "established", callee)
	return caller, callee
}

// release hangs up on one side and awaits the end on both.
func release(t *testing.T, by phone, its int, other phone, others int) {
	t.Helper()
	by.hangup(t, its)
	if e := other.inbox().await(t, "ended", others); e.Originator == "local" {
		t.Errorf("%s ended the call itself, not by the BYE of %s", other.user(), by.user())
	}
	by.inbox().await(t, "ended", its)
}
