package shardlog_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/shardlog"
)

// TestQuietShardPinsNothing writes one record to a quiet shard and then far more than the budget
// to a busy one that is trimmed as it goes.
func TestQuietShardPinsNothing(t *testing.T) {
	l := mem.New(mem.Config{})
	s := open(t, shardlog.Config{Lane: l, Memory: 8 << 20})
	openShards(t, s, 3, shardlog.Retention{})
	put(t, s, batch(0, 1, 1000))
	for i := range 400 { // 40 MB
		put(t, s, batch(1, 100, 1000))
		if i%100 == 50 { // some that stay, in the middle
			put(t, s, batch(2, 2, 1000))
		}
		b, err := s.Bounds(ctx, id(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.TrimTo(ctx, id(1), b.Next); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Held > 3<<20 {
			t.Fatalf("%d bytes held with %d live", st.Held, st.Live)
		}
	}
	b, err := l.Bounds(ctx)
	if err != nil || b.First < 500 {
		t.Errorf("the lane holds groups %+v, %v; want the old ones trimmed", b, err)
	}
	check := func(s *shardlog.Store) {
		t.Helper()
		for shard, want := range []int{1, 0, 8} {
			p, err := s.Read(ctx, id(shard), 1, shardlog.Limit{Records: 100, Bytes: 1 << 20})
			if err != nil || len(p.Records) != want {
				t.Fatalf("shard %d holds %d records, %v; want %d", shard, len(p.Records), err, want)
			}
			p.Release()
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, shardlog.Config{Lane: l}))
}

// TestIdleStoreFreesMemory waits for the sweep of a store that nobody calls.
func TestIdleStoreFreesMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mem.New(mem.Config{})
		s := open(t, shardlog.Config{Lane: l, Memory: 16 << 20})
		openShards(t, s, 1, shardlog.Retention{Age: time.Minute})
		for range 10 {
			put(t, s, batch(0, 500, 1000))
		}
		if st := s.Stats(); st.Live < 5e6 {
			t.Fatalf("%d bytes live; want what was written", st.Live)
		}
		<-time.After(time.Minute + 2*shardlog.DefaultSweep)
		synctest.Wait()
		if st := s.Stats(); st.Held > 10_000 || st.Chunks != 0 {
			t.Errorf("%+v; want next to nothing held", st)
		}
		if b, err := l.Bounds(ctx); err != nil || b.Next-b.First > 2 {
			t.Errorf("the lane holds groups %+v, %v; want it trimmed", b, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestManyQuietShards holds what a shard costs to what its state takes.
func TestManyQuietShards(t *testing.T) {
	s := open(t, shardlog.Config{Lane: mem.New(mem.Config{}), Clock: clock.System{}})
	openShards(t, s, 10_000, day)
	if st := s.Stats(); st.Shards != 10_000 || st.Held > 1<<20 {
		t.Errorf("%+v; want 10,000 shards in under 1 MiB", st)
	}
}

// nowhere is a lane that forgets all but how many groups it was given, so that an allocation test
// sees only the store's own. Reading it gives fences.
type nowhere struct{ next lane.Position }

func (n *nowhere) MaxGroup() int { return 16 << 20 }

func (n *nowhere) Keeps() bool { return false }

func (n *nowhere) Append(context.Context, lane.Position, []byte) error {
	n.next++
	return nil
}

func (n *nowhere) Read(_ context.Context, from lane.Position, _ int) ([]lane.Group, error) {
	return []lane.Group{{Position: from, Payload: []byte{1, 0, 0, 0, 0, 0, 0, 0}}}, nil
}

func (n *nowhere) Bounds(context.Context) (lane.Bounds, error) {
	return lane.Bounds{First: 1, Next: 1 + n.next}, nil
}

func (n *nowhere) TrimTo(context.Context, lane.Position) error { return nil }

func (n *nowhere) Close() error { return nil }

func TestAppendAllocatesNothingPerRecord(t *testing.T) {
	s := open(t, shardlog.Config{Lane: &nowhere{}, Memory: 1 << 30})
	openShards(t, s, 1, day)
	allocs := func(records int) float64 {
		b := []shardlog.Batch{batch(0, records, 100)}
		return alloctest.Count(t, 200, func() {
			if _, err := s.Append(ctx, b); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocs(10), allocs(500)
	if many > few || few > 8 {
		t.Errorf("Append allocates %v times for 10 records and %v for 500; want the same few", few, many)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	s := open(t, shardlog.Config{Lane: mem.New(mem.Config{})})
	openShards(t, s, 1, day)
	for range 20 {
		put(t, s, batch(0, 50, 100))
	}
	allocs := func(records int) float64 {
		return alloctest.Count(t, 200, func() {
			p, err := s.Read(ctx, id(0), 3, shardlog.Limit{Records: records, Bytes: 1 << 20})
			if err != nil || len(p.Records) != records {
				t.Fatalf("Read = %v, %v", p, err)
			}
			p.Release()
		})
	}
	allocs(900) // grows the pooled page
	for _, records := range []int{10, 500} {
		if got := allocs(records); got > 0 {
			t.Errorf("Read of %d records allocates %v times; want none", records, got)
		}
	}
}
