//go:build linux

package main

import (
	"context"
	"os"
	"testing"

	"github.com/sipway/sipway/bench/load"
)

// The flood of a test is the test's own program again.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == child {
		if err := flood(context.Background(), os.Args[2], os.Args[3]); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// No call fails beside a flood. How long they take is for the command to say, which nothing
// else runs beside.
func TestFlood(t *testing.T) {
	for _, name := range []string{"call-tcp-tcp", "call-ws-ws"} {
		op, err := load.ParseOp(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := measure(t.Context(), &options{op: op, calls: 50, flood: 5000, seconds: 1, rounds: 1, pairs: 10}); err != nil {
			t.Error(err)
		}
	}
}
