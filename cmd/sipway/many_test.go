package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
	storemem "github.com/sipway/sipway/store/memory"
)

// lineCounter counts lines, and what is in memory while they are written.
type lineCounter struct {
	lines int
	peak  uint64
}

func (c *lineCounter) Write(b []byte) (int, error) {
	before := c.lines / 25_000
	c.lines += bytes.Count(b, []byte{'\n'})
	if c.lines/25_000 > before { // a look costs time
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		c.peak = max(c.peak, m.HeapAlloc)
	}
	return len(b), nil
}

// A list of very many is written while it is read, over HTTP.
func TestListMany(t *testing.T) {
	const n = 100_000
	st := storemem.New()
	now := time.Now()
	for i := range n {
		u := store.Update{AOR: fmt.Sprintf("u%06d@a.test", i), Now: now, CallID: "c", CSeq: 1, Bindings: []store.Binding{{
			Key: "k", Contact: fmt.Sprintf("sip:u%d@192.0.2.1:5060", i), UserAgent: "phone", Expires: now.Add(time.Hour + time.Duration(i)*time.Millisecond),
			Flow: sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060"), Local: netip.MustParseAddrPort("192.0.2.9:5060")},
		}}}
		if _, err := st.Register(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	c := newCLI(t)
	s, err := admin.New(admin.Config{Addr: "unix:admin.sock", Registrations: admin.Offline{Store: st}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	for _, tc := range []struct {
		lines int
		args  []string
	}{
		{n + 1, nil},
		{1, []string{"--count"}},
		{11, []string{"--user-agent", "PHONE", "--limit", "10", "--after", "u099000@a.test"}},
	} {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		var out lineCounter
		a := &app{in: strings.NewReader(""), out: &out, err: new(bytes.Buffer), env: c.lookup}
		start := time.Now()
		if code := a.run(t.Context(), append([]string{"reg", "list"}, tc.args...)); code != exitOK {
			t.Fatal(a.err)
		}
		took := time.Since(start)
		if out.lines != tc.lines {
			t.Errorf("%q: %d lines, want %d", tc.args, out.lines, tc.lines)
		}
		// All of them at once would be 50 MB and more.
		if out.peak > m.HeapAlloc+(24<<20) {
			t.Errorf("%q: %d MB more are in use on the way", tc.args, (out.peak-m.HeapAlloc)>>20)
		}
		if took > 3*time.Minute {
			t.Errorf("%q took %v", tc.args, took)
		}
		t.Logf("%q: %v, %d MB", tc.args, took.Round(time.Millisecond), (max(out.peak, m.HeapAlloc)-m.HeapAlloc)>>20)
	}
}
