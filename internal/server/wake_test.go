package server

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// BenchmarkPutToWake appends records to a data directory one at a time, and reports how long after the
// beginning of an append somebody who waits for its record is awake.
func BenchmarkPutToWake(b *testing.B) {
	ctx, fail := context.WithCancelCause(b.Context())
	defer fail(nil)
	sys := new(system)
	cfg := Config{Data: b.TempDir(), Ring: Ring{Segments: 8, SegmentBytes: 16 << 20}, Logger: slog.New(slog.DiscardHandler)}
	e, err := openEngines(ctx, cfg, sys, clock.System{}, 256<<20, fail)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := sys.close(); err != nil {
			b.Error(err)
		}
	}()
	id := shardlog.ShardID{Stream: 1, Shard: 0}
	if err := e.log.Open(ctx, []shardlog.ShardID{id}, shardlog.Retention{Age: time.Hour}); err != nil {
		b.Fatal(err)
	}
	woken := make(chan time.Time)
	next := make(chan record.Index)
	go func() {
		defer close(woken)
		for from := range next {
			if err := e.log.Wait(ctx, id, from); err != nil {
				b.Error(err)
				return
			}
			woken <- time.Now()
		}
	}()
	batch := []shardlog.Batch{{Shard: id, Entries: []record.Entry{{PartitionKey: "k", Data: make([]byte, 1024)}}}}
	var times []time.Duration
	for at := record.Index(1); b.Loop(); at++ {
		next <- at
		began := time.Now()
		res, err := e.log.Append(ctx, batch)
		if err == nil {
			err = res[0].Err
		}
		if err != nil {
			b.Fatal(err)
		}
		times = append(times, (<-woken).Sub(began))
	}
	close(next)
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "median-ms")
}
