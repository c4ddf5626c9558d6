package admin

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/sipway/sipway/store"
)

// Offline looks at the registrations of a store itself. It knows nothing of connections, so
// it can't close any.
type Offline struct {
	Store store.Store
	// Change makes a change where others are to hear of it; nil means Store.Register.
	Change func(context.Context, store.Update) (store.Result, error)
}

var _ Registrations = Offline{}

// List implements [Registrations].
func (o Offline) List(ctx context.Context, q Query) (Page, error) {
	sq, err := q.Store()
	if err != nil {
		return Page{}, err
	}
	size := sq.Limit
	sq.Limit++ // one more tells whether there are any
	bindings, err := o.Store.List(ctx, sq)
	if err != nil {
		return Page{}, err
	}
	var page Page
	if len(bindings) > size {
		bindings = bindings[:size]
		page.Next = formatCursor(sq.Sort, &bindings[size-1])
	}
	page.Registrations = registrations(bindings, sq.Now)
	return page, nil
}

// Count implements [Registrations].
func (o Offline) Count(ctx context.Context, q Query) (int, error) {
	sq, err := q.Store()
	if err != nil {
		return 0, err
	}
	return o.Store.Count(ctx, sq)
}

// Show implements [Registrations].
func (o Offline) Show(ctx context.Context, aor string) ([]Registration, error) {
	now := time.Now()
	bindings, err := o.Store.Lookup(ctx, aor, now)
	if err != nil {
		return nil, err
	}
	if len(bindings) == 0 {
		return nil, notRegistered(aor)
	}
	return registrations(bindings, now), nil
}

// Remove implements [Registrations]. Nothing is kicked.
func (o Offline) Remove(ctx context.Context, aor, contact string, _ bool) ([]Removal, error) {
	bindings, err := o.RemoveBindings(ctx, aor, contact)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	removed := make([]Removal, len(bindings))
	for i := range bindings {
		removed[i].Registration = NewRegistration(&bindings[i], now)
	}
	return removed, nil
}

// RemoveBindings is Remove that returns what it ended as the store had it.
func (o Offline) RemoveBindings(ctx context.Context, aor, contact string) ([]store.Binding, error) {
	now := time.Now()
	bindings, err := o.Store.Lookup(ctx, aor, now)
	if err != nil {
		return nil, err
	}
	if len(bindings) == 0 {
		return nil, notRegistered(aor)
	}
	// A Call-ID of its own: the removal is late for nobody (RFC 3261 §10.3 step 7).
	u := store.Update{AOR: aor, Now: now, CallID: rand.Text(), CSeq: 1, Operator: true}
	for i := range bindings {
		if b := &bindings[i]; contact == "" || b.Contact == contact || b.Key == contact {
			u.Bindings = append(u.Bindings, store.Binding{Key: b.Key})
		}
	}
	if len(u.Bindings) == 0 {
		return nil, described{aor + " has no contact " + contact, store.ErrNotFound}
	}
	change := o.Change
	if change == nil {
		change = o.Store.Register
	}
	result, err := change(ctx, u)
	var gone []store.Binding
	for _, c := range result.Gone {
		if c.Event == store.Removed {
			gone = append(gone, c.Binding)
		}
	}
	return gone, err
}

func notRegistered(aor string) error {
	return described{aor + " is not registered", store.ErrNotFound}
}

func registrations(bindings []store.Binding, now time.Time) []Registration {
	list := make([]Registration, len(bindings))
	for i := range bindings {
		list[i] = NewRegistration(&bindings[i], now)
	}
	return list
}
