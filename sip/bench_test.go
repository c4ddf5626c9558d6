package sip_test

import (
	"bytes"
	"os"
	"path/filepath"
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

// BenchmarkRatio compares on a machine that does other work as well. It runs those to be
// compared in turn, in batches shorter than a time slice, and reports the quotients of
// their fastest batches: how many times the line scan sipway's parser takes, and how many
// times sipway's work sipgo's takes. Garbage collection falls outside the fastest batches,
// so it flatters what allocates; BenchmarkParse and BenchmarkForward have all of it.
func BenchmarkRatio(b *testing.B) {
	for _, kind := range benchKinds {
		raw := readMessage(b, kind.file)
		b.Run("kind="+kind.name, func(b *testing.B) {
			t := fastest(b, parseReused(b, raw), func() { sinkLines = lineScan(raw) }, parseSipgo(raw),
				forwardReused(raw), forwardSipgo(raw))
			b.ReportMetric(0, "ns/op") // an iteration has no meaning here
			b.ReportMetric(t[0]/t[1], "parse/linescan")
			b.ReportMetric(t[2]/t[0], "sipgo/parse")
			b.ReportMetric(t[4]/t[3], "sipgo/forward")
		})
	}
}

// fastest returns the time of the fastest batch of each function.
func fastest(b *testing.B, fs ...func()) []float64 {
	const batch = 32
	best := make([]float64, len(fs))
	for b.Loop() {
		for i, f := range fs {
			start := time.Now()
			for range batch {
				f()
			}
			if t := float64(time.Since(start)); best[i] == 0 || t < best[i] {
				best[i] = t
			}
		}
	}
	return best
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
