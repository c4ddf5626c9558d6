//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sipway/sipway/bench/floor"
	"github.com/sipway/sipway/bench/kamailio"
	"github.com/sipway/sipway/bench/load"
	"github.com/sipway/sipway/bench/sipgoproxy"
	"github.com/sipway/sipway/store/postgres/pgtest"
)

const (
	domain   = "example.test"
	password = "correct-horse"
)

// plan is what a server must be ready for.
type plan struct {
	pairs       int
	connections int
}

// start starts a server by name and waits until it answers.
func start(ctx context.Context, name string, o *options, dir string, need plan) (*process, error) {
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addrs, err := ports(3)
	if err != nil {
		return nil, err
	}
	target := load.Target{UDP: addrs[0], TCP: addrs[0], WS: addrs[1], Domain: domain, Password: password}
	admin := addrs[2]
	var db *pgtest.Cluster
	dsn := ""
	if o.postgres && (name == "sipway" || name == before || slices.Contains(references[:], name)) {
		if db, dsn, err = startDatabase(ctx); err != nil {
			return nil, err
		}
	}
	var p *process
	switch name {
	case "sipway", before:
		p, err = startSipway(ctx, o, name, dir, target, admin, need, dsn)
	case debianKamailio:
		p, err = startKamailio(ctx, o, name, dir, "", target, need, dsn)
		admin = netip.AddrPort{}
	case tunedKamailio:
		p, err = startKamailio(ctx, o, name, dir, kamailio.TLSF, target, need, dsn)
		admin = netip.AddrPort{}
	case "sipgo":
		p, err = startChild(ctx, name, dir, childSipgo, target.UDP, target.TCP, target.WS)
		admin = netip.AddrPort{}
	case "floor":
		target.Echo = true
		p, err = startChild(ctx, name, dir, childEcho, target.UDP, target.TCP, target.WS)
		admin = netip.AddrPort{}
	case plainWS:
		p, err = startChild(ctx, name, dir, childIdle, target.WS, admin)
	default:
		return nil, fmt.Errorf("unknown server %q (sipway, before, kamailio, kamailio-tlsf, sipgo, floor)", name)
	}
	if err != nil {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
		return nil, err
	}
	p.target, p.admin, p.db = target, admin, db
	if err := p.ready(ctx, func() error { return p.answers(ctx) }); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// answers tells whether the server is up: by its own word where it has an
// admin address, and by answering or echoing an OPTIONS request.
func (p *process) answers(ctx context.Context) error {
	if p.admin.IsValid() {
		path := "/readyz"
		if p.name == plainWS {
			path = "/debug/pprof/"
		}
		if err := get(ctx, p.admin, path, io.Discard); err != nil {
			return err
		}
	}
	if p.name == plainWS {
		return nil
	}
	return load.Ready(p.target)
}

// get fetches a path of an admin address.
func get(ctx context.Context, admin netip.AddrPort, path string, to io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin.String()+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	_, err = io.Copy(to, response.Body)
	return err
}

func startSipway(ctx context.Context, o *options, name, dir string, t load.Target, admin netip.AddrPort, need plan, dsn string) (*process, error) {
	binary := o.sipway
	if name == before {
		binary = o.before
	}
	if binary == "" {
		binary = filepath.Join(dir, "sipway")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/sipway/sipway/cmd/sipway")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building sipway: %w\n%s", err, out)
		}
	}
	var users strings.Builder
	for _, name := range load.Users(need.pairs) {
		fmt.Fprintf(&users, "%s,%s,%s\n", name, domain, password)
	}
	usersFile, configFile := filepath.Join(dir, "users.csv"), filepath.Join(dir, "sipway.yaml")
	config := fmt.Sprintf(`domains: [%s]
listen:
  - udp://%v
  - tcp://%v
  - ws://%v/
store: "%s"
admin: %v
users_file: %s
auth: {mode: digest, calls: flow}
trusted: [%v]
log: {level: warn}
`, t.Domain, t.UDP, t.TCP, t.WS, cmp.Or(dsn, "memory:"), admin, usersFile, load.TrustedSource)
	for file, text := range map[string]string{usersFile: users.String(), configFile: config} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return launch(name, dir, exec.CommandContext(ctx, binary, "serve", "--config", configFile))
}

func startKamailio(ctx context.Context, o *options, name, dir, manager string, t load.Target, need plan, dsn string) (*process, error) {
	if dsn != "" {
		if err := makeKamailioTables(ctx, dsn); err != nil {
			return nil, err
		}
		// Its URLs have a password and no parameters.
		dsn, _, _ = strings.Cut(strings.Replace(dsn, "sipway@", "sipway:x@", 1), "?")
	}
	file := filepath.Join(dir, "kamailio.cfg")
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	err = kamailio.Config{
		UDP: t.UDP, TCP: t.TCP, WS: t.WS, Domain: t.Domain, Password: t.Password,
		Challenged: load.ChallengedSource, Database: dsn, UDPChildren: o.udpChildren, TCPChildren: 1, MaxConnections: need.connections + 1000,
	}.Write(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	return launch(name, dir, exec.CommandContext(ctx, o.kamailio, kamailio.Args(file, dir, manager)...))
}

// Kamailio is compared twice: as Debian's package starts it, and with the memory
// manager that makes it fastest. The others are compared with both.
const (
	debianKamailio = "kamailio"
	tunedKamailio  = "kamailio-tlsf"
)

var references = [...]string{debianKamailio, tunedKamailio}

// before is sipway as another binary, to see what a change has brought.
const before = "before"

// The servers that are Go packages of the benchmark are this command again,
// started with one of these words.
const (
	plainWS    = "coder-websocket"
	childEcho  = "child-echo"
	childIdle  = "child-idle"
	childSipgo = "child-sipgo"
)

func isChild(word string) bool {
	return word == childEcho || word == childIdle || word == childSipgo
}

func startChild(ctx context.Context, name, dir, word string, addrs ...netip.AddrPort) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{word}
	for _, a := range addrs {
		args = append(args, a.String())
	}
	return launch(name, dir, exec.CommandContext(ctx, self, args...))
}

// child serves until its standard input ends, as it does when the parent is
// gone, however that came.
func child(ctx context.Context, args []string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if (args[0] == childEcho || args[0] == childSipgo) && len(args) == 4 {
		l, err := floor.Listen(ctx, args[1], args[2], args[3])
		if err != nil {
			return err
		}
		if args[0] == childSipgo {
			return sipgoproxy.Serve(ctx, l, sipgoproxy.Config{Domain: domain, Password: password, Challenged: load.ChallengedSource})
		}
		return floor.Echo(ctx, l)
	}
	if args[0] == childIdle && len(args) == 3 {
		ws, err := net.Listen("tcp4", args[1])
		if err != nil {
			return err
		}
		admin, err := net.Listen("tcp4", args[2])
		if err != nil {
			return err
		}
		return floor.Idle(ctx, ws, admin)
	}
	return fmt.Errorf("bad arguments for a child: %q", args)
}
