package shardlog_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	objectmem "github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// spread cuts n records of the given size into batches for consecutive shards, as a PutRecords
// call with random keys would.
func spread(n, size, shards, from int) []shardlog.Batch {
	per := make(map[int][]record.Entry)
	data := make([]byte, size)
	for i := range n {
		shard := (from + i) % shards
		per[shard] = append(per[shard], record.Entry{PartitionKey: "partition-key-0001", Data: data})
	}
	var out []shardlog.Batch
	for shard, e := range per {
		out = append(out, shardlog.Batch{Shard: id(shard), Entries: e})
	}
	return out
}

// benchAppend has many goroutines append n records a call; retention keeps within the budget.
func benchAppend(b *testing.B, writers, n, size, shards int) {
	s := open(b, shardlog.Config{Lane: mem.New(mem.Config{}), Memory: 1 << 30, Sweep: 100 * time.Millisecond})
	openShards(b, s, shards, shardlog.Retention{Age: 100 * time.Millisecond})
	b.SetBytes(int64(n * size))
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			batches := spread(n, size, shards, w*31)
			for left.Add(-1) >= 0 {
				res, err := s.Append(ctx, batches)
				if err == nil {
					err = res[0].Err
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkAppend(b *testing.B) {
	for _, shards := range []int{8, 1000} {
		for _, writers := range []int{1, 32} {
			b.Run(fmt.Sprintf("500x1KiB/shards=%d/writers=%d", shards, writers), func(b *testing.B) {
				benchAppend(b, writers, 500, 1024, shards)
			})
		}
	}
	b.Run("1x1KiB/shards=8/writers=64", func(b *testing.B) { benchAppend(b, 64, 1, 1024, 8) })
	b.Run("1x100B/shards=1000/writers=64", func(b *testing.B) { benchAppend(b, 64, 1, 100, 1000) })
}

func BenchmarkRead10MiB(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, per := range []int{1, 500} {
			b.Run(fmt.Sprintf("record=%d/batch=%d", size, per), func(b *testing.B) {
				s := open(b, shardlog.Config{Lane: mem.New(mem.Config{})})
				openShards(b, s, 1, day)
				for range 20_000 / per {
					put(b, s, batch(0, per, size))
				}
				limit := shardlog.Limit{Records: 10_000, Bytes: 10 << 20}
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					p, err := s.Read(ctx, id(0), 5, limit)
					if err != nil || len(p.Records) < 9_000 {
						b.Fatalf("Read = %v, %v", p, err)
					}
					b.SetBytes(int64(len(p.Records) * size))
					p.Release()
				}
			})
		}
	}
}

// BenchmarkWait measures an append that wakes a waiting reader, with many other shards waited on.
func BenchmarkWait(b *testing.B) {
	s := open(b, shardlog.Config{Lane: mem.New(mem.Config{}), Memory: 1 << 30})
	openShards(b, s, 1000, day)
	for n := 1; n < 1000; n++ {
		go func() { _ = s.Wait(ctx, id(n), 1) }() // until Close
	}
	one := []shardlog.Batch{batch(0, 1, 100)}
	b.ResetTimer()
	for i := range b.N {
		done := make(chan error)
		go func() { done <- s.Wait(ctx, id(0), record.Index(i+1)) }()
		if _, err := s.Append(ctx, one); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecover(b *testing.B) {
	l := mem.New(mem.Config{})
	s := open(b, shardlog.Config{Lane: l})
	openShards(b, s, 1000, day)
	for i := range 200 {
		if _, err := s.Append(ctx, spread(500, 1024, 1000, i*500)); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.Close()
	b.SetBytes(200 * 500 * 1024)
	b.ResetTimer()
	for range b.N {
		_ = open(b, shardlog.Config{Lane: l}).Close()
	}
}

// logLines makes entries that compress the way logs do.
func logLines(n, size int) []record.Entry {
	out := make([]record.Entry, n)
	for i := range out {
		line := fmt.Appendf(nil, `{"ts":"2026-03-01T12:00:00.%06dZ","level":"info","path":"/v1/items/%d","status":200,"trace":"%016x"}`, i, i*7919%100_000, uint64(i)*0x9e3779b97f4a7c15)
		for len(line) < size {
			line = append(line, line...)
		}
		out[i] = record.Entry{PartitionKey: "partition-key-0001", Data: line[:size]}
	}
	return out
}

// noise makes entries that do not compress.
func noise(n, size int) []record.Entry {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]record.Entry, n)
	for i := range out {
		data := make([]byte, size)
		for k := range data {
			data[k] = byte(rng.Uint32())
		}
		out[i] = record.Entry{PartitionKey: "partition-key-0001", Data: data}
	}
	return out
}

// filled opens a store whose shards hold rounds×500 records of 1 KiB each, flushed and out of memory.
func filled(b *testing.B, shards, rounds int, entries []record.Entry) (*shardlog.Store, *objectmem.Bucket) {
	bucket := objectmem.New(clock.System{}, 0)
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Memory: 1 << 30, FlushBytes: 1 << 40}
	cfg.Inline()
	cfg.NoCache()
	s := open(b, cfg)
	openShards(b, s, shards, day)
	for range rounds {
		for n := range shards {
			put(b, s, shardlog.Batch{Shard: id(n), Entries: entries})
		}
	}
	s.FlushNow()
	if st := s.Stats(); st.Files == 0 || st.Unflushed > 0 {
		b.Fatalf("%+v; want everything flushed", st)
	}
	return s, bucket
}

// drain is a bucket that reads what it is given and keeps the sizes only.
type drain struct{ objectstore.Bucket }

func (drain) Put(_ context.Context, key string, body io.Reader) (objectstore.Info, error) {
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, make([]byte, 1<<20))
	return objectstore.Info{Key: key, Size: n}, err
}

// BenchmarkFlush measures all of a flush but the disk.
func BenchmarkFlush(b *testing.B) {
	for name, entries := range map[string][]record.Entry{"lines": logLines(500, 1024), "noise": noise(500, 1024)} {
		b.Run(name, func(b *testing.B) {
			const shards, rounds = 8, 16
			b.SetBytes(shards * rounds * 500 * 1024)
			for range b.N {
				b.StopTimer()
				bucket := drain{objectmem.New(clock.System{}, 0)}
				cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Memory: 1 << 30, FlushBytes: 1 << 40}
				cfg.Inline()
				s := open(b, cfg)
				openShards(b, s, shards, day)
				for range rounds {
					for n := range shards {
						put(b, s, shardlog.Batch{Shard: id(n), Entries: entries})
					}
				}
				b.StartTimer()
				s.FlushNow()
				b.StopTimer()
				if st := s.Stats(); st.Files == 0 {
					b.Fatalf("%+v; want files", st)
				}
				_ = s.Close()
				b.StartTimer()
			}
		})
	}
}

func BenchmarkReadBlocks10MiB(b *testing.B) {
	for name, entries := range map[string][]record.Entry{"lines": logLines(500, 1024), "noise": noise(500, 1024)} {
		for _, cold := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/cold=%v", name, cold), func(b *testing.B) {
				s, _ := filled(b, 8, 40, entries)
				limit := shardlog.Limit{Records: 10_000, Bytes: 10 << 20}
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					if cold {
						s.ForgetFooters()
					}
					p, err := s.Read(ctx, id(3), 5, limit)
					if err != nil || len(p.Records) < 9_000 {
						b.Fatalf("Read = %v, %v", p, err)
					}
					b.SetBytes(int64(len(p.Records) * 1024))
					p.Release()
				}
			})
		}
	}
}
