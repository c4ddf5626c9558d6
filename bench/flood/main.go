//go:build linux

// Command flood shows what a flood costs those who call: 100 calls a second between
// registered clients, without and beside 20,000 unauthenticated requests a second from
// another address, round by round.
//
//	go run ./bench/flood
//	go run ./bench/flood -op call-ws-ws -flood 40000 -seconds 20 -rounds 5
//
// It starts a sipway of its own with the default limits, from which nobody is exempt, and
// ends with an error if a call fails or the median of the rounds' 99th percentiles is above
// three times the quiet one. The time of a call is that of its whole signalling, from the
// INVITE to the 200 to BYE: seven messages each way.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sipway/sipway/bench/load"
)

const (
	domain   = "example.test"
	password = "correct-horse"
	flooder  = "127.0.0.66"
	child    = "child-flood"

	most = 3 // times the quiet 99th percentile
)

type options struct {
	sipway            string
	op                load.Op
	calls, flood      int
	seconds, rounds   int
	pairs             int
	sip, plain, admin netip.AddrPort
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 4 && os.Args[1] == child {
		err = flood(ctx, os.Args[2], os.Args[3])
	} else {
		err = run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/flood:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o options
	op := flag.String("op", "call-tcp-tcp", "the calls: call-T-T with tcp or ws for T")
	flag.StringVar(&o.sipway, "sipway", "", "sipway binary; empty: built from ./cmd/sipway")
	flag.IntVar(&o.calls, "calls", 100, "calls a second")
	flag.IntVar(&o.flood, "flood", 20000, "requests a second of the flood")
	flag.IntVar(&o.seconds, "seconds", 10, "length of a round")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds without the flood, and as many with it")
	flag.IntVar(&o.pairs, "pairs", 50, "callers, and as many callees")
	flag.Parse()
	var err error
	if o.op, err = load.ParseOp(*op); err != nil || o.op.Callee == "" {
		return errors.Join(fmt.Errorf("%q is no call", *op), err)
	}
	ratio, err := measure(ctx, &o)
	if err == nil && ratio > most {
		err = fmt.Errorf("the flood makes calls take %.2f times as long", ratio)
	}
	return err
}

// measure returns how many times the quiet 99th percentile the flooded one is.
func measure(ctx context.Context, o *options) (ratio float64, err error) {
	dir, err := os.MkdirTemp("", "sipway-flood-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	stop, err := start(ctx, o, dir)
	if err != nil {
		return 0, err
	}
	defer stop()
	return compare(ctx, o)
}

// start runs a sipway and waits until it answers.
func start(ctx context.Context, o *options, dir string) (stop func(), err error) {
	if o.sipway == "" {
		o.sipway = filepath.Join(dir, "sipway")
		build := exec.CommandContext(ctx, "go", "build", "-o", o.sipway, "github.com/sipway/sipway/cmd/sipway")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building sipway: %w\n%s", err, out)
		}
	}
	for _, addr := range []*netip.AddrPort{&o.sip, &o.plain, &o.admin} {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		*addr = ln.Addr().(*net.TCPAddr).AddrPort()
	}
	var users strings.Builder
	for _, name := range load.Users(o.pairs) {
		fmt.Fprintf(&users, "%s,%s,%s\n", name, domain, password)
	}
	usersFile, configFile := filepath.Join(dir, "users.csv"), filepath.Join(dir, "sipway.yaml")
	config := fmt.Sprintf("domains: [%s]\nlisten: [\"udp://%v\", \"tcp://%[2]v\", \"ws://%v/\"]\nstore: \"memory:\"\nadmin: \"\"\n"+
		"users_file: %s\nlimits: {exempt: [192.0.2.1]}\nlog: {level: error}\n", domain, o.sip, o.plain, usersFile)
	for file, text := range map[string]string{usersFile: users.String(), configFile: config} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, o.sipway, "serve", "--config", configFile)
	cmd.Stderr = os.Stderr
	return begin(cmd)
}

// begin starts a program; stop asks it to end and waits for that.
func begin(cmd *exec.Cmd) (stop func(), err error) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		cmd.Cancel()
		cmd.Wait()
	}, nil
}

// compare runs the rounds, quiet and flooded in turn, so that what else the machine does is
// spread over both.
func compare(ctx context.Context, o *options) (ratio float64, err error) {
	target := load.Target{UDP: o.sip, TCP: o.sip, WS: o.plain, Domain: domain, Password: password}
	if err := await(ctx, target); err != nil {
		return 0, err
	}
	l, err := load.New(target, o.pairs)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	l.Timed = true
	n := o.calls * o.seconds
	if err := l.Prepare(o.op, n); err != nil {
		return 0, err
	}
	p99 := map[bool][]time.Duration{}
	fmt.Printf("%d %s a second, round by round, without and beside %d requests a second of a flood\n", o.calls, o.op.Name, o.flood)
	fmt.Printf("%-8s %7s %7s %10s %10s %10s\n", "round", "calls", "failed", "median", "99 %", "longest")
	for i := range 2 * o.rounds {
		flooded := i%2 == 1
		r, err := round(ctx, o, l, n, flooded)
		if err != nil {
			return 0, err
		}
		name := map[bool]string{false: "quiet", true: "flood"}[flooded]
		slices.Sort(r.Times)
		at := func(q float64) time.Duration {
			return r.Times[int(q*float64(len(r.Times)-1))].Round(10 * time.Microsecond)
		}
		fmt.Printf("%-8s %7d %7d %10v %10v %10v\n", name, r.Done, r.Failed, at(.5), at(.99), at(1))
		p99[flooded] = append(p99[flooded], at(.99))
	}
	quiet, loud := median(p99[false]), median(p99[true])
	ratio = float64(loud) / float64(quiet)
	fmt.Printf("99 %%: %v quiet, %v flooded, ratio %.2f\n", quiet, loud, ratio)
	return ratio, nil
}

func round(ctx context.Context, o *options, l *load.Load, n int, flooded bool) (load.Result, error) {
	if flooded {
		self, err := os.Executable()
		if err != nil {
			return load.Result{}, err
		}
		cmd := exec.CommandContext(ctx, self, child, o.sip.String(), strconv.Itoa(o.flood))
		cmd.Stderr = os.Stderr
		stop, err := begin(cmd)
		if err != nil {
			return load.Result{}, err
		}
		defer stop()
	}
	r := l.Run(o.op, n, load.Pace{Window: o.pairs, Rate: float64(o.calls)}, ctx.Err)
	return r, r.Err()
}

// await waits until the server answers.
func await(ctx context.Context, t load.Target) error {
	for begin := time.Now(); ; {
		err := load.Ready(t)
		if err == nil || time.Since(begin) > 15*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
