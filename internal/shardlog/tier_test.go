package shardlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	objectmem "github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/shardlog/space"
	"github.com/headrace/headrace/internal/testpoll"
)

// picky is a bucket that asks before each Put.
type picky struct {
	objectstore.Bucket
	mu     sync.Mutex
	before func(key string) error
}

func (p *picky) set(f func(key string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = f
}

func (p *picky) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	p.mu.Lock()
	f := p.before
	p.mu.Unlock()
	if f != nil {
		if err := f(key); err != nil {
			return objectstore.Info{}, err
		}
	}
	return p.Bucket.Put(ctx, key, body)
}

func newPicky() *picky { return &picky{Bucket: objectmem.New(clock.System{}, 0)} }

// objects counts what a bucket holds under a prefix.
func objects(t testing.TB, b objectstore.Bucket, prefix string) []objectstore.Info {
	t.Helper()
	infos, err := b.List(ctx, prefix, "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

// settle waits until the committer has done what came of the calls before: it works between calls.
func settle(t testing.TB, s *shardlog.Store) {
	t.Helper()
	if err := s.Release(ctx, id(0), "nobody"); err != nil && !errors.Is(err, shardlog.ErrNotFound) {
		t.Fatal(err)
	}
}

// wantAll reads a shard that telling wrote from the given index to its end.
func wantAll(t testing.TB, s *shardlog.Store, shard int, from, next record.Index) {
	t.Helper()
	for from < next {
		p, err := s.Read(ctx, id(shard), from, shardlog.Limit{Records: 700, Bytes: 300 << 10})
		if err != nil || len(p.Records) == 0 || p.Records[0].Index != from {
			t.Fatalf("Read(%d, %d) = %+v, %v", shard, from, p, err)
		}
		checkTelling(t, p.Records)
		from = p.Next
		p.Release()
	}
	wantNext(t, s, shard, next)
}

// TestFullBucket writes while the bucket has no room: appends are refused from the first flush that
// fails, so that lane and memory have room for the process's own logs and for control changes; nothing
// is lost, and all goes on once there is room, whichever object there was no room for.
func TestFullBucket(t *testing.T) {
	f := func(prefix string) {
		t.Helper()
		bucket, now := newPicky(), clock.NewManual(time.Unix(1_800_000_000, 0))
		l := mem.New(mem.Config{})
		stalls := 0
		cfg := shardlog.Config{Lane: l, Bucket: bucket, Clock: now, Memory: 4 << 20, FlushBytes: 500_000}
		cfg.Events.Stalled = func(err error) {
			if stalls++; !errors.Is(err, objectstore.ErrFull) {
				t.Errorf("Stalled(%v); want ErrFull", err)
			}
		}
		cfg.Events.Fatal = func(err error) { t.Errorf("Fatal(%v)", err) }
		cfg.Inline()
		s := open(t, cfg)
		openShards(t, s, 2, day)
		if err := s.Open(ctx, []shardlog.ShardID{id(9)}, shardlog.Retention{}); err != nil {
			t.Fatal(err)
		}
		bucket.set(func(key string) error {
			if strings.HasPrefix(key, prefix) {
				return objectstore.ErrFull
			}
			return nil
		})
		next, own, refused := record.Index(1), record.Index(1), 0
		for refused < 30 {
			res, err := s.Append(ctx, []shardlog.Batch{telling(0, 50, next)})
			switch {
			case err != nil:
				t.Fatal(err)
			case errors.Is(res[0].Err, shardlog.ErrFull):
				refused++
			default:
				next += 50
			}
			put(t, s, telling(9, 2, own))
			own += 2
			settle(t, s)
			now.Advance(200 * time.Millisecond)
		}
		if stalls < 2 || next < 400 || next > 600 {
			t.Errorf("%s: %d records before the first refusal, %d flushes failed", prefix, next-1, stalls)
		}
		if v := s.Space(); v.State != space.Full || !v.Exhausted || v.NoRoom != 30*50 {
			t.Errorf("%s: %+v; want a full disk that has refused 1500 records", prefix, v)
		}
		if _, err := s.Seal(ctx, id(1)); err != nil {
			t.Errorf("%s: Seal while the bucket is full: %v", prefix, err)
		}
		if n := len(objects(t, bucket, "blocks/")); n != 0 {
			t.Errorf("%s: %d block files are left of failed flushes", prefix, n)
		}
		wantAll(t, s, 0, 1, next)
		bucket.set(nil)
		now.Advance(2 * time.Second)
		settle(t, s) // lets the committer look again
		settle(t, s)
		for range 100 {
			put(t, s, telling(0, 50, next))
			next += 50
		}
		wantAll(t, s, 0, 1, next)
		if v := s.Space(); v.State != space.Ample || v.Exhausted {
			t.Errorf("%s: %+v; want room again", prefix, v)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		wantAll(t, s, 0, 1, next)
		wantAll(t, s, 9, 1, own)
	}
	f("blocks/")
	f("manifest/")
}

// TestManifestFails expects the end when nobody knows whether a manifest is stored, and another try
// when it was a block file.
func TestManifestFails(t *testing.T) {
	broken := errors.New("broken disk")
	bucket, now := newPicky(), clock.NewManual(time.Unix(1_800_000_000, 0))
	l := mem.New(mem.Config{})
	var fatal, stalled []error
	done := make(chan struct{})
	cfg := shardlog.Config{Lane: l, Bucket: bucket, Clock: now, FlushBytes: 1000}
	cfg.Events.Fatal = func(err error) { fatal = append(fatal, err); close(done) }
	cfg.Events.Stalled = func(err error) { stalled = append(stalled, err) }
	cfg.Inline()
	s := open(t, cfg)
	openShards(t, s, 1, day)
	fail := func(prefix string) {
		bucket.set(func(key string) error {
			if strings.HasPrefix(key, prefix) {
				return broken
			}
			return nil
		})
	}
	fail("blocks/")
	put(t, s, telling(0, 5, 1))
	put(t, s, telling(0, 5, 6)) // the flush has failed and is not tried again yet
	fail("manifest/")
	now.Advance(2 * time.Second)
	_ = s.Release(ctx, id(0), "nobody") // has the committer look; it may be the end before it answers
	<-done
	if len(fatal) != 1 || !errors.Is(fatal[0], broken) || len(stalled) != 1 || !errors.Is(stalled[0], broken) {
		t.Errorf("Fatal(%v), Stalled(%v); want one each", fatal, stalled)
	}
	if _, err := s.Append(ctx, []shardlog.Batch{telling(0, 1, 11)}); !errors.Is(err, broken) {
		t.Errorf("Append = %v; want the bucket's error", err)
	}
	bucket.set(nil)
	wantAll(t, open(t, shardlog.Config{Lane: l, Bucket: bucket, Clock: now}), 0, 1, 11)
}

// TestAppendsGoOnDuringFlush blocks a flush and appends as much again.
func TestAppendsGoOnDuringFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := newPicky()
		release := make(chan struct{})
		bucket.set(func(string) error { <-release; return nil })
		s := open(t, shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, FlushBytes: 100_000})
		openShards(t, s, 1, day)
		for i := range 10 {
			put(t, s, telling(0, 50, record.Index(1+50*i)))
		}
		if st := s.Stats(); st.Files != 0 || st.Unflushed < 500_000 {
			t.Errorf("%+v; want everything unflushed", st)
		}
		close(release)
		bucket.set(nil)
		synctest.Wait()
		if st := s.Stats(); st.Files == 0 || st.Unflushed > 0 {
			t.Errorf("%+v; want everything flushed", st)
		}
		wantAll(t, s, 0, 1, 501)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFlushAge leaves a few records alone for a minute.
func TestFlushAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mem.New(mem.Config{})
		s := open(t, shardlog.Config{Lane: l, Bucket: newPicky()})
		openShards(t, s, 1, day)
		put(t, s, telling(0, 5, 1))
		<-time.After(shardlog.DefaultFlushAge + 2*shardlog.DefaultSweep)
		synctest.Wait()
		if st := s.Stats(); st.Files != 1 || st.Unflushed != 0 {
			t.Errorf("%+v; want one file", st)
		}
		if b, err := l.Bounds(ctx); err != nil || b.First != b.Next {
			t.Errorf("the lane holds %+v, %v; want nothing", b, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestLaneNeverFull writes far more than a small lane takes.
func TestLaneNeverFull(t *testing.T) {
	const room = 4 << 20
	l := &hooked{Lane: mem.New(mem.Config{Capacity: room})}
	cfg := shardlog.Config{Lane: l, Bucket: newPicky(), Memory: 64 << 20, FlushBytes: 32 << 20, LaneBytes: room}
	cfg.Inline()
	s := open(t, cfg)
	openShards(t, s, 1, day)
	next := record.Index(1)
	for range 400 {
		put(t, s, telling(0, 50, next))
		next += 50
	}
	wantAll(t, s, 0, 1, next)
}

// TestMemoryBoundsTheTail writes many times the budget and watches it.
func TestMemoryBoundsTheTail(t *testing.T) {
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: newPicky(), Memory: 2 << 20}
	cfg.Inline()
	s := open(t, cfg)
	openShards(t, s, 2, day)
	next := record.Index(1)
	for range 400 {
		put(t, s, telling(0, 50, next))
		next += 50
		if st := s.Stats(); st.Held > st.Budget {
			t.Fatalf("%+v; want no more than the budget", st)
		}
	}
	settle(t, s)
	if st := s.Stats(); st.Held < st.Budget/2 {
		t.Errorf("%+v; want what was flushed kept while there is room", st)
	}
	wantAll(t, s, 0, 1, next)
}

// TestFilesGo drops a stream, lets records come of age and trims others, and expects the space back.
func TestFilesGo(t *testing.T) {
	bucket, now := newPicky(), clock.NewManual(time.Unix(1_800_000_000, 0))
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: now, FlushBytes: 100_000}
	cfg.Inline()
	s := open(t, cfg)
	openShards(t, s, 2, day)
	journal := []shardlog.ShardID{id(2)}
	if err := s.Open(ctx, journal, shardlog.Retention{}); err != nil {
		t.Fatal(err)
	}
	next := record.Index(1)
	for range 100 {
		for n := range 3 {
			put(t, s, telling(n, 10, next))
		}
		next += 10
		now.Advance(time.Minute)
	}
	size := func() (sum int64) {
		for _, o := range objects(t, bucket, "blocks/") {
			sum += o.Size
		}
		return sum
	}
	settle(t, s)
	all := size() + 1000 // what is flushed for age meanwhile
	f := func(what string, most int64) {
		t.Helper()
		now.Advance(time.Minute)
		testpoll.Until(t, 20*time.Second, func() bool {
			settle(t, s) // lets the committer look again: one merge may follow another
			return size() <= most
		}, fmt.Sprintf("%s: at most %d bytes stored of %d", what, most, all))
		if n := len(objects(t, bucket, "manifest/")); n != 1 {
			t.Errorf("%s: %d manifests", what, n)
		}
	}
	f("nothing gone", all)
	if err := s.TrimTo(ctx, id(2), next-20); err != nil {
		t.Fatal(err)
	}
	f("the journal trimmed", all*3/4)
	if err := s.Drop(ctx, ids(1)); err != nil {
		t.Fatal(err)
	}
	f("one of two shards dropped", all*3/8)
	wantAll(t, s, 1, 1, next)
	now.Advance(25 * time.Hour)
	put(t, s, telling(1, 10, next))
	if err := s.SetRetention(ctx, []shardlog.ShardID{id(1)}, day); err != nil {
		t.Fatal(err)
	}
	f("come of age", all/8)
	wantAll(t, s, 2, next-20, next)
}

// TestFewFiles makes a thousand flushes of trickling shards and counts files and what a read of one
// shard asks of the bucket.
func TestFewFiles(t *testing.T) {
	bucket, now := newPicky(), clock.NewManual(time.Unix(1_800_000_000, 0))
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: now, FlushBytes: 1}
	cfg.Inline()
	cfg.NoCache()
	s := open(t, cfg)
	openShards(t, s, 20, day)
	for i := range 1000 {
		put(t, s, telling(i%20, 1, record.Index(1+i/20)))
		now.Advance(time.Second)
	}
	settle(t, s)
	if n := s.Stats().Files; n > 24 {
		t.Errorf("a thousand flushes left %d files; want a few", n)
	}
	wantAll(t, s, 7, 1, 51)
}

func TestReadFromBlocksAllocatesNothingPerRecord(t *testing.T) {
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: newPicky(), FlushBytes: 1}
	cfg.Inline()
	cfg.NoCache()
	s := open(t, cfg)
	openShards(t, s, 1, day)
	put(t, s, batch(0, 1500, 100))
	settle(t, s)
	settle(t, s)
	allocs := func(records int) float64 {
		return alloctest.Count(t, 100, func() {
			p, err := s.Read(ctx, id(0), 3, shardlog.Limit{Records: records, Bytes: 1 << 20})
			if err != nil || len(p.Records) != records {
				t.Fatalf("Read = %v, %v", p, err)
			}
			p.Release()
		})
	}
	allocs(1000)
	few, many := allocs(10), allocs(1000)
	if many > few || few > 8 {
		t.Errorf("Read allocates %v times for 10 records and %v for 1000; want the same few", few, many)
	}
}

// TestLostManifest opens a lane whose bucket is gone or damaged.
func TestLostManifest(t *testing.T) {
	f := func(what string, spoil func(l lane.Lane, b *picky)) {
		t.Helper()
		bucket := newPicky()
		cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket, Clock: systemClock, FlushBytes: 1000}
		cfg.Inline()
		s := open(t, cfg)
		openShards(t, s, 1, day)
		put(t, s, telling(0, 50, 1))
		_ = s.Close()
		spoil(cfg.Lane, bucket)
		if _, err := shardlog.Open(ctx, cfg); !errors.Is(err, shardlog.ErrCorrupt) {
			t.Errorf("%s: Open = %v; want ErrCorrupt", what, err)
		}
	}
	f("manifest deleted", func(_ lane.Lane, b *picky) {
		for _, o := range objects(t, b, "manifest/") {
			_ = b.Delete(ctx, o.Key)
		}
	})
	f("file deleted", func(_ lane.Lane, b *picky) {
		for _, o := range objects(t, b, "blocks/") {
			_ = b.Delete(ctx, o.Key)
		}
	})
	f("manifest damaged", func(_ lane.Lane, b *picky) {
		for _, o := range objects(t, b, "manifest/") {
			_, _ = b.Put(ctx, o.Key, strings.NewReader("HRmf"))
		}
	})
	f("an older manifest put back", func(l lane.Lane, b *picky) {
		old := objects(t, b, "manifest/")[0]
		body, err := b.Get(ctx, old.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		kept, _ := io.ReadAll(body)
		cfg := shardlog.Config{Lane: l, Bucket: b, Clock: systemClock, FlushBytes: 1000}
		cfg.Inline()
		s := open(t, cfg)
		put(t, s, telling(0, 50, 51))
		_ = s.Close()
		for _, o := range objects(t, b, "manifest/") {
			_ = b.Delete(ctx, o.Key)
		}
		_, _ = b.Put(ctx, old.Key, bytes.NewReader(kept))
	})
}

// FuzzManifest opens stores on arbitrary manifests: an error or a store that works, never a panic.
func FuzzManifest(f *testing.F) {
	bucket := newPicky()
	l := mem.New(mem.Config{})
	cfg := shardlog.Config{Lane: l, Bucket: bucket, Clock: systemClock, FlushBytes: 1000}
	cfg.Inline()
	s := open(f, cfg)
	openShards(f, s, 2, day)
	put(f, s, telling(0, 50, 1))
	_ = s.Close()
	for _, o := range objects(f, bucket, "manifest/") {
		body, err := bucket.Get(ctx, o.Key, 0, -1)
		if err != nil {
			f.Fatal(err)
		}
		b, _ := io.ReadAll(body)
		f.Add(b[:len(b)-4])
	}
	for _, bucket := range restoredTwice(f) {
		b := object(f, bucket, objects(f, bucket, "manifest/")[0].Key)
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) { shardlog.DecodeManifest(b) })
}
