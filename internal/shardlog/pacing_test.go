package shardlog_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	objectmem "github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// timed is a bucket that notes how long each block file takes.
type timed struct {
	objectstore.Bucket
	mu    sync.Mutex
	open  int // files that are being written
	began []time.Time
	took  []time.Duration
}

func newTimed(b objectstore.Bucket) *timed { return &timed{Bucket: b} }

func (b *timed) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	if !strings.HasPrefix(key, "blocks/") {
		return b.Bucket.Put(ctx, key, body)
	}
	begin := systemClock.Now()
	b.mu.Lock()
	b.open++
	b.began = append(b.began, begin)
	b.mu.Unlock()
	info, err := b.Bucket.Put(ctx, key, body)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	b.took = append(b.took, systemClock.Now().Sub(begin))
	return info, err
}

// writing says whether a file is being written.
func (b *timed) writing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open > 0
}

// times returns when the files began, and how long those took that have been written.
func (b *timed) times() (began []time.Time, took []time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.began), slices.Clone(b.took)
}

// writer puts ten records of a kilobyte every ten milliseconds.
type writer struct {
	t    *testing.T
	s    *shardlog.Store
	next record.Index
}

func (w *writer) put() {
	w.t.Helper()
	<-time.After(10 * time.Millisecond)
	put(w.t, w.s, telling(0, 10, w.next))
	w.next += 10
	synctest.Wait()
}

// TestFlushIsSpread writes at a steady rate: a flush takes a good part of the time until the next one.
func TestFlushIsSpread(t *testing.T) {
	f := func(what string, least, most time.Duration, change func(*shardlog.Config)) {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bucket := newTimed(objectmem.New(clock.System{}, 0))
				cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Memory: 64 << 20}
				change(&cfg)
				s := open(t, cfg)
				openShards(t, s, 1, day)
				w := &writer{t, s, 1}
				began, took := bucket.times()
				for len(took) < 4 {
					w.put()
					began, took = bucket.times()
				}
				for i, took := range took[:3] {
					until := began[i+1].Sub(began[i])
					if took < until*least/100 || took > until*most/100 {
						t.Errorf("flush %d took %v of the %v until the next one", i, took, until)
					}
				}
				wantAll(t, s, 0, 1, w.next)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
	f("memory", 70, 80, func(cfg *shardlog.Config) { cfg.FlushBytes = 4 << 20 })
	// A log is half full when a flush begins, and must not become full before that ends.
	f("lane", 50, 65, func(cfg *shardlog.Config) { cfg.LaneBytes = 20 << 20; cfg.Piece(64 << 10) })
	f("age", 70, 80, func(cfg *shardlog.Config) { cfg.FlushAge, cfg.Sweep = 3*time.Second, 10*time.Millisecond })
}

// TestPaceIsLifted has somebody wait for a flush in its middle, and expects it to end at once.
func TestPaceIsLifted(t *testing.T) {
	f := func(what string, wait func(t *testing.T, s *shardlog.Store)) {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bucket, l := newTimed(objectmem.New(clock.System{}, 0)), mem.New(mem.Config{})
				cfg := shardlog.Config{Lane: l, Bucket: bucket, Memory: 64 << 20, FlushBytes: 8 << 20}
				s := open(t, cfg)
				openShards(t, s, 1, day)
				w := &writer{t, s, 1}
				for !bucket.writing() {
					w.put()
				}
				for range 200 {
					w.put()
				}
				if !bucket.writing() {
					t.Fatal("the flush has ended already")
				}
				begin := systemClock.Now()
				wait(t, s)
				synctest.Wait()
				if took := systemClock.Now().Sub(begin); bucket.writing() || took > 100*time.Millisecond {
					t.Errorf("after %v a file is being written: %t", took, bucket.writing())
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				wantAll(t, open(t, shardlog.Config{Lane: l, Bucket: bucket}), 0, 1, w.next)
			})
		})
	}
	f("flush", func(_ *testing.T, s *shardlog.Store) { s.FlushNow(); <-time.After(5 * time.Millisecond) })
	f("cut", func(t *testing.T, s *shardlog.Store) {
		if _, err := s.Cut(ctx); err != nil {
			t.Error(err)
		}
	})
	f("close", func(t *testing.T, s *shardlog.Store) {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	f("writers that stop", func(*testing.T, *shardlog.Store) { <-time.After(60 * time.Millisecond) })
	f("much that comes at once", func(t *testing.T, s *shardlog.Store) {
		if err := s.Open(ctx, []shardlog.ShardID{id(1)}, day); err != nil {
			t.Fatal(err)
		}
		for range 6 {
			put(t, s, batch(1, 1000, 1000))
		}
		<-time.After(5 * time.Millisecond)
	})
}

// TestFullMemoryLiftsThePace writes as fast as memory takes it while the log has just been written: no
// put is refused for want of a flush that waits.
func TestFullMemoryLiftsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := newTimed(objectmem.New(clock.System{}, 0))
		s := open(t, shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Memory: 8 << 20, FlushBytes: 4 << 20})
		openShards(t, s, 1, day)
		for i := range 4000 {
			put(t, s, telling(0, 10, record.Index(1+10*i)))
			if i%4 == 0 {
				<-time.After(2 * time.Millisecond)
			}
		}
		if len(bucket.took) < 5 {
			t.Errorf("%d flushes, want 5 at least", len(bucket.took))
		}
		wantAll(t, s, 0, 1, 40_001)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPacedFlushKilled takes the machine away at one call to the disk after the other, most of them in
// the middle of a flush that is paced, and expects every record that was acknowledged.
func TestPacedFlushKilled(t *testing.T) {
	const puts = 150
	struck := 0 // in the middle of a flush
	life := func(cut int, e end) (calls int) {
		synctest.Test(t, func(t *testing.T) {
			disk, rng := memfs.New(), rand.New(rand.NewPCG(uint64(cut), 5))
			o := newOutage(disk, rng, e, 1)
			o.left = cut
			eng := engines{ring: lanedisk.Config{Segments: 4, SegmentBytes: 256 << 10, Random: seeded(rng)}}
			eng.store = shardlog.Config{Clock: clock.System{}, Memory: 4 << 20, FlushBytes: 100 << 10}
			eng.store.Piece(8 << 10)
			var bucket *timed
			eng.bucket = func(b objectstore.Bucket) objectstore.Bucket { bucket = newTimed(b); return bucket }
			s, err := openOnDisk(o.fs(), eng)
			next := record.Index(1)
			if err == nil {
				if err = s.Open(ctx, ids(1), day); err == nil {
					next = keepPutting(s, puts)
				}
				if o.gone() && bucket.writing() {
					struck++
				}
				if err := s.Close(); err != nil && !o.gone() {
					t.Fatal(err)
				}
			}
			if !o.gone() && cut < 1<<20 {
				t.Fatalf("call %d was never made", cut)
			}
			calls = 1<<30 - o.left
			heir := mustOpenOnDisk(t, o.leaves(), eng)
			if b, err := heir.Bounds(ctx, id(0)); err == nil && b.Next == next+3 {
				next = b.Next // the last was on the disk, but nobody heard of it
			}
			if next > 1 {
				wantAll(t, heir.Store, 0, 1, next)
			}
			if err := heir.Close(); err != nil {
				t.Error(err)
			}
		})
		return calls
	}
	calls := life(1<<30, powerCut)
	const step = 3
	for cut := 0; cut < calls; cut += step {
		life(cut, powerCut)
		life(cut, killed)
	}
	// Some flushes have heard of the end, and ended too, before they are looked at.
	if struck < calls/step/4 {
		t.Errorf("%d of %d ends were in the middle of a flush", struck, 2*calls/step)
	}
}

// keepPutting puts three records every ten milliseconds until the store is gone, and returns the index
// behind what was acknowledged.
func keepPutting(s *onDisk, puts int) record.Index {
	next := record.Index(1)
	for range puts {
		<-time.After(10 * time.Millisecond)
		res, err := s.Append(ctx, []shardlog.Batch{telling(0, 3, next)})
		if errors.Join(err, res0(res)) != nil {
			break
		}
		next += 3
	}
	return next
}

func res0(results []shardlog.Result) error {
	if len(results) == 0 {
		return nil
	}
	return results[0].Err
}
