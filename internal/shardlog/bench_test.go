package shardlog_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/lane/mem"
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
