//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/sipway/sipway/bench/load"
)

// compareIdle measures what idle WebSocket clients cost in memory, on one
// server after the other.
func compareIdle(ctx context.Context, o *options, dir string, out io.Writer) error {
	// A server has as many sockets as this process, each within the limit.
	if err := raiseFileLimit(uint64(o.idleClients + 500)); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "idle WebSocket clients\tserver\tPSS per client\tRSS per client\tPSS without\tPSS with\tidle CPU with\t\n")
	for _, name := range o.servers {
		if name == "floor" {
			name = plainWS
		}
		line, err := idleMemory(ctx, name, o, dir)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

func idleMemory(ctx context.Context, name string, o *options, dir string) (string, error) {
	n := o.idleClients
	p, err := start(ctx, name, o, dir, plan{pairs: n/2 + 1, connections: n})
	if err != nil {
		return "", err
	}
	defer p.stop()
	l, err := load.New(p.target, n/2)
	if err != nil {
		return "", err
	}
	defer l.Close()
	before, err := p.settle(ctx, l, calmSilent)
	if err != nil {
		return "", err
	}
	kind, calm := "silent", calmSilent
	if o.idleRegistered && name != plainWS {
		kind, calm = "registered", calmRegistered
		n = n / 2 * 2
		err = l.RegisterIdle()
	} else {
		err = l.OpenIdle(n)
	}
	if err != nil {
		return "", p.failed(err)
	}
	after, err := p.settle(ctx, l, calm)
	if err != nil {
		return "", p.failed(err)
	}
	begin, err := p.cpu()
	if err != nil {
		return "", err
	}
	if err := l.Serve(idlePeriod); err != nil {
		return "", p.failed(err)
	}
	end, err := p.cpu()
	if err != nil {
		return "", err
	}
	kib := func(bytes int64) string { return fmt.Sprintf("%.1f KiB", float64(bytes)/float64(n)/1024) }
	return fmt.Sprintf("%d %s\t%s\t%s\t%s\t%s\t%s\t%.2f ms/s\t", n, kind, name,
		kib(after.pss-before.pss), kib(after.rss-before.rss), mebibytes(before.pss), mebibytes(after.pss),
		1000*float64(end-begin)/float64(idlePeriod)), nil
}

const (
	settleStep  = time.Second
	settleSteps = 180
	// calmSilent and calmRegistered are how many steps without a change are enough. An idle
	// sipway hands memory back after two minutes; but a client that has said nothing within
	// 30 s it does not keep.
	calmSilent     = 3
	calmRegistered = 125
	// settled is the change of a step, in bytes, that counts as none.
	settled = 256 << 10
)

// settle has the server's garbage collected once, where it has any, and waits
// until its memory stays the same.
func (p *process) settle(ctx context.Context, l *load.Load, enough int) (memory, error) {
	var last memory
	for calm, step := 0, 0; step < settleSteps && calm < enough; step++ {
		if step == 0 && p.admin.IsValid() {
			if err := get(ctx, p.admin, "/debug/pprof/heap?gc=1", io.Discard); err != nil {
				return last, err
			}
		}
		if err := l.Serve(settleStep); err != nil {
			return last, err
		}
		if err := ctx.Err(); err != nil {
			return last, err
		}
		now, err := p.memory()
		if err != nil {
			return last, err
		}
		calm++
		if change := now.pss - last.pss; change > settled || change < -settled {
			calm = 0
		}
		last = now
	}
	return last, nil
}
