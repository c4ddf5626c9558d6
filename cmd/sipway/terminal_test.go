package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/cmd/sipway/config"
)

func TestTable(t *testing.T) {
	var out, note bytes.Buffer
	a := &app{out: &out, err: &note, env: func(string) (string, bool) { return "", false }}
	tab := a.newTable("nothing", "A", "B")
	for _, row := range [][]string{{"ü", "x"}, {"long", "y\x00\u0085z"}} {
		if err := tab.row(row...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tab.end(); err != nil {
		t.Fatal(err)
	}
	if want := "A     B\nü     x\nlong  y\ufffd\ufffdz\n"; out.String() != want || note.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}

// Cells give way to the width of a terminal, the widest first.
func TestTableFits(t *testing.T) {
	for _, tc := range []struct {
		total int
		want  string
	}{
		{0, "ADDRESS            CONTACT                        AGE\nalice@example.tst  sip:x1y2z3@q9w8e7.invalid;ü=1  5s\n"},
		{60, "ADDRESS            CONTACT                        AGE\nalice@example.tst  sip:x1y2z3@q9w8e7.invalid;ü=1  5s\n"},
		{40, "ADDRESS           CONTACT            AGE\nalice@example.t…  sip:x1y2z3@q9w8e…  5s\n"},
		{32, "ADDRESS       CONTACT        AGE\nalice@examp…  sip:x1y2z3@q…  5s\n"},
		{5, "ADDRESS   CONTACT   AGE\nalice@e…  sip:x1y…  5s\n"},
	} {
		var out bytes.Buffer
		a := &app{out: &out, env: func(string) (string, bool) { return "", false }}
		tab := a.newTable("nothing", "ADDRESS", "CONTACT", "AGE")
		tab.total = tc.total
		if err := tab.row("alice@example.tst", "sip:x1y2z3@q9w8e7.invalid;ü=1", "5s"); err != nil {
			t.Fatal(err)
		}
		if err := tab.end(); err != nil {
			t.Fatal(err)
		}
		if out.String() != tc.want {
			t.Errorf("width %d:\n%s", tc.total, &out)
		}
	}
}

// A long table is written while it is filled.
func TestTableBlocks(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, env: func(string) (string, bool) { return "", false }}
	tab := a.newTable("nothing", "A", "B")
	for i := range 2*tableBlock + 1 {
		if err := tab.row(fmt.Sprint(i), "x"); err != nil {
			t.Fatal(err)
		}
		if len(tab.rows) >= tableBlock {
			t.Fatalf("%d rows wait", len(tab.rows))
		}
	}
	if err := tab.end(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 2*tableBlock+2 || strings.Count(out.String(), "A") != 1 {
		t.Errorf("%d lines", n)
	}
}

func TestConsole(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(&out, config.Log{Format: config.LogConsole}, slog.LevelInfo, false)
	log.Debug("not this")
	log.With("flow", 7).WithGroup("msg").Warn("odd request", "method", "INVITE", "time", "late")
	log.Info("bare")
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || len(lines[0]) < 9 || lines[0][8:] != ` WARN  odd request  flow=7 msg.method=INVITE msg.time=late` || lines[1][8:] != ` INFO  bare` {
		t.Errorf("%q", lines)
	}
	if _, err := time.Parse("15:04:05", lines[0][:8]); err != nil {
		t.Error(err)
	}
}

func TestLogFormats(t *testing.T) {
	for format, want := range map[config.LogFormat]string{
		config.LogJSON: `"msg":"m"`, config.LogLogfmt: "msg=m", config.LogAuto: "msg=m",
	} {
		var out bytes.Buffer
		newLogger(&out, config.Log{Format: format}, slog.LevelInfo, false).Info("m")
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: %s", format, &out)
		}
	}
}

func TestProgress(t *testing.T) {
	for _, tc := range []struct {
		bar  bool
		size int64
		want string
	}{
		{false, 1000, "importing   50%  10 users read\nimporting  100%  30 users read\n"},
		{false, 0, "importing  10 users read\nimporting  30 users read\n"},
		{true, 1000, "\r\x1b[Kimporting  [###############...............]  50%  10 users read\r\x1b[Kimporting  [##############################] 100%  30 users read\r\x1b[K"},
		{true, 0, "\r\x1b[Kimporting  10 users read\r\x1b[Kimporting  30 users read\r\x1b[K"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			p := newProgress(&out, tc.size)
			p.bar = tc.bar
			in := p.reader(strings.NewReader(strings.Repeat("x", 1000)))
			io.CopyN(io.Discard, in, 500)
			p.show(5) // too early
			<-time.After(p.every)
			p.show(10)
			p.show(20) // too early again
			io.Copy(io.Discard, in)
			<-time.After(p.every)
			p.show(30)
			p.end()
			if out.String() != tc.want {
				t.Errorf("got %q, want %q", out.String(), tc.want)
			}
		})
	}
}
