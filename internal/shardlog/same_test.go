package shardlog_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/shardlog/shardlogtest"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// TestSameInMemoryAndOnDisk gives the same random histories to a store in memory and to one on a disk,
// and to the kit's reference, and expects the same answers to everything. The one on the disk is
// stopped, killed or loses its power between calls; the one in memory lives on.
func TestSameInMemoryAndOnDisk(t *testing.T) {
	t.Parallel()
	base := number(t, "HISTORY_SEED", rand.Uint64()>>1)
	for i := range number(t, "TWINS", fewer(10)) {
		t.Run(fmt.Sprintf("HISTORY_SEED=%d", base+i), func(t *testing.T) {
			w := &twins{t: t, rng: rand.New(rand.NewPCG(base+i, 41)), disk: memfs.New()}
			shardlogtest.Model(t, base+i, w.open)
			if w.starts < 10 {
				t.Errorf("the store on the disk was opened %d times; want more", w.starts)
			}
		})
	}
}

// twins is a store in memory and one on a disk, which are asked the same.
type twins struct {
	t       *testing.T
	rng     *rand.Rand
	engines engines
	disk    *memfs.FS
	outage  *outage
	starts  int

	first  *shardlog.Store
	second *onDisk
}

func (w *twins) open(t *testing.T, o shardlogtest.Options) shardlogtest.System {
	w.first = open(t, shardlog.Config{Lane: mem.New(mem.Config{}), Clock: o.Clock})
	w.engines = smallEngines(w.rng, o.Clock)
	// Nothing is ever refused: how much there is room for is not what is compared.
	w.engines.ring.SegmentBytes, w.engines.store.Memory = 64<<10, 0
	if w.rng.IntN(4) > 0 {
		w.engines.store.Inline()
	} else {
		w.engines.ring.Segments, w.engines.ring.SegmentBytes = 8, 1<<20
	}
	w.engines.store.Events.Fatal = func(err error) {
		if !w.outage.gone() {
			t.Errorf("Fatal(%v)", err)
		}
	}
	w.start()
	return shardlogtest.System{
		Log: w, Registry: w, Spills: true,
		Reopen: func(t *testing.T) (shardlog.Log, shardlog.Registry) {
			w.stop()
			w.start()
			return w, w
		},
		Close: func() error { return w.second.Close() },
	}
}

func (w *twins) start() {
	w.outage = newOutage(w.disk, w.rng, end(w.rng.IntN(int(failedCall))), 1)
	w.outage.left = 1 << 40 // it strikes when it is told to
	s, err := openOnDisk(w.outage.fs(), w.engines)
	if err != nil {
		w.t.Fatalf("start %d: %v", w.starts, err)
	}
	w.second = s
	w.starts++
}

func (w *twins) stop() {
	w.outage.strike()
	if err := w.second.Close(); err != nil && !w.outage.gone() {
		w.t.Errorf("Close = %v", err)
	}
	w.disk = w.outage.leaves()
}

// same compares two answers.
func same[A comparable](w *twins, what string, a, b A, aerr, berr error) {
	w.t.Helper()
	if a != b || fmt.Sprint(aerr) != fmt.Sprint(berr) {
		w.t.Fatalf("%s: in memory %+v, %v; on disk %+v, %v", what, a, aerr, b, berr)
	}
}

// Append implements shardlog.Log.
func (w *twins) Append(ctx context.Context, batches []shardlog.Batch) ([]shardlog.Result, error) {
	a, aerr := w.first.Append(ctx, batches)
	b, berr := w.second.Append(ctx, batches)
	same(w, "Append", len(a), len(b), aerr, berr)
	for i := range a {
		same(w, "Append", a[i], b[i], nil, nil)
	}
	return a, aerr
}

// Read implements shardlog.Log.
func (w *twins) Read(ctx context.Context, id shardlog.ShardID, from record.Index, limit shardlog.Limit) (*shardlog.Page, error) {
	what := fmt.Sprintf("Read(%d, %d, %+v)", id.Shard, from, limit)
	a, aerr := w.first.Read(ctx, id, from, limit)
	b, berr := w.second.Read(ctx, id, from, limit)
	same(w, what, a == nil, b == nil, aerr, berr)
	if a == nil {
		return nil, aerr
	}
	defer b.Release()
	same(w, what, len(a.Records), len(b.Records), nil, nil)
	same(w, what, a.Next, b.Next, nil, nil)
	same(w, what, a.Bounds, b.Bounds, nil, nil)
	same(w, what, a.NextArrival, b.NextArrival, nil, nil)
	for i := range a.Records {
		if p, q := &a.Records[i], &b.Records[i]; p.Index != q.Index || p.ArrivalTime != q.ArrivalTime ||
			p.PartitionKey != q.PartitionKey || p.HasExplicitHashKey != q.HasExplicitHashKey ||
			p.ExplicitHashKey != q.ExplicitHashKey || !bytes.Equal(p.Data, q.Data) {
			w.t.Fatalf("%s: in memory %+v; on disk %+v", what, p, q)
		}
	}
	return a, nil
}

// Wait implements shardlog.Log.
func (w *twins) Wait(ctx context.Context, id shardlog.ShardID, from record.Index) error {
	a, b := w.first.Wait(ctx, id, from), w.second.Wait(ctx, id, from)
	same(w, "Wait", 0, 0, a, b)
	return a
}

// Seal implements shardlog.Log.
func (w *twins) Seal(ctx context.Context, id shardlog.ShardID) (shardlog.Bounds, error) {
	a, aerr := w.first.Seal(ctx, id)
	b, berr := w.second.Seal(ctx, id)
	same(w, "Seal", a, b, aerr, berr)
	return a, aerr
}

// Bounds implements shardlog.Log.
func (w *twins) Bounds(ctx context.Context, id shardlog.ShardID) (shardlog.Bounds, error) {
	a, aerr := w.first.Bounds(ctx, id)
	b, berr := w.second.Bounds(ctx, id)
	same(w, "Bounds", a, b, aerr, berr)
	return a, aerr
}

// SeekTime implements shardlog.Log.
func (w *twins) SeekTime(ctx context.Context, id shardlog.ShardID, at record.Millis) (record.Index, error) {
	a, aerr := w.first.SeekTime(ctx, id, at)
	b, berr := w.second.SeekTime(ctx, id, at)
	same(w, "SeekTime", a, b, aerr, berr)
	return a, aerr
}

// TrimTo implements shardlog.Log.
func (w *twins) TrimTo(ctx context.Context, id shardlog.ShardID, first record.Index) error {
	return w.both("TrimTo", func(s *shardlog.Store) error { return s.TrimTo(ctx, id, first) })
}

// Open implements shardlog.Registry.
func (w *twins) Open(ctx context.Context, ids []shardlog.ShardID, keep shardlog.Retention) error {
	return w.both("Open", func(s *shardlog.Store) error { return s.Open(ctx, ids, keep) })
}

// SetRetention implements shardlog.Registry.
func (w *twins) SetRetention(ctx context.Context, ids []shardlog.ShardID, keep shardlog.Retention) error {
	return w.both("SetRetention", func(s *shardlog.Store) error { return s.SetRetention(ctx, ids, keep) })
}

// Hold implements shardlog.Registry.
func (w *twins) Hold(ctx context.Context, id shardlog.ShardID, name string, from record.Index) error {
	return w.both("Hold", func(s *shardlog.Store) error { return s.Hold(ctx, id, name, from) })
}

// Release implements shardlog.Registry.
func (w *twins) Release(ctx context.Context, id shardlog.ShardID, name string) error {
	return w.both("Release", func(s *shardlog.Store) error { return s.Release(ctx, id, name) })
}

// Drop implements shardlog.Registry.
func (w *twins) Drop(ctx context.Context, ids []shardlog.ShardID) error {
	return w.both("Drop", func(s *shardlog.Store) error { return s.Drop(ctx, ids) })
}

// both makes a change in both stores.
func (w *twins) both(what string, f func(*shardlog.Store) error) error {
	a, b := f(w.first), f(w.second.Store)
	same(w, what, 0, 0, a, b)
	return a
}
