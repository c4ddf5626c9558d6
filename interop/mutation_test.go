package interop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

// mutations is how many damaged messages go over each transport in a round.
const mutations = 10_000

// batches are how many of them go over one flow: over TCP a single one, since
// the first whose end can't be found ends its stream.
var batches = map[string]int{"udp": 25, "tcp": 1, "ws": 25}

// Mutated messages of real clients hurt nobody: the server answers, and its
// memory and goroutines are where they were. The first round makes pools and
// caches grow to what such traffic needs; the second, other one must find that
// enough.
func TestMutations(t *testing.T) {
	// Nobody is registered or trusted: whatever the damage makes of a message,
	// the server sends it nowhere.
	s := startServer(t, settings{})
	for _, transport := range transports {
		s.answers(t, transport)
	}
	fresh := s.footprint(t)
	s.mutationRound(t, "first", 1)
	grown := s.footprint(t)
	s.mutationRound(t, "second", 2)
	after := s.settle(t, footprint{
		heap:       fresh.heap + heapSlack,
		resident:   grown.resident + residentSlack,
		goroutines: fresh.goroutines + goroutineSlack,
	})
	t.Logf("fresh: %v; after the first round: %v; at last: %v", fresh, grown, after)
}

func (s *server) mutationRound(t *testing.T, name string, seed uint64) {
	t.Helper()
	valid := validMessages(t)
	for _, transport := range transports {
		t.Run(name+" round over "+transport, func(t *testing.T) {
			began := time.Now()
			random := rand.New(rand.NewPCG(seed, uint64(slices.Index(transports, transport))))
			s.sendMutations(t, transport, random, valid)
			t.Logf("%d messages in %v", mutations, time.Since(began).Round(time.Millisecond))
			for _, transport := range transports {
				s.answers(t, transport)
			}
		})
	}
}

// validMessages are what real clients sent.
func validMessages(t *testing.T) [][]byte {
	t.Helper()
	files, err := filepath.Glob("../testdata/messages/*.sip")
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages: %v", err)
	}
	var valid [][]byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		valid = append(valid, b)
	}
	return valid
}

// sendMutations sends damaged messages, a batch on each flow. A batch is over
// when the server has taken it in.
func (s *server) sendMutations(t *testing.T, transport string, random *rand.Rand, valid [][]byte) {
	t.Helper()
	batch := batches[transport]
	for range mutations / batch {
		w := s.connect(t, transport)
		for range batch {
			// An error means that the server closed the connection over an
			// earlier message, as it may.
			if w.send(mutate(random, valid)) != nil {
				break
			}
		}
		w.drain(t, transport)
	}
}

// drain waits until the server has read all that was sent: over UDP it answers
// a request behind it, a stream it closes, over WebSocket it answers a ping or
// has closed.
func (w *wire) drain(t *testing.T, transport string) {
	t.Helper()
	defer w.close()
	if transport == "udp" {
		w.probe(t, transport)
		return
	}
	if w.flush() != nil || transport == "ws" {
		return
	}
	for open := true; open; {
		_, open = w.next(t)
	}
}

// tokens are what hurts parsers most.
var tokens = []string{
	"\r\n", "\n", "\r", "\r\n\r\n", "\x00", "\"", "<", ">", ";", ",", "@", ":", "%", "%00", "\\", "[", "\xff",
	"\r\n ", "\r\nContent-Length: 4294967296", "\r\nVia: ", "\r\nTo: *", "SIP/2.0 ", "sip:", "z9hG4bK", ";tag=", ";;;;;;;;",
	"99999999999999999999", "-1",
}

// mutate returns one of the messages with one to four wounds.
func mutate(random *rand.Rand, valid [][]byte) []byte {
	b := bytes.Clone(valid[random.IntN(len(valid))])
	for range 1 + random.IntN(4) {
		if len(b) < 2 {
			break
		}
		at := random.IntN(len(b))
		run := b[at:min(len(b), at+1+random.IntN(40))]
		switch random.IntN(8) {
		case 0:
			b[at] = byte(random.Uint32())
		case 1:
			b = slices.Delete(b, at, at+len(run))
		case 2:
			b = slices.Insert(b, at, bytes.Clone(run)...)
		case 3:
			b = slices.Insert(b, at, []byte(tokens[random.IntN(len(tokens))])...)
		case 4:
			b = b[:at]
		case 5: // a line is lost
			b = slices.Concat(b[:at], after(b[at:], '\n'))
		case 6: // the rest of another message
			other := valid[random.IntN(len(valid))]
			b = append(b[:at], other[random.IntN(len(other)):]...)
		case 7: // one thing many times
			b = slices.Insert(b, at, bytes.Repeat(bytes.Clone(run), 1+random.IntN(100))...)
		}
	}
	return b[:min(len(b), 60<<10)] // a datagram's limit
}

func after(b []byte, c byte) []byte {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return b[i+1:]
	}
	return nil
}

// A footprint is what a server occupies.
type footprint struct {
	heap       int // bytes of live objects after a collection
	resident   int // bytes that the kernel counts
	goroutines int
}

func (f footprint) String() string {
	return fmt.Sprintf("heap %d KiB, resident %d KiB, %d goroutines", f.heap>>10, f.resident>>10, f.goroutines)
}

// What a server may occupy beyond its measure. Heap: the caches and pools that
// 60,000 messages have filled; a leak of 70 bytes a message would be more.
// Resident: the runtime gives pages back when it likes, and the race detector
// keeps its shadow of each.
const (
	heapSlack      = 4 << 20
	residentSlack  = 64 << 20
	goroutineSlack = 10
)

// settle measures until the server is within the limits. That takes as long as
// transactions live, 64*T1 = 32 s (RFC 3261 §17.2.1, Timer H).
func (s *server) settle(t *testing.T, limits footprint) footprint {
	t.Helper()
	late := time.After(patience + 64*500*time.Millisecond)
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		f := s.footprint(t)
		if f.heap <= limits.heap && f.resident <= limits.resident && f.goroutines <= limits.goroutines {
			return f
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("the server has %v; it may have %v", f, limits)
		}
	}
}

var (
	heapAlloc   = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)
	goroutines  = regexp.MustCompile(`^goroutine profile: total (\d+)`)
	residentSet = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)
)

func (s *server) footprint(t *testing.T) footprint {
	t.Helper()
	number := func(text []byte, err error, what *regexp.Regexp) int {
		if err != nil {
			t.Fatal(err)
		}
		m := what.FindSubmatch(text)
		if m == nil {
			t.Fatalf("no %v in %.300q", what, text)
		}
		n, _ := strconv.Atoi(string(m[1]))
		return n
	}
	var f footprint
	text, err := s.get(t.Context(), "/debug/pprof/heap?gc=1&debug=1")
	f.heap = number(text, err, heapAlloc)
	text, err = s.get(t.Context(), "/debug/pprof/goroutine?debug=1")
	f.goroutines = number(text, err, goroutines)
	text, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	f.resident = number(text, err, residentSet) << 10
	return f
}
