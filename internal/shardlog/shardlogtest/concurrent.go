package shardlogtest

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// testConcurrent lets writers, readers that wait, and those who change holds and retention run at
// once. Every reader must see every writer's records in the order they were acknowledged, each at
// the index its writer was given, none lost and none twice.
func testConcurrent(t *testing.T, k *kit) {
	const shards, writers, rounds = 4, 6, 60
	for n := range shards {
		k.open(t, day, n)
	}
	var wg, noise sync.WaitGroup
	for n := range shards {
		for range 2 {
			wg.Go(func() { k.follow(t, n, writers*rounds*2) })
		}
	}
	quiet, stop := context.WithCancel(ctx)
	defer stop()
	for n := range shards {
		noise.Go(func() { k.disturb(t, quiet, n) })
	}
	for w := range writers {
		wg.Go(func() {
			var seq [shards]uint32
			for range rounds {
				var batches []shardlog.Batch
				for n := range shards {
					var e []record.Entry
					for range 2 {
						e = append(e, numbered(w, seq[n]))
						seq[n]++
					}
					batches = append(batches, shardlog.Batch{Shard: id(n), Entries: e})
				}
				res, err := k.Log.Append(ctx, batches)
				if err != nil {
					t.Errorf("Append = %v", err)
					return
				}
				for n := range res {
					k.wantOwn(t, n, res[n], batches[n].Entries)
				}
			}
		})
	}
	wg.Wait()
	stop()
	noise.Wait()
}

func numbered(writer int, seq uint32) record.Entry {
	data := binary.BigEndian.AppendUint32([]byte{byte(writer)}, seq)
	return record.Entry{PartitionKey: "k", Data: append(data, make([]byte, int(seq)%300)...)}
}

// wantOwn reads back what a writer was told it wrote.
func (k *kit) wantOwn(t *testing.T, shard int, res shardlog.Result, e []record.Entry) {
	if res.Err != nil {
		t.Errorf("Append to shard %d: %v", shard, res.Err)
		return
	}
	p, err := k.Log.Read(ctx, id(shard), res.First, shardlog.Limit{Records: len(e), Bytes: 1 << 20})
	if err != nil {
		t.Errorf("Read = %v", err)
		return
	}
	defer p.Release()
	if len(p.Records) != len(e) {
		t.Errorf("shard %d: %d records at %d right after the append of %d", shard, len(p.Records), res.First, len(e))
		return
	}
	for i := range e {
		if r := &p.Records[i]; !same(&r.Entry, &e[i]) || r.Index != res.First+record.Index(i) || r.ArrivalTime != res.ArrivalTime {
			t.Errorf("shard %d: record %d is not what was acknowledged there", shard, r.Index)
		}
	}
}

// follow reads a shard as it grows until it has seen all records.
func (k *kit) follow(t *testing.T, shard, records int) {
	var seen [256]uint32
	for at := record.Index(1); int(at) <= records; {
		if err := k.Log.Wait(ctx, id(shard), at); err != nil {
			t.Errorf("Wait = %v", err)
			return
		}
		p, err := k.Log.Read(ctx, id(shard), at, shardlog.Limit{Records: 50, Bytes: 1 << 20})
		if err != nil {
			t.Errorf("Read = %v", err)
			return
		}
		if len(p.Records) == 0 {
			t.Errorf("shard %d: nothing to read at %d after Wait", shard, at)
			p.Release()
			return
		}
		for i := range p.Records {
			r := &p.Records[i]
			w, seq := r.Data[0], binary.BigEndian.Uint32(r.Data[1:])
			if r.Index != at || seq != seen[w] {
				t.Errorf("shard %d: record %d is number %d of writer %d; want %d at %d", shard, r.Index, seq, w, seen[w], at)
				p.Release()
				return
			}
			seen[w]++
			at++
		}
		p.Release()
	}
}

// disturb changes what may change under readers and writers without their noticing.
func (k *kit) disturb(t *testing.T, quiet context.Context, shard int) {
	extra := []shardlog.ShardID{id(100 + shard)}
	for i := 0; quiet.Err() == nil; i++ {
		errs := []error{
			k.Registry.Hold(ctx, id(shard), "h", record.Index(i)),
			k.Registry.SetRetention(ctx, []shardlog.ShardID{id(shard)}, shardlog.Retention{Age: day.Age + time.Duration(i)}),
			k.Log.TrimTo(ctx, id(shard), 0),
			k.Registry.Open(ctx, extra, day),
			k.Registry.Release(ctx, id(shard), "h"),
			k.Registry.Drop(ctx, extra),
		}
		for _, err := range errs {
			if err != nil {
				t.Errorf("control change of shard %d: %v", shard, err)
				return
			}
		}
		if _, err := k.Log.SeekTime(ctx, id(shard), 0); err != nil {
			t.Errorf("SeekTime = %v", err)
			return
		}
	}
}

// testFirstNeverFalls lets time pass while retention, holds and trims change, and watches the
// oldest record from several goroutines: what one of them has seen trimmed must stay so.
func testFirstNeverFalls(t *testing.T, k *kit) {
	k.open(t, shardlog.Retention{Age: 50 * time.Millisecond}, 1)
	busy, stop := context.WithCancel(ctx)
	defer stop()
	var watchers sync.WaitGroup
	for range 3 {
		watchers.Go(func() {
			for first := record.Index(0); busy.Err() == nil; {
				b, err := k.Log.Bounds(ctx, id(1))
				if err != nil || b.First < first || b.First > b.Next {
					t.Errorf("Bounds = %+v, %v after First was %d", b, err, first)
					return
				}
				first = b.First
			}
		})
	}
	watchers.Go(func() {
		for busy.Err() == nil {
			k.clock.Advance(time.Millisecond)
			runtime.Gosched()
		}
	})
	one := []shardlog.ShardID{id(1)}
	for i := range 300 {
		next := k.append(t, 1, entry(1), entry(2)).First
		errs := []error{
			k.Registry.SetRetention(ctx, one, shardlog.Retention{Age: time.Duration(i%5) * 50 * time.Millisecond}),
			k.Registry.Hold(ctx, id(1), "h", next-record.Index(min(i, 20))),
			k.Log.TrimTo(ctx, id(1), next-1),
		}
		if i%3 == 0 {
			errs = append(errs, k.Registry.Release(ctx, id(1), "h"))
		}
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	watchers.Wait()
}
