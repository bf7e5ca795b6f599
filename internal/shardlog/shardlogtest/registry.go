package shardlogtest

import (
	"context"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// reopen recovers the system where it can, so that what was durable is seen to be.
func (k *kit) reopen(t *testing.T) {
	t.Helper()
	if k.Reopen != nil {
		k.Log, k.Registry = k.Reopen(t)
	}
}

func testOpenTwice(t *testing.T, k *kit) {
	k.open(t, day, 1)
	k.append(t, 1, entry(1))
	k.open(t, shardlog.Retention{Age: time.Millisecond}, 1, 2, 2)
	k.append(t, 2, entry(1))
	k.clock.Advance(time.Hour)
	k.wantBounds(t, 1, 1, 2) // keeps its retention of a day
	k.wantBounds(t, 2, 2, 2) // opened with the short one
	k.open(t, day)           // opening nothing does nothing
	k.reopen(t)
	k.wantBounds(t, 1, 1, 2)
	k.wantBounds(t, 2, 2, 2)
}

func testRetention(t *testing.T, k *kit) {
	k.open(t, shardlog.Retention{Age: 10 * time.Second}, 1)
	for i := range 20 { // record i+1 arrives at second i
		k.append(t, 1, entry(i+1))
		k.clock.Advance(time.Second)
	}
	// It is second 20: what arrived at second 10 or before has come of age.
	k.wantBounds(t, 1, 12, 21)
	k.wantRecords(t, 1, 1, 12, 21, all, ident)
	k.clock.Advance(-time.Minute) // what is trimmed stays trimmed
	k.wantBounds(t, 1, 12, 21)
	k.clock.Advance(time.Minute)
	k.clock.Advance(1500 * time.Millisecond)
	k.wantBounds(t, 1, 13, 21)
	k.clock.Advance(time.Hour)
	k.wantBounds(t, 1, 21, 21)
	if i, err := k.Log.SeekTime(ctx, id(1), 0); err != nil || i != 21 {
		t.Errorf("SeekTime = %d, %v; want 21", i, err)
	}
	k.reopen(t)
	k.wantBounds(t, 1, 21, 21)
	if got := k.append(t, 1, entry(21)).First; got != 21 {
		t.Errorf("First = %d after everything was trimmed; want 21", got)
	}
	k.wantRecords(t, 1, 1, 21, 22, all, ident)
}

func testSetRetention(t *testing.T, k *kit) {
	k.open(t, shardlog.Retention{Age: 10 * time.Second}, 1, 2)
	set := func(age time.Duration) {
		t.Helper()
		if err := k.Registry.SetRetention(ctx, []shardlog.ShardID{id(1), id(2)}, shardlog.Retention{Age: age}); err != nil {
			t.Fatalf("SetRetention(%v) = %v", age, err)
		}
	}
	for i := range 20 {
		k.append(t, 1, entry(i+1))
		k.append(t, 2, entry(i+1))
		k.clock.Advance(time.Second)
	}
	set(time.Hour) // what is trimmed stays so
	k.wantBounds(t, 1, 12, 21)
	k.reopen(t)
	k.wantBounds(t, 1, 12, 21)
	k.wantBounds(t, 2, 12, 21)
	set(5 * time.Second)
	k.wantBounds(t, 2, 17, 21)
	set(0)
	k.clock.Advance(time.Hour)
	k.wantBounds(t, 1, 17, 21)
	k.reopen(t)
	k.wantBounds(t, 2, 17, 21)
	err := k.Registry.SetRetention(ctx, []shardlog.ShardID{id(1), id(9)}, day)
	wantErr(t, "SetRetention with an unknown log", err, shardlog.ErrNotFound)
	k.wantBounds(t, 1, 17, 21)
}

func testHolds(t *testing.T, k *kit) {
	k.open(t, shardlog.Retention{Age: 10 * time.Second}, 1)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		k.append(t, 1, entry(i+1))
		if i == 5 {
			must(k.Registry.Hold(ctx, id(1), "a", 4))
			must(k.Registry.Hold(ctx, id(1), "b", 8))
		}
		k.clock.Advance(time.Second)
	}
	k.wantBounds(t, 1, 4, 21)
	k.reopen(t)
	k.wantRecords(t, 1, 1, 4, 21, all, ident)
	must(k.Registry.Hold(ctx, id(1), "a", 9)) // moved on: now b is the lowest
	k.wantBounds(t, 1, 8, 21)
	must(k.Registry.Hold(ctx, id(1), "b", 2)) // back over trimmed records
	k.wantBounds(t, 1, 8, 21)
	must(k.Log.TrimTo(ctx, id(1), 15)) // holds still keep theirs
	k.wantBounds(t, 1, 8, 21)
	must(k.Registry.Release(ctx, id(1), "b"))
	must(k.Registry.Release(ctx, id(1), "b"))
	must(k.Registry.Release(ctx, id(1), "nobody"))
	k.wantBounds(t, 1, 9, 21)
	k.reopen(t)
	k.wantBounds(t, 1, 9, 21)
	must(k.Registry.Release(ctx, id(1), "a"))
	k.wantBounds(t, 1, 15, 21) // the trim takes effect
	k.clock.Advance(time.Hour)
	must(k.Registry.Hold(ctx, id(1), "late", 1))
	k.wantBounds(t, 1, 21, 21)
	k.append(t, 1, entry(21))
	k.clock.Advance(time.Hour)
	k.wantRecords(t, 1, 1, 21, 22, all, ident)
}

func testDrop(t *testing.T, k *kit) {
	k.open(t, day, 1, 2, 3)
	for n := 1; n <= 3; n++ {
		k.append(t, n, entries(1, 10)...)
	}
	if err := k.Registry.Drop(ctx, []shardlog.ShardID{id(1), id(2), id(2), id(9)}); err != nil {
		t.Fatalf("Drop = %v", err)
	}
	if err := k.Registry.Drop(ctx, []shardlog.ShardID{id(1)}); err != nil {
		t.Fatalf("Drop again = %v", err)
	}
	_, err := k.Log.Bounds(ctx, id(1))
	wantErr(t, "Bounds of a dropped log", err, shardlog.ErrNotFound)
	k.reopen(t)
	_, err = k.Log.Read(ctx, id(2), 1, all)
	wantErr(t, "Read of a dropped log", err, shardlog.ErrNotFound)
	k.wantRecords(t, 3, 1, 1, 11, all, ident)
	k.open(t, day, 1) // a new log under an old name starts anew
	k.wantBounds(t, 1, 1, 1)
	k.append(t, 1, entries(1, 2)...)
	k.reopen(t)
	k.wantRecords(t, 1, 1, 1, 3, all, ident)
}

func testNotFound(t *testing.T, k *kit) {
	k.open(t, day, 1)
	no := id(2)
	f := func(what string, err error) {
		t.Helper()
		wantErr(t, what, err, shardlog.ErrNotFound)
	}
	f("Append", k.try(t, shardlog.Batch{Shard: no, Entries: entries(1, 1)}).Err)
	_, err := k.Log.Read(ctx, no, 1, all)
	f("Read", err)
	f("Wait", k.Log.Wait(ctx, no, 1))
	_, err = k.Log.Seal(ctx, no)
	f("Seal", err)
	_, err = k.Log.Bounds(ctx, no)
	f("Bounds", err)
	_, err = k.Log.SeekTime(ctx, no, 0)
	f("SeekTime", err)
	f("TrimTo", k.Log.TrimTo(ctx, no, 1))
	f("Hold", k.Registry.Hold(ctx, no, "h", 1))
	f("Release", k.Registry.Release(ctx, no, "h"))
	f("SetRetention", k.Registry.SetRetention(ctx, []shardlog.ShardID{no}, day))
	if err := k.Registry.Drop(ctx, []shardlog.ShardID{no}); err != nil {
		t.Errorf("Drop of what does not exist = %v", err)
	}
}

func testProducers(t *testing.T, k *kit) {
	k.open(t, day, 1, 2)
	number := 0
	f := func(shard int, p shardlog.Producer, want error) {
		t.Helper()
		res := k.try(t, shardlog.Batch{Shard: id(shard), Producer: p, Entries: entries(number+1, 1)})
		wantErr(t, "Append", res.Err, want)
		if want == nil && shard == 1 {
			number++
		}
	}
	p := func(id, epoch, seq uint64) shardlog.Producer {
		return shardlog.Producer{ID: id, Epoch: epoch, Sequence: seq}
	}
	f(1, p(7, 1, 10), nil)
	f(1, p(7, 1, 10), shardlog.ErrDuplicate)
	f(1, p(7, 1, 9), shardlog.ErrDuplicate)
	f(1, p(7, 1, 12), nil)
	f(1, p(7, 0, 99), shardlog.ErrFencedProducer)
	f(1, p(8, 0, 0), nil) // another producer
	f(1, p(8, 0, 0), shardlog.ErrDuplicate)
	f(2, p(7, 1, 10), nil) // another shard
	f(1, p(7, 2, 1), nil)  // a higher epoch starts its sequence anew
	f(1, p(7, 1, 13), shardlog.ErrFencedProducer)
	k.wantRecords(t, 1, 1, 1, record.Index(number+1), all, ident)
	// Known through trim, control changes and recovery.
	if err := k.Log.TrimTo(ctx, id(1), 100); err != nil {
		t.Fatal(err)
	}
	if err := k.Registry.Hold(ctx, id(1), "h", 1); err != nil {
		t.Fatal(err)
	}
	k.reopen(t)
	f(1, p(7, 2, 1), shardlog.ErrDuplicate)
	f(1, p(7, 1, 14), shardlog.ErrFencedProducer)
	// An empty batch fences without a record.
	if res := k.try(t, shardlog.Batch{Shard: id(1), Producer: p(7, 5, 0)}); res.Err != nil {
		t.Errorf("an empty batch of a new epoch: %v", res.Err)
	}
	k.reopen(t)
	f(1, p(7, 4, 1), shardlog.ErrFencedProducer)
	f(1, p(7, 5, 1), nil)
	// Within one call, batches see those before them; a retry of what landed hears so even after
	// the seal.
	res, err := k.Log.Append(ctx, []shardlog.Batch{
		{Shard: id(2), Producer: p(9, 1, 1), Entries: entries(1, 1)},
		{Shard: id(2), Producer: p(9, 1, 1), Entries: entries(1, 1)},
	})
	if err != nil || res[0].Err != nil {
		t.Fatalf("Append = %+v, %v", res, err)
	}
	wantErr(t, "the same batch twice in a call", res[1].Err, shardlog.ErrDuplicate)
	if _, err := k.Log.Seal(ctx, id(2)); err != nil {
		t.Fatal(err)
	}
	f(2, p(9, 1, 1), shardlog.ErrDuplicate)
	f(2, p(9, 1, 2), shardlog.ErrSealed)
}

// fill appends to a shard until there is no room, and returns how many records went in.
func (k *kit) fill(t *testing.T, shard int) int {
	t.Helper()
	data := make([]byte, 8<<10)
	for n := 0; n < 10_000; n++ {
		res := k.try(t, shardlog.Batch{Shard: id(shard), Entries: []record.Entry{{PartitionKey: "k", Data: data}}})
		if res.Err != nil {
			wantErr(t, "Append beyond the budget", res.Err, shardlog.ErrFull)
			if next := k.bounds(t, shard).Next; int(next) != n+1 {
				t.Fatalf("Next = %d after %d records; a rejected batch left something", next, n)
			}
			return n
		}
	}
	t.Fatal("80 MB fit into a budget of 1 MiB")
	return 0
}

func testFull(t *testing.T, k *kit) {
	if k.Spills {
		t.Skip("memory bounds not what the system holds")
	}
	k.open(t, shardlog.Retention{}, 1, 2)
	n := k.fill(t, 1)
	if n < 40 || n > 128 {
		t.Errorf("%d records of 8 KiB fit into 1 MiB; want a good part of 128", n)
	}
	// Control changes pass, reading works, and trimming makes room again, round after round; the
	// records of the quiet shard stay.
	k.open(t, shardlog.Retention{}, 3)
	for range 5 {
		next := k.bounds(t, 1).Next
		if err := k.Log.TrimTo(ctx, id(1), next); err != nil {
			t.Fatal(err)
		}
		k.append(t, 3, entry(int(k.bounds(t, 3).Next)))
		data := make([]byte, 8<<10)
		got := 0
		for ; got < n; got++ {
			res := k.try(t, shardlog.Batch{Shard: id(1), Entries: []record.Entry{{PartitionKey: "k", Data: data}}})
			if res.Err != nil {
				break
			}
		}
		if got < n*3/4 {
			t.Fatalf("%d records fit after trimming all; want nearly %d", got, n)
		}
	}
	k.wantRecords(t, 3, 1, 1, 6, all, ident)
	if err := k.Registry.Drop(ctx, []shardlog.ShardID{id(1)}); err != nil {
		t.Fatal(err)
	}
	if got := k.fill(t, 2); got < n*3/4 {
		t.Errorf("%d records fit after the drop; want nearly %d", got, n)
	}
	k.reopen(t)
	k.wantRecords(t, 3, 1, 1, 6, all, ident)
}

func testFullRetention(t *testing.T, k *kit) {
	if k.Spills {
		t.Skip("memory bounds not what the system holds")
	}
	k.open(t, shardlog.Retention{Age: time.Minute}, 1, 2)
	k.append(t, 2, entry(1))
	n := k.fill(t, 1)
	k.clock.Advance(time.Minute)
	next := int(k.bounds(t, 1).Next)
	res := k.try(t, shardlog.Batch{Shard: id(1), Entries: []record.Entry{entry(next)}})
	if res.Err != nil {
		t.Errorf("Append after all %d records came of age: %v", n, res.Err)
	}
	k.wantBounds(t, 1, record.Index(next), record.Index(next+1))
}

func testClosed(t *testing.T, k *kit) {
	k.open(t, day, 1)
	k.append(t, 1, entries(1, 3)...)
	waiting := make(chan error)
	go func() { waiting <- k.Log.Wait(ctx, id(1), 4) }()
	if err := k.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}
	f := func(what string, err error) {
		t.Helper()
		wantErr(t, what, err, shardlog.ErrClosed)
	}
	f("Wait", <-waiting)
	_, err := k.Log.Append(ctx, []shardlog.Batch{{Shard: id(1)}})
	f("Append", err)
	_, err = k.Log.Read(ctx, id(1), 1, all)
	f("Read", err)
	_, err = k.Log.Seal(ctx, id(1))
	f("Seal", err)
	_, err = k.Log.Bounds(ctx, id(1))
	f("Bounds", err)
	f("Wait", k.Log.Wait(ctx, id(1), 1))
	f("TrimTo", k.Log.TrimTo(ctx, id(1), 1))
	f("Open", k.Registry.Open(ctx, []shardlog.ShardID{id(2)}, day))
	f("Drop", k.Registry.Drop(ctx, []shardlog.ShardID{id(1)}))
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := k.Log.Read(gone, id(1), 1, all); err == nil {
		t.Error("Read after Close with a cancelled context succeeded")
	}
}
