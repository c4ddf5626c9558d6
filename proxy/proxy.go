package proxy

import (
	"context"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/sip/transaction"
	"github.com/sipway/sipway/store"
)

// Config says whom the proxy serves. It must not be changed after New.
type Config struct {
	// Domains are the domains of our own users. The first one is also that of users who
	// are addressed by the proxy's own address or by a tel URI.
	Domains []string

	// Local reports whether host and port, 0 where none was written, are those of one of
	// our listeners.
	Local func(host string, port uint16) bool

	// SentBy returns where peers reach us over the flow's transport, for Via and
	// Record-Route; port 0 stands for the transport's default.
	SentBy func(f sip.Flow) (host string, port uint16)

	// Key signs flow tokens. It must survive a restart, or dialogs over UDP don't.
	Key []byte

	// Secure says that there is a listener for TLS or WSS, so that sips URIs can be served.
	Secure bool

	// TimerC ends an INVITE's branch that rings without end. It must be longer than three
	// minutes (RFC 3261 §16.6 step 11); 0 means 185 s.
	TimerC time.Duration

	// FailoverAfter is how long a server may be silent while there is another one to try
	// (RFC 3263 §4.3), and how long it may take to accept a connection. 0 means 4 s: an
	// INVITE has been sent four times by then, and a server that is there answers the first
	// of them with 100 within 200 ms.
	FailoverAfter time.Duration

	// Park is how long an INVITE or MESSAGE waits for a user whose flow broke just now to
	// register anew. 0: it doesn't.
	Park time.Duration

	// LargeOverUDP has requests above 1,300 bytes go out over UDP at once, where RFC 3261
	// §18.1.1 wants TCP to be tried first.
	LargeOverUDP bool

	// LookupTimeout bounds what a request waits for: the store, DNS, a connection being
	// opened. 0 means 5 s.
	LookupTimeout time.Duration

	// NoAnswer is how long targets of one preference ring before those of the next one are
	// tried; 0 means until they have answered. The last ones ring until Timer C.
	NoAnswer time.Duration

	// SessionExpires is the session timer (RFC 4028) that calls without one are to have, and
	// the longest that others may have, MinSE at least; 0: we ask for none, and let those of
	// others be.
	SessionExpires time.Duration

	// MinSE is the shortest session timer that we let pass; less than 90 s means 90 s.
	MinSE time.Duration

	// MaxCalls bounds the calls that are being set up at a time; 0 means 20,000. Above it a
	// new one is answered with 503.
	MaxCalls int

	// Emergency are the numbers of emergency services, whose calls are served when others
	// are refused. The user of ours with the first of them gets what is for urn:service:sos.
	Emergency []string

	// Recurse says which redirections are followed.
	Recurse Recursion

	// Late2xx says who ends the second call where two phones answer at once.
	Late2xx Late2xx

	// Unknown hears of strangers who ask for users who don't exist. It may be nil.
	Unknown func(f sip.Flow)

	Logger *slog.Logger // nil: slog.Default
}

// Locations is the location service.
type Locations interface {
	// Lookup returns the bindings of an AOR that can be reached now; known is false where
	// LookupStore must be asked. The slice is shared and read-only.
	Lookup(aor string) (bindings []store.Binding, known bool)
	// LookupStore is Lookup for what is not in memory. It may block.
	LookupStore(ctx context.Context, aor string) ([]store.Binding, error)

	// GRUU reads a URI of one of our domains with a gr parameter (RFC 5627): of which AOR
	// it is, and which of its bindings it leads to. valid is false for one that is none any
	// more, ok for one that never was.
	GRUU(u *sip.URI) (aor string, of func([]store.Binding) (kept []store.Binding, valid bool), ok bool)
	// LookupContact returns the AOR that a contact which nobody can resolve was bound to.
	LookupContact(u *sip.URI) (aor string, ok bool)
	// FlowFailed hears that whoever has the binding's flow has none any more.
	FlowFailed(b *store.Binding)

	// Lost reports whether a flow of the AOR's broke just now and has no successor yet.
	Lost(aor string) bool
	// Await has bound called with what each REGISTER for the AOR binds, until cancel is
	// called. bound must not wait.
	Await(aor string, bound func([]store.Binding)) (cancel func())
}

// Users tells a user without bindings from one who does not exist.
type Users interface {
	CachedUser(name, domain string) (u store.User, exists, ok bool)
	User(ctx context.Context, name, domain string) (store.User, error)
}

// Network opens flows, and knows which of them are there.
type Network interface {
	Dial(ctx context.Context, to sip.Server) (sip.Flow, error)
	Alive(f sip.Flow) bool
	// ProbeSilent makes sure that a peer who was silent for long is there. A request was
	// just sent to it; if it gives no sign of life soon, the flow closes.
	ProbeSilent(f sip.Flow)
	// Flow returns the connection of an incarnation; ok is false once it has closed.
	Flow(id uint64) (f sip.Flow, ok bool)
}

// Services are what the proxy works with.
type Services struct {
	Transactions *transaction.Layer
	Network      Network
	Locations    Locations
	Users        Users
	Auth         *auth.Authenticator
	Locator      Locator
	Calls        *dialog.Calls // records of the calls that pass; nil: there are none
}

// Proxy is a stateful proxy. Its methods are safe for concurrent use.
type Proxy struct {
	Config
	Services

	domains  map[string]bool
	tokens   tokenCoder
	loopSeed maphash.Seed
	numbers  map[string]bool // of emergency services
	timersC  *transaction.Lane
	merges   merges
	parked   atomic.Int64 // waits for users whose flow broke
	cameBack atomic.Int64 // of those, how many ended with the user, and how many without
	inVain   atomic.Int64
	calls    atomic.Int64
	refused  atomic.Int64
	draining atomic.Bool
	finals   [7]atomic.Int64 // calls by class of their final response
}

const (
	defaultTimerC        = 185 * time.Second
	defaultFailoverAfter = 4 * time.Second
	defaultLookupTimeout = 5 * time.Second
	defaultMaxCalls      = 20000
)

// New returns a proxy.
func New(cfg Config, services Services) *Proxy {
	if cfg.TimerC <= 0 {
		cfg.TimerC = defaultTimerC
	}
	if cfg.FailoverAfter <= 0 {
		cfg.FailoverAfter = defaultFailoverAfter
	}
	if cfg.LookupTimeout <= 0 {
		cfg.LookupTimeout = defaultLookupTimeout
	}
	if cfg.MinSE = max(cfg.MinSE, defaultMinSE); cfg.SessionExpires > 0 {
		cfg.SessionExpires = max(cfg.SessionExpires, cfg.MinSE)
	}
	if cfg.MaxCalls <= 0 {
		cfg.MaxCalls = defaultMaxCalls
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &Proxy{
		Config: cfg, Services: services,
		domains:  make(map[string]bool, len(cfg.Domains)),
		tokens:   newTokenCoder(cfg.Key, strings.ToLower(cfg.Domains[0])),
		loopSeed: maphash.MakeSeed(),
		timersC:  transaction.NewLane(cfg.TimerC),
		numbers:  make(map[string]bool, len(cfg.Emergency)),
	}
	for _, n := range cfg.Emergency {
		p.numbers[n] = true
	}
	for _, d := range cfg.Domains {
		p.domains[strings.ToLower(d)] = true
	}
	return p
}

// OwnDomain reports whether the host is one of our domains.
func (p *Proxy) OwnDomain(host string) bool {
	return p.domains[host] || p.domains[strings.ToLower(host)]
}

// Request processes a request that opened a server transaction, any but ACK and CANCEL.
func (p *Proxy) Request(tx *transaction.Server) {
	m := tx.Request()
	r := takeRequest(tx.Flow(), m)
	c := &responseContext{proxy: p, tx: tx, method: m.Method(), callID: m.CallID(), request: r}
	if c.method == sip.INVITE { // whose context lives on, and is not to hold the message's bytes
		c.method, c.callID = sip.INVITE, strings.Clone(c.callID)
	}
	r.received, r.shared = m, true
	r.loop = p.loopHash(r.msg) // of what was received, before anything is popped
	if c.method == sip.INVITE {
		tx.Handle(c) // a CANCEL may come while we look around
		tx.Sparing(true)
	}
	if err := p.admit(c); err != nil {
		c.reject(err)
		return
	}
	p.process(c)
}

// process examines the request of a context that has no branch, and goes on with it.
func (p *Proxy) process(c *responseContext) {
	r := c.request
	if err := p.examine(r); err != nil {
		c.reject(err)
		return
	}
	if r.msg.Method() == sip.OPTIONS && p.isSelf(&r.uri) && !r.routed() {
		c.answerOptions()
		return
	}
	p.authorize(c)
}

// examine validates a request and takes off the Routes that lead to us.
func (p *Proxy) examine(r *request) error {
	if err := p.validate(r); err != nil {
		return err
	}
	return p.preprocess(r)
}

// request is a request on its way through the proxy, with all that is known of it only until
// it has its answer and nobody works for it any more.
type request struct {
	flow sip.Flow // it came by
	msg  *sip.Message
	uri  sip.URI // its Request-URI, after preprocessing
	loop uint32  // loop detection value

	// received is the message of a transaction, and shared says that msg is still the same,
	// which must not be edited.
	received *sip.Message
	shared   bool

	inDialog bool // it has a To tag and took a route that we gave out
	next     *hop // where that route says it goes
	popped   int  // own Routes taken off
	again    bool // the flow of its route has ended under it, and it is routed once more
	spiral   bool // it has passed here before (RFC 3261 §16.3)

	aor     string // of the sender, where it was authenticated
	display string // his name, for those who are told that (RFC 3325)
	owner   owner  // the sender, for the token of its flow

	// stranger says that nobody knows who the sender is, and the request is for one of our users.
	stranger bool

	preferences preferences
	event       string // package of a SUBSCRIBE

	// Guarded by the context's mu.
	set    targetSet
	finals []*sip.Message // final responses above 2xx that were not forwarded

	onward hop       // room for next
	room   [1]target // for the usual one
}

// requests holds what was released: it is what a request needs most memory for.
var requests = sync.Pool{New: func() any { return new(request) }}

func takeRequest(f sip.Flow, m *sip.Message) *request {
	r := requests.Get().(*request)
	r.flow, r.msg = f, m
	return r
}

// release says that nobody uses r any more. It need not be called.
func (r *request) release() {
	*r = request{}
	requests.Put(r)
}

// editable returns the request for an edit, a copy of its own from the first one on.
func (r *request) editable() *sip.Message {
	if r.shared {
		r.msg, r.shared = r.msg.Clone(), false
	}
	return r.msg
}

// routed reports whether the request's Routes say where it goes.
func (r *request) routed() bool { return r.next != nil || r.msg.Has(sip.HRoute) }

// isSelf reports whether a URI addresses the proxy itself, not one of its users.
func (p *Proxy) isSelf(u *sip.URI) bool {
	return u.User == "" && u.IsSIP() && (p.OwnDomain(u.Host) || p.Local(u.Host, u.Port))
}

// replyError is a fault that is answered with a response of its own.
type replyError struct {
	status int
	reason string               // "" for the standard phrase
	edit   func(m *sip.Message) // adds what the status asks for; may be nil
}

func (e *replyError) Error() string { return sip.ReasonPhrase(e.status) + ": " + e.reason }

func refuse(status int, reason string) error { return &replyError{status: status, reason: reason} }

// waiting runs f on a goroutine of its own, with a context that bounds how long it may wait.
func (p *Proxy) waiting(f func(ctx context.Context)) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), p.LookupTimeout)
		defer cancel()
		f(ctx)
	}()
}
