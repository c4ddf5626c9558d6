package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A forkedUser is called at a rate, and has phones of which one answers and the
// others ring until they are cancelled.
type forkedUser struct {
	name   string
	phones int
	rate   int // calls a second
}

// Calls to users with two and with five phones, at the same time. In every run
// for a few seconds, at a percentage of that rate with SIPWAY_SIPP_RATE, and
// for half an hour with SIPWAY_SIPP_SECONDS=1800 and
// SIPWAY_BINARY naming a server without the race detector.
func TestSIPpForks(t *testing.T) {
	users := []forkedUser{{"two", 2, 100}, {"five", 5, 40}}
	if text := os.Getenv("SIPWAY_SIPP_RATE"); text != "" {
		percent, err := strconv.Atoi(text)
		if err != nil || percent < 1 {
			t.Fatalf("SIPWAY_SIPP_RATE=%q is not a percentage", text)
		}
		for i := range users {
			users[i].rate = users[i].rate * percent / 100
		}
	}
	s := startServer(t, settings{
		trusted: true,
		domains: []string{"127.0.0.1"},
		users:   []string{"two@127.0.0.1", "five@127.0.0.1"},
	})
	var runs []*sippRun
	var wanted []string
	expect := func(r *sippRun, calls string) { runs, wanted = append(runs, r), append(wanted, calls) }
	for _, u := range users {
		calls := strconv.Itoa(u.rate * sippSeconds(t))
		for phone := range u.phones {
			at := freePort(t)
			startSIPp(t, s, at, "udp", "-sf", scenario("uas-register.xml"), "-s", u.name, "-m", "1",
				"-key", "domain", "127.0.0.1", "-key", "contact", at).check(t, "1")
			does := "uas-ring.xml"
			if phone == 0 {
				does = "uas.xml"
			}
			r := startSIPp(t, s, at, "udp", "-sf", scenario(does), "-m", calls)
			awaitSocket(t, r.process, "udp", at)
			expect(r, calls)
		}
	}
	before := s.usage(t)
	for _, u := range users {
		calls := strconv.Itoa(u.rate * sippSeconds(t))
		expect(startSIPp(t, s, freePort(t), "udp", "-sf", scenario("uac.xml"), "-s", u.name, "-m", calls, "-r", strconv.Itoa(u.rate)), calls)
	}
	memory := s.watchMemory(t)
	for i, r := range runs {
		r.check(t, wanted[i])
	}
	memory.check(t)
	after := s.awaitIdle(t)
	t.Logf("before: %v\nafter:  %v", before, after)
	if after.goroutines > before.goroutines+10 {
		t.Errorf("goroutines: %d before, %d after", before.goroutines, after.goroutines)
	}
}

// usage is what a server holds.
type usage struct {
	rss          int // KiB
	goroutines   int
	transactions int
	cpu          time.Duration
}

func (u usage) String() string {
	return fmt.Sprintf("%d MiB resident, %d goroutines, %d transactions, %v CPU", u.rss>>10, u.goroutines, u.transactions, u.cpu)
}

func (s *server) usage(t *testing.T) (u usage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	body, err := s.get(ctx, "/status")
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Counters map[string]int }
	if err := json.Unmarshal(body, &status); err != nil {
		t.Fatal(err)
	}
	u.transactions = status.Counters["transactions_invite"] + status.Counters["transactions_other"]
	if body, err = s.get(ctx, "/debug/pprof/goroutine?debug=1"); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(body), "goroutine profile: total %d", &u.goroutines); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	if _, err := fmt.Sscan(rest, &u.rss); err != nil {
		t.Fatal(err)
	}
	u.cpu = s.cpu(t)
	return u
}

// cpu is the processor time that the server has used, user and system.
func (s *server) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// awaitIdle waits until no transaction is left: the last ones live on for 32 s
// after their calls (RFC 3261 §17.2.2, Timer J).
func (s *server) awaitIdle(t *testing.T) usage {
	t.Helper()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for limit := time.After(time.Minute); ; {
		u := s.usage(t)
		if u.transactions == 0 {
			return u
		}
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("transactions are left: %v", u)
		}
	}
}

// memoryWatch notes what a server holds while it works.
type memoryWatch struct {
	stop    chan struct{}
	samples chan []usage
}

// watchSamples is how many samples are taken, spread over the run.
const watchSamples = 20

func (s *server) watchMemory(t *testing.T) *memoryWatch {
	t.Helper()
	w := &memoryWatch{make(chan struct{}), make(chan []usage, 1)}
	every := time.Duration(sippSeconds(t)) * time.Second / watchSamples
	go func() {
		var all []usage
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				all = append(all, s.usage(t))
			case <-w.stop:
				w.samples <- all
				return
			}
		}
	}()
	return w
}

// check ends the watch. In a run of minutes, the memory must be flat after the
// first quarter of it.
func (w *memoryWatch) check(t *testing.T) {
	t.Helper()
	close(w.stop)
	all := <-w.samples
	for i, u := range all {
		t.Logf("%3d %%: %v", (i+1)*100/watchSamples, u)
	}
	if sippSeconds(t) < 300 || len(all) < watchSamples {
		return
	}
	early, late := 0, 0
	for i, u := range all {
		if i < watchSamples/2 {
			early = max(early, u.rss)
		} else {
			late = max(late, u.rss)
		}
	}
	if late > early+early/10 {
		t.Errorf("memory grows: at most %d KiB in the first half, %d KiB in the second", early, late)
	}
}
