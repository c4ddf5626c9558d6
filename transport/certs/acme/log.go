package acme

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// logCore writes what certmagic logs to our logger. What it tells of its ordinary work is
// detail to us: the events say what an operator must know.
type logCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

var _ zapcore.Core = (*logCore)(nil)

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelWarn // it is tried again
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Enabled implements [zapcore.Core].
func (c *logCore) Enabled(l zapcore.Level) bool { return c.log.Enabled(context.Background(), level(l)) }

// With implements [zapcore.Core].
func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	return &logCore{c.log, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements [zapcore.Core].
func (c *logCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements [zapcore.Core].
func (c *logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	var args []any
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(values)
		if v, ok := values.Fields[f.Key]; ok {
			args = append(args, f.Key, v)
		}
	}
	c.log.Log(context.Background(), level(e.Level), "acme: "+e.Message, args...)
	return nil
}

// Sync implements [zapcore.Core].
func (c *logCore) Sync() error { return nil }
