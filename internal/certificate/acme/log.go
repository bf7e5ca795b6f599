package acme

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// logCore hands what certmagic logs to the program's own log. certmagic's "info" is each step of its
// way and becomes debug; only that a certificate was obtained or renewed is news.
type logCore struct {
	handler slog.Handler
}

// news are the messages that an operator wants to see.
var news = map[string]bool{
	"certificate obtained successfully": true,
	"certificate renewed successfully":  true,
}

// noise are messages of errors that any client can cause, as often as it connects.
var noise = map[string]bool{
	"tls-alpn challenge": true, // one for a challenge that is not ours
}

func levelOf(e zapcore.Entry) slog.Level {
	switch {
	case noise[e.Message]:
		return slog.LevelDebug
	case e.Level >= zapcore.ErrorLevel:
		return slog.LevelError
	case e.Level == zapcore.WarnLevel:
		return slog.LevelWarn
	case news[e.Message]:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.LevelEnabler. What level an entry really has is known once its text is.
func (c logCore) Enabled(zapcore.Level) bool { return true }

// With implements zapcore.Core.
func (c logCore) With(fields []zapcore.Field) zapcore.Core {
	return logCore{handler: c.handler.WithAttrs(attributes(fields))}
}

// Check implements zapcore.Core.
func (c logCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.handler.Enabled(context.Background(), levelOf(e)) {
		return to
	}
	return to.AddCore(e, c)
}

// Write implements zapcore.Core.
func (c logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	record := slog.NewRecord(e.Time, levelOf(e), "acme: "+e.Message, 0)
	record.AddAttrs(attributes(fields)...)
	return c.handler.Handle(context.Background(), record)
}

// Sync implements zapcore.Core: nothing is held back.
func (c logCore) Sync() error { return nil }

func attributes(fields []zapcore.Field) []slog.Attr {
	values := zapcore.NewMapObjectEncoder()
	var attrs []slog.Attr
	for _, f := range fields {
		f.AddTo(values)
		if v, ok := values.Fields[f.Key]; ok {
			attrs = append(attrs, slog.Any(f.Key, v))
		}
	}
	return attrs
}
