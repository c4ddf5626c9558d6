package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Errors of every implementation; test for them with [errors.Is].
var (
	// ErrOrder means that a binding of the same Call-ID has a CSeq that is not lower: the
	// request is late or a repetition (RFC 3261 §10.3 step 7). Nothing was changed.
	ErrOrder = errors.New("store: CSeq is not higher than that of the binding")

	// ErrTooManyContacts means that the update would leave more bindings than
	// Update.MaxContacts. Nothing was changed.
	ErrTooManyContacts = errors.New("store: too many contacts")

	// ErrNotFound means that there is no such user.
	ErrNotFound = errors.New("store: not found")

	// ErrExists means that there is such a user already; the error names it.
	ErrExists = errors.New("store: exists already")

	// ErrUnavailable means that the database could not do it now: disk full, file
	// unreadable, another process keeps it locked, store closed. Nothing was changed,
	// unless the error is ErrUncertain too. Trying again later is right.
	ErrUnavailable = errors.New("store: unavailable")

	// ErrUncertain means that the caller's context ended, or the connection to the
	// database broke, while the write was being committed: it may have happened or may not.
	ErrUncertain = errors.New("store: outcome unknown")
)

// Store is a complete store. All methods are safe for concurrent use.
//
// Every method that takes a context returns its error, wrapped, once it has ended. A write
// whose turn had not come by then is not done; one that was under way is reported as
// ErrUncertain besides.
type Store interface {
	Locations
	Users
	Cached
	Nodes
	Feed
	Secrets

	// Close waits for the writes that were accepted and releases the store. Every call
	// after it that returns an error returns ErrUnavailable, except a second Close, which
	// does nothing.
	Close() error
}

// Locations is the location service: it maps an address-of-record to its bindings.
type Locations interface {
	// Register applies one REGISTER to the bindings of its AOR, all of it or nothing, and
	// returns the resulting set. When it returns without an error the change is durable
	// and every later look-up sees it. An Update that asks for no change is a query.
	//
	// The store copies what it keeps: the strings may be parts of a received message. It
	// may read u.Bindings until the write is over even if ctx has ended, so the caller
	// does not modify them afterwards.
	//
	// Errors: ErrOrder, ErrTooManyContacts, ErrUnavailable, ErrUncertain.
	Register(ctx context.Context, u Update) (Result, error)

	// Lookup returns the bindings of aor that exist at now, oldest first; none is not an
	// error. The slice is shared: it must not be modified. What does not exist is what has
	// expired, and what hangs on a flow of a node whose lease has ended ([Leases.Void]).
	// While the database can't be asked, a store may answer with what it last knew of an
	// AOR that was bound through this process.
	Lookup(ctx context.Context, aor string, now time.Time) ([]Binding, error)

	// RemoveFlow removes those bindings of the AORs that belong to exactly this
	// incarnation of a flow (Binding.Node, Epoch and Flow.ID), durably, and returns them.
	// What has been bound anew over another flow stays. Flow 0, that of UDP, is no
	// incarnation: nothing is removed.
	RemoveFlow(ctx context.Context, node string, epoch int64, flow uint64, aors []string) ([]Binding, error)

	Listing
}

// Later is what a store may offer to those who would rather not wait on a goroutine of their
// own for each REGISTER.
type Later interface {
	// RegisterLater is Register that returns at once and has then called with the outcome. It
	// is called on a goroutine of the store, on which others depend, and so must not wait, nor
	// call what may. False says that it will not be called: the store can't do that now, and
	// Register is to be called. How long it may take is for the store to bound.
	RegisterLater(u Update, then func(Result, error)) bool
}

// Listing walks and tidies all bindings.
type Listing interface {
	// List returns a page of the bindings that exist at q.Now, in the order of q.Sort. In
	// an order other than ByAOR a page costs time in proportion to all bindings.
	List(ctx context.Context, q Query) ([]Binding, error)

	// Count returns how many bindings List would return without a limit and a cursor. It
	// costs time in proportion to all bindings: it is for gauges and people, not for the
	// way of a message.
	Count(ctx context.Context, q Query) (int, error)

	// Sweep deletes up to limit bindings that have expired at now and returns them; fewer
	// than limit means that none is left. Nothing depends on it but space: an expired
	// binding is never returned otherwise. Of several nodes that sweep each gets others.
	Sweep(ctx context.Context, now time.Time, limit int) ([]Binding, error)
}

// Users knows who may register. Names are compared byte by byte; domains are lower case.
type Users interface {
	// User returns one user or ErrNotFound.
	User(ctx context.Context, name, domain string) (User, error)

	// PutUsers stores all users or none. It is for a handful; a file goes to ImportUsers.
	PutUsers(ctx context.Context, users []User, mode PutMode) error

	// ImportUsers stores all users of the sequence or none of them, in one transaction at
	// its end, and returns how many there were. It reads the sequence as it goes, so a
	// million users are never in the program's memory at once where a database holds them.
	// An error in the sequence ends the import and is returned, wrapped. A user that
	// stands in the sequence twice is ErrExists in mode Add; in mode Upsert the last one
	// counts. progress, which may be nil, is called on the caller's goroutine now and then
	// with the number of users read.
	ImportUsers(ctx context.Context, users iter.Seq2[User, error], mode PutMode, progress func(read int)) (int, error)

	// DeleteUser deletes one user or returns ErrNotFound. It does not touch the bindings.
	DeleteUser(ctx context.Context, name, domain string) error

	// ListUsers returns up to limit users that follow after, in the order of
	// [UserID.Compare]. The zero UserID is before all.
	ListUsers(ctx context.Context, after UserID, limit int) ([]User, error)
}

// Cached answers from memory or not at all. Its methods never block and never leave the
// calling goroutine, so the way of a message tries them before the methods that may.
// A hit is what the corresponding method would return.
type Cached interface {
	// CachedLookup is Lookup; ok is false where only the database knows. No bindings with
	// ok true means that there are none.
	CachedLookup(aor string, now time.Time) (bindings []Binding, ok bool)

	// CachedUser is User; ok is false where only the database knows. exists false with ok
	// true means that there is no such user.
	CachedUser(name, domain string) (u User, exists, ok bool)

	// CacheStats says how the memory in front of the database does.
	CacheStats() (bindings, users CacheStats)
}

// CacheStats counts since the store was opened, and says what is in memory now.
type CacheStats struct {
	Hits, Misses, Evictions uint64
	Entries                 int // AORs or users
	Absent                  int // those known to have no bindings or not to exist
	Bytes                   int64
}

// Nodes keeps the leases of the nodes that share the store.
type Nodes interface {
	// Heartbeat makes the lease known in place of the one that the node has. A process
	// calls it before it binds anything with a new epoch, then again and again well before
	// the lease ends, and with an Until of now when it ends in good order. Epochs of a
	// node grow.
	Heartbeat(ctx context.Context, l Lease) error

	// Nodes returns the latest lease of every node, by name. A node is forgotten after
	// LeaseMemory.
	Nodes(ctx context.Context) ([]Lease, error)
}

// Feed tells of changes that others have made: another node, or a command beside the
// server.
type Feed interface {
	// Watch has f called after others have changed bindings of the AORs; nil means that
	// any may have changed. The store has then forgotten what it had of them in memory.
	// Mere refreshes may not be reported, changes made through this store never are, and
	// removals by a sweep are where they happen. f is called on a goroutine of its own,
	// one call at a time. stop ends it; a call may be under way still.
	Watch(f func(aors []string)) (stop func())
}

// Secrets keeps keys that must survive a restart and be the same on every node.
type Secrets interface {
	// Secret returns the 32 random bytes of that name, which are made at its first use.
	// The slice is the caller's.
	Secret(ctx context.Context, name string) ([]byte, error)
}

// SecretSize is the length of a secret in bytes.
const SecretSize = 32
