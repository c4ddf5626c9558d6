package limits

import (
	"cmp"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
)

// Config says how much is too much. A zero field has the default that its comment names.
type Config struct {
	// Requests is how many requests a second a source may send on average without having
	// proven who it is, Burst how many at once. Default 100 and 2,000: 500 phones behind
	// one NAT that come back after a power cut send four each, a REGISTER and a SUBSCRIBE
	// that are challenged and the same again; afterwards they send 20 to 30 a second.
	Requests, Burst int

	// UserRequests and UserBurst are the same for a user, over all of his clients. Default
	// 50 and 1,000: a PBX that is one user, ten calls a second, not a person.
	UserRequests, UserBurst int

	// Failures is how many wrong passwords in ten minutes ban a source; requests for users
	// who don't exist count as much, messages that can't be read half, challenges that
	// nobody answers a tenth. Default 100: at that rate, and with bans that grow, six
	// letters take a hundred thousand years, while a few phones with an old password that
	// try once a minute stay below it.
	Failures int

	// UserFailures is how many wrong passwords for one user in ten minutes have a source's
	// further ones for this user be wrong whatever they are. The user himself, elsewhere,
	// notices nothing. Default 10.
	UserFailures int

	// FirstBan is how long a source's first ban lasts; each one after that twice as long,
	// up to MaxBan. Who behaved for a day begins anew. Default 30 s and 6 h.
	FirstBan, MaxBan time.Duration

	// Exempt reports whether a source is never limited, such as a front end; Trusted whether
	// the other end of a flow isn't, whatever its address. Default: nobody.
	Exempt  func(netip.Addr) bool
	Trusted func(sip.Flow) bool

	Logger *slog.Logger // nil: slog.Default
}

// What offences weigh. The bucket of offences has failure tokens for each of
// Config.Failures.
const (
	failure   = 10 // a wrong password, or a user who doesn't exist
	malformed = 5
	challenge = 1 // taken back when it is answered
)

// window is the time in which an empty bucket of offences fills.
const window = 10 * time.Minute

// forgiven is how long after a ban the next one is a first one.
const forgiven = 24 * time.Hour

// Room in the tables: 13 MB if all of it is used.
const (
	sourceRoom = 1 << 16
	flowRoom   = 1 << 16
	userRoom   = 1 << 15
	pairRoom   = 1 << 14
	banRoom    = 1 << 14
)

// Limiter decides who is heard. It is safe for concurrent use. A nil one limits nothing.
type Limiter struct {
	cfg   Config
	began time.Time
	seeds [2]maphash.Seed

	bounds atomic.Pointer[bounds]

	sources table
	flows   table // those of who has proven to be a user
	users   table
	pairs   table

	// guessed is when the last end is of all that a pair's passwords are not looked at until:
	// mostly there is none, and who asks need not look for his.
	guessed atomic.Int64

	mu   sync.Mutex // guards what follows; no other is taken while it is held
	bans map[netip.Prefix]Ban
	said struct {
		since time.Time // of the second that is counted
		lines int       // said in it
		more  int       // and left unsaid
	}

	dropped, closed, turned, refused, guesses atomic.Uint64
	banned                                    [reasonCount]atomic.Uint64
}

// bounds are the numbers of a Config, in the form in which they are used.
type bounds struct {
	source, user, offence, guess rate

	scanner          int64 // what calling oneself a scanner weighs: a ban
	firstBan, maxBan time.Duration
}

func newBounds(cfg *Config) *bounds {
	requests, burst := cmp.Or(cfg.Requests, 100), cmp.Or(cfg.Burst, 2000)
	userRequests, userBurst := cmp.Or(cfg.UserRequests, 50), cmp.Or(cfg.UserBurst, 1000)
	failures, userFailures := cmp.Or(cfg.Failures, 100), cmp.Or(cfg.UserFailures, 10)
	return &bounds{
		source:  newRate(float64(requests), time.Second, burst),
		user:    newRate(float64(userRequests), time.Second, userBurst),
		offence: newRate(float64(failures*failure), window, failures*failure),
		guess:   newRate(float64(userFailures), window, userFailures),
		scanner: int64(failures * failure),

		firstBan: cmp.Or(cfg.FirstBan, 30*time.Second), maxBan: cmp.Or(cfg.MaxBan, 6*time.Hour),
	}
}

// New returns a limiter.
func New(cfg Config) *Limiter {
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Exempt == nil {
		cfg.Exempt = func(netip.Addr) bool { return false }
	}
	if cfg.Trusted == nil {
		cfg.Trusted = func(sip.Flow) bool { return false }
	}
	l := &Limiter{
		cfg: cfg, began: time.Now(),
		sources: newTable(sourceRoom), flows: newTable(flowRoom), users: newTable(userRoom), pairs: newTable(pairRoom),
		bans: make(map[netip.Prefix]Ban),
	}
	for i := range l.seeds {
		l.seeds[i] = maphash.MakeSeed()
	}
	l.bounds.Store(newBounds(&cfg))
	return l
}

// SetBounds replaces the numbers and times of the limiter's Config by those of cfg. Bans last as
// long as they were to, and who has used up much has used up so much of his time, not so many
// requests. A nil limiter stays one that limits nothing.
func (l *Limiter) SetBounds(cfg Config) {
	if l != nil {
		l.bounds.Store(newBounds(&cfg))
	}
}

// now is the time by the limiter's clock; never 0, which marks what was never used.
func (l *Limiter) now() int64 { return int64(time.Since(l.began)) + 1 }

// Admit reports whether a message that has arrived on f is to be read. It costs a look at
// one record of a source that keeps to its limits. Responses and ACKs, which nobody answers,
// count for nothing, but are not heard from a banned source either.
//
// What is not to be read is dropped silently over UDP, where the source may be made up and
// an answer would be for somebody else. A connection is to be closed: its source is real,
// and an answer to each request would cost as much as the request.
func (l *Limiter) Admit(f sip.Flow, b []byte) bool {
	if l == nil {
		return true
	}
	now := l.now()
	set, r := l.sources.use(sourceKey(f.Remote.Addr()), now)
	ok := r.until <= now && (!asks(b) || r.requests.take(&l.bounds.Load().source, 1, now))
	set.mu.Unlock()
	if ok || l.exempt(f) || l.proven(f, now) {
		return true
	}
	if f.Transport == sip.UDP {
		l.dropped.Add(1)
	} else {
		l.closed.Add(1)
	}
	return false
}

func (l *Limiter) exempt(f sip.Flow) bool { return l.cfg.Exempt(f.Remote.Addr()) || l.cfg.Trusted(f) }

// asks reports whether a message is a request that may get an answer.
func asks(b []byte) bool {
	return !(len(b) >= 4 && (string(b[:4]) == "SIP/" || string(b[:4]) == "ACK "))
}

// AdmitFrom reports whether a connection from the address is to be taken.
func (l *Limiter) AdmitFrom(a netip.Addr) bool {
	if l == nil {
		return true
	}
	now := l.now()
	set, r := l.sources.at(sourceKey(a))
	ok := r == nil || r.until <= now
	set.mu.Unlock()
	if ok || l.cfg.Exempt(a) {
		return true
	}
	l.turned.Add(1)
	return false
}

// proven reports whether f is that of a user who is within his own limit.
func (l *Limiter) proven(f sip.Flow, now int64) bool {
	set, r := l.flows.at(flowKey(f))
	if r == nil || r.user == 0 {
		set.mu.Unlock()
		return false
	}
	r.used = now
	user := r.user
	set.mu.Unlock()
	return l.takeUser(user, now)
}

func (l *Limiter) takeUser(u userHash, now int64) bool {
	set, r := l.users.use(u.key(), now)
	defer set.mu.Unlock()
	return r.requests.take(&l.bounds.Load().user, 1, now)
}
