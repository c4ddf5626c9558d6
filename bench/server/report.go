//go:build linux

package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// report prints benchstat's lines, the table of operations and the memory.
func report(out io.Writer, o *options, contenders []*contender) error {
	fmt.Fprintf(out, "goos: %s\ngoarch: %s\npkg: github.com/sipway/sipway/bench/server\n", runtime.GOOS, runtime.GOARCH)
	for _, op := range o.operations {
		for _, c := range contenders {
			for _, s := range c.samples[op.Name] {
				fmt.Fprintln(out, benchLine(op.Name, c.name, s))
			}
		}
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "operation\tserver\tCPU per op: median\tmin\tmax\tto %s\tto %s\tgenerator per op\tops/s\trounds x n\tresent\t\n",
		references[0], references[1])
	var late []string
	for _, op := range o.operations {
		_, pace := o.size(op)
		var bases [len(references)]time.Duration
		for _, c := range contenders {
			if i := slices.Index(references[:], c.name); i >= 0 {
				bases[i] = summarize(c.samples[op.Name]).median
			}
		}
		for _, c := range contenders {
			s := summarize(c.samples[op.Name])
			if s.n == 0 {
				continue
			}
			if s.rate < 0.95*pace.Rate {
				late = append(late, fmt.Sprintf("%s on %s ran at %.0f/s, not at %g/s: the machine was busy.", op.Name, c.name, s.rate, pace.Rate))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f\t%d x %d\t%d\t\n", op.Name, c.name,
				micros(s.median), micros(s.low), micros(s.high), ratio(s.median, bases[0]), ratio(s.median, bases[1]), micros(s.own),
				s.rate, s.rounds, s.n, s.extra)
		}
	}
	fmt.Fprintf(w, "\nserver\tprocesses\tidle CPU\tRSS at start\tRSS at end\tPSS at start\tPSS at end\t\n")
	for _, c := range contenders {
		fmt.Fprintf(w, "%s\t%d\t%.2f ms/s\t%s\t%s\t%s\t%s\t\n", c.name, len(c.pids), c.idle*1000,
			mebibytes(c.before.rss), mebibytes(c.after.rss), mebibytes(c.before.pss), mebibytes(c.after.pss))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, text := range late {
		fmt.Fprintln(out, text)
	}
	return nil
}

// benchLine is a round in the format of testing's benchmarks. The suffix is
// the number of cores, as there.
func benchLine(op, server string, s sample) string {
	return fmt.Sprintf("BenchmarkServer/op=%s/server=%s-%d\t%d\t%d cpu-ns/op\t%d generator-cpu-ns/op",
		op, server, runtime.NumCPU(), s.n, s.server.Nanoseconds(), s.own.Nanoseconds())
}

// summary is the rounds of one operation on one server.
type summary struct {
	median, low, high time.Duration
	own               time.Duration // median
	rate              float64       // operations per second, over all rounds
	extra             int
	rounds, n         int // n operations in each
}

func summarize(samples []sample) summary {
	var s summary
	if len(samples) == 0 {
		return s
	}
	var server, own []time.Duration
	var wall time.Duration
	n := 0
	s.rounds, s.n = len(samples), samples[0].n
	for _, x := range samples {
		server, own = append(server, x.server), append(own, x.own)
		wall += x.wall
		n += x.n
		s.extra += x.extra
	}
	s.median, s.own = median(server), median(own)
	s.low, s.high = slices.Min(server), slices.Max(server)
	s.rate = float64(n) / wall.Seconds()
	return s
}

// median sorts d.
func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f us", float64(d)/1e3) }

func ratio(d, base time.Duration) string {
	if base == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(d)/float64(base))
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
