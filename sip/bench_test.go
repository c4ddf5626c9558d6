package sip_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/sipway/sipway/sip"
)

// benchKinds are the eight kinds of message that the benchmarks measure: those that a
// registrar and proxy between browsers and desk phones sees most.
var benchKinds = []struct{ name, file string }{
	{"REGISTER", "jssip-REGISTER.sip"},
	{"INVITE-browser", "browser-INVITE-3k.sip"},
	{"INVITE-phone", "yealink-INVITE.sip"},
	{"100", "freeswitch-100.sip"},
	{"200-SDP", "freeswitch-200-INVITE.sip"},
	{"ACK", "sipp-ACK.sip"},
	{"BYE", "jssip-BYE-indialog.sip"},
	{"OPTIONS-compact", "compact-OPTIONS.sip"},
}

// The sinks keep the compiler from dropping what a benchmark computes.
var (
	sinkMessage *sip.Message
	sinkSipgo   sipgo.Message
	sinkBytes   []byte
	sinkString  string
	sinkLines   int
)

// BenchmarkParse sets the parser beside sipgo's and beside the floor, a plain scan of the
// head for line ends and colons. sipway is measured as a server uses it, over a message and
// a buffer that the caller hands over, and with both allocated and the bytes copied
// (sipway-alloc), as sipgo does.
func BenchmarkParse(b *testing.B) {
	for _, kind := range benchKinds {
		raw := readMessage(b, kind.file)
		bench(b, kind.name, "sipway", raw, parseReused(b, raw))
		bench(b, kind.name, "sipway-alloc", raw, func() { sinkMessage, _ = sip.Parse(bytes.Clone(raw)) })
		bench(b, kind.name, "sipgo", raw, parseSipgo(raw))
		bench(b, kind.name, "linescan", raw, func() { sinkLines = lineScan(raw) })
	}
}

// BenchmarkForward measures what a proxy does with a message: parse, push a Via and a
// Record-Route, set Max-Forwards and Request-URI, and write; a response loses its topmost
// Via. As in BenchmarkParse, message and buffers are handed over (sipway) or allocated
// (sipway-alloc). sipgo only parses and writes.
func BenchmarkForward(b *testing.B) {
	for _, kind := range benchKinds {
		raw := readMessage(b, kind.file)
		bench(b, kind.name, "sipway", raw, forwardReused(raw))
		bench(b, kind.name, "sipway-alloc", raw, func() {
			m, _ := sip.Parse(bytes.Clone(raw))
			forward(m)
			sinkBytes = m.Bytes()
		})
		bench(b, kind.name, "sipgo", raw, forwardSipgo(raw))
	}
}

// BenchmarkRatio compares on a machine that does other work as well: how many times the line
// scan sipway's parser takes, and how many times sipway's work sipgo's takes. Those to be
// compared run in turn, each for a slice of time, and the medians of the quotients of each
// round count. A slice is long enough for the garbage collection that its allocations
// cause. The quotients of the fastest batches (-best) have no garbage collection in them, nor
// anything else that the machine did: they are what sipgo is at its best.
func BenchmarkRatio(b *testing.B) {
	for _, kind := range benchKinds {
		raw := readMessage(b, kind.file)
		b.Run("kind="+kind.name, func(b *testing.B) {
			scan := &contender{f: func() { sinkLines = lineScan(raw) }}
			parse, parseTheirs := &contender{f: parseReused(b, raw)}, &contender{f: parseSipgo(raw)}
			forward, forwardTheirs := &contender{f: forwardReused(raw)}, &contender{f: forwardSipgo(raw)}
			for b.Loop() {
				for _, c := range []*contender{scan, parse, parseTheirs, forward, forwardTheirs} {
					c.run()
				}
			}
			b.ReportMetric(0, "ns/op") // an iteration has no meaning here
			report(b, "parse/linescan", parse, scan)
			report(b, "sipgo/parse", parseTheirs, parse)
			report(b, "sipgo/forward", forwardTheirs, forward)
		})
	}
}

// contender is one of the functions that BenchmarkRatio compares.
type contender struct {
	f      func()
	rounds []float64     // the time of one call, of each slice
	best   time.Duration // of the fastest batch
}

// run calls f in batches for one slice.
func (c *contender) run() {
	const slice, batch = 4 * time.Millisecond, 32
	var total time.Duration
	calls := 0
	for total < slice {
		start := time.Now()
		for range batch {
			c.f()
		}
		t := time.Since(start)
		if total, calls = total+t, calls+batch; c.best == 0 || t < c.best {
			c.best = t
		}
	}
	c.rounds = append(c.rounds, float64(total)/float64(calls))
}

// report reports how many times as long as c another takes.
func report(b *testing.B, what string, other, c *contender) {
	quotients := make([]float64, len(c.rounds))
	for i := range quotients {
		quotients[i] = other.rounds[i] / c.rounds[i]
	}
	slices.Sort(quotients)
	b.ReportMetric(quotients[len(quotients)/2], what)
	b.ReportMetric(float64(other.best)/float64(c.best), what+"-best")
}

func bench(b *testing.B, kind, by string, raw []byte, f func()) {
	b.Run("kind="+kind+"/by="+by, func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
	})
}

func parseReused(tb testing.TB, raw []byte) func() {
	var m sip.Message
	if err := m.Parse(raw); err != nil {
		tb.Fatal(err)
	}
	return func() { _ = m.Parse(raw) }
}

func parseSipgo(raw []byte) func() {
	p := sipgo.NewParser()
	return func() { sinkSipgo, _ = p.ParseSIP(raw) }
}

func forwardReused(raw []byte) func() {
	var m sip.Message
	return func() {
		_ = m.Parse(raw)
		forward(&m)
		sinkBytes = m.AppendTo(sinkBytes[:0])
	}
}

func forward(m *sip.Message) {
	if !m.IsRequest() {
		m.PopVia()
		return
	}
	hops, _ := m.MaxForwards()
	m.SetMaxForwards(hops - 1)
	m.SetRequestURI("sip:bob@192.0.2.31:5060;transport=udp")
	m.Prepend(sip.HRecordRoute, "<sip:192.0.2.1:5060;lr>")
	m.PushVia(sip.Via{Transport: "UDP", Host: "192.0.2.1", Port: 5060, Branch: "z9hG4bK.e1f7c.31", RPort: -1})
}

func forwardSipgo(raw []byte) func() {
	p := sipgo.NewParser()
	return func() {
		m, _ := p.ParseSIP(raw)
		sinkString = m.String()
	}
}

// lineScan finds the end and the colon of every line of the head, and nothing else: what
// any parser that reads the head must do.
func lineScan(b []byte) (lines int) {
	for {
		end := bytes.IndexByte(b, '\n')
		if end <= 1 {
			return lines
		}
		if bytes.IndexByte(b[:end], ':') > 0 {
			lines++
		}
		b = b[end+1:]
	}
}

func readMessage(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "messages", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
