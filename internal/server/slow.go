package server

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/ratelimit"
	"github.com/headrace/headrace/internal/wire"
)

// slowRate is how many slow requests a second are logged: when everything is slow, the log must not be what
// is slow next.
const slowRate = 10

// slowLog logs requests that took long, with the ids that their clients have. The time is from a request's
// header to the last byte of its answer, so that a client which sends or takes slowly is in it, too.
type slowLog struct {
	after   time.Duration
	logger  *slog.Logger
	rate    *ratelimit.Limiter[struct{}]
	skipped atomic.Int64
}

// newSlowLog returns nil, which logs nothing, unless after is more than 0.
func newSlowLog(after time.Duration, logger *slog.Logger, now clock.Clock) *slowLog {
	if after <= 0 {
		return nil
	}
	return &slowLog{after: after, logger: logger, rate: ratelimit.New[struct{}](ratelimit.Config{Rate: slowRate, Keys: 1, Clock: now})}
}

// lasts names the operation whose answer is meant to last: minutes of events.
const lasts = "SubscribeToShard"

// done is told of every request.
func (l *slowLog) done(e *wire.Event) {
	if l == nil || e.Duration < l.after || e.Operation == lasts {
		return
	}
	if !l.rate.Allow(struct{}{}) {
		l.skipped.Add(1)
		return
	}
	attrs := []any{
		"request", e.RequestID, "service", e.Service, "operation", e.Operation, "duration", e.Duration.Round(time.Millisecond),
		"account", e.Account, "region", e.Region, "status", e.Status, "bytes_in", e.BytesIn, "bytes_out", e.BytesOut,
	}
	if e.ErrorCode != "" {
		attrs = append(attrs, "code", e.ErrorCode)
	}
	if e.Request != nil {
		attrs = append(attrs, "client", e.Request.RemoteAddr)
	}
	if n := l.skipped.Swap(0); n > 0 {
		attrs = append(attrs, "not_logged", n)
	}
	l.logger.Warn("a request was slow", attrs...)
}
