package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/sipway/sipway/cmd/sipway/config"
)

// What comes from strangers neither begins a line of the log nor steers the terminal that
// shows it, whatever part of a record it gets into.
func TestLogInjection(t *testing.T) {
	evil := []string{
		"x\nlevel=ERROR msg=\"all is lost\"", "x\r\n12:00:00 ERROR all is lost", "\x1b[2J\x1b[31mred", "\x07\x00\x7f", "\u009b31m", "a\u2028b\u202ec", "\xff\xfe",
	}
	for _, format := range []config.LogFormat{config.LogConsole, config.LogLogfmt, config.LogJSON} {
		for _, text := range evil {
			var out bytes.Buffer
			log := newLogger(&out, config.Log{Level: slog.LevelDebug, Format: format}, slog.LevelDebug, false)
			log.Warn("message", "aor", text, "error", errors.New(text), text, "key", "bytes", []byte(text), "flow", slog.GroupValue(slog.String("remote", text)))
			slog.NewLogLogger(log.Handler(), slog.LevelDebug).Print("of net/http: " + text)
			log.With("call-id", text).WithGroup("g").Info("derived", "user", text)
			if n := strings.Count(out.String(), "\n"); n != 3 {
				t.Errorf("%s, %q: %d lines", format, text, n)
			}
			for _, r := range strings.ReplaceAll(out.String(), "\n", "") {
				if r < ' ' || r >= 0x7f && r < 0xa0 {
					t.Errorf("%s, %q: %q in %q", format, text, r, out.String())
					break
				}
				if format == config.LogConsole && unicode.Is(unicode.Bidi_Control, r) {
					t.Errorf("%s, %q: writes backwards: %q", format, text, out.String())
					break
				}
			}
		}
	}
}

// The same for tables.
func TestTableInjection(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, err: &out, env: func(string) (string, bool) { return "", false }}
	table := a.newTable("nobody", "A", "B")
	for _, text := range []string{"a\nb", "\x1b[31mred", "\r\x07", "\u009b31m", "\xff", "a\u202eb"} {
		if err := table.row(text, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.end(); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\r\x07\u009b\u202e") || strings.Count(out.String(), "\n") != 7 {
		t.Errorf("%q", out.String())
	}
}
