package dialog

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
)

// Config says how calls are watched. It must not be changed after New.
type Config struct {
	// Max bounds the calls that are kept at a time; 0 means 100,000. Those above it go
	// through without a record.
	Max int

	// BothLost and OneLost are how long a call is kept whose two sides, or one of them,
	// can't be reached any more; 0 means a minute, and ten.
	BothLost, OneLost time.Duration

	// MaxSilence is how long a call is kept of which no message is seen; 0 means 12 h.
	MaxSilence time.Duration

	// Reachable reports over which flow a side can be reached now, if at all. It is asked
	// for connections alone and must not block. Nil: every side always can.
	Reachable func(p *Party) (f sip.Flow, ok bool)

	// Describe describes an SDP body. It is called off the way of messages. Nil: bodies are
	// not looked at.
	Describe func(sdp []byte) Media

	// Ended hears of each call that has ended, once. It must not block, nor keep c for
	// longer than it takes to make a record of it: c is not changed any more but by what
	// comes late. Nil: nobody does.
	Ended func(c *Call)
}

// Media is what an SDP body says.
type Media struct {
	Codec   string // of its first audio stream, "opus"
	Summary string // "audio opus/48000/2 sendrecv UDP/TLS/RTP/SAVPF"
}

const (
	defaultMax        = 100_000
	defaultBothLost   = time.Minute
	defaultOneLost    = 10 * time.Minute
	defaultMaxSilence = 12 * time.Hour
)

// Calls are the calls that pass. Its methods are safe for concurrent use.
type Calls struct {
	Config

	seed   maphash.Seed
	lastID atomic.Uint64
	live   atomic.Int64
	missed atomic.Uint64
	ended  [causes]atomic.Uint64
	shards [shardCount]shard
}

// shardCount is how many locks the calls are spread over. No two are ever held at a time.
const shardCount = 64

type shard struct {
	mu    sync.Mutex
	calls map[uint64]*Call // by the hash of their Call-ID; those of one hash are linked
	fresh []*Call          // have SDP that is to be described
}

// New returns a table without calls.
func New(cfg Config) *Calls {
	set(&cfg.Max, defaultMax)
	set(&cfg.BothLost, defaultBothLost)
	set(&cfg.OneLost, defaultOneLost)
	set(&cfg.MaxSilence, defaultMaxSilence)
	t := &Calls{Config: cfg, seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].calls = make(map[uint64]*Call)
	}
	// Numbers go up from life to life of the process, as long as it handles less than a
	// million calls a second.
	t.lastID.Store(uint64(time.Now().UnixMicro()))
	return t
}

func set[T ~int | ~int64](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// Call is the record of one call. All of it is guarded by its shard's mu, but for what
// never changes: table, shard, ref, hash, id, callID, tag, begun.
type Call struct {
	table *Calls
	shard *shard
	ref   *reference
	next  *Call // another one with the same hash
	hash  uint64
	id    uint64

	callID string
	tag    string // the caller's
	begun  time.Time
	seq    uint32 // CSeq of the INVITE

	main    int8 // the dialog of an answered call that its callee is in
	offerer Side // who made the last offer that was answered
	fresh   bool // among the shard's fresh ones
	parties
	dialed string // whom the caller asked for

	legs     []leg
	dialogs  []dialog
	firstLeg [1]leg // room for the usual one
	firstDlg [1]dialog

	rang, answered, over time.Duration // since begun; 0: not yet
	heard                time.Duration // of any message
	hung                 time.Duration // when the BYE passed that the call ends with
	lost                 time.Duration // when a side was first found unreachable, 0 where both can be
	bothLost             time.Duration
	interval, expires    time.Duration // of the session timer (RFC 4028), 0 for none

	gone      bool // out of the table
	cancelled bool
	left      bool // the caller's connection broke in set-up
	cause     Cause
	by        By
	status    uint16
	reason    string // text of it: a phrase or the value of a Reason header field

	sdp     [2][]byte // bodies not yet described, the messages' own bytes
	media   [2]Media  // of the two sides
	offered *offers   // that have no answer, where there have been any

	refer, replaces string
	trace           trace
}

type parties [2]Party

// Side is a side of a call.
type Side uint8

// The sides.
const (
	Caller Side = iota
	Callee
)

func (s Side) other() Side { return 1 - s }

// Party is one side of a call.
type Party struct {
	Identity  string // "alice@example.test": the AOR of a user of ours, else what the URI says
	Flow      sip.Flow
	UserAgent string

	// AOR and Client name the client of ours behind the flow, as Reachable knows it.
	AOR    string
	Client uint32
}

// leg is one place that the INVITE was sent to.
type leg struct {
	uri         string
	party       Party
	began       time.Duration
	rang, ended time.Duration
	status      int
	ours        bool // the status is not the phone's but made here
}

// dialog is one dialog of the call.
type dialog struct {
	tag   string // the callee's
	leg   int8   // -1: unknown
	state State
	seq   [2]uint32 // last CSeq of each side (RFC 3261 §12.2)
}

// Bounds of what one call may make us keep.
const (
	maxLegs    = 32
	maxDialogs = 16  // and one more, where that answers the call
	maxText    = 256 // of one text that a peer chose, but for Call-ID and tags
)

// find returns the call of a Call-ID that has the tag for its caller's, or nil. The shard is
// locked.
func (s *shard) find(hash uint64, callID, tag string) *Call {
	for c := s.calls[hash]; c != nil; c = c.next {
		if c.tag == tag && c.callID == callID {
			return c
		}
	}
	return nil
}

func (t *Calls) shardOf(callID string) (*shard, uint64) {
	hash := maphash.String(t.seed, callID)
	return &t.shards[hash%shardCount], hash
}

// Begin begins the record of a call with its INVITE. dialed is whom it asks for. An INVITE
// that passes for a second time (a spiral, RFC 3261 §16.3) is no further call: the request
// that is returned then records nothing, as it does on a nil Calls.
func (t *Calls) Begin(invite *sip.Message, caller Party, dialed string) Request {
	if t == nil {
		return Request{}
	}
	s, hash := t.shardOf(invite.CallID())
	ua, _ := invite.Get(sip.HUserAgent)
	c := &Call{table: t, shard: s, ref: new(reference), hash: hash, begun: time.Now(), seq: invite.CSeq().Seq}
	c.keep(invite, caller, dialed, ua)
	c.legs, c.dialogs = c.firstLeg[:0], c.firstDlg[:0]
	if v, ok := invite.Get(sip.HReplaces); ok {
		c.replaces = bounded(v)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if live := s.find(hash, c.callID, c.tag); live != nil && live.seq == c.seq {
		return Request{}
	}
	if t.live.Add(1) > int64(t.Max) {
		t.live.Add(-1)
		t.missed.Add(1)
		return Request{}
	}
	c.id = t.lastID.Add(1)
	c.ref.Store(c)
	c.next = s.calls[hash]
	s.calls[hash] = c
	c.offer(Caller, invite)
	c.note(Caller, methodOf(sip.INVITE), 0)
	return Request{ref: c.ref, dialog: -1, side: Caller, method: methodOf(sip.INVITE)}
}

// keep clones all texts that the record begins with, into one piece of memory.
func (c *Call) keep(invite *sip.Message, caller Party, dialed, ua string) {
	callID, tag := invite.CallID(), invite.FromTag()
	caller.Identity, dialed, ua = clip(caller.Identity), clip(dialed), clip(ua)
	var b strings.Builder
	b.Grow(len(callID) + len(tag) + len(caller.Identity) + len(dialed) + len(ua))
	for _, text := range [...]string{callID, tag, caller.Identity, dialed, ua} {
		b.WriteString(text)
	}
	rest := b.String()
	cut := func(n int) (text string) {
		text, rest = rest[:n], rest[n:]
		return text
	}
	c.callID, c.tag = cut(len(callID)), cut(len(tag))
	if caller.AOR == caller.Identity {
		caller.Identity = cut(len(caller.Identity))
		caller.AOR = caller.Identity
	} else {
		caller.Identity = cut(len(caller.Identity))
		caller.AOR = strings.Clone(caller.AOR)
	}
	c.dialed = cut(len(dialed))
	caller.UserAgent = cut(len(ua))
	c.parties[Caller] = caller
	c.parties[Callee].Identity = c.dialed
}

func clip(text string) string { return text[:min(len(text), maxText)] }

// bounded is a text of a message, as a record may keep it.
func bounded(text string) string { return strings.Clone(clip(text)) }

// remove takes a call out of the table. Its shard is locked.
func (s *shard) remove(c *Call) {
	for at, link := s.calls[c.hash], (*Call)(nil); at != nil; link, at = at, at.next {
		switch {
		case at != c:
		case link != nil:
			link.next = c.next
		case c.next != nil:
			s.calls[c.hash] = c.next
		default:
			delete(s.calls, c.hash)
		}
	}
	c.gone = true
	c.ref.Store(nil)
}
