//go:build linux

// Command server compares what SIP servers cost: processor time per operation
// and memory per idle WebSocket client, side by side in one run on loopback.
//
//	go run ./bench/server
//	go run ./bench/server --op call-ws-udp --servers sipway,kamailio --rounds 9
//	go run ./bench/server --op idle-ws
//
// It starts the servers itself (sipway is built from this tree unless
// --sipway names a binary, Kamailio must be installed with its WebSocket
// module), registers all agents through them and then runs the same fixed
// number of operations on each in turn, A B A B. A failed operation fails the
// run. Besides tables it prints lines for benchstat:
//
//	go run ./bench/server | benchstat -col /server -
//
// By default operations are started at a fixed rate that all servers sustain
// with cores to spare, not in a closed loop: see README.md beside this file
// for how the two compare and what exactly is counted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sipway/sipway/bench/load"
)

// options are the command line.
type options struct {
	servers, ops     []string
	rounds, pairs    int
	postgres         bool
	calls, requests  int
	callRate         float64
	requestRate      float64
	burst            int
	window           int
	sipway, kamailio string
	before           string
	udpChildren      int
	idleClients      int
	idleRegistered   bool
	verbose          bool
	profile          string
	operations       []load.Op
	rates            map[string]float64 // of operations that name their own
	idleWS           bool
}

const idleOp = "idle-ws"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && isChild(os.Args[1]) {
		err = child(ctx, os.Args[1:])
	} else {
		err = run(ctx, os.Args[1:], os.Stdout)
	}
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted") // what failed then failed for that reason
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench/server:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sipway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if len(o.operations) > 0 {
		if err := compare(ctx, o, dir, out); err != nil {
			return err
		}
	}
	if o.idleWS {
		return compareIdle(ctx, o, dir, out)
	}
	return nil
}

func parse(args []string) (*options, error) {
	o := &options{rates: make(map[string]float64)}
	f := flag.NewFlagSet("bench/server", flag.ContinueOnError)
	servers := f.String("servers", "sipway,kamailio,kamailio-tlsf,sipgo,floor", "which to run, in this order")
	ops := f.String("op", "options-udp,register-udp,call-udp-udp,call-tcp-tcp,call-ws-ws,call-ws-udp,authcall-udp-udp",
		"operations: options-T, register-T, call-T-T, authcall-T-T with udp, tcp or ws for T, and @N for N per second; or idle-ws")
	f.IntVar(&o.rounds, "rounds", 6, "measured rounds of each operation and server, after one that is not")
	f.IntVar(&o.calls, "calls", 2500, "calls in a round; at a rate with @, as many as take the same time")
	f.IntVar(&o.requests, "requests", 20000, "OPTIONS or REGISTER requests in a round, likewise")
	f.Float64Var(&o.callRate, "call-rate", 500, "calls per second; 0: closed loop over the window")
	f.Float64Var(&o.requestRate, "request-rate", 5000, "OPTIONS or REGISTER requests per second; 0: closed loop over the window")
	f.IntVar(&o.burst, "burst", 20, "operations started at once at a fixed rate")
	f.IntVar(&o.window, "window", 0, "most operations in flight; 0: 20 in a closed loop, four bursts at a fixed rate")
	f.IntVar(&o.pairs, "pairs", 100, "callers, and as many callees, on each transport")
	f.StringVar(&o.sipway, "sipway", "", "sipway binary; empty: built from ./cmd/sipway")
	f.StringVar(&o.before, "before", "", "sipway binary of the server \"before\"")
	f.StringVar(&o.kamailio, "kamailio", "kamailio", "Kamailio binary")
	f.IntVar(&o.udpChildren, "udp-children", 2, "Kamailio's processes for UDP")
	f.IntVar(&o.idleClients, "idle-clients", 5000, "idle WebSocket clients of idle-ws")
	f.BoolVar(&o.idleRegistered, "idle-registered", false, "idle-ws: every client registers (not with the plain server)")
	f.BoolVar(&o.postgres, "postgres", false, "sipway and Kamailio write registrations through to a PostgreSQL of their own, whose CPU is counted")
	f.BoolVar(&o.verbose, "v", false, "print every round")
	f.StringVar(&o.profile, "profile", "", "directory for CPU profiles of sipway, one of each operation")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.rounds < 1 || o.calls < 1 || o.requests < 1 || o.pairs < 1 || o.idleClients < 2 {
		return nil, errors.New("rounds, calls, requests, pairs must be at least 1, idle-clients at least 2")
	}
	o.servers, o.ops = strings.Split(*servers, ","), strings.Split(*ops, ",")
	if slices.Contains(o.servers, before) && o.before == "" {
		return nil, errors.New("the server \"before\" needs its binary: --before")
	}
	for _, name := range o.ops {
		if name == idleOp {
			o.idleWS = true
			continue
		}
		plain, rate, own := strings.Cut(name, "@")
		op, err := load.ParseOp(plain)
		if err != nil {
			return nil, err
		}
		if own {
			n, err := strconv.ParseFloat(rate, 64)
			if err != nil || !(n >= 1 && n <= 1e6) {
				return nil, fmt.Errorf("operation %q: a rate is a number from 1 to 1000000", name)
			}
			op.Name, o.rates[name] = name, n
		}
		o.operations = append(o.operations, op)
	}
	return o, nil
}

// size is how many operations a round has and how they are paced.
func (o *options) size(op load.Op) (int, load.Pace) {
	n, rate := o.requests, o.requestRate
	if op.Callee != "" {
		n, rate = o.calls, o.callRate
	}
	if own, ok := o.rates[op.Name]; ok {
		if rate > 0 {
			n = max(1, int(float64(n)*own/rate))
		}
		rate = own
	}
	window := o.window
	if window == 0 {
		window = 20
		if rate > 0 {
			window = max(window, 4*o.burst)
		}
	}
	if rate <= 0 {
		return n, load.Pace{Window: window}
	}
	return n, load.Pace{Window: window, Rate: rate, Burst: o.burst}
}
