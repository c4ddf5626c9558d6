package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/sipway/sipway/cmd/sipway/config"
)

// newLogger returns the logger that the configuration asks for, but for its level, which may
// change. Only the console has colour.
func newLogger(w io.Writer, cfg config.Log, level slog.Leveler, color bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	_, isTerminal := terminal(w)
	switch format := cfg.Format; {
	case format == config.LogJSON:
		return slog.New(slog.NewJSONHandler(controlEscaper{w}, opts))
	case format == config.LogConsole, format == config.LogAuto && isTerminal:
		return slog.New(newConsole(w, level, color))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// controlEscaper escapes the control characters that slog's JSON leaves as they are: DEL, and
// those above ASCII, by which some terminals are steered too.
type controlEscaper struct{ w io.Writer }

// Write writes a line of JSON.
func (e controlEscaper) Write(line []byte) (int, error) {
	control := func(r rune) bool { return r >= 0x7f && r < 0xa0 }
	if bytes.IndexFunc(line, control) < 0 {
		return e.w.Write(line)
	}
	var escaped bytes.Buffer
	for _, r := range string(line) {
		if control(r) {
			fmt.Fprintf(&escaped, `\u%04x`, r)
		} else {
			escaped.WriteRune(r)
		}
	}
	_, err := e.w.Write(escaped.Bytes())
	return len(line), err
}

// console is a log handler for people: time of day, level, message, then the attributes as
// slog's text handler writes them.
type console struct {
	level slog.Leveler
	color bool
	attrs slog.Handler // writes the attributes to out.line

	out *consoleOutput // shared with the handlers derived from this one
}

// consoleOutput puts lines together.
type consoleOutput struct {
	mu   sync.Mutex
	w    io.Writer
	line bytes.Buffer
}

func newConsole(w io.Writer, level slog.Leveler, color bool) *console {
	out := &consoleOutput{w: w}
	return &console{level: level, color: color, out: out, attrs: slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{} // the console has written it
			}
			return a
		},
	})}
}

// Enabled implements [slog.Handler].
func (c *console) Enabled(_ context.Context, level slog.Level) bool { return level >= c.level.Level() }

// Handle implements [slog.Handler].
func (c *console) Handle(ctx context.Context, r slog.Record) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	line := &c.out.line
	line.Reset()
	level := fmt.Sprintf("%-5s", r.Level)
	if c.color {
		level = colorOf(r.Level) + level + "\x1b[0m"
	}
	fmt.Fprintf(line, "%s %s %s  ", r.Time.Format("15:04:05"), level, printable(r.Message))
	if err := c.attrs.Handle(ctx, withoutTime(r)); err != nil {
		return err
	}
	_, err := c.out.w.Write(append(bytes.TrimRight(line.Bytes(), " \n"), '\n'))
	return err
}

func withoutTime(r slog.Record) slog.Record {
	var zero slog.Record
	r.Time = zero.Time // the text handler leaves a zero time out
	return r
}

// WithAttrs implements [slog.Handler].
func (c *console) WithAttrs(attrs []slog.Attr) slog.Handler {
	derived := *c
	derived.attrs = c.attrs.WithAttrs(attrs)
	return &derived
}

// WithGroup implements [slog.Handler].
func (c *console) WithGroup(name string) slog.Handler {
	derived := *c
	derived.attrs = c.attrs.WithGroup(name)
	return &derived
}

func colorOf(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "\x1b[31m" // red
	case level >= slog.LevelWarn:
		return "\x1b[33m" // yellow
	}
	return "\x1b[32m" // green
}
