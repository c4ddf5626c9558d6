// Package pgtest starts throwaway PostgreSQL clusters from the installed binaries, for
// tests and benchmarks: each in a folder of its own, on a free port of loopback, with
// fsync on as in production. A cluster can be killed, stopped and started again.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience bounds the start and the end of a cluster.
const patience = time.Minute

// Cluster is a running PostgreSQL. Its methods are for one goroutine at a time.
type Cluster struct {
	Dir  string // everything it writes is below
	Port int

	bin   string
	cred  *syscall.Credential // nil where the caller's own will do
	cmd   *exec.Cmd
	ended chan struct{}
	made  int // databases
}

// Options are what a cluster differs in.
type Options struct {
	// Dir is the folder for its data, "" for a new one in the temporary folder.
	Dir string
	// Settings are lines of postgresql.conf.
	Settings []string
	// InitArgs are further arguments of initdb.
	InitArgs []string
}

// New makes a cluster and starts it.
func New(ctx context.Context, o Options) (_ *Cluster, err error) {
	c := &Cluster{Dir: o.Dir}
	if c.bin, err = binaries(); err != nil {
		return nil, err
	}
	if c.Dir == "" {
		c.Dir, err = os.MkdirTemp("", "sipway-postgres-")
	} else {
		err = os.MkdirAll(c.Dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("PostgreSQL cluster: %w", err), c.Close())
		}
	}()
	if err := c.own(); err != nil {
		return nil, err
	}
	args := append([]string{"-D", c.data(), "-U", "sipway", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"}, o.InitArgs...)
	out, err := c.command(ctx, "initdb", args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	settings := append([]string{
		"listen_addresses = '127.0.0.1'", "unix_socket_directories = '" + c.Dir + "'",
		"shared_buffers = 64MB", "max_connections = 100", "max_wal_size = 1GB",
	}, o.Settings...)
	if c.Port, err = freePort(); err != nil {
		return nil, err
	}
	if err := c.configure(settings); err != nil {
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// binaries finds the folder of initdb and postgres: PATH, or the newest that a package of
// Debian's or PostgreSQL's own has installed.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, newest := "", -1
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb", "/usr/local/pgsql/bin/initdb"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		for _, path := range paths {
			version, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
			if version > newest {
				found, newest = filepath.Dir(path), version
			}
		}
	}
	if found == "" {
		return "", errors.New("no initdb: install PostgreSQL 13 or newer (Debian: postgresql)")
	}
	return found, nil
}

// own makes the folder that of an unprivileged user where we are root, as whom PostgreSQL
// does not run.
func (c *Cluster) own() error {
	if os.Geteuid() != 0 {
		return nil
	}
	var ids [2]int
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		if ids[0], err = strconv.Atoi(u.Uid); err != nil {
			return err
		}
		if ids[1], err = strconv.Atoi(u.Gid); err != nil {
			return err
		}
		c.cred = &syscall.Credential{Uid: uint32(ids[0]), Gid: uint32(ids[1])}
		return os.Chown(c.Dir, ids[0], ids[1])
	}
	return errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }

// Log is the file that the server writes its log to.
func (c *Cluster) Log() string { return filepath.Join(c.Dir, "log") }

func (c *Cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir = c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	return cmd
}

// configure adds lines to the server's configuration, which take effect with its next
// start.
func (c *Cluster) configure(settings []string) error {
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, strings.Join(settings, "\n"))
	return errors.Join(err, f.Close())
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Start starts the server, again or for the first time, and waits until it takes
// connections.
func (c *Cluster) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	log, err := os.OpenFile(c.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// It outlives ctx.
	cmd := c.command(context.WithoutCancel(ctx), "postgres", "-D", c.data(), "-p", strconv.Itoa(c.Port))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd, c.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		_ = cmd.Wait() // how it ends is seen from what it does not answer
		close(ended)
	}(c.ended)
	return c.awaitReady(ctx)
}

// awaitReady connects until it can. There is nothing to wait on but that.
func (c *Cluster) awaitReady(ctx context.Context) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-again.C:
		case <-c.ended:
			text, _ := os.ReadFile(c.Log())
			return fmt.Errorf("the server ended at start:\n%s", text[max(0, len(text)-4000):])
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w", err)
		}
	}
}

// DSN names a database of the cluster.
func (c *Cluster) DSN(database string) string {
	return fmt.Sprintf("postgres://sipway@127.0.0.1:%d/%s?sslmode=disable", c.Port, database)
}

// NewDatabase makes an empty database and returns its DSN.
func (c *Cluster) NewDatabase(ctx context.Context) (string, error) {
	c.made++
	name := fmt.Sprint("test", c.made)
	return c.DSN(name), createDatabase(ctx, c.DSN("postgres"), name)
}

func createDatabase(ctx context.Context, dsn, name string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return errors.Join(err, conn.Close(ctx))
}

// Kill ends all processes of the server with SIGKILL, as a crash of the machine would.
func (c *Cluster) Kill() error {
	// The postmaster first, or it would begin to recover.
	pids := c.processes()
	errs := []error{signal(pids, syscall.SIGKILL)}
	select {
	case <-c.ended:
	case <-time.After(patience):
		errs = append(errs, errors.New("the server survived SIGKILL"))
	}
	// A new server does not start while one of the old one's processes still lives.
	return errors.Join(append(errs, awaitEnd(pids))...)
}

// awaitEnd waits until none of the processes lives. They are not our children, so there is
// nothing to wait on.
func awaitEnd(pids []int) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	limit := time.After(patience)
	for {
		alive := slices.ContainsFunc(pids, func(pid int) bool {
			fields := stat(pid)
			return len(fields) > 0 && fields[0] != "Z"
		})
		if !alive {
			return nil
		}
		select {
		case <-again.C:
		case <-limit:
			return errors.New("the server's processes survived SIGKILL")
		}
	}
}

// Pause stops all processes of the server where they are, as a machine that hangs; Resume
// lets them go on.
func (c *Cluster) Pause() error { return signal(c.processes(), syscall.SIGSTOP) }

// Resume is the end of Pause.
func (c *Cluster) Resume() error { return signal(c.processes(), syscall.SIGCONT) }

// LimitFileSize makes writes fail that would let a file of the server grow beyond the
// limit, in the processes that there are and in those that they start.
func (c *Cluster) LimitFileSize(size uint64) error {
	var errs []error
	for _, pid := range c.processes() {
		// Their own user may do it, even where root may not.
		cmd := exec.Command("prlimit", fmt.Sprint("--fsize=", size, ":"), "--pid", strconv.Itoa(pid))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
		if out, err := cmd.CombinedOutput(); err != nil && !bytes.Contains(out, []byte("No such process")) {
			errs = append(errs, fmt.Errorf("prlimit: %w: %s", err, out))
		}
	}
	return errors.Join(errs...)
}

// Running reports whether the server has not ended.
func (c *Cluster) Running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

func signal(pids []int, sig syscall.Signal) error {
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Stop ends the server in good order.
func (c *Cluster) Stop() error {
	if c.cmd == nil {
		return nil
	}
	select {
	case <-c.ended:
		return nil
	default:
	}
	// SIGINT: connections are ended, not waited for.
	if err := signal([]int{c.cmd.Process.Pid}, syscall.SIGINT); err != nil {
		return err
	}
	select {
	case <-c.ended:
		return nil
	case <-time.After(patience):
		return errors.Join(errors.New("the server did not stop in time"), c.Kill())
	}
}

// Close stops the server and removes its folder.
func (c *Cluster) Close() error { return errors.Join(c.Stop(), os.RemoveAll(c.Dir)) }

// processes are the postmaster and its children, in this order.
func (c *Cluster) processes() []int {
	master := c.cmd.Process.Pid
	pids := []int{master}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return pids
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fields := stat(pid); len(fields) > 1 && fields[1] == strconv.Itoa(master) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// stat returns the fields of /proc/PID/stat from the state on, of which the second is the
// parent.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	// The name before may have spaces and parentheses in it.
	_, rest, _ := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(" "))
	fields := bytes.Fields(rest)
	return slices.Collect(func(yield func(string) bool) {
		for _, f := range fields {
			if !yield(string(f)) {
				return
			}
		}
	})
}

// CPU returns the user and system time that the server has used, of the processes that
// have ended too.
func (c *Cluster) CPU() time.Duration {
	const perSecond = 100 // USER_HZ, on every Linux that Go runs on
	ticks := 0
	for i, pid := range c.processes() {
		fields := stat(pid)
		if len(fields) < 15 {
			continue
		}
		own := fields[11:13] // utime, stime
		if i == 0 {
			own = fields[11:15] // and those of children that were waited for
		}
		for _, f := range own {
			n, err := strconv.Atoi(f)
			if err == nil {
				ticks += n
			}
		}
	}
	return time.Duration(ticks) * time.Second / perSecond
}

// Databases returns how many databases NewDatabase has made; their names are test1 and so
// on.
func (c *Cluster) Databases() int { return c.made }
