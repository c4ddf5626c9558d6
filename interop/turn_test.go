package interop

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// coturn takes the credentials that the server gives out, and no others.
func TestTURN(t *testing.T) {
	turn := freePort(t)
	s := startServer(t, settings{more: "turn: {secret: shared-with-coturn, uris: [\"turn:" + turn + "\"], ttl: 10m}\n"})
	host, port, err := net.SplitHostPort(turn)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	coturn := startProcess(t, "coturn", exec.Command("turnserver", "-n", "-m", "1", "-p", port,
		"--listening-ip", host, "--relay-ip", host, "--allow-loopback-peers", "--realm", domain,
		"--use-auth-secret", "--static-auth-secret", "shared-with-coturn", "--no-tls", "--no-dtls", "--no-cli",
		"--log-file", "stdout", "--simple-log", "--pidfile", filepath.Join(dir, "pid"), "--userdb", filepath.Join(dir, "db")))
	awaitTCP(t, turn, coturn)
	var got struct{ Username, Password string }
	s.post(t, "/turn", `{"aor": "alice@example.test"}`, &got)
	// The client sends a packet to itself by way of the relay.
	relay := func(password string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return exec.CommandContext(ctx, "turnutils_uclient", "-p", port, "-u", got.Username, "-w", password, "-y", "-n", "1", "-m", "1", host).CombinedOutput()
	}
	if out, err := relay(got.Password); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := relay(got.Password[1:]); err == nil {
		t.Errorf("another password is taken\n%s", out)
	}
}

// coturn's STUN client learns its address from the port that phones register at (RFC 5626 §8).
func TestSTUN(t *testing.T) {
	s := startServer(t, settings{})
	host, port, err := net.SplitHostPort(s.udp)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "turnutils_stunclient", "-p", port, host).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "UDP reflexive addr: "+host+":") {
		t.Errorf("%v\n%s", err, out)
	}
}

// awaitTCP waits until a program listens: there is nothing to wait on but the connection.
func awaitTCP(t *testing.T, addr string, p *process) {
	t.Helper()
	limit := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-again.C:
		case <-p.done:
			t.Fatalf("%s ended at start: %v", p.name, p.err)
		case <-limit:
			t.Fatalf("nobody listens at %s: %v", addr, err)
		}
	}
}
