// Package shardlogtest is the kit that every implementation of shardlog.Log and shardlog.Registry
// passes: one test for each sentence of the contract, random operations compared with a naive
// reference, and many goroutines at once. It is not a benchmark and knows nothing of lanes.
package shardlogtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// Options are what a test asks of the system it opens.
type Options struct {
	// Clock is the system's clock.
	Clock clock.Clock
	// Memory is the system's budget in bytes; 0 leaves it open.
	Memory int64
}

// System is what is tested.
type System struct {
	Log      shardlog.Log
	Registry shardlog.Registry
	// Reopen recovers the system as if the process had ended and started again; the old Log and
	// Registry are not used afterwards. It is nil if the system cannot recover.
	Reopen func(t *testing.T) (shardlog.Log, shardlog.Registry)
	// Spills says that the system moves records out of memory, so that Options.Memory bounds not
	// what it holds.
	Spills bool
	// Close ends the system; calls afterwards answer ErrClosed.
	Close func() error
}

// start is where manual clocks stand when a test begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Test runs the kit on systems that open makes. The kit closes them.
func Test(t *testing.T, open func(t *testing.T, o Options) System) {
	run := func(name string, memory int64, f func(t *testing.T, k *kit)) {
		t.Run(name, func(t *testing.T) { f(t, newKit(t, memory, open)) })
	}
	run("AppendRead", 0, testAppendRead)
	run("AppendResults", 0, testAppendResults)
	run("AppendCopies", 0, testAppendCopies)
	run("AppendCancelled", 0, testAppendCancelled)
	run("EmptyBatch", 0, testEmptyBatch)
	run("ArrivalTime", 0, testArrivalTime)
	run("ReadLimits", 0, testReadLimits)
	run("ReadPositions", 0, testReadPositions)
	run("PageOutlives", 0, testPageOutlives)
	run("LargeRecords", 0, testLargeRecords)
	run("Seal", 0, testSeal)
	run("SeekTime", 0, testSeekTime)
	run("TrimTo", 0, testTrimTo)
	run("OpenTwice", 0, testOpenTwice)
	run("Retention", 0, testRetention)
	run("SetRetention", 0, testSetRetention)
	run("Holds", 0, testHolds)
	run("Drop", 0, testDrop)
	run("NotFound", 0, testNotFound)
	run("Producers", 0, testProducers)
	run("Wait", 0, testWait)
	run("WaitEnds", 0, testWaitEnds)
	run("Full", 1<<20, testFull)
	run("FullRetention", 1<<20, testFullRetention)
	run("Closed", 0, testClosed)
	run("Concurrent", 0, testConcurrent)
	run("FirstNeverFalls", 0, testFirstNeverFalls)
	for seed := range uint64(6) {
		run(fmt.Sprintf("Model/%d", seed), 0, func(t *testing.T, k *kit) { testModel(t, k, seed) })
	}
	run("Model/random", 0, func(t *testing.T, k *kit) { testModel(t, k, rand.Uint64()) })
}

// Model runs the kit's random operations alone, those of a seed, on a system that open makes: one that
// is two, perhaps, whose answers are compared with each other as well.
func Model(t *testing.T, seed uint64, open func(t *testing.T, o Options) System) {
	testModel(t, newKit(t, 0, open), seed)
}

type kit struct {
	System
	clock *clock.Manual
}

// newKit opens a system, and closes it when the test ends.
func newKit(t *testing.T, memory int64, open func(t *testing.T, o Options) System) *kit {
	k := &kit{clock: clock.NewManual(start)}
	k.System = open(t, Options{Clock: k.clock, Memory: memory})
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return k
}

var (
	ctx = context.Background()
	all = shardlog.Limit{Records: 1 << 20, Bytes: 1 << 30}
	day = shardlog.Retention{Age: 24 * time.Hour}
)

func id(n int) shardlog.ShardID { return shardlog.ShardID{Stream: 1 << 40, Shard: int32(n)} }

// entry makes an entry that tells its number n; every third has an explicit hash key.
func entry(n int) record.Entry {
	e := record.Entry{PartitionKey: fmt.Sprintf("key-%d", n%7), Data: fmt.Appendf(nil, "record %d", n)}
	if n%3 == 0 {
		e.HasExplicitHashKey, e.ExplicitHashKey = true, record.HashKey{Hi: uint64(n), Lo: ^uint64(n)}
	}
	return e
}

func entries(from, n int) []record.Entry {
	out := make([]record.Entry, n)
	for i := range out {
		out[i] = entry(from + i)
	}
	return out
}

func same(a, b *record.Entry) bool {
	return a.PartitionKey == b.PartitionKey && a.HasExplicitHashKey == b.HasExplicitHashKey &&
		(!a.HasExplicitHashKey || a.ExplicitHashKey == b.ExplicitHashKey) && bytes.Equal(a.Data, b.Data)
}

func (k *kit) open(t *testing.T, keep shardlog.Retention, shards ...int) {
	t.Helper()
	var ids []shardlog.ShardID
	for _, n := range shards {
		ids = append(ids, id(n))
	}
	if err := k.Registry.Open(ctx, ids, keep); err != nil {
		t.Fatalf("Open(%v) = %v", shards, err)
	}
}

// append appends one batch and expects it to succeed.
func (k *kit) append(t *testing.T, shard int, e ...record.Entry) shardlog.Result {
	t.Helper()
	res := k.try(t, shardlog.Batch{Shard: id(shard), Entries: e})
	if res.Err != nil {
		t.Fatalf("Append of %d records to shard %d: %v", len(e), shard, res.Err)
	}
	return res
}

// try appends one batch whatever becomes of it.
func (k *kit) try(t *testing.T, b shardlog.Batch) shardlog.Result {
	t.Helper()
	res, err := k.Log.Append(ctx, []shardlog.Batch{b})
	if err != nil || len(res) != 1 {
		t.Fatalf("Append = %d results, %v; want 1", len(res), err)
	}
	return res[0]
}

func (k *kit) bounds(t *testing.T, shard int) shardlog.Bounds {
	t.Helper()
	b, err := k.Log.Bounds(ctx, id(shard))
	if err != nil {
		t.Fatalf("Bounds(%d) = %v", shard, err)
	}
	return b
}

// wantBounds expects the first and next index, in Bounds and in an empty page alike.
func (k *kit) wantBounds(t *testing.T, shard int, first, next record.Index) {
	t.Helper()
	b := k.bounds(t, shard)
	if b.First != first || b.Next != next {
		t.Errorf("Bounds(%d) = %+v; want First %d, Next %d", shard, b, first, next)
	}
	p, err := k.Log.Read(ctx, id(shard), 1, shardlog.Limit{Records: 1, Bytes: 1})
	if err != nil {
		t.Fatalf("Read(%d) = %v", shard, err)
	}
	defer p.Release()
	if p.Bounds != b {
		t.Errorf("a page of shard %d has bounds %+v; want %+v", shard, p.Bounds, b)
	}
	if len(p.Records) > 0 && p.Records[0].Index != first || len(p.Records) == 0 && first != next {
		t.Errorf("reading shard %d from 1 gives %d records; want one from index %d", shard, len(p.Records), first)
	}
}

// wantRecords reads the shard from the given index to its end in pages of the given size and
// expects the records index..next-1 to be the entries numbered by number(index).
func (k *kit) wantRecords(t *testing.T, shard int, from, first, next record.Index, limit shardlog.Limit, number func(record.Index) int) {
	t.Helper()
	at, last := from, record.Millis(0)
	for want := first; ; {
		p, err := k.Log.Read(ctx, id(shard), at, limit)
		if err != nil {
			t.Fatalf("Read(%d, %d) = %v", shard, at, err)
		}
		for i := range p.Records {
			r, e := &p.Records[i], entry(number(want))
			if r.Index != want || !same(&r.Entry, &e) || r.ArrivalTime < last {
				t.Fatalf("shard %d: read record %d %q arrived %d; want %d %q not before %d",
					shard, r.Index, r.Data, r.ArrivalTime, want, e.Data, last)
			}
			last = r.ArrivalTime
			want++
		}
		n := len(p.Records)
		if n > 0 && p.Next != want {
			t.Fatalf("shard %d: Next = %d after record %d", shard, p.Next, want-1)
		}
		at = p.Next
		p.Release()
		if n == 0 {
			if want != next {
				t.Fatalf("shard %d: the records end at %d; want %d", shard, want, next)
			}
			return
		}
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v; want %v", what, got, want)
	}
}

func ident(i record.Index) int { return int(i) }
