//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sipway/sipway/bench/load"
	"github.com/sipway/sipway/store/postgres/pgtest"
)

// stopTimeout is how long a server may take to end before it is killed.
const stopTimeout = 5 * time.Second

// process is a server that this command started, in a process group of its own.
type process struct {
	name    string
	target  load.Target
	admin   netip.AddrPort // invalid where it has none
	cmd     *exec.Cmd
	log     string
	stdin   *os.File // the echo servers end when it is closed
	pids    []int
	db      *pgtest.Cluster // counted with it; nil where it keeps registrations in memory
	exited  chan struct{}
	exitErr error
}

// launch starts cmd with its output in a log file of dir.
func launch(name, dir string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	end, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer end.Close()
	p.stdin = hold
	cmd.Stdin, cmd.Stdout, cmd.Stderr = end, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		hold.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		p.exitErr = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// stop ends the server and all its processes, and waits for that.
func (p *process) stop() {
	p.stdin.Close()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the group made above
		<-p.exited
	}
	if p.db != nil {
		if err := p.db.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "bench/server:", err)
		}
	}
}

// ready waits until the server answers and then takes down its processes.
func (p *process) ready(ctx context.Context, answer func() error) error {
	for begin := time.Now(); ; {
		err := answer()
		if err == nil {
			break
		}
		if time.Since(begin) > 15*time.Second {
			return p.failed(fmt.Errorf("not ready: %w", err))
		}
		select {
		case <-p.exited:
			return p.failed(fmt.Errorf("ended at once: %w", p.exitErr))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	var err error
	p.pids, err = processTree(p.cmd.Process.Pid)
	return err
}

// failed adds the end of the server's log to err.
func (p *process) failed(err error) error {
	log, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if log = bytes.TrimSpace(log); len(log) > 2000 {
		log = log[len(log)-2000:]
	}
	return fmt.Errorf("%s: %w; its log ends:\n%s", p.name, err, log)
}

// cpu is the processor time of all the server's processes, its database's among them.
func (p *process) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.pids {
		d, err := cpuOf(pid)
		if err != nil {
			return 0, p.failed(err)
		}
		sum += d
	}
	if p.db != nil {
		sum += p.db.CPU()
	}
	return sum, nil
}

func (p *process) memory() (memory, error) {
	var sum memory
	for _, pid := range p.pids {
		m, err := memoryOf(pid)
		if err != nil {
			return sum, p.failed(err)
		}
		sum.rss += m.rss
		sum.pss += m.pss
	}
	return sum, nil
}

// ports finds n loopback addresses on which both UDP and TCP are free now.
func ports(n int) ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	for range 10 * n {
		if len(addrs) == n {
			break
		}
		tcp, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer tcp.Close()
		udp, err := net.ListenPacket("udp4", tcp.Addr().String())
		if err != nil {
			continue // taken by somebody's UDP socket
		}
		defer udp.Close()
		addrs = append(addrs, tcp.Addr().(*net.TCPAddr).AddrPort())
	}
	if len(addrs) < n {
		return nil, errors.New("no free ports on 127.0.0.1")
	}
	return addrs, nil
}
