//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sipway/sipway/bench/load"
)

// contender is a server in the comparison.
type contender struct {
	*process
	load          *load.Load
	idle          float64 // processor time per time with nothing to do
	before, after memory

	// The measurement that is open: from the start of a round to the start of
	// this server's next one, so that what a server does late for its
	// operations (timers, garbage) is counted with them.
	cpu      time.Duration
	ended    time.Time
	n        int
	open     bool
	own      time.Duration
	wall     time.Duration
	extra    int
	samples  map[string][]sample
	discards bool
}

// sample is one measured round.
type sample struct {
	n           int
	server, own time.Duration // per operation
	wall        time.Duration
	extra       int
}

// compare runs all operations on all servers in turn and reports.
func compare(ctx context.Context, o *options, dir string, out io.Writer) (err error) {
	// Two servers' sockets at a time would do; this also covers the rest.
	if err := raiseFileLimit(uint64(6*o.pairs*len(o.servers) + 500)); err != nil {
		return err
	}
	contenders, err := startAll(ctx, o, dir)
	defer func() {
		for _, c := range contenders {
			c.load.Close()
			c.stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, op := range o.operations {
		n, _ := o.size(op)
		for _, c := range contenders {
			if err := c.load.Prepare(op, n); err != nil {
				return c.failed(err)
			}
		}
	}
	if err := idleCost(ctx, contenders); err != nil {
		return err
	}
	for _, op := range o.operations {
		if err := alternate(ctx, o, op, contenders, out); err != nil {
			// What was measured until then is worth showing.
			return errors.Join(err, report(out, o, contenders))
		}
	}
	for _, c := range contenders {
		if c.after, err = c.memory(); err != nil {
			return err
		}
	}
	return report(out, o, contenders)
}

func startAll(ctx context.Context, o *options, dir string) ([]*contender, error) {
	var contenders []*contender
	for _, name := range o.servers {
		p, err := start(ctx, name, o, dir, plan{pairs: o.pairs, connections: 6 * o.pairs})
		if err != nil {
			return contenders, err
		}
		c := &contender{process: p, samples: make(map[string][]sample)}
		if c.load, err = load.New(p.target, o.pairs); err != nil {
			p.stop()
			return contenders, err
		}
		contenders = append(contenders, c)
		if c.before, err = p.memory(); err != nil {
			return contenders, err
		}
	}
	return contenders, nil
}

// idlePeriod is long enough for several ticks of every server's timers.
const idlePeriod = 5 * time.Second

// idleCost measures what the servers spend on nothing, to be taken off the
// stretches in which they have no load.
func idleCost(ctx context.Context, contenders []*contender) error {
	if err := wait(ctx, contenders, idlePeriod); err != nil { // registrations fade out
		return err
	}
	begin := time.Now()
	for _, c := range contenders {
		var err error
		if c.cpu, err = c.process.cpu(); err != nil {
			return err
		}
	}
	if err := wait(ctx, contenders, idlePeriod); err != nil {
		return err
	}
	for _, c := range contenders {
		now, err := c.process.cpu()
		if err != nil {
			return err
		}
		c.idle = float64(now-c.cpu) / float64(time.Since(begin))
	}
	return nil
}

// wait answers the keepalives of all servers for d.
func wait(ctx context.Context, contenders []*contender, d time.Duration) error {
	const step = 100 * time.Millisecond
	for end := time.Now().Add(d); time.Now().Before(end); {
		begin := time.Now()
		if err := serve(contenders, nil); err != nil {
			return err
		}
		select {
		case <-time.After(time.Until(begin.Add(step))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// serve answers the keepalives that have come from all servers but one.
func serve(contenders []*contender, busy *contender) error {
	for _, c := range contenders {
		if c == busy {
			continue
		}
		if err := c.load.Serve(0); err != nil {
			return c.failed(err)
		}
	}
	return nil
}

// alternate runs one operation on all servers in turn: a round that is not
// measured, which brings each server's timers into the steady state, and then
// the measured ones. The last measurement of a server stays open as long as
// its others did.
func alternate(ctx context.Context, o *options, op load.Op, contenders []*contender, out io.Writer) error {
	n, pace := o.size(op)
	pauses := make(map[*contender]time.Duration)
	for round := range o.rounds + 1 {
		for _, c := range contenders {
			if c.open {
				pauses[c] = time.Since(c.ended)
			}
			if err := c.close(op.Name); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := c.load.Prepare(op, n); err != nil {
				return c.failed(err)
			}
			c.discards = round == 0
			profiled := c.profile(ctx, o, op, n, pace)
			err := c.round(op, n, pace, func() error { return serve(contenders, c) })
			if err = errors.Join(err, profiled()); err != nil {
				return err
			}
			if o.verbose {
				fmt.Fprintf(out, "# %s %s round %d: %d in %v, generator %v/op, extra %d\n",
					op.Name, c.name, round, n, c.wall.Round(time.Millisecond), c.own/time.Duration(n), c.extra)
			}
		}
	}
	for _, c := range contenders {
		if err := wait(ctx, contenders, time.Until(c.ended.Add(pauses[c]))); err != nil {
			return err
		}
		if err := c.close(op.Name); err != nil {
			return err
		}
	}
	return nil
}

// round runs n operations and leaves the measurement open.
func (c *contender) round(op load.Op, n int, pace load.Pace, aside func() error) error {
	var err error
	if c.cpu, err = c.process.cpu(); err != nil {
		return err
	}
	own := ownCPU()
	result := c.load.Run(op, n, pace, aside)
	c.own = ownCPU() - own
	c.ended, c.wall, c.n, c.extra, c.open = time.Now(), result.Wall, n, result.Extra, true
	if err := result.Err(); err != nil {
		return c.failed(fmt.Errorf("%s: %w", op.Name, err))
	}
	return nil
}

// close ends the open measurement, if there is one.
func (c *contender) close(op string) error {
	if !c.open {
		return nil
	}
	c.open = false
	now, err := c.process.cpu()
	if err != nil {
		return err
	}
	spent := now - c.cpu - time.Duration(c.idle*float64(time.Since(c.ended)))
	if c.discards {
		return nil
	}
	n := time.Duration(c.n)
	c.samples[op] = append(c.samples[op], sample{n: c.n, server: spent / n, own: c.own / n, wall: c.wall, extra: c.extra})
	return nil
}

// profile fetches sipway's CPU profile of the round that is not measured: the
// profiler's own cost would be in the others.
func (c *contender) profile(ctx context.Context, o *options, op load.Op, n int, pace load.Pace) func() error {
	if o.profile == "" || !c.discards || c.name != "sipway" {
		return func() error { return nil }
	}
	seconds := 5
	if pace.Rate > 0 {
		seconds = max(1, int(float64(n)/pace.Rate))
	}
	done := make(chan error, 1)
	go func() {
		f, err := os.Create(filepath.Join(o.profile, op.Name+".pprof"))
		if err != nil {
			done <- err
			return
		}
		err = get(ctx, c.admin, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds), f)
		done <- errors.Join(err, f.Close())
	}()
	return func() error { return <-done }
}
