package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/transport"
)

const (
	// drainStep is the mean time between two batches of connections that are closed.
	drainStep = 50 * time.Millisecond
	// drainEach is what each connection adds to the time over which all are closed, as long
	// as that is below the configured one: a handful is no herd.
	drainEach = 5 * time.Millisecond
	// callStep is how often is looked whether calls are still being set up.
	callStep = 20 * time.Millisecond
	// ackTime is left to the ACK of a call that was answered at last.
	ackTime = 500 * time.Millisecond
	// closeTime is kept of the time of a drain for what follows the calls.
	closeTime = 2 * time.Second
)

// drain lets go of the clients while the server still works: it takes no new calls and no new
// connections, closes the browsers' connections little by little, so that they don't all come to
// the next server in the same moment, and waits for calls that are being set up. What is left
// then is closed by shutdown.
func (s *server) drain(ctx context.Context, cfg config.Drain) {
	s.proxy.Drain()
	s.transport.StopAccepting()
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout-min(closeTime, cfg.Timeout/4))
	defer cancel()
	s.closeBrowsers(ctx, cfg.Spread)
	s.awaitCalls(ctx)
}

// closeBrowsers closes the WebSocket connections, spread at random over the time. Those over which
// a call is being set up are passed over.
func (s *server) closeBrowsers(ctx context.Context, spread time.Duration) {
	var browsers []sip.Flow
	for _, f := range s.transport.Flows() {
		if f.Transport.WebSocket() {
			browsers = append(browsers, f)
		}
	}
	rand.Shuffle(len(browsers), func(i, j int) { browsers[i], browsers[j] = browsers[j], browsers[i] })
	spread = min(spread, time.Duration(len(browsers))*drainEach)
	for steps := int(spread/drainStep) + 1; steps > 0; steps-- {
		batch := (len(browsers) + steps - 1) / steps
		for _, f := range browsers[:batch] {
			if !s.transactions.Inviting(f) {
				s.transport.CloseFlow(f.ID, transport.ErrShutdown)
			}
		}
		browsers = browsers[batch:]
		if len(browsers) == 0 || !pause(ctx, drainStep/2+rand.N(drainStep)) {
			return
		}
	}
}

// awaitCalls waits until no call is being set up.
func (s *server) awaitCalls(ctx context.Context) {
	calls := s.proxy.Stats().Calls
	if calls == 0 {
		return
	}
	s.log.Info("waiting for calls that are being set up", "calls", calls)
	for s.proxy.Stats().Calls > 0 {
		if !pause(ctx, callStep) {
			s.log.Warn("calls are broken off", "calls", s.proxy.Stats().Calls)
			return
		}
	}
	pause(ctx, ackTime)
}

// pause waits, and reports whether ctx lasts.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
