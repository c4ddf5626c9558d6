package registrar

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// Config says how a [Registrar] works. Its zero values are the defaults named here.
type Config struct {
	// Domains are those we keep bindings for.
	Domains []string

	// MinExpires is the shortest interval a client may ask for (60 s), DefaultExpires is
	// what it gets if it asks for none (600 s), MaxExpires the longest it gets (1 h).
	// RFC 3261 §10.3 step 7 lets a minimum above one hour refuse nothing.
	MinExpires, DefaultExpires, MaxExpires time.Duration

	// Grace is how much longer a binding lives than its client was told (5 s): SIP.js
	// refreshes at 99 % of the interval, and its REGISTER may take a few retransmissions.
	Grace time.Duration

	// Jitter is the percentage by which what is granted is shortened at most, at random and
	// never below MinExpires, so that clients that came together don't come back together.
	// The client is told what it got. 0 means none.
	Jitter int

	// MaxContacts is how many bindings an AOR may have; 20.
	MaxContacts int

	// DropOldest makes room for a contact above MaxContacts: the one goes that was not
	// refreshed for longest. Without it the new one is refused.
	DropOldest bool

	// PathWithoutSupport takes a Path also where the client does not say that it knows of
	// it, which RFC 3327 §5.3 leaves to us: phones behind an edge proxy rarely do.
	PathWithoutSupport bool

	// ServiceRoute is what clients are told to preload as Routes (RFC 3608), outermost
	// first, in angle brackets.
	ServiceRoute []string

	// FlowTimer is within what time a client is told to send keepalives on the connection
	// that it keeps to us (RFC 5626 §4.4); 0 leaves it to the client.
	FlowTimer time.Duration

	// ThirdParties are AORs of users who may register others of their domain.
	ThirdParties []string

	// GRUUKey encrypts temporary GRUUs (RFC 5627). It must be the same on every node and
	// survive a restart. Without one no GRUUs are given out.
	GRUUKey []byte

	// AnyUser registers users that the store does not know, where authentication does not
	// ask for them either.
	AnyUser bool

	// Park is how long it is remembered that a flow broke ([Registrar.Lost]); 2 s,
	// negative: not at all.
	Park time.Duration

	// ProbeTimeout is how long a client may take to show that it is there when its
	// successor seems to have registered (1 s), PingTimeout when another client of the same
	// user has (10 s).
	ProbeTimeout, PingTimeout time.Duration

	// Keepalive is what UDP clients behind NATs are sent every KeepaliveInterval (25 s).
	// For KeepOptions SentBy must say where peers reach us over a flow's transport, as in
	// a Via; port 0 stands for the default.
	Keepalive         Keepalive
	KeepaliveInterval time.Duration
	SentBy            func(f sip.Flow) (host string, port uint16)

	// Node names this node among those that share the store. Epoch is different in every
	// life of its process: the flows of another one are gone. 0 means the time of New.
	Node  string
	Epoch int64

	// Inline says that the store never waits for anything (package store/memory), so that
	// REGISTER need not leave the goroutine it came on.
	Inline bool

	// StoreTimeout bounds how long a REGISTER waits for the store (5 s), unless that tells
	// later what became of it ([store.Later]) and has bounds of its own.
	StoreTimeout time.Duration

	// SweepInterval is how often expired bindings are deleted; 30 s.
	SweepInterval time.Duration

	Logger *slog.Logger // nil: slog.Default
}

func (c *Config) setDefaults() {
	c.MinExpires = cmp.Or(c.MinExpires, time.Minute)
	c.DefaultExpires = cmp.Or(c.DefaultExpires, 10*time.Minute)
	c.MaxExpires = cmp.Or(c.MaxExpires, time.Hour)
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
	c.MaxContacts = cmp.Or(c.MaxContacts, 20)
	c.KeepaliveInterval = cmp.Or(c.KeepaliveInterval, 25*time.Second)
	c.Park = cmp.Or(c.Park, 2*time.Second)
	c.ProbeTimeout = cmp.Or(c.ProbeTimeout, time.Second)
	c.PingTimeout = cmp.Or(c.PingTimeout, 10*time.Second)
	c.Epoch = cmp.Or(c.Epoch, time.Now().UnixNano())
	c.StoreTimeout = cmp.Or(c.StoreTimeout, 5*time.Second)
	c.SweepInterval = cmp.Or(c.SweepInterval, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Limits are those settings of a [Config] that may change while the registrar works.
type Limits struct {
	MinExpires, DefaultExpires, MaxExpires time.Duration
	MaxContacts                            int
}

// SetLimits replaces the limits for requests to come. None may be zero.
func (r *Registrar) SetLimits(l Limits) { r.limits.Store(&l) }

// Flows knows which connections are open; a transport.
type Flows interface {
	// Alive reports whether the flow can carry messages. It is false before anybody is
	// told that the flow has closed, and never becomes true again.
	Alive(f sip.Flow) bool
	// Probe closes the flow unless its peer shows within the time that it is there. It
	// returns at once.
	Probe(f sip.Flow, within time.Duration)
	// Send sends bytes over the flow. It never waits.
	Send(f sip.Flow, b []byte) error
}

// Registrar is a registrar and location service. It is safe for concurrent use.
type Registrar struct {
	cfg     Config
	domains map[string]string // each in lower case, by itself
	uris    map[string]string // the same by the Request-URI that clients write for it
	store   store.Store
	later   store.Later // nil where the store does not offer it
	auth    *auth.Authenticator
	flows   Flows
	gruus   *gruuCoder // nil where no GRUUs are given out

	thirdParties map[string]bool
	serviceRoute string // value of the header field, "" for none

	watchers watchers
	failed   failedFlows
	limits   atomic.Pointer[Limits]

	index flowIndex // which AORs were bound over which open flow
	voids voidQueue

	returns returns
	nat     natClients

	tasks tasks
	alarm alarm // of failures of the store

	rejects alarm // of requests that were not let pass
	date    dateText
}

// New returns a registrar. [Registrar.Run] is for its housekeeping.
func New(cfg Config, st store.Store, a *auth.Authenticator, flows Flows) *Registrar {
	cfg.setDefaults()
	r := &Registrar{
		cfg:     cfg,
		domains: make(map[string]string, len(cfg.Domains)),
		uris:    make(map[string]string, len(cfg.Domains)),
		store:   st, auth: a, flows: flows,

		thirdParties: make(map[string]bool, len(cfg.ThirdParties)),
		serviceRoute: strings.Join(cfg.ServiceRoute, ", "),
	}
	r.later, _ = st.(store.Later)
	r.SetLimits(Limits{cfg.MinExpires, cfg.DefaultExpires, cfg.MaxExpires, cfg.MaxContacts})
	for _, aor := range cfg.ThirdParties {
		r.thirdParties[aor] = true
	}
	if len(cfg.GRUUKey) > 0 {
		r.gruus = newGRUUCoder(cfg.GRUUKey)
	}
	for _, d := range cfg.Domains {
		d = strings.ToLower(d)
		r.domains[d], r.uris["sip:"+d] = d, d
	}
	r.index.flows = make(map[uint64]*flowAORs)
	r.returns.init(cfg.Park)
	r.nat.init(cfg.KeepaliveInterval)
	r.tasks.init()
	return r
}

// ownDomain returns the domain of ours that a host names, in lower case.
func (r *Registrar) ownDomain(host string) (string, bool) {
	d, ok := r.domains[host]
	if !ok {
		d, ok = r.domains[strings.ToLower(host)]
	}
	return d, ok
}

// Lookup returns the bindings of an AOR that can be reached now, oldest first. known is
// false where only the store knows: [Registrar.LookupStore] is then to be asked. It never
// blocks. The slice is shared and read-only.
func (r *Registrar) Lookup(aor string) (bindings []store.Binding, known bool) {
	bindings, known = r.store.CachedLookup(aor, time.Now())
	return r.reachable(bindings), known
}

// LookupStore is [Registrar.Lookup] for what is not in memory. It may block.
func (r *Registrar) LookupStore(ctx context.Context, aor string) ([]store.Binding, error) {
	bindings, err := r.store.Lookup(ctx, aor, time.Now())
	return r.reachable(bindings), err
}

// reachable returns those of the bindings that can be reached, which is mostly all of
// them: then it allocates nothing.
func (r *Registrar) reachable(bindings []store.Binding) []store.Binding {
	for i := range bindings {
		if r.canReach(&bindings[i]) {
			continue
		}
		kept := append([]store.Binding(nil), bindings[:i]...)
		for j := i + 1; j < len(bindings); j++ {
			if r.canReach(&bindings[j]) {
				kept = append(kept, bindings[j])
			}
		}
		return kept
	}
	return bindings
}

// Owns reports whether the binding was made through this process, whose transport so knows its
// flow.
func (r *Registrar) Owns(b *store.Binding) bool {
	return b.Node == r.cfg.Node && b.Epoch == r.cfg.Epoch
}

// canReach reports whether there is a way to the binding's contact.
func (r *Registrar) canReach(b *store.Binding) bool {
	switch {
	case r.failed.has(b):
		return false
	case b.Flow.ID == 0:
		return true // UDP
	case b.Node != r.cfg.Node:
		return true // only the node that owns the flow knows
	case b.Epoch == r.cfg.Epoch:
		return r.flows.Alive(b.Flow)
	}
	// The connection ended with the process that had it. A contact may be connected to
	// anew, unless it is a WebSocket client's (RFC 7118 §5.2).
	return !b.Flow.Transport.WebSocket()
}
