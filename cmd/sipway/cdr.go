package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/sip/dialog"
)

const (
	// recordEvery is how long a call that has ended waits for others, so that they are
	// written together, and the process is not woken for each.
	recordEvery = 250 * time.Millisecond

	// maxRecords bounds the calls that wait to be written: what a slow disk can cost. Those
	// above it are counted and dropped.
	maxRecords = 10_000

	// complainEvery is the time between two complaints of a file that can't be written.
	complainEvery = time.Minute
)

// recorder writes call detail records: lines of the log, and of a file. Whoever ends a call
// never waits for it.
type recorder struct {
	log  *slog.Logger // nil: nothing is logged
	warn *slog.Logger
	path string // of the file, "" for none

	setUp, talk prometheus.Histogram
	dropped     atomic.Uint64 // calls without a record

	mu      sync.Mutex // guards waiting and due
	waiting []*dialog.Call
	due     bool // a flush is to come

	writing    sync.Mutex // guards what follows; not taken with mu held
	file       *os.File
	complained time.Time
}

func newRecorder(cfg *config.CDR, log *slog.Logger) (*recorder, error) {
	r := &recorder{
		warn: log, path: cfg.File,
		setUp: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sipway_call_setup_seconds", Help: "Time from the INVITE to the answer of calls that were answered and have ended.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160},
		}),
		talk: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sipway_call_duration_seconds", Help: "Time from the answer to the end of calls that were answered.",
			Buckets: []float64{1, 5, 15, 60, 180, 600, 1800, 3600, 3 * 3600, 12 * 3600},
		}),
	}
	if cfg.ToLog {
		r.log = log
	}
	if r.path == "" {
		return r, nil
	}
	if err := r.open(); err != nil {
		return nil, usageError{fmt.Errorf("cdr.file: %w", err)}
	}
	return r, nil
}

// open opens the file, which others may have moved away. The caller holds writing, or is
// alone.
func (r *recorder) open() error {
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	if r.file != nil {
		r.file.Close()
	}
	r.file = f
	return nil
}

// reopen goes on in a new file where the old one was moved away, as log rotation does. What
// waits is written to the old one.
func (r *recorder) reopen() {
	if r.path == "" {
		return
	}
	r.flush()
	r.writing.Lock()
	defer r.writing.Unlock()
	if err := r.open(); err != nil {
		r.warn.Error("call detail records go on in the old file", "file", r.path, "error", err)
	}
}

// ended takes a call that has ended.
func (r *recorder) ended(c *dialog.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= maxRecords {
		r.dropped.Add(1)
		return
	}
	r.waiting = append(r.waiting, c)
	if !r.due {
		r.due = true
		time.AfterFunc(recordEvery, r.flush)
	}
}

// flush writes what waits.
func (r *recorder) flush() {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	calls := r.waiting
	r.waiting, r.due = nil, false
	r.mu.Unlock()
	logs := r.log != nil && r.log.Enabled(context.Background(), slog.LevelInfo)
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	for _, c := range calls {
		if !logs && r.file == nil {
			r.measure(c.Brief())
			continue
		}
		record := c.Record()
		r.measure(record)
		call := newCall(&record, record.Ended)
		call.Messages = nil // they are for those who look at a live call
		if logs {
			r.log.LogAttrs(context.Background(), slog.LevelInfo, "call ended", callAttrs(&call)...)
		}
		if r.file != nil {
			_ = enc.Encode(&call) // a buffer takes everything
		}
	}
	r.write(lines.Bytes(), len(calls))
}

// write appends lines to the file.
func (r *recorder) write(lines []byte, calls int) {
	if r.file == nil || len(lines) == 0 {
		return
	}
	if _, err := r.file.Write(lines); err != nil {
		r.dropped.Add(uint64(calls))
		if now := time.Now(); now.Sub(r.complained) > complainEvery {
			r.complained = now
			r.warn.Error("call detail records can't be written", "file", r.path, "error", err, "dropped", r.dropped.Load())
		}
	}
}

func (r *recorder) measure(record dialog.Record) {
	if !record.Answered.IsZero() {
		r.setUp.Observe(record.SetUp().Seconds())
		r.talk.Observe(record.Duration(record.Ended).Seconds())
	}
}

// close writes what waits and closes the file.
func (r *recorder) close() error {
	r.flush()
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// callAttrs are the attributes of a call detail record in the log. Their names are fixed, and
// those of the file's: scripts read them.
func callAttrs(c *admin.Call) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("id", c.ID), slog.String("call_id", c.CallID), slog.String("from", c.From), slog.String("to", c.To),
		slog.String("start", c.Start.String()),
	}
	for _, t := range []struct {
		name string
		at   admin.Moment
	}{{"ring", c.Ring}, {"answer", c.Answer}, {"end", c.End}} {
		if !t.at.IsZero() {
			attrs = append(attrs, slog.String(t.name, t.at.String()))
		}
	}
	attrs = append(attrs, slog.Float64("duration", c.Duration), slog.String("cause", c.Cause), slog.String("by", c.By))
	if c.Status != 0 {
		attrs = append(attrs, slog.Int("status", c.Status))
	}
	for _, t := range []struct{ name, text string }{
		{"reason", c.Reason}, {"codec", c.Codec},
		{"caller_transport", c.Caller.Transport}, {"caller_remote", c.Caller.Remote}, {"caller_user_agent", c.Caller.UserAgent},
		{"callee_transport", c.Callee.Transport}, {"callee_remote", c.Callee.Remote}, {"callee_user_agent", c.Callee.UserAgent},
		{"refer_to", c.ReferTo}, {"replaces", c.Replaces},
	} {
		if t.text != "" {
			attrs = append(attrs, slog.String(t.name, t.text))
		}
	}
	if len(c.Legs) > 1 {
		legs := make([]string, len(c.Legs))
		for i := range c.Legs {
			legs[i] = legText(&c.Legs[i])
		}
		attrs = append(attrs, slog.Any("legs", legs))
	}
	return attrs
}
