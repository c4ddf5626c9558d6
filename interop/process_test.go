package interop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a program that a test started. Its output is kept, and shown
// where the test fails. It is only ever ended by its own pid.
type process struct {
	name   string
	cmd    *exec.Cmd
	output *output
	done   chan struct{} // closed when the program has ended
	err    error         // of Wait; read it after done
}

// startProcess starts cmd and makes the end of the test end it.
func startProcess(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p, err := launch(name, cmd)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		p.terminate()
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, p.output.tail(200))
		}
	})
	return p
}

func launch(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, output: &output{}, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.output
	}
	cmd.Stderr = p.output
	// A child that survives its parent's end would keep Wait from returning.
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// terminate asks the process to end, and ends it where it does not.
func (p *process) terminate() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within %v of SIGTERM", p.name, patience)
	}
}

// wait returns the program's error when it has ended by itself.
func (p *process) wait(t *testing.T, limit time.Duration) error {
	t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		t.Fatalf("%s has not ended after %v", p.name, limit)
		return nil
	}
}

// output collects what a program prints.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// tail returns the last n lines.
func (o *output) tail(n int) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := len(o.text)
	for range n + 1 {
		next := bytes.LastIndexByte(o.text[:at], '\n')
		if next < 0 {
			return bytes.Clone(o.text)
		}
		at = next
	}
	return bytes.Clone(o.text[at+1:])
}

// awaitLog waits until all of that stands in the output behind its first bytes, so many: a log may
// be written a little later than what it tells of.
func (p *process) awaitLog(t *testing.T, behind int, parts ...string) {
	t.Helper()
	limit := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		log := p.output.String()[behind:]
		missing := slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return strings.Contains(log, part) })
		if len(missing) == 0 {
			return
		}
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("%s does not say %q, but:\n%s", p.name, missing, log)
		}
	}
}
