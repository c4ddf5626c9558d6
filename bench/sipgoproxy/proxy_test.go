//go:build linux

package sipgoproxy

import (
	"context"
	"net"
	"testing"

	"github.com/sipway/sipway/bench/floor"
	"github.com/sipway/sipway/bench/load"
)

// The load generator checks every message that it gets.
func TestOperations(t *testing.T) {
	l, err := floor.Listen(t.Context(), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, Config{Domain: "example.test", Password: "secret", Challenged: load.ChallengedSource})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	client, err := load.New(load.Target{
		UDP:    l.UDP.LocalAddr().(*net.UDPAddr).AddrPort(),
		TCP:    l.TCP.Addr().(*net.TCPAddr).AddrPort(),
		WS:     l.WS.Addr().(*net.TCPAddr).AddrPort(),
		Domain: "example.test", Password: "secret",
	}, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, name := range []string{
		"options-udp", "register-udp", "register-ws",
		"call-udp-udp", "call-tcp-tcp", "call-ws-ws", "call-ws-udp", "call-udp-ws",
		"authcall-udp-udp", "authcall-tcp-ws", "authcall-ws-udp",
	} {
		t.Run(name, func(t *testing.T) {
			op, err := load.ParseOp(name)
			if err != nil {
				t.Fatal(err)
			}
			const n = 10
			if err := client.Prepare(op, n); err != nil {
				t.Fatal(err)
			}
			result := client.Run(op, n, load.Pace{Window: 2}, func() error { return nil })
			if err := result.Err(); err != nil || result.Done != n {
				t.Errorf("%d done, %v", result.Done, err)
			}
		})
	}
}
