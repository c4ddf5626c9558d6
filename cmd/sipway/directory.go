package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// errKicked is why the admin API closes a connection.
var errKicked = errors.New("closed by the operator")

// directory is the registrations of the running server for the admin API: those of its store, and
// what the server knows of their connections.
type directory struct {
	admin.Offline
	process *process
}

var _ admin.Live = (*directory)(nil)

func newDirectory(p *process) *directory {
	return &directory{admin.Offline{Store: p.store, Change: p.change}, p}
}

// change has the registrar make a change of the operator's, who tells those who watch.
func (p *process) change(ctx context.Context, u store.Update) (store.Result, error) {
	if s := p.server.Load(); s != nil {
		return s.registrar.Change(ctx, u)
	}
	return p.store.Register(ctx, u)
}

// Show implements [admin.Registrations].
func (d *directory) Show(ctx context.Context, aor string) ([]admin.Registration, error) {
	now := time.Now()
	bindings, err := d.Store.Lookup(ctx, aor, now)
	if err != nil {
		return nil, err
	}
	if len(bindings) == 0 {
		return d.Offline.Show(ctx, aor) // which knows what to say
	}
	list := make([]admin.Registration, len(bindings))
	for i := range bindings {
		list[i] = admin.NewRegistration(&bindings[i], now)
		list[i].State = d.state(&bindings[i])
	}
	return list, nil
}

// state says what the server knows of a binding's connection: nothing of another node's.
func (d *directory) state(b *store.Binding) *admin.State {
	s := d.process.server.Load()
	if s == nil || !s.registrar.Owns(b) {
		return nil
	}
	state := &admin.State{Reachable: s.transport.Alive(b.Flow)}
	if info, ok := s.transport.Info(b.Flow.ID); ok {
		state.Opened, state.LastHeard, state.RTT = info.Opened.UTC(), info.LastHeard.UTC(), milliseconds(info.RTT)
	}
	if secured, ok := s.transport.Secured(b.Flow.ID); ok {
		state.TLS, state.Peer = secured.Version, secured.Domains
	}
	return state
}

// milliseconds keeps three decimals.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Remove implements [admin.Registrations].
func (d *directory) Remove(ctx context.Context, aor, contact string, kick bool) ([]admin.Removal, error) {
	bindings, err := d.RemoveBindings(ctx, aor, contact)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	removed := make([]admin.Removal, len(bindings))
	for i := range bindings {
		removed[i].Registration = admin.NewRegistration(&bindings[i], now)
		if kick {
			removed[i].Kicked = d.kick(&bindings[i])
		}
	}
	d.process.log.Info("registrations removed by the operator", "aor", aor, "contacts", len(removed), "kick", kick)
	return removed, nil
}

// Watch implements [admin.Live].
func (d *directory) Watch(ctx context.Context, q admin.Query) (<-chan admin.Event, error) {
	sq, err := q.Store()
	if err != nil {
		return nil, err
	}
	return d.process.changes.watch(ctx, sq), nil
}

// kick closes a binding's connection, if this process has it.
func (d *directory) kick(b *store.Binding) bool {
	s := d.process.server.Load()
	if s == nil || b.Flow.Transport == sip.UDP || !s.registrar.Owns(b) || !s.transport.Alive(b.Flow) {
		return false
	}
	s.transport.CloseFlow(b.Flow.ID, errKicked)
	return true
}

// checkedUsers are the users of the store for those who do not check what they send.
type checkedUsers struct{ store.Users }

// PutUsers implements [store.Users].
func (c checkedUsers) PutUsers(ctx context.Context, users []store.User, mode store.PutMode) error {
	for i := range users {
		if err := checkStored(&users[i]); err != nil {
			return err
		}
	}
	return c.Users.PutUsers(ctx, users, mode)
}

// ImportUsers implements [store.Users].
func (c checkedUsers) ImportUsers(ctx context.Context, users iter.Seq2[store.User, error], mode store.PutMode, progress func(read int)) (int, error) {
	checked := func(yield func(store.User, error) bool) {
		for u, err := range users {
			if err == nil {
				err = checkStored(&u)
			}
			if !yield(u, err) || err != nil {
				return
			}
		}
	}
	return c.Users.ImportUsers(ctx, checked, mode, progress)
}

// checkStored checks the name and the domain of a user who comes with hashes, which are made of them:
// nothing may be changed.
func checkStored(u *store.User) error {
	id, err := checkUser(u.Name, u.Domain)
	if err == nil && id != u.ID() {
		err = errors.New("expects the domain in lower case")
	}
	if err != nil {
		return admin.BadRequest(errors.New(u.ID().String() + ": " + err.Error()))
	}
	return nil
}
