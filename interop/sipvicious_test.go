package interop

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// The scanners of Debian's package sipvicious find no user, nor a password as weak as can be:
// without limits because all names are answered alike, with them because they are not heard
// any more after their first request.
func TestSIPVicious(t *testing.T) {
	const users, weak = "99-104", "42"
	unlimited := startServer(t, settings{memory: true, users: []string{"101@" + domain, "102@" + domain}, more: "limits: {enabled: false}\n"})
	limited := startServer(t, settings{memory: true, more: "limits: {exempt: [192.0.2.1]}\n", weak: "101," + domain + "," + weak})
	tests := []struct {
		server *server
		tool   string
		args   []string
	}{
		{unlimited, "svwar", []string{"-m", "REGISTER", "-e", users}},
		{unlimited, "svwar", []string{"-m", "REGISTER", "-e", users, "--force"}},
		{unlimited, "svwar", []string{"-m", "INVITE", "-e", users, "--force"}},
		{unlimited, "svwar", []string{"-m", "OPTIONS", "-e", users, "--force"}},
		{limited, "svmap", nil},
		{limited, "svwar", []string{"-m", "REGISTER", "-e", users, "--force"}},
		{limited, "svcrack", []string{"-u", "101", "-r", "1-100"}},
	}
	var running sync.WaitGroup
	for _, test := range tests {
		running.Go(func() {
			out, err := scan(t, test.server, test.tool, test.args...)
			name := test.tool + " " + strings.Join(test.args, " ")
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			if !strings.Contains(out, "found nothing") {
				t.Errorf("%s:\n%s", name, out)
			}
		})
	}
	running.Wait()
	body, err := limited.get(t.Context(), "/bans")
	if err != nil || !strings.Contains(string(body), `"source":"127.0.0.1","reason":"scanner"`) {
		t.Errorf("bans: %s, %v", body, err)
	}
}

// scan runs a scanner against the server's UDP port for as long as it does something.
func scan(t *testing.T, s *server, tool string, args ...string) (string, error) {
	host, port, err := net.SplitHostPort(s.udp)
	if err != nil {
		return "", err
	}
	if tool != "svmap" {
		args = append(args, "--maximumtime=2")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, append(args, "-p", port, host)...)
	cmd.Dir = s.dir
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if _, status := errors.AsType[*exec.ExitError](err); status && ctx.Err() == nil {
		err = nil // how it says that it found nothing
	}
	return string(out), err
}
