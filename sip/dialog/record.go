package dialog

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/sipway/sipway/sip"
)

// Record is what is known of a call at one moment. It shares nothing with the call.
type Record struct {
	ID     string // of the call, unlike those of all others here; later calls have larger ones
	CallID string
	State  State
	Dialed string // whom the caller asked for

	Caller, Callee Party // until the call is answered, Callee is who was dialed
	Codec          string
	Media          [2]Media // of the caller and the callee

	Began, Rang, Answered, Ended time.Time // zero: not yet, or never
	Heard                        time.Time // when a message was last seen

	Cause  Cause // Running until it has ended
	By     By
	Status int    // final response of a call that failed
	Reason string // why, as a phrase or as the value of a Reason header field

	Interval time.Duration // of the session timer (RFC 4028), 0 for none
	Expires  time.Time     // when it passes unless it is refreshed
	Lost     time.Time     // since when a side can't be reached; zero: both can

	Refer    string // Refer-To of the last REFER
	Replaces string // Replaces of the INVITE: the call that this one took over

	// These are in what Call.Record and Find return, and not in what Brief and List do.
	CallerTag string
	Legs      []Leg
	Dialogs   []Dialog
	Steps     []Step // the last messages
	Messages  int    // how many there were
}

// Leg is a place that the INVITE was sent to.
type Leg struct {
	URI                string
	Party              Party
	Began, Rang, Ended time.Time
	Status             int  // last one
	Ours               bool // the status was made here, as there was no answer
}

// Dialog is one dialog of a call.
type Dialog struct {
	CalleeTag string
	Leg       int // index in Legs, -1 for an unknown one
	State     State
	CSeq      [2]uint32 // last one of the caller and the callee
}

// Step is a message that passed.
type Step struct {
	At     time.Time
	From   Side
	Method sip.Method // "" for one that is rarely seen
	Status int        // 0 for a request
}

// Ringing returns how long the phone took to ring or, if it did not, to be answered.
func (r *Record) Ringing() time.Duration { return span(r.Began, r.Rang) }

// SetUp returns how long it took until the call was answered, 0 where it was not.
func (r *Record) SetUp() time.Duration { return span(r.Began, r.Answered) }

// Duration returns how long the two sides could talk: until now where they still can.
func (r *Record) Duration(now time.Time) time.Duration {
	if r.Ended.IsZero() {
		return span(r.Answered, now)
	}
	return span(r.Answered, r.Ended)
}

func span(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return to.Sub(from)
}

// Record returns all that is known of the call.
func (c *Call) Record() Record {
	c.describe()
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	r := c.brief()
	r.CallerTag, r.Messages = c.tag, c.trace.n
	for i := range c.legs {
		l := &c.legs[i]
		r.Legs = append(r.Legs, Leg{
			URI: l.uri, Party: l.party, Began: c.at(l.began), Rang: c.at(l.rang), Ended: c.at(l.ended), Status: l.status, Ours: l.ours,
		})
	}
	for i := range c.dialogs {
		d := &c.dialogs[i]
		r.Dialogs = append(r.Dialogs, Dialog{CalleeTag: d.tag, Leg: int(d.leg), State: d.state, CSeq: d.seq})
	}
	for n := max(c.trace.n-traceSteps, 0); n < c.trace.n; n++ {
		s := c.trace.steps[n%traceSteps]
		r.Steps = append(r.Steps, Step{
			At: c.begun.Add(time.Duration(s.at) * time.Millisecond), From: s.side, Method: s.method.name(), Status: int(s.status),
		})
	}
	return r
}

// Brief returns the record without its lists, and media only as far as they were described
// before: at little cost.
func (c *Call) Brief() Record {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.brief()
}

// brief is the part of the record that has no lists. The shard is locked.
func (c *Call) brief() Record {
	r := Record{
		ID: strconv.FormatUint(c.id, 36), CallID: c.callID, State: c.state(), Dialed: c.dialed,
		Caller: c.parties[Caller], Callee: c.parties[Callee], Media: c.media,
		Began: c.begun, Rang: c.at(c.rang), Answered: c.at(c.answered), Ended: c.at(c.over), Heard: c.at(c.heard),
		Cause: c.cause, By: c.by, Status: int(c.status), Reason: c.reason,
		Interval: c.interval, Expires: c.at(c.expires), Lost: c.at(c.lost),
		Refer: c.refer, Replaces: c.replaces,
	}
	if c.answered != 0 {
		r.Codec = cmp.Or(c.media[c.offerer.other()].Codec, c.media[c.offerer].Codec)
	}
	return r
}

// at is a moment of the call, zero where there was none.
func (c *Call) at(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return c.begun.Add(d)
}

// List returns the live calls that keep wants, oldest first, beginning behind the one with
// the ID after, "" for the first; at most limit of them. more says that there are others.
func (t *Calls) List(after string, limit int, keep func(r *Record) bool) (list []Record, more bool) {
	from, err := strconv.ParseUint(after, 36, 64)
	if err != nil && after != "" {
		return nil, false
	}
	t.describe()
	for _, c := range t.sorted() {
		if c.id <= from {
			continue
		}
		r := c.Brief()
		if r.State == Ended || keep != nil && !keep(&r) {
			continue
		}
		if len(list) == limit {
			return list, true
		}
		list = append(list, r)
	}
	return list, false
}

// sorted returns all calls, oldest first.
func (t *Calls) sorted() []*Call {
	calls := make([]*Call, 0, t.live.Load())
	for i := range t.shards {
		calls = t.shards[i].all(calls)
	}
	slices.SortFunc(calls, func(a, b *Call) int { return cmp.Compare(a.id, b.id) })
	return calls
}

// Find returns the live calls with an ID or a Call-ID: of the latter there may be several.
func (t *Calls) Find(id string) []Record {
	n, err := strconv.ParseUint(id, 36, 64)
	var found []Record
	for _, c := range t.sorted() {
		if err == nil && c.id == n || c.callID == id {
			found = append(found, c.Record())
		}
	}
	return found
}

// Stats are counts of all calls.
type Stats struct {
	Live   [len(stateNames)]int // by state
	Ended  [causes]uint64       // by cause
	Missed uint64               // calls that were not recorded, as there were too many
}

// Stats counts.
func (t *Calls) Stats() Stats {
	s := Stats{Missed: t.missed.Load()}
	for i := range t.shards {
		shard := &t.shards[i]
		shard.mu.Lock()
		for _, c := range shard.calls {
			for ; c != nil; c = c.next {
				s.Live[c.state()]++
			}
		}
		shard.mu.Unlock()
	}
	for i := range t.ended {
		s.Ended[i] = t.ended[i].Load()
	}
	return s
}
