package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/limits"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// newLimiter returns what keeps strangers within their limits, nil where nothing is to.
func (s *server) newLimiter() *limits.Limiter {
	if !s.cfg.Limits.Enabled {
		return nil
	}
	bounds := limiterBounds(s.cfg)
	bounds.Exempt, bounds.Logger = s.exempt, s.log
	bounds.Trusted = func(f sip.Flow) bool { return s.auth.Trusted(f) }
	return limits.New(bounds)
}

func limiterBounds(cfg *config.Config) limits.Config {
	c := &cfg.Limits
	return limits.Config{
		Requests: c.Requests, Burst: c.Burst, UserRequests: c.UserRequests, UserBurst: c.UserBurst,
		Failures: c.Failures, UserFailures: c.UserFailures, FirstBan: c.FirstBan, MaxBan: c.MaxBan,
	}
}

// setExempt takes the sources without limits from the configuration. Those of the front ends are
// the ones that the server was started with.
func (s *server) setExempt(cfg *config.Config) {
	list := append(prefixes(cfg.Limits.Exempt), prefixes(s.cfg.Proxies)...)
	s.exempted.Store(&list)
}

// exempt reports whether a source is under no limit: it is listed as such, a front end whose
// connections are its clients', or a trusted peer.
func (s *server) exempt(a netip.Addr) bool {
	contains := func(p netip.Prefix) bool { return p.Contains(a) }
	return slices.ContainsFunc(*s.exempted.Load(), contains) || s.auth != nil && s.auth.TrustsAddr(a)
}

// bans shows the limiter's bans to operators.
type bans struct{ process *process }

var _ admin.Bans = bans{}

// limiter returns that of the server that runs.
func (b bans) limiter() (*limits.Limiter, error) {
	s := b.process.server.Load()
	switch {
	case s == nil:
		return nil, fmt.Errorf("%w: the server is starting", store.ErrUnavailable)
	case s.limits == nil:
		return nil, admin.BadRequest(fmt.Errorf("limits.enabled is false: nobody is banned here"))
	}
	return s.limits, nil
}

// Bans implements [admin.Bans].
func (b bans) Bans(context.Context) ([]admin.Ban, error) {
	l, err := b.limiter()
	if err != nil {
		return nil, err
	}
	var list []admin.Ban
	for _, ban := range l.Bans() {
		list = append(list, describeBan(ban))
	}
	return list, nil
}

// AddBan implements [admin.Bans].
func (b bans) AddBan(_ context.Context, addr netip.Addr, length time.Duration) (admin.Ban, error) {
	l, err := b.limiter()
	if err != nil {
		return admin.Ban{}, err
	}
	return describeBan(l.Ban(addr, length)), nil
}

// RemoveBan implements [admin.Bans].
func (b bans) RemoveBan(_ context.Context, addr netip.Addr) error {
	l, err := b.limiter()
	if err == nil && !l.Unban(addr) {
		err = fmt.Errorf("%s is not banned: %w", addr, store.ErrNotFound)
	}
	return err
}

func describeBan(b limits.Ban) admin.Ban {
	source := b.Source.String()
	if b.Source.IsSingleIP() {
		source = b.Source.Addr().String()
	}
	return admin.Ban{
		Source: source, Reason: b.Reason.String(), Since: b.Since.UTC(), Until: b.Until.UTC(),
		ExpiresIn: int64(time.Until(b.Until) / time.Second), Count: b.Count,
	}
}
