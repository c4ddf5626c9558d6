package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// 50,000 connections from 200 sources that begin a handshake, an upgrade or a message and say
// nothing more take neither memory without bound nor anybody's call: most are closed as they
// come, the others when newer ones need their room.
func TestHalfOpenConnections(t *testing.T) {
	const sources, each = 200, 250
	s := startServer(t, settings{memory: true, more: "limits: {exempt: [192.0.2.1], max_half_open: 1024}\n"})
	alice, bob := newDeskPhone(t, s, "tcp", "alice"), newDeskPhone(t, s, "tcp", "bob")
	alice.register(t)
	bob.register(t)
	before := residentSize(t, s)

	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var attacking sync.WaitGroup
	var tried, opened atomic.Int64
	for i := range sources {
		attacking.Go(func() {
			for n := range each {
				if halfOpen(ctx, s, i, n) == nil {
					opened.Add(1)
				}
				tried.Add(1)
			}
		})
	}
	attacked := make(chan struct{})
	go func() { attacking.Wait(); close(attacked) }()
	calls := 0
	for over := false; !over; calls++ {
		caller, callee := connect(t, alice, bob)
		release(t, alice, caller, bob, callee)
		select {
		case <-attacked:
			over = true
		default:
		}
	}
	if tried.Load() != sources*each {
		t.Errorf("%d connections were tried", tried.Load())
	}
	if opened.Load() == 0 {
		t.Error("no connection was opened: nothing was shown")
	}
	grown := residentSize(t, s) - before
	t.Logf("%d of %d connections opened beside %d calls, memory grew by %d KB", opened.Load(), tried.Load(), calls, grown)
	// The race detector makes it seven times as much: 50 MB are 360.
	if grown > 700<<10 {
		t.Errorf("memory grew by %d KB", grown)
	}
}

// halfOpen opens a connection of a source, begins something on it and leaves it to the server.
func halfOpen(ctx context.Context, s *server, source, n int) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+source))}}
	at, text := s.tcp, "INVITE sip:x"
	if n%2 == 1 {
		at, text = s.ws, "GET / HTTP/1.1\r\nHost:"
	}
	conn, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		conn.Close()
		return err
	}
	go func() { // until the server closes it
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}()
	return nil
}

// residentSize is the server's memory in KB.
func residentSize(t *testing.T, s *server) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
