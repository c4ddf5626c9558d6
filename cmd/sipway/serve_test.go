package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/store"
)

// running is a `sipway serve` in this process.
type running struct {
	lines   chan string // of its log
	signals chan os.Signal
	hangups chan os.Signal
	code    chan int
	log     strings.Builder // the lines taken so far
}

func (c *cli) serve(args ...string) *running {
	r := &running{lines: make(chan string, 10_000), signals: make(chan os.Signal, 2), hangups: make(chan os.Signal), code: make(chan int, 1)}
	out, in := io.Pipe()
	a := &app{in: strings.NewReader(""), out: io.Discard, err: in, env: c.lookup, notify: r.notify}
	go func() {
		code := a.run(c.t.Context(), append([]string{"serve"}, args...))
		in.Close()
		r.code <- code
	}()
	go readLines(out, r.lines)
	return r
}

// readLines passes on lines, and the end.
func readLines(in io.Reader, lines chan<- string) {
	defer close(lines)
	for s := bufio.NewScanner(in); s.Scan(); {
		lines <- s.Text()
	}
}

func (r *running) notify(signals ...os.Signal) (<-chan os.Signal, func()) {
	if slices.Contains(signals, os.Signal(syscall.SIGHUP)) {
		return r.hangups, func() {}
	}
	return r.signals, func() {}
}

// await returns the first line of the log that matches, and its groups.
func (r *running) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for line := range r.lines {
		r.log.WriteString(line + "\n")
		if m := re.FindStringSubmatch(line); m != nil {
			return m
		}
	}
	t.Fatalf("the server ended without a line that matches %s\n%s", pattern, &r.log)
	return nil
}

// end waits for the server to end and returns its exit code.
func (r *running) end() int {
	for line := range r.lines {
		r.log.WriteString(line + "\n")
	}
	return <-r.code
}

var onAnyPort = []string{"--listen", "udp://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0,ws://127.0.0.1:0/", "--admin", "127.0.0.1:0"}

func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestServe(t *testing.T) {
	c := newCLI(t)
	c.write("users.csv", "alice,a.test,secret\n")
	r := c.serve(append([]string{"--domain", "a.test", "--domain", "b.test", "--users-file", "users.csv"}, onAnyPort...)...)
	r.await(t, `sipway starts.*domains="?\[a.test b.test\]`)
	r.await(t, `store open.*store=sqlite:sipway.db`)
	r.await(t, `users loaded.*users=1`)
	admin := r.await(t, `listening transport=admin addr=(\S+)`)[1]
	udp := r.await(t, `listening transport=udp addr=(\S+)`)[1]
	r.await(t, `listening transport=tcp`)
	r.await(t, `listening transport=ws`)
	r.await(t, `ready`)

	if code, body := get(t, "http://"+admin+"/readyz"); code != http.StatusOK {
		t.Errorf("not ready: %s", body)
	}
	conn, err := net.Dial("udp", udp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK1;rport\r\nFrom: <sip:x@a.test>;tag=1\r\nTo: <sip:a.test>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", conn.LocalAddr())
	answer := make([]byte, 1500)
	n, err := conn.Read(answer)
	if err != nil || !bytes.HasPrefix(answer[:n], []byte("SIP/2.0 ")) {
		t.Errorf("%q, %v", answer[:n], err)
	}

	code, body := get(t, "http://"+admin+"/status")
	var status struct {
		Status    string
		Domains   []string
		Listeners []string
		Counters  map[string]int64
	}
	if err := json.Unmarshal(body, &status); err != nil {
		t.Fatal(err)
	}
	if code != http.StatusOK || status.Status != "OK" || len(status.Domains) != 2 || len(status.Listeners) != 3 || status.Counters["udp_messages_in_total"] != 1 {
		t.Errorf("%s", body)
	}
	if _, ok := status.Counters["registrations"]; !ok {
		t.Errorf("registrations are not counted: %s", body)
	}

	r.signals <- syscall.SIGTERM
	r.await(t, `draining`)
	if code := r.end(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &r.log)
	}
	if _, err := net.Dial("tcp", admin); err == nil {
		t.Error("the admin listener is still there")
	}
	c.expect(exitOK, "alice@a.test", "", "user", "list") // the store is free and has the users
}

func TestServeWarns(t *testing.T) {
	c := newCLI(t)
	c.write("lab.yaml", "auth: {mode: none}\nstore: 'memory:'\nlog: {format: json}\n")
	r := c.serve(append([]string{"--config", "lab.yaml"}, onAnyPort...)...)
	r.await(t, `"level":"WARN","msg":"auth.mode is none`)
	r.await(t, `"msg":"ready"`)
	r.signals <- os.Interrupt
	if code := r.end(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &r.log)
	}
}

// What is wrong with a listener, a file or the admin address is said in one line, and nothing
// stays open.
func TestServeErrors(t *testing.T) {
	c := newCLI(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	c.write("users.csv", "alice,a.test\n")
	base := []string{"serve", "--store", "memory:"}
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{exitFailure, "tcp://" + addr + ": the address is in use", []string{"--admin", "", "--listen", "tcp://" + addr}},
		{exitFailure, "address already in use: stop what listens there", []string{"--admin", addr, "--listen", "udp://127.0.0.1:0"}},
		{exitUsage, "needs admin_token", []string{"--admin", "0.0.0.0:0"}},
		{exitUsage, "--listen: \"x://x\"", []string{"--listen", "x://x"}},
		{exitUsage, "tls://x:5061 needs a certificate", []string{"--listen", "tls://x"}},
		{exitUsage, "users_file: open none.csv", []string{"--users-file", "none.csv"}},
		{exitFailure, "users.csv:1: expects user,domain,password", []string{"--users-file", "users.csv"}},
	} {
		c.expect(tc.code, tc.want, "", append(base, tc.args...)...)
	}
}

// stuckStore is a store that can't be closed until it is told to.
type stuckStore struct {
	store.Store
	release chan struct{}
}

func (s stuckStore) Close() error {
	<-s.release
	return errors.New("too late")
}

func TestSecondSignal(t *testing.T) {
	signals := make(chan os.Signal, 2)
	st := stuckStore{release: make(chan struct{})}
	defer close(st.release)
	p := &process{configuration: configuration{current: config.Default()}, store: st, log: newLogger(io.Discard, config.Default().Log, slog.LevelInfo, false)}
	signals <- os.Interrupt
	if err := p.drain(signals); err == nil || !strings.Contains(err.Error(), "second signal (interrupt)") {
		t.Errorf("%v", err)
	}
}

func TestReadiness(t *testing.T) {
	p := &process{}
	if err := p.ready(); !errors.Is(err, errStarting) {
		t.Errorf("before the start: %v", err)
	}
	p.server.Store(&server{})
	if err := p.ready(); err != nil {
		t.Errorf("after the start: %v", err)
	}
	p.draining.Store(true)
	if err := p.ready(); !errors.Is(err, errDraining) {
		t.Errorf("draining: %v", err)
	}
}

// The end of the context ends the server like a signal.
func TestServeContext(t *testing.T) {
	c := newCLI(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	out, in := io.Pipe()
	a := &app{in: strings.NewReader(""), out: io.Discard, err: in, env: c.lookup}
	code := make(chan int, 1)
	go func() {
		code <- a.run(ctx, append([]string{"serve", "--store", "memory:"}, onAnyPort...))
		in.Close()
	}()
	for s := bufio.NewScanner(out); s.Scan(); {
		if strings.Contains(s.Text(), "msg=ready") {
			cancel()
		}
	}
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d", got)
	}
}
