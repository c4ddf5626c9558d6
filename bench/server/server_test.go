//go:build linux

package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/bench/load"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"--op", "call-ws-udp,idle-ws,options-udp", "--servers", "kamailio", "--call-rate", "0", "--window", "7"})
	if err != nil {
		t.Fatal(err)
	}
	if !o.idleWS || len(o.operations) != 2 || o.operations[0].Callee != load.UDP {
		t.Errorf("operations %+v, idle %v", o.operations, o.idleWS)
	}
	if n, pace := o.size(o.operations[0]); n != o.calls || pace.Window != 7 || pace.Rate != 0 {
		t.Errorf("a round of calls: %d, %+v", n, pace)
	}
	if n, pace := o.size(o.operations[1]); n != o.requests || pace.Rate != o.requestRate {
		t.Errorf("a round of requests: %d, %+v", n, pace)
	}
	o, err = parse([]string{"--op", "call-ws-ws,call-ws-ws@1500"})
	if err != nil {
		t.Fatal(err)
	}
	if n, pace := o.size(o.operations[0]); n != 2500 || pace.Rate != 500 {
		t.Errorf("a round at the usual rate: %d, %+v", n, pace)
	}
	if n, pace := o.size(o.operations[1]); n != 7500 || pace.Rate != 1500 || o.operations[1].Name != "call-ws-ws@1500" {
		t.Errorf("a round at a rate of its own: %d, %+v of %s", n, pace, o.operations[1].Name)
	}
	for _, bad := range []string{"--op=call-udp", "--op=call-ws-ws@", "--op=call-ws-ws@0", "--op=call-ws-ws@NaN", "--rounds=0", "--pairs=0", "extra", "--idle-clients=1"} {
		if _, err := parse([]string{bad}); err == nil {
			t.Errorf("accepted %s", bad)
		}
	}
}

// spin uses processor time of this process.
func spin(d time.Duration) {
	for begin := ownCPU(); ownCPU()-begin < d; {
	}
}

func TestCPUOf(t *testing.T) {
	begin, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const d = 5 * time.Millisecond
	spin(d)
	end, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if spent := end - begin; spent < d || spent > 100*d {
		t.Errorf("%v for a loop of %v", spent, d)
	}
	if _, err := cpuOf(1<<22 + 1); err == nil { // above the kernel's highest process id
		t.Error("a time for no process")
	}
}

func TestProcessTree(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids, err := processTree(os.Getpid())
	if err != nil || pids[0] != os.Getpid() || !slices.Contains(pids, cmd.Process.Pid) {
		t.Errorf("%v, %v: want %d and %d", pids, err, os.Getpid(), cmd.Process.Pid)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestMemory(t *testing.T) {
	m, err := parseRollup([]byte("5617-7fff ---p 0 00:00 0 [rollup]\nRss:   1024 kB\nPss:    512 kB\nPss_Anon: 9 kB\n"))
	if err != nil || m != (memory{rss: 1 << 20, pss: 1 << 19}) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := parseRollup([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("no error without Pss")
	}
	if m, err := memoryOf(os.Getpid()); err != nil || m.rss == 0 {
		t.Errorf("own memory: %+v, %v", m, err)
	}
}

func TestReport(t *testing.T) {
	o, err := parse([]string{"--op", "options-udp"})
	if err != nil {
		t.Fatal(err)
	}
	var contenders []*contender
	for i, name := range []string{"sipway", "kamailio", "kamailio-tlsf"} {
		c := &contender{process: &process{name: name}, samples: map[string][]sample{}}
		for _, cost := range []time.Duration{40, 10, 20} {
			c.samples["options-udp"] = append(c.samples["options-udp"],
				sample{n: 1000, server: cost * time.Duration(i+1) * time.Microsecond, own: time.Microsecond, wall: time.Second})
		}
		contenders = append(contenders, c)
	}
	var b strings.Builder
	if err := report(&b, o, contenders); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{
		{benchLine("options-udp", "sipway", contenders[0].samples["options-udp"][1])},
		{"options-udp", "sipway", "20.0 us", "10.0 us", "40.0 us", "0.50", "0.33", "3 x 1000"},
		{"options-udp", "kamailio", "40.0 us", "20.0 us", "80.0 us", "1.00", "0.67"},
		{"options-udp", "kamailio-tlsf", "60.0 us", "30.0 us", "120.0 us", "1.50", "1.00"},
		{"options-udp on sipway ran at 1000/s, not at 5000/s"},
	} {
		found := slices.ContainsFunc(strings.Split(b.String(), "\n"), func(line string) bool {
			return !slices.ContainsFunc(want, func(part string) bool { return !strings.Contains(line, part) })
		})
		if !found {
			t.Errorf("no line with %q in\n%s", want, &b)
		}
	}
	line := benchLine("a", "b", sample{n: 5, server: 1500, own: 7})
	if fields := strings.Fields(line); len(fields) != 6 || !strings.HasPrefix(line, "BenchmarkServer/op=a/server=b-") ||
		strings.Join(fields[1:], " ") != "5 1500 cpu-ns/op 7 generator-cpu-ns/op" || runtime.NumCPU() == 0 {
		t.Errorf("line %q", line)
	}
}

func TestMedian(t *testing.T) {
	for want, in := range map[time.Duration][]time.Duration{1: {1}, 2: {3, 1, 2}, 5: {9, 1, 4, 6}} {
		if got := median(in); got != want {
			t.Errorf("median %v of %v, want %v", got, in, want)
		}
	}
}
