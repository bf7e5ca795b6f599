package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/record"
)

const mib = 1 << 20

// limited is a world in which AWS's limits hold.
func limited(t testing.TB, delay time.Duration) *world {
	w := newWorld(t, delay, Caps{})
	w.cfg.Limits = true
	w.restart()
	return w
}

// low and high are hash keys of the first and the last shard.
var low, high = record.HashKey{Lo: 1}, record.MaxHashKey

// sized is a record of a size, its key included.
func sized(h record.HashKey, size int) record.Entry {
	return record.Entry{PartitionKey: "k", ExplicitHashKey: h, HasExplicitHashKey: true, Data: bytes.Repeat([]byte{'x'}, size-1)}
}

// TestWriteLimits puts more than shards take: what is too much is refused record by record, and the rest is
// stored, each record under the number that its result has.
func TestWriteLimits(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testWriteLimits(t, "") })
	t.Run("encrypted", func(t *testing.T) { testWriteLimits(t, "alias/mill") })
}

func testWriteLimits(t *testing.T, key string) {
	w := limited(t, 0)
	ref := w.create("mill", 2)
	if key != "" {
		w.must(w.StartEncryption(t.Context(), home, ref, key))
	}
	var recs []record.Entry
	for i := range 16 {
		recs = append(recs, sized(low, 100<<10), sized(high, 50<<10))
		recs[2*i].Data[0], recs[2*i+1].Data[0] = byte('a'+i), byte('A'+i)
	}
	out, err := w.PutAll(t.Context(), home, ref, recs, nil)
	w.must(err)
	for i, r := range out {
		if wantID := ShardID(int32(i % 2)); r.ShardID != wantID {
			t.Errorf("record %d: shard %s; want %s", i, r.ShardID, wantID)
		}
		if i%2 == 0 && i/2 >= 10 {
			refused(t, r.Err, Throughput, "Rate exceeded for shard shardId-000000000000 in stream mill under account 123456789012.")
		} else if r.Err != nil {
			t.Errorf("record %d: %v", i, r.Err)
		}
	}
	// Ten small ones fit into what the large ones left.
	small, err := w.PutAll(t.Context(), home, ref, []record.Entry{sized(low, 100<<10), sized(low, 20<<10), sized(low, 100<<10)}, nil)
	w.must(err)
	if small[0].Err == nil || small[1].Err != nil || small[2].Err == nil {
		t.Errorf("large, small, large: %v, %v, %v", small[0].Err, small[1].Err, small[2].Err)
	}
	stored := map[string]byte{}
	for shard := range 2 {
		r, err := w.GetRecords(t.Context(), home, "", w.iterator(ref, IteratorInput{ShardID: fmt.Sprint(shard), Type: TrimHorizon}), 0)
		w.must(err)
		for i := range r.Page.Records {
			stored[r.Sequence(i).String()] = r.Page.Records[i].Data[0]
		}
		r.Release()
	}
	if len(stored) != 10+1+16 {
		t.Errorf("%d records are stored; want 27", len(stored))
	}
	for i, r := range out {
		if r.Err == nil && stored[r.Sequence.String()] != recs[i].Data[0] {
			t.Errorf("record %d is %q; want %q", i, stored[r.Sequence.String()], recs[i].Data[0])
		}
	}
	_, err = w.Put(t.Context(), home, ref, sized(low, 100<<10), "")
	refused(t, err, Throughput, "Rate exceeded for shard shardId-000000000000 in stream mill under account 123456789012.")
	if err := w.CheckPut(t.Context(), home, ref, sized(low, 100<<10), ""); err != nil {
		t.Errorf("a dry run: %v", err)
	}
	w.clock.Advance(time.Second)
	if _, err := w.Put(t.Context(), home, ref, sized(low, mib), ""); err != nil {
		t.Errorf("a second later: %v", err)
	}
}

// TestWritesOverAMinute offers many times of what two shards take for a minute.
func TestWritesOverAMinute(t *testing.T) {
	w := limited(t, 0)
	ref := w.create("mill", 2)
	recs := make([]record.Entry, 400)
	for i := range recs {
		recs[i] = explicit([]record.HashKey{low, high}[i%2], "x")
	}
	var out []PutResult
	taken, err := 0, error(nil)
	for second := 0.0; second < 61; second += 0.05 {
		out, err = w.PutAll(t.Context(), home, ref, recs, out[:0])
		w.must(err)
		for _, r := range out {
			if r.Err == nil && second >= 1 { // before, bursts are drained
				taken++
			}
		}
		w.clock.Advance(50 * time.Millisecond)
	}
	if want := 2 * 60 * 1000; taken < want*99/100 || taken > want*101/100 {
		t.Errorf("%d records in a minute; want %d", taken, want)
	}
}

// TestLimitsFollowShards reshards: children have limits of their own, and closed shards are read by theirs.
func TestLimitsFollowShards(t *testing.T) {
	w := limited(t, 0)
	ref := w.create("mill", 1)
	put := func() (n int) {
		for range 4 {
			if _, err := w.Put(t.Context(), home, ref, sized(low, mib/2), ""); err == nil {
				n++
			}
		}
		return n
	}
	if n := put(); n != 2 {
		t.Errorf("%d halves of a MiB were taken; want 2", n)
	}
	w.must(w.SplitShard(t.Context(), home, ref, "0", "170141183460469231731687303715884105728"))
	if n := put(); n != 2 {
		t.Errorf("%d halves of a MiB were taken by the child; want 2", n)
	}
	// A row that somebody else wrote again is of the same shard.
	e, v, err := w.find(home, ref)
	w.must(err)
	_, err = w.cfg.Coordinator.Put(t.Context(), v.open[0].Key(), v.open[0].Encode(), v.open[0].version)
	w.must(err)
	w.must(w.reload(t.Context(), e))
	if v.open[0] == e.view.Load().open[0] {
		t.Error("the row is not known again")
	}
	if n := put(); n != 0 {
		t.Errorf("%d halves of a MiB were taken after the row was read again", n)
	}
	it := w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon})
	for i := range 5 {
		r, err := w.GetRecords(t.Context(), home, "", it, 1)
		if i < 4 {
			w.must(err)
			it = r.Next
			r.Release()
			if it == "" {
				it = w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon})
			}
			continue
		}
		refused(t, err, Throughput, "Rate exceeded for shard shardId-000000000000 in stream mill under account 123456789012.")
		if r == nil || r.Shard() != 0 || r.Stream != "mill" {
			t.Errorf("a refused read does not say of what: %+v", r)
		}
	}
}

// TestReadLimits reads five times a second, and not for five seconds after 10 MiB.
func TestReadLimits(t *testing.T) {
	w := limited(t, 0)
	ref := w.create("mill", 1)
	for range 12 {
		_, err := w.Put(t.Context(), home, ref, sized(low, mib), "")
		w.must(err)
		w.clock.Advance(time.Second)
	}
	in := IteratorInput{ShardID: "0", Type: TrimHorizon}
	var it string
	for range 5 {
		it = w.iterator(ref, in)
	}
	const text = "Rate exceeded for shard shardId-000000000000 in stream mill under account 123456789012."
	_, err := w.GetShardIterator(t.Context(), home, ref, in)
	refused(t, err, Throughput, text)
	r, err := w.GetRecords(t.Context(), home, "", it, 0)
	w.must(err)
	if n := len(r.Page.Records); n < 9 {
		t.Fatalf("%d records", n)
	}
	next := r.Next
	r.Release()
	for range 50 {
		_, err := w.GetRecords(t.Context(), home, "", next, 0)
		refused(t, err, Throughput, text)
		w.clock.Advance(100 * time.Millisecond)
	}
	r, err = w.GetRecords(t.Context(), home, "", next, 0)
	w.must(err)
	r.Release()
}

// TestDailyLimits changes shard counts and modes as often as a day allows, across restarts.
func TestDailyLimits(t *testing.T) {
	w := limited(t, 0)
	ref := w.create("mill", 1)
	for i := range 10 {
		w.churn(ref, 2-i%2)
		w.tick(time.Hour)
		w.restart()
	}
	const text = "Rate exceeded for stream mill under account 123456789012. "
	_, err := w.UpdateShardCount(t.Context(), home, ref, 2)
	refused(t, err, LimitExceeded, text+"UpdateShardCount can be called 10 times in a rolling 24-hour period.")
	w.tick(14 * time.Hour)
	w.churn(ref, 2)
	_, err = w.UpdateShardCount(t.Context(), home, ref, 1)
	refused(t, err, LimitExceeded, text+"UpdateShardCount can be called 10 times in a rolling 24-hour period.")
	w.must(w.UpdateStreamMode(t.Context(), home, ref, OnDemand, 0))
	w.must(w.UpdateStreamMode(t.Context(), home, ref, Provisioned, 0))
	w.restart()
	err = w.UpdateStreamMode(t.Context(), home, ref, OnDemand, 0)
	refused(t, err, LimitExceeded, text+"UpdateStreamMode can be called 2 times in a rolling 24-hour period.")
	for i := range 25 {
		w.must(w.StartEncryption(t.Context(), home, ref, fmt.Sprintf("alias/%d", i%2)))
		w.tick(time.Minute)
	}
	err = w.StartEncryption(t.Context(), home, ref, "alias/mill")
	refused(t, err, LimitExceeded, text+"StartStreamEncryption can be called 25 times in a rolling 24-hour period.")
	w.tick(24 * time.Hour)
	w.must(w.UpdateStreamMode(t.Context(), home, ref, OnDemand, 0))
	w.must(w.StartEncryption(t.Context(), home, ref, "alias/mill"))
}

// TestStreamsBeingCreated creates more streams at a time than AWS lets an account.
func TestStreamsBeingCreated(t *testing.T) {
	w := limited(t, time.Second)
	create := func(i int) error {
		return w.CreateStream(t.Context(), home, CreateInput{Name: fmt.Sprintf("mill-%d", i), ShardCount: 1})
	}
	for i := range 5 {
		w.must(create(i))
	}
	refused(t, create(5), LimitExceeded, "This request would exceed the CREATING stream limit for the account 123456789012 in eu-west-1. "+
		"Current CREATING stream count for the account: 5. Limit: 5.")
	w.tick(time.Second)
	w.must(create(5))
}

// TestAdmit counts calls of an account and of a stream.
func TestAdmit(t *testing.T) {
	w := limited(t, 0)
	f := func(operation, resource string, rate int, text string) {
		t.Helper()
		for range rate {
			w.must(w.Admit(home, operation, resource, rate))
		}
		refused(t, w.Admit(home, operation, resource, rate), LimitExceeded, text)
		w.clock.Advance(time.Second / time.Duration(rate))
		w.must(w.Admit(home, operation, resource, rate))
	}
	f("ListStreams", "", 5, "Rate exceeded for account 123456789012.")
	f("ListShards", home.arn("mill"), 1000, "Rate exceeded for stream mill under account 123456789012.")
	f("DescribeStreamConsumer", home.arn("mill")+"/consumer/wheel:1", 20, "Rate exceeded for stream mill under account 123456789012.")
	w.cfg.Limits = false
	w.restart()
	for range 100 {
		w.must(w.Admit(home, "ListStreams", "", 5))
	}
}

// TestSubscriptionLimits subscribes once a second and is sent 2 MiB a second, in a bubble.
func TestSubscriptionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := inMemory(t)
		cfg.Limits = true
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		s, err := New(t.Context(), cfg)
		must(err)
		must(s.CreateStream(t.Context(), home, CreateInput{Name: "mill", ShardCount: 1}))
		c, err := s.RegisterConsumer(t.Context(), home, home.arn("mill"), "wheel", nil)
		must(err)
		for range 60 { // a minute's worth at the rate that a shard takes
			for range 4 {
				_, err := s.Put(t.Context(), home, Ref{Name: "mill"}, sized(low, mib/4), "")
				must(err)
			}
			<-time.After(time.Second)
		}
		in := SubscribeInput{ConsumerARN: c.ARN, Position: IteratorInput{ShardID: "0", Type: TrimHorizon}}
		sub, _, err := s.Subscribe(t.Context(), home, in)
		must(err)
		_, _, err = s.Subscribe(t.Context(), home, in)
		refused(t, err, InUse, "Another active subscription exists for this consumer.")
		sub.Close()
		_, _, err = s.Subscribe(t.Context(), home, in)
		refused(t, err, LimitExceeded, "Rate exceeded for stream mill under account 123456789012.")
		<-time.After(time.Second)
		sub, ctx, err := s.Subscribe(t.Context(), home, in)
		must(err)
		defer sub.Close()
		began, sent := time.Now(), 0
		for sent < 60*mib {
			must(sub.Wait(ctx))
			b, err := sub.Read(ctx)
			must(err)
			for i := range b.Page.Records {
				sent += b.Page.Records[i].Size()
			}
			sub.Advance(b.Reached())
			b.Release()
		}
		must(sub.pause(ctx))
		rate := float64(sent) / time.Since(began).Seconds() / (2 * mib)
		if rate < 0.99 || rate > 1.02 { // one event is ahead
			t.Errorf("%.3f of 2 MiB a second", rate)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		sub.rest = s.now() + 1000
		if err := sub.pause(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a pause that was cut short: %v", err)
		}
	})
}

// TestLimitsDoNotAllocate compares puts with and without limits.
func TestLimitsDoNotAllocate(t *testing.T) {
	count := func(w *world, advance time.Duration) float64 {
		ref := w.create("mill", 2)
		recs := make([]record.Entry, 500)
		for i := range recs {
			recs[i] = explicit([]record.HashKey{low, high}[i%2], "x")
		}
		var out []PutResult
		return alloctest.Count(t, 20, func() {
			var err error
			out, err = w.PutAll(t.Context(), home, ref, recs, out[:0])
			w.must(err)
			w.clock.Advance(advance)
		})
	}
	without := count(newWorld(t, 0, Caps{}), time.Second)
	if n := count(limited(t, 0), time.Second); n > without {
		t.Errorf("%v allocations a call with limits, %v without", n, without)
	}
	if n := count(limited(t, 0), time.Millisecond); n > without {
		t.Errorf("%v allocations a call that is throttled, %v without limits", n, without)
	}
}
