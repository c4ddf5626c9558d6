package interop

import (
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sippRate is the load of SIPp's tests, in calls a second.
const sippRate = 200

// sippSeconds is how long SIPp calls at that rate: a few seconds in every run,
// as many as the environment variable SIPWAY_SIPP_SECONDS says otherwise.
func sippSeconds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SIPWAY_SIPP_SECONDS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SIPWAY_SIPP_SECONDS=%q is not a number of seconds", text)
	}
	return n
}

// SIPp's own scenarios, uac calling uas, as they come with it: dialogs without
// a route set, ACK and BYE to the address-of-record.
func TestSIPpCalls(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			s := startServer(t, settings{
				trusted: true,
				domains: []string{"127.0.0.1"},
				users:   []string{"service@127.0.0.1", "sipp@127.0.0.1"},
			})
			calls := strconv.Itoa(sippRate * sippSeconds(t))
			uas := freePort(t)
			registerSIPp(t, s, uas, transport)
			called := startSIPp(t, s, uas, transport, "-sn", "uas", "-m", calls)
			awaitSocket(t, called.process, transport, uas)
			caller := startSIPp(t, s, freePort(t), transport,
				"-sn", "uac", "-s", "service", "-m", calls, "-r", strconv.Itoa(sippRate))
			caller.check(t, calls)
			called.check(t, calls)
		})
	}
}

// registerSIPp registers SIPp's called party: over UDP in either case, from the
// port that the calls are for.
func registerSIPp(t *testing.T, s *server, contact, transport string) {
	t.Helper()
	startSIPp(t, s, contact, "udp", "-sf", scenario("uas-register.xml"), "-s", "service", "-m", "1",
		"-key", "domain", "127.0.0.1", "-key", "contact", contact+";transport="+transport).check(t, "1")
}

// Registrations with digest at the same rate: register, refresh, query,
// unregister.
func TestSIPpRegistrations(t *testing.T) {
	const users = 1000
	with := settings{md5: true}
	csv := "SEQUENTIAL\n"
	for i := range users {
		name := fmt.Sprintf("u%d", i)
		with.users = append(with.users, name+"@"+domain)
		csv += fmt.Sprintf("%[1]s;[authentication username=%[1]s password=%[2]s];%[3]s\n", name, password(name), domain)
	}
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			s := startServer(t, with)
			s.writeFile(t, "sipp.csv", csv)
			calls := strconv.Itoa(sippRate * sippSeconds(t))
			startSIPp(t, s, freePort(t), transport, "-sf", scenario("register.xml"), "-auth_uri", domain,
				"-inf", filepath.Join(s.dir, "sipp.csv"), "-m", calls, "-r", strconv.Itoa(sippRate)).check(t, calls)
			if left := s.registrations(t); len(left) > 0 {
				t.Errorf("%d bindings are left, such as that of %s", len(left), left[0])
			}
		})
	}
}

func scenario(name string) string {
	path, err := filepath.Abs(filepath.Join("../testdata/sipp", name))
	if err != nil {
		panic(err)
	}
	return path
}

// A sippRun is one SIPp process and the files that it leaves.
type sippRun struct {
	*process
	statistics string // CSV
	errors     string // its log of what it did not expect
}

// sippBuffer is what a SIPp may leave unread, in bytes, as far as net.core.rmem_max lets it.
// Its own 64 KB are 57 datagrams, less than come to one that stands for a thousand phones while
// the machine pauses for a moment; and an ACK that is lost before its BYE fails the call.
const sippBuffer = "4194304"

// startSIPp runs SIPp towards the server from that address of its own.
func startSIPp(t *testing.T, s *server, own, transport string, args ...string) *sippRun {
	t.Helper()
	dir := t.TempDir()
	remote, mode := s.udp, "u1"
	if transport == "tcp" {
		remote, mode = s.tcp, "t1"
	}
	host, port, _ := strings.Cut(own, ":")
	r := &sippRun{statistics: filepath.Join(dir, "statistics.csv"), errors: filepath.Join(dir, "errors.log")}
	args = append([]string{remote, "-t", mode, "-i", host, "-p", port, "-nostdin", "-buff_size", sippBuffer,
		"-trace_stat", "-fd", "1", "-stf", r.statistics, "-trace_err", "-error_file", r.errors}, args...)
	cmd := exec.Command("sipp", args...)
	cmd.Dir = dir
	r.process = startProcess(t, "sipp", cmd)
	return r
}

// check awaits SIPp's end and reads its statistics: so many calls, none failed.
func (r *sippRun) check(t *testing.T, calls string) {
	t.Helper()
	limit := patience + 3*time.Duration(sippSeconds(t))*time.Second
	err := r.wait(t, limit)
	if err != nil {
		t.Errorf("sipp: %v", err)
	}
	counts := r.read(t)
	if got := counts["SuccessfulCall(C)"]; got != calls {
		t.Errorf("%s calls of %s succeeded", got, calls)
	}
	for name, n := range counts {
		if strings.HasPrefix(name, "Failed") && strings.HasSuffix(name, "(C)") && n != "0" {
			t.Errorf("%s: %s", name, n)
		}
	}
	t.Logf("%s calls, %s a second, %s retransmissions", counts["SuccessfulCall(C)"],
		counts["CallRate(C)"], counts["Retransmissions(C)"])
	if t.Failed() {
		if text, err := os.ReadFile(r.errors); err == nil {
			t.Logf("sipp's error log:\n%.4000s", text)
		}
	}
}

// read returns the last line of the statistics by column.
func (r *sippRun) read(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(r.statistics)
	if err != nil {
		t.Fatalf("sipp left no statistics: %v", err)
	}
	defer f.Close()
	in := csv.NewReader(f)
	in.Comma = ';'
	in.FieldsPerRecord = -1
	lines, err := in.ReadAll()
	if err != nil || len(lines) < 2 {
		t.Fatalf("sipp's statistics have %d lines: %v", len(lines), err)
	}
	counts := make(map[string]string)
	last := lines[len(lines)-1]
	for i, name := range lines[0] {
		if i < len(last) {
			counts[name] = last[i]
		}
	}
	return counts
}

// awaitSocket waits until a program that was just started has bound its port.
// Nothing may be sent there to find out: SIPp would take it for a failed call.
// So the kernel's table is asked.
func awaitSocket(t *testing.T, p *process, transport, addr string) {
	t.Helper()
	_, port, _ := strings.Cut(addr, ":")
	number, _ := strconv.Atoi(port)
	entry := fmt.Sprintf(" 0100007F:%04X ", number) // 127.0.0.1, as the table writes it
	limit := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		table, err := os.ReadFile("/proc/net/" + transport)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(table), entry) {
			return
		}
		select {
		case <-again.C:
		case <-p.done:
			t.Fatalf("%s ended at start: %v", p.name, p.err)
		case <-limit:
			t.Fatalf("%s has not bound %s", p.name, addr)
		}
	}
}
