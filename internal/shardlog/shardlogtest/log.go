package shardlogtest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

func testAppendRead(t *testing.T, k *kit) {
	k.open(t, day, 1, 2)
	k.wantBounds(t, 1, 1, 1)
	for at := 1; at <= 100; at += 10 {
		if got := k.append(t, 1, entries(at, 10)...).First; got != record.Index(at) {
			t.Fatalf("First = %d; want %d", got, at)
		}
		k.append(t, 2, entry(1000))
	}
	for _, limit := range []shardlog.Limit{all, {Records: 1, Bytes: 1 << 20}, {Records: 7, Bytes: 1 << 20}, {Records: 100, Bytes: 40}} {
		for _, from := range []record.Index{0, 1, 2, 10, 11, 55, 100, 101, 102} {
			k.wantRecords(t, 1, from, max(from, 1), max(from, 101), limit, ident)
		}
	}
	k.wantBounds(t, 1, 1, 101)
	k.wantBounds(t, 2, 1, 11)
}

func testAppendResults(t *testing.T, k *kit) {
	k.open(t, day, 1, 2, 3)
	if _, err := k.Log.Seal(ctx, id(3)); err != nil {
		t.Fatal(err)
	}
	res, err := k.Log.Append(ctx, []shardlog.Batch{
		{Shard: id(1), Entries: entries(1, 3)},
		{Shard: id(9), Entries: entries(1, 1)},
		{Shard: id(2), Entries: entries(1, 2)},
		{Shard: id(3), Entries: entries(1, 1)},
		{Shard: id(1), Entries: entries(4, 2)},
	})
	if err != nil || len(res) != 5 {
		t.Fatalf("Append = %d results, %v; want 5", len(res), err)
	}
	now := record.MillisOf(k.clock.Now())
	f := func(i int, first record.Index, want error) {
		t.Helper()
		wantErr(t, "result", res[i].Err, want)
		if want == nil && (res[i].First != first || res[i].ArrivalTime != now) {
			t.Errorf("result %d = %+v; want First %d at %d", i, res[i], first, now)
		}
	}
	f(0, 1, nil)
	f(1, 0, shardlog.ErrNotFound)
	f(2, 1, nil)
	f(3, 0, shardlog.ErrSealed)
	f(4, 4, nil)
	k.wantRecords(t, 1, 1, 1, 6, all, ident)
	k.wantRecords(t, 2, 1, 1, 3, all, ident)
	if res, err := k.Log.Append(ctx, nil); err != nil || len(res) != 0 {
		t.Errorf("Append(nil) = %v, %v; want nothing", res, err)
	}
}

func testAppendCopies(t *testing.T, k *kit) {
	k.open(t, day, 1)
	e := entry(1)
	e.Data = bytes.Clone(e.Data)
	k.append(t, 1, e)
	clear(e.Data)
	k.wantRecords(t, 1, 1, 1, 2, all, ident)
}

func testAppendCancelled(t *testing.T, k *kit) {
	k.open(t, day, 1)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err := k.Log.Append(gone, []shardlog.Batch{{Shard: id(1), Entries: entries(1, 1)}})
	wantErr(t, "Append with a cancelled context", err, context.Canceled)
	// Cancelling while the batch is on its way leaves the outcome open, but never half of it.
	var wg sync.WaitGroup
	for range 50 {
		half, cancel := context.WithCancel(ctx)
		wg.Go(func() { _, _ = k.Log.Append(half, []shardlog.Batch{{Shard: id(1), Entries: entries(0, 10)}}) })
		wg.Go(cancel)
	}
	wg.Wait()
	k.append(t, 1, entries(0, 10)...) // everything before it has been decided
	next := k.bounds(t, 1).Next
	k.wantRecords(t, 1, 1, 1, next, all, func(i record.Index) int { return int(i-1) % 10 })
	if (next-1)%10 != 0 {
		t.Errorf("Next = %d: a batch of 10 landed in part", next)
	}
}

func testEmptyBatch(t *testing.T, k *kit) {
	k.open(t, day, 1)
	k.append(t, 1, entries(1, 2)...)
	if got := k.append(t, 1); got.First != 3 {
		t.Errorf("an empty batch has First %d; want 3", got.First)
	}
	k.append(t, 1, record.Entry{PartitionKey: "k"}) // no data is a record
	k.wantBounds(t, 1, 1, 4)
	p, err := k.Log.Read(ctx, id(1), 3, all)
	if err != nil || len(p.Records) != 1 || p.Records[0].PartitionKey != "k" || len(p.Records[0].Data) != 0 {
		t.Fatalf("Read(3) = %+v, %v; want the record without data", p, err)
	}
	p.Release()
}

func testArrivalTime(t *testing.T, k *kit) {
	k.open(t, day, 1, 2)
	at := record.MillisOf(k.clock.Now())
	f := func(shard int, step time.Duration, want record.Millis) {
		t.Helper()
		k.clock.Advance(step)
		if got := k.append(t, shard, entry(1)).ArrivalTime; got != want {
			t.Errorf("ArrivalTime after a step of %v = start%+d; want start%+d", step, got-at, want-at)
		}
		if got := k.bounds(t, shard).LastArrival; got != want {
			t.Errorf("LastArrival = start%+d; want start%+d", got-at, want-at)
		}
	}
	f(1, 0, at)
	f(1, time.Second, at+1000)
	f(1, -10*time.Second, at+1000) // never falls
	f(1, 9500*time.Millisecond, at+1000)
	f(1, time.Second, at+1500)
	if got := k.bounds(t, 2).LastArrival; got != 0 {
		t.Errorf("LastArrival of an empty shard = %d; want 0", got)
	}
}

func testReadLimits(t *testing.T, k *kit) {
	k.open(t, day, 1)
	data := func(n int) record.Entry { return record.Entry{PartitionKey: "12345", Data: make([]byte, n-5)} }
	k.append(t, 1, data(100), data(100), data(300))
	k.clock.Advance(time.Second)
	second := k.append(t, 1, data(100), data(1000)).ArrivalTime
	f := func(from record.Index, limit shardlog.Limit, want int, nextArrival record.Millis) {
		t.Helper()
		p, err := k.Log.Read(ctx, id(1), from, limit)
		if err != nil {
			t.Fatalf("Read = %v", err)
		}
		defer p.Release()
		if len(p.Records) != want || p.Next != from+record.Index(want) || p.NextArrival != nextArrival {
			t.Errorf("Read(%d, %+v) = %d records, Next %d, NextArrival %d; want %d, arrival %d",
				from, limit, len(p.Records), p.Next, p.NextArrival, want, nextArrival)
		}
	}
	first := second - 1000
	f(1, all, 5, 0)
	f(1, shardlog.Limit{Records: 5, Bytes: 1600}, 5, 0)
	f(1, shardlog.Limit{Records: 5, Bytes: 1599}, 4, second)
	f(1, shardlog.Limit{Records: 5, Bytes: 200}, 2, first)
	f(1, shardlog.Limit{Records: 5, Bytes: 199}, 1, first)
	f(1, shardlog.Limit{Records: 5, Bytes: 1}, 1, first)
	f(3, shardlog.Limit{Records: 5, Bytes: 399}, 1, second)
	f(3, shardlog.Limit{Records: 5, Bytes: 400}, 2, second)
	f(5, shardlog.Limit{Records: 5, Bytes: 10}, 1, 0)
	f(1, shardlog.Limit{Records: 3, Bytes: 5000}, 3, second)
	f(1, shardlog.Limit{Records: 2, Bytes: 5000}, 2, first)
	f(4, shardlog.Limit{Records: 2, Bytes: 5000}, 2, 0)
}

func testReadPositions(t *testing.T, k *kit) {
	k.open(t, day, 1)
	k.append(t, 1, entries(1, 5)...)
	f := func(from, next record.Index, want int) {
		t.Helper()
		p, err := k.Log.Read(ctx, id(1), from, all)
		if err != nil {
			t.Fatalf("Read(%d) = %v", from, err)
		}
		defer p.Release()
		if len(p.Records) != want || p.Next != next || p.NextArrival != 0 {
			t.Errorf("Read(%d) = %d records, Next %d, NextArrival %d; want %d, %d, 0", from, len(p.Records), p.Next, p.NextArrival, want, next)
		}
	}
	f(0, 6, 5)
	f(5, 6, 1)
	f(6, 6, 0)
	f(9, 9, 0)
	if err := k.Log.TrimTo(ctx, id(1), 4); err != nil {
		t.Fatal(err)
	}
	f(1, 6, 2)
	if err := k.Log.TrimTo(ctx, id(1), 6); err != nil {
		t.Fatal(err)
	}
	f(1, 6, 0)
}

// testPageOutlives keeps pages over everything that could free or reuse what they alias.
func testPageOutlives(t *testing.T, k *kit) {
	k.open(t, day, 1, 2)
	k.append(t, 1, entries(1, 100)...)
	p, err := k.Log.Read(ctx, id(1), 1, all)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Registry.Drop(ctx, []shardlog.ShardID{id(1)}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		k.append(t, 2, entries(5000, 100)...)
		q, err := k.Log.Read(ctx, id(2), 1, all)
		if err != nil {
			t.Fatal(err)
		}
		q.Release()
	}
	for i := range p.Records {
		if e := entry(i + 1); !same(&p.Records[i].Entry, &e) {
			t.Fatalf("record %d of a page not yet released changed to %q", i+1, p.Records[i].Data)
		}
	}
	p.Release()
}

// testLargeRecords appends what no group holds in one piece, between what does.
func testLargeRecords(t *testing.T, k *kit) {
	k.open(t, day, 1, 2)
	size := func(i int) int { return []int{10, 5 << 20, 100, 10 << 20, 1 << 20, 3}[i] }
	fill := func(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, size(i)) }
	for i := range 6 {
		k.append(t, 1, record.Entry{PartitionKey: "large", Data: fill(i)})
		k.append(t, 2, entry(i+1))
	}
	many := make([]record.Entry, 40)
	for i := range many {
		many[i] = record.Entry{PartitionKey: "many", Data: bytes.Repeat([]byte{byte(i)}, 100<<10)}
	}
	k.append(t, 1, many...)
	check := func() {
		t.Helper()
		p, err := k.Log.Read(ctx, id(1), 1, all)
		if err != nil || len(p.Records) != 46 {
			t.Fatalf("Read = %v, %v; want 46 records", p, err)
		}
		defer p.Release()
		for i := range p.Records {
			want := bytes.Repeat([]byte{byte(i - 6)}, 100<<10)
			if i < 6 {
				want = fill(i)
			}
			if !bytes.Equal(p.Records[i].Data, want) {
				t.Errorf("record %d has %d bytes of the wrong data; want %d", i+1, len(p.Records[i].Data), len(want))
			}
		}
	}
	check()
	k.wantRecords(t, 2, 1, 1, 7, all, ident)
	if k.Reopen != nil {
		k.Log, k.Registry = k.Reopen(t)
		check()
		k.append(t, 1, entry(47))
		k.wantRecords(t, 1, 47, 47, 48, all, ident)
	}
}

func testSeal(t *testing.T, k *kit) {
	k.open(t, day, 1, 2)
	k.append(t, 1, entries(1, 5)...)
	want := shardlog.Bounds{First: 1, Next: 6, LastArrival: record.MillisOf(k.clock.Now()), Sealed: true}
	for range 3 {
		b, err := k.Log.Seal(ctx, id(1))
		if err != nil || b != want {
			t.Errorf("Seal = %+v, %v; want %+v", b, err, want)
		}
		k.clock.Advance(time.Second)
	}
	wantErr(t, "Append after Seal", k.try(t, shardlog.Batch{Shard: id(1), Entries: entries(6, 1)}).Err, shardlog.ErrSealed)
	wantErr(t, "an empty batch after Seal", k.try(t, shardlog.Batch{Shard: id(1)}).Err, shardlog.ErrSealed)
	if b := k.bounds(t, 1); b != want {
		t.Errorf("Bounds = %+v; want %+v", b, want)
	}
	k.wantRecords(t, 1, 1, 1, 6, all, ident)
	// Against appends that race with it, a seal is exact: what got an index is there, no more.
	var wg sync.WaitGroup
	var mu sync.Mutex
	accepted := 0
	for range 8 {
		wg.Go(func() {
			for {
				res := k.try(t, shardlog.Batch{Shard: id(2), Entries: entries(1, 1)})
				if res.Err != nil {
					wantErr(t, "Append", res.Err, shardlog.ErrSealed)
					return
				}
				mu.Lock()
				accepted++
				mu.Unlock()
			}
		})
	}
	k.append(t, 1+1) // let some appends pass
	b, err := k.Log.Seal(ctx, id(2))
	wg.Wait()
	if err != nil || int(b.Next) != accepted+1 {
		t.Errorf("Seal = %+v, %v; want Next %d", b, err, accepted+1)
	}
	k.wantBounds(t, 2, 1, b.Next)
}

func testSeekTime(t *testing.T, k *kit) {
	k.open(t, day, 1)
	at := record.MillisOf(k.clock.Now())
	f := func(t0 record.Millis, want record.Index) {
		t.Helper()
		if got, err := k.Log.SeekTime(ctx, id(1), t0); err != nil || got != want {
			t.Errorf("SeekTime(start%+d) = %d, %v; want %d", t0-at, got, err, want)
		}
	}
	f(at, 1)
	for i := range 10 { // two records every second
		k.append(t, 1, entries(1+2*i, 2)...)
		k.clock.Advance(time.Second)
	}
	f(0, 1)
	f(at, 1)
	f(at+1, 3)
	f(at+1000, 3)
	f(at+4999, 11)
	f(at+9000, 19)
	f(at+9001, 21)
	if err := k.Log.TrimTo(ctx, id(1), 6); err != nil {
		t.Fatal(err)
	}
	f(at, 6)
	f(at+2000, 6) // the record at 5 is trimmed, 6 arrived with it
	f(at+3000, 7)
}

func testTrimTo(t *testing.T, k *kit) {
	k.open(t, shardlog.Retention{}, 1)
	k.append(t, 1, entries(1, 10)...)
	k.append(t, 1, entries(11, 10)...)
	f := func(to, first record.Index) {
		t.Helper()
		if err := k.Log.TrimTo(ctx, id(1), to); err != nil {
			t.Fatalf("TrimTo(%d) = %v", to, err)
		}
		k.wantBounds(t, 1, first, 21)
		k.wantRecords(t, 1, 1, first, 21, shardlog.Limit{Records: 3, Bytes: 1 << 20}, ident)
	}
	f(0, 1)
	f(5, 5)
	f(5, 5)
	f(3, 5)
	f(11, 11)
	k.clock.Advance(10 * 365 * 24 * time.Hour) // position-trimmed: age does not count
	f(12, 12)
	f(1000, 21)
	k.append(t, 1, entry(21)) // what comes after is kept
	k.wantRecords(t, 1, 1, 21, 22, all, ident)
}

func testWait(t *testing.T, k *kit) {
	k.open(t, day, 1, 2)
	k.append(t, 1, entries(1, 3)...)
	for _, from := range []record.Index{0, 1, 3} {
		if err := k.Log.Wait(ctx, id(1), from); err != nil {
			t.Errorf("Wait(%d) for a record that is there = %v", from, err)
		}
	}
	errs := make(chan error, 3)
	for _, from := range []record.Index{4, 5, 6} {
		go func() { errs <- k.Log.Wait(ctx, id(1), from) }()
	}
	k.append(t, 2, entries(1, 10)...) // another shard wakes nobody: the kit cannot see it, but it must not hurt
	k.append(t, 1, entries(4, 2)...)
	for range 2 {
		if err := <-errs; err != nil {
			t.Errorf("Wait = %v", err)
		}
	}
	select {
	case err := <-errs:
		t.Errorf("Wait(6) returned %v before record 6", err)
	default:
	}
	k.append(t, 1, entry(6))
	if err := <-errs; err != nil {
		t.Errorf("Wait(6) = %v", err)
	}
}

func testWaitEnds(t *testing.T, k *kit) {
	k.open(t, day, 1, 2, 3)
	f := func(what string, shard int, want error, end func(cancel context.CancelFunc)) {
		t.Helper()
		waiting, cancel := context.WithCancel(ctx)
		defer cancel()
		errs := make(chan error, 4)
		for range cap(errs) {
			go func() { errs <- k.Log.Wait(waiting, id(shard), 1) }()
		}
		end(cancel)
		for range cap(errs) {
			wantErr(t, "Wait, "+what, <-errs, want)
		}
	}
	f("cancelled", 1, context.Canceled, func(cancel context.CancelFunc) { cancel() })
	f("sealed", 1, nil, func(context.CancelFunc) {
		if _, err := k.Log.Seal(ctx, id(1)); err != nil {
			t.Error(err)
		}
	})
	f("dropped", 2, shardlog.ErrNotFound, func(context.CancelFunc) {
		if err := k.Registry.Drop(ctx, []shardlog.ShardID{id(2)}); err != nil {
			t.Error(err)
		}
	})
	// A trimmed record is not held.
	k.append(t, 3, entries(1, 2)...)
	if err := k.Log.TrimTo(ctx, id(3), 3); err != nil {
		t.Fatal(err)
	}
	f("trimmed", 3, context.Canceled, func(cancel context.CancelFunc) { cancel() })
}
