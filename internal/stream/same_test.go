package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	coordinatordisk "github.com/headrace/headrace/internal/coordinator/disk"
	coordmem "github.com/headrace/headrace/internal/coordinator/mem"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	lanemem "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// TestSameInMemoryAndOnDisk does the same random things to streams in memory and to streams on a disk
// and expects the same answers to everything, error texts among them. The process on the disk is
// stopped, killed or loses its power between calls; iterators made before go on. STREAM_TWINS says how
// many histories there are, HISTORY_SEED where they begin.
func TestSameInMemoryAndOnDisk(t *testing.T) {
	t.Parallel()
	number := func(name string, usual uint64) uint64 {
		if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
			return n
		}
		return usual
	}
	base := number("HISTORY_SEED", rand.Uint64()>>1)
	for i := range number("STREAM_TWINS", 4) {
		t.Run(fmt.Sprintf("HISTORY_SEED=%d", base+i), func(t *testing.T) {
			w := newTwins(t, base+i)
			for range 400 {
				w.step()
			}
			w.compareAll()
			w.restart()
			w.compareAll()
			w.disk.close()
			t.Logf("%d calls answered alike, %d of them with an error; %d processes", w.calls, w.refusals, w.starts)
			if w.starts < 3 || w.refusals < 5 || w.calls < 400 {
				t.Error("want more of each")
			}
		})
	}
}

// twins are streams in memory and streams on a disk, which are asked the same.
type twins struct {
	t      *testing.T
	rng    *rand.Rand
	clock  *clock.Manual
	caps   Caps
	delay  time.Duration
	memory *Streams
	disk   *process
	left   *memfs.FS // what the next process finds
	node   secret.Key

	put, calls, refusals, starts int
	iterators                    []iteratorPair
}

// iteratorPair leads to the same place in both.
type iteratorPair struct{ memory, disk string }

// process is everything that streams on a disk stand on.
type process struct {
	*Streams
	// gone ends it: no call to the disk is made any more.
	gone  atomic.Bool
	close func()
}

func newTwins(t *testing.T, seed uint64) *twins {
	w := &twins{t: t, rng: rand.New(rand.NewPCG(seed, 61)), clock: clock.NewManual(began), left: memfs.New(), node: secret.NewKey(), caps: Caps{Streams: 4, Shards: 60}}
	if w.rng.IntN(2) == 0 {
		w.delay = 500 * time.Millisecond
	}
	store, err := shardlog.Open(t.Context(), shardlog.Config{Lane: lanemem.New(lanemem.Config{}), Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	rows := coordmem.New()
	t.Cleanup(func() {
		if err := errors.Join(rows.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	if w.memory, err = New(t.Context(), w.config(store, store, rows)); err != nil {
		t.Fatal(err)
	}
	w.start()
	return w
}

func (w *twins) config(log shardlog.Log, registry shardlog.Registry, rows coordinator.Coordinator) Config {
	return Config{Log: log, Registry: registry, Coordinator: rows, Clock: w.clock, TransitionDelay: w.delay, Caps: w.caps, KeyBox: KeyBox(w.node),
		Events: Events{TransitionFailed: func(_ Scope, name string, err error) { w.t.Errorf("transition of %s: %v", name, err) }}}
}

// start starts a process on the disk as package server does, with a log that is soon full.
func (w *twins) start() {
	w.t.Helper()
	p := &process{}
	fs := errfs.New(w.left, func(errfs.Call) error {
		if p.gone.Load() {
			return errCut
		}
		return nil
	})
	ctx := w.t.Context()
	must := func(err error) {
		if w.t.Helper(); err != nil {
			w.t.Fatalf("start %d: %v", w.starts, err)
		}
	}
	lane, err := lanedisk.Open(ctx, fs, lanedisk.Config{Segments: 8, SegmentBytes: 128 << 10})
	must(err)
	bucket, err := dir.Open(fs, "blocks", w.clock)
	must(err)
	store, err := shardlog.Open(ctx, shardlog.Config{Lane: lane, LaneBytes: lane.Capacity(), Bucket: bucket, Clock: w.clock,
		Memory: 1 << 20, FlushBytes: int64(1 + w.rng.IntN(20<<10))})
	must(err)
	snapshots, err := dir.Open(fs, "state", w.clock)
	must(err)
	rows, err := coordinatordisk.Open(ctx, coordinatordisk.Config{Log: store, Registry: store, Bucket: snapshots,
		Shard: shardlog.ShardID{}, SnapshotBytes: 2000})
	must(err)
	p.Streams, err = New(ctx, w.config(store, store, rows))
	must(err)
	p.close = func() {
		if err := errors.Join(rows.Close(), store.Close(), lane.Close()); err != nil && !p.gone.Load() {
			w.t.Errorf("close: %v", err)
		}
	}
	w.disk = p
	w.starts++
}

// restart ends the process on the disk, in order or not, and starts another.
func (w *twins) restart() {
	w.t.Helper()
	left := w.left
	switch w.rng.IntN(3) {
	case 1: // killed
		w.disk.gone.Store(true)
	case 2: // without power
		left = left.CrashClone(w.rng)
		w.disk.gone.Store(true)
	}
	w.disk.close()
	w.left = left
	w.start()
}

// both makes a call to both and compares what they answer.
func both[A any](w *twins, what string, call func(*Streams) (A, error)) (A, error) {
	w.t.Helper()
	a, aerr := call(w.memory)
	b, berr := call(w.disk.Streams)
	w.calls++
	if aerr != nil {
		w.refusals++
		var e *Error
		if !errors.As(aerr, &e) {
			w.t.Fatalf("%s: %v; want none, or one of the domain's", what, aerr)
		}
	}
	if x, y := fmt.Sprintf("%+v, %v", a, aerr), fmt.Sprintf("%+v, %v", b, berr); x != y {
		w.t.Fatalf("%s:\nin memory %s\non disk   %s", what, x, y)
	}
	return a, aerr
}

// change is both for calls that answer nothing but an error.
func (w *twins) change(what string, call func(context.Context, *Streams) error) {
	w.t.Helper()
	_, _ = both(w, what, func(s *Streams) (struct{}, error) { return struct{}{}, call(w.t.Context(), s) })
}

func (w *twins) ref() Ref { return Ref{Name: fmt.Sprint("mill-", w.rng.IntN(3))} }

// shards lists a stream's shards, none if there is no such stream.
func (w *twins) shards(ref Ref) []Shard {
	w.t.Helper()
	page, _ := both(w, "ListShards", func(s *Streams) (ShardPage, error) {
		p, err := s.ListShards(home, ListShardsInput{Ref: ref})
		p.Token = ""
		return p, err
	})
	return page.Shards
}

// pick returns the id of a shard, often that of an open one, at times one that does not exist.
func (w *twins) pick(ref Ref) (id string, hash HashRange) {
	shards := w.shards(ref)
	open := slices.DeleteFunc(slices.Clone(shards), func(s Shard) bool { return s.Closed })
	switch {
	case w.rng.IntN(20) == 0 || len(shards) == 0:
		return ShardID(int32(w.rng.IntN(40))), HashRange{}
	case w.rng.IntN(3) == 0 || len(open) == 0:
		shards = slices.Clone(shards)
	default:
		shards = open
	}
	sh := shards[w.rng.IntN(len(shards))]
	return sh.ID, sh.HashKeyRange
}

func (w *twins) step() {
	w.t.Helper()
	ref := w.ref()
	switch n := w.rng.IntN(100); {
	case n < 35:
		w.putSome(ref)
	case n < 42:
		w.reshard(ref)
	case n < 55:
		w.iterate(ref)
	case n < 70:
		w.readOn()
	case n < 80:
		w.settings(ref)
	case n < 84:
		w.describe(ref)
	case n < 95:
		w.tick(time.Duration(w.rng.Int64N(1 << (20 + w.rng.IntN(25))))) // up to five hours
	case n < 97:
		w.restart()
	case n < 99:
		w.create(ref)
	default:
		w.change("DeleteStream "+ref.Name, func(ctx context.Context, s *Streams) error { return s.DeleteStream(ctx, home, ref, false) })
	}
}

// tick moves the clock and does what Run would do then.
func (w *twins) tick(d time.Duration) {
	w.clock.Advance(d)
	w.memory.pass(w.t.Context())
	w.disk.pass(w.t.Context())
}

func (w *twins) create(ref Ref) {
	in := CreateInput{Name: ref.Name, ShardCount: w.rng.IntN(5)}
	if w.rng.IntN(4) == 0 {
		in.Tags = map[string]string{"a": fmt.Sprint(w.put), "b": ""}
	}
	w.change(fmt.Sprintf("CreateStream %+v", in), func(ctx context.Context, s *Streams) error { return s.CreateStream(ctx, home, in) })
}

func (w *twins) putSome(ref Ref) {
	if w.rng.IntN(10) == 0 {
		w.create(ref)
	}
	var recs []record.Entry
	for range 1 + w.rng.IntN(20) {
		w.put++
		e := entry1(fmt.Sprint("key-", w.rng.IntN(50)), fmt.Sprintf("%06d", w.put))
		e.Data = append(e.Data, make([]byte, w.rng.IntN(100))...)
		if w.rng.IntN(3) == 0 {
			e.HasExplicitHashKey, e.ExplicitHashKey = true, record.HashKey{Hi: w.rng.Uint64(), Lo: w.rng.Uint64()}
		}
		recs = append(recs, e)
	}
	_, _ = both(w, "PutAll "+ref.Name, func(s *Streams) (string, error) {
		out, err := s.PutAll(w.t.Context(), home, ref, recs, nil)
		text := ""
		for _, r := range out {
			text += fmt.Sprintf("%s %v %v; ", r.ShardID, r.Sequence, r.Err)
		}
		return text, err
	})
}

func (w *twins) reshard(ref Ref) {
	id, hash := w.pick(ref)
	switch w.rng.IntN(5) {
	case 0, 1:
		at := record.HashKey{Hi: hash.Start.Hi/2 + hash.End.Hi/2, Lo: w.rng.Uint64()}.String()
		w.change("SplitShard "+id, func(ctx context.Context, s *Streams) error { return s.SplitShard(ctx, home, ref, id, at) })
	case 2, 3:
		other, _ := w.pick(ref)
		w.change("MergeShards "+id+" "+other, func(ctx context.Context, s *Streams) error {
			return s.MergeShards(ctx, home, ref, id, other)
		})
	default:
		target := 1 + w.rng.IntN(8)
		_, _ = both(w, fmt.Sprint("UpdateShardCount ", target), func(s *Streams) (ShardCount, error) {
			return s.UpdateShardCount(w.t.Context(), home, ref, target)
		})
	}
}

func (w *twins) settings(ref Ref) {
	hours, key := 20+w.rng.IntN(60), fmt.Sprint("tag-", w.rng.IntN(60))
	alias := fmt.Sprint("alias/mill-", hours%3)
	mode, warm := Provisioned, 0
	if w.rng.IntN(4) == 0 {
		mode, warm = OnDemand, hours%6
	}
	names := slices.DeleteFunc(append(shardMetrics(), AllShardMetrics), func(ShardMetric) bool { return w.rng.IntN(5) > 0 })
	tags := map[string]string{key: fmt.Sprint(w.put)}
	for _, f := range []func(context.Context, *Streams) error{
		func(ctx context.Context, s *Streams) error { return s.IncreaseRetention(ctx, home, ref, hours) },
		func(ctx context.Context, s *Streams) error { return s.DecreaseRetention(ctx, home, ref, hours) },
		func(ctx context.Context, s *Streams) error { return s.AddTags(ctx, home, ref, tags) },
		func(ctx context.Context, s *Streams) error { return s.RemoveTags(ctx, home, ref, []string{key}) },
		func(ctx context.Context, s *Streams) error {
			return s.UpdateMaxRecordSize(ctx, home, ref, 1024*(1+hours%11))
		},
		func(ctx context.Context, s *Streams) error { return s.UpdateStreamMode(ctx, home, ref, mode, warm) },
		func(ctx context.Context, s *Streams) error {
			_, err := s.UpdateWarmThroughput(ctx, home, ref, hours%8)
			return err
		},
		func(ctx context.Context, s *Streams) error {
			_, err := s.EnableMonitoring(ctx, home, ref, names)
			return err
		},
		func(ctx context.Context, s *Streams) error {
			_, err := s.DisableMonitoring(ctx, home, ref, names)
			return err
		},
		func(ctx context.Context, s *Streams) error {
			_, err := s.UpdateAccountSettings(ctx, home, hours%3 > 0)
			return err
		},
		func(ctx context.Context, s *Streams) error { return s.StartEncryption(ctx, home, ref, alias) },
		func(ctx context.Context, s *Streams) error { return s.StopEncryption(ctx, home, ref, alias) },
	} {
		if w.rng.IntN(3) == 0 {
			w.change(fmt.Sprintf("a setting of %s: %d hours, %v, %s, %d MiB/s, %v", ref.Name, hours, tags, mode, warm, names), f)
		}
	}
}

// iterate makes an iterator.
func (w *twins) iterate(ref Ref) {
	id, _ := w.pick(ref)
	in := IteratorInput{ShardID: id, Type: TrimHorizon}
	switch w.rng.IntN(4) {
	case 0:
		in.Type = Latest
	case 1:
		in.Type, in.HasTimestamp, in.Timestamp = FromTime, true, record.MillisOf(w.clock.Now().Add(-time.Duration(w.rng.Int64N(int64(30*time.Hour)))))
	}
	if at, ok := w.iterator(ref, in); ok {
		w.iterators = append(w.iterators, at)
	}
}

// iterator makes an iterator in both; ok is false if neither gives one.
func (w *twins) iterator(ref Ref, in IteratorInput) (at iteratorPair, ok bool) {
	w.t.Helper()
	_, err := both(w, fmt.Sprintf("GetShardIterator %+v of %s", in, ref.Name), func(s *Streams) (int, error) {
		text, err := s.GetShardIterator(w.t.Context(), home, ref, in)
		if s == w.memory {
			at.memory = text
		} else {
			at.disk = text
		}
		return len(text), err
	})
	return at, err == nil
}

// readOn reads from an iterator that was made some time ago, perhaps by another process.
func (w *twins) readOn() {
	if len(w.iterators) == 0 {
		return
	}
	i := w.rng.IntN(len(w.iterators))
	next, ok := w.read(w.iterators[i], 1+w.rng.IntN(30))
	switch {
	case !ok:
		w.iterators = slices.Delete(w.iterators, i, i+1)
	case w.rng.IntN(2) == 0:
		w.iterators[i] = next
	}
	if excess := len(w.iterators) - 20; excess > 0 {
		w.iterators = w.iterators[excess:]
	}
}

// read compares a page, and returns where it goes on; ok is false at an end or for what is no iterator.
func (w *twins) read(at iteratorPair, limit int) (next iteratorPair, ok bool) {
	w.t.Helper()
	var followed []string
	_, err := both(w, "GetRecords", func(s *Streams) (string, error) {
		from := at.disk
		if s == w.memory {
			from = at.memory
		}
		r, err := s.GetRecords(w.t.Context(), home, "", from, limit)
		if err != nil {
			return "", err
		}
		defer r.Release()
		text := fmt.Sprintf("%s: %d behind, end %v, children %+v, %+v:", r.Stream, r.MillisBehind, r.Next == "", r.Children, r.Page.Bounds)
		for i := range r.Page.Records {
			text += fmt.Sprintf(" %+v", r.Page.Records[i])
		}
		followed = append(followed, r.Next)
		return text, nil
	})
	if err != nil || followed[0] == "" {
		return iteratorPair{}, false
	}
	return iteratorPair{followed[0], followed[1]}, true
}

func (w *twins) describe(ref Ref) {
	_, _ = both(w, "DescribeStream", func(s *Streams) (Description, error) { return s.DescribeStream(home, ref, "", 1+w.put%10) })
	_, _ = both(w, "DescribeStreamSummary", func(s *Streams) (Summary, error) { return s.DescribeStreamSummary(home, ref) })
	_, _ = both(w, "ListTags", func(s *Streams) (TagPage, error) { return s.ListTags(home, ref, "", 50) })
	_, _ = both(w, "ListStreams", func(s *Streams) ([]Summary, error) {
		p, err := s.ListStreams(home, ListInput{})
		return p.Streams, err
	})
	_, _ = both(w, "AccountSettings", func(s *Streams) (Commitment, error) { return s.AccountSettings(w.t.Context(), home) })
	_, _ = both(w, "DescribeLimits", func(s *Streams) (Limits, error) { return s.DescribeLimits(home), nil })
}

// compareAll describes and reads everything.
func (w *twins) compareAll() {
	w.t.Helper()
	for i := range 3 {
		ref := Ref{Name: fmt.Sprint("mill-", i)}
		w.describe(ref)
		for _, sh := range w.shards(ref) {
			at, ok := w.iterator(ref, IteratorInput{ShardID: sh.ID, Type: TrimHorizon})
			for pages := 0; ok && pages < 100; pages++ {
				at, ok = w.read(at, 50)
			}
		}
	}
}
