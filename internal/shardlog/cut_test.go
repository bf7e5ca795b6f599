package shardlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/held"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/testpoll"
)

// inline returns a store that flushes and merges between calls, on a bucket that can be full, and of
// which objects can be held.
func inline(t testing.TB) (*shardlog.Store, *picky, *held.Bucket, *clock.Manual) {
	t.Helper()
	bucket, now := newPicky(), clock.NewManual(time.Unix(1_800_000_000, 0))
	b := held.New(bucket)
	cfg := shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: b, Clock: now, FlushBytes: 20_000}
	cfg.Inline()
	cfg.MergeFan(2)
	return open(t, cfg), bucket, b, now
}

// TestCutHeld takes a cut and lets the store merge, trim and drop what is in it: what is held stays as
// it was until it is let go.
func TestCutHeld(t *testing.T) {
	s, bucket, b, now := inline(t)
	openShards(t, s, 2, day)
	for n := range 2 {
		put(t, s, telling(n, 30, 1))
	}
	hold := b.Hold()
	cut, err := s.Cut(ctx)
	if err != nil {
		t.Fatal(err)
	}
	hold.Only(keys(cut))
	before, err := read(cut, hold)
	if err != nil || len(cut.Objects) < 2 || !shardlog.IsManifest(cut.Objects[len(cut.Objects)-1].Key) {
		t.Fatalf("read(%+v) = %v", cut.Objects, err)
	}
	next := record.Index(31)
	for range 20 {
		put(t, s, telling(0, 30, next))
		next += 30
		settle(t, s)
	}
	if err := errors.Join(s.TrimTo(ctx, id(0), next), s.Drop(ctx, []shardlog.ShardID{id(1)})); err != nil {
		t.Fatal(err)
	}
	put(t, s, telling(0, 30, next))
	settle(t, s)
	after, err := read(cut, hold)
	if err != nil {
		t.Fatalf("the cut after everything in it has gone: %v", err)
	}
	for key, b := range before.objects {
		if !bytes.Equal(b, after.objects[key]) {
			t.Errorf("object %s has changed", key)
		}
	}
	hold.Release()
	now.Advance(2 * time.Second)
	settle(t, s)
	settle(t, s)
	for _, o := range cut.Objects {
		if _, err := bucket.Stat(ctx, o.Key); !errors.Is(err, objectstore.ErrNotFound) {
			t.Errorf("object %s of the cut after its release: %v", o.Key, err)
		}
	}
	if st := s.Stats(); len(objects(t, bucket, "blocks/")) != int(st.Files) || len(objects(t, bucket, "manifest/")) != 1 {
		t.Errorf("%d objects are left beside %+v", len(objects(t, bucket, "")), st)
	}
}

// TestCutIsWhole cuts while several put, again and again: what was answered before a cut is in it, and
// each batch is whole or not there.
func TestCutIsWhole(t *testing.T) {
	w := newWorld(3)
	cfg := w.config(nil)
	cfg.Clock = systemClock
	cfg.FlushBytes = 20_000
	s, err := shardlog.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	openShards(t, s, 3, day)
	var mu sync.Mutex
	answered := map[int]record.Index{}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for n := range 3 {
		writers.Go(func() {
			for at := record.Index(1); ; at += 3 {
				select {
				case <-stop:
					return
				default:
				}
				res, err := s.Append(ctx, []shardlog.Batch{telling(n, 3, at)})
				if err != nil || res[0].Err != nil {
					t.Errorf("Append() = %+v, %v", res, err)
					return
				}
				mu.Lock()
				answered[n] = at + 2
				mu.Unlock()
			}
		})
	}
	for i := range 20 {
		testpoll.Until(t, 10*time.Second, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return min(answered[0], answered[1], answered[2]) >= record.Index(6*i)
		}, "records")
		mu.Lock()
		want := map[int]record.Index{0: answered[0], 1: answered[1], 2: answered[2]}
		mu.Unlock()
		k, err := take(s, w.bucket)
		if err != nil {
			t.Fatal(err)
		}
		bucket, l, _, err := k.restore(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		again := open(t, shardlog.Config{Lane: l, Bucket: bucket})
		for n, last := range want {
			p, err := again.Read(ctx, id(n), 1, shardlog.Limit{Records: 1 << 20, Bytes: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(p.Records); got < int(last) || got%3 != 0 || got > 0 && p.Records[got-1].Index != record.Index(got) {
				t.Errorf("shard %d: the cut has %d records; %d were answered before", n, got, last)
			}
			checkTelling(t, p.Records)
			p.Release()
		}
	}
	close(stop)
	writers.Wait()
}

// TestCutFails has no room for the flush of a cut: it ends with that error, and the store goes on.
func TestCutFails(t *testing.T) {
	f := func(prefix string) {
		t.Helper()
		s, bucket, b, now := inline(t)
		openShards(t, s, 1, day)
		put(t, s, telling(0, 5, 1))
		bucket.set(func(key string) error {
			if strings.HasPrefix(key, prefix) {
				return fmt.Errorf("put %s: %w", key, objectstore.ErrFull)
			}
			return nil
		})
		if cut, err := s.Cut(ctx); !errors.Is(err, objectstore.ErrFull) {
			t.Errorf("Cut() with no room for %s = %+v, %v", prefix, cut, err)
		}
		bucket.set(nil)
		now.Advance(2 * time.Second)
		if _, err := take(s, b); err != nil {
			t.Fatalf("a cut with room again: %v", err)
		}
		wantAll(t, s, 0, 1, 6)
	}
	f("blocks/")
	f("manifest/")
}

// TestCutGivenUp fills the bucket while a cut holds what could go: writers come first.
func TestCutGivenUp(t *testing.T) {
	s, bucket, b, now := inline(t)
	openShards(t, s, 2, day)
	for n := range 2 {
		put(t, s, telling(n, 30, 1))
	}
	hold := b.Hold()
	cut, err := s.Cut(ctx)
	if err != nil {
		t.Fatal(err)
	}
	hold.Only(keys(cut))
	full := func(string) error { return objectstore.ErrFull }
	bucket.set(full)
	put(t, s, telling(0, 30, 31))
	settle(t, s)
	bucket.set(nil)
	if _, err := read(cut, hold); err != nil {
		t.Fatalf("a cut that holds nothing back: %v", err)
	}
	now.Advance(2 * time.Second)
	if err := s.Drop(ctx, []shardlog.ShardID{id(1)}); err != nil {
		t.Fatal(err)
	}
	put(t, s, telling(0, 30, 61))
	settle(t, s) // files of the cut are named no more
	bucket.set(full)
	put(t, s, telling(0, 30, 91))
	settle(t, s)
	bucket.set(nil)
	if _, err := read(cut, hold); !errors.Is(err, held.ErrGivenUp) {
		t.Errorf("a cut that was given up: %v", err)
	}
	for range 3 {
		now.Advance(2 * time.Second)
		settle(t, s)
	}
	if got := len(objects(t, bucket, "blocks/")); got != int(s.Stats().Files) {
		t.Errorf("%d block files are left, %d are named", got, s.Stats().Files)
	}
	wantAll(t, s, 0, 1, 121)
}

// TestCutTakerLeaves gives up waiting for a cut, and closes the store under one that waits: before its
// flush and in the middle of it.
func TestCutTakerLeaves(t *testing.T) {
	f := func(waiting int) {
		synctest.Test(t, func(t *testing.T) {
			bucket := newPicky()
			s := open(t, shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: bucket})
			openShards(t, s, 1, day)
			release := make(chan struct{})
			bucket.set(func(string) error { <-release; return nil })
			put(t, s, telling(0, 5, 1))
			gone, cancel := context.WithCancel(ctx)
			left := make(chan error)
			go func() { _, err := s.Cut(gone); left <- err }()
			synctest.Wait()
			cancel()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("Cut() whose context ended = %v", err)
			}
			for range waiting {
				go func() { _, err := s.Cut(ctx); left <- err }()
				synctest.Wait()
			}
			closed := make(chan error)
			go func() { closed <- s.Close() }()
			synctest.Wait()
			close(release)
			if err := <-closed; err != nil {
				t.Error(err)
			}
			for range waiting {
				if err := <-left; !errors.Is(err, shardlog.ErrClosed) {
					t.Errorf("Cut() under which the store was closed = %v", err)
				}
			}
			if _, err := s.Cut(ctx); !errors.Is(err, shardlog.ErrClosed) {
				t.Errorf("Cut() after Close = %v", err)
			}
		})
	}
	f(0)
	f(2)
	s := open(t, shardlog.Config{Lane: mem.New(mem.Config{})})
	if _, err := s.Cut(ctx); !errors.Is(err, shardlog.ErrNoFiles) {
		t.Errorf("Cut() of a store in memory = %v", err)
	}
}

// TestCutDuringFlush asks for a cut while a flush is under way: it is made by the next, with what came
// meanwhile, however often that fails.
func TestCutDuringFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := newPicky()
		b := held.New(bucket)
		s := open(t, shardlog.Config{Lane: mem.New(mem.Config{}), Bucket: b, FlushBytes: 1000})
		openShards(t, s, 1, day)
		release := make(chan struct{})
		bucket.set(func(string) error { <-release; return nil })
		put(t, s, telling(0, 5, 1))
		synctest.Wait()
		put(t, s, telling(0, 5, 6))
		got := make(chan kept)
		go func() {
			k, err := take(s, b)
			if err != nil {
				t.Error(err)
			}
			got <- k
		}()
		synctest.Wait()
		close(release)
		restored, l, _, err := (<-got).restore(time.Unix(1_800_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		again := open(t, shardlog.Config{Lane: l, Bucket: restored})
		p, err := again.Read(ctx, id(0), 1, shardlog.Limit{Records: 100, Bytes: 1 << 20})
		if err != nil || len(p.Records) != 10 {
			t.Errorf("the cut has %+v, %v; want 10 records", p, err)
		}
		if err := errors.Join(again.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestCutsOfCuts ends the process at every call while cuts are taken: what is left recovers, and every
// cut that was had can be restored.
func TestCutsOfCuts(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		w, c := newWorld(2), &cutter{at: at, after: at%2 == 0}
		var had []remembered
		s, err := shardlog.Open(ctx, w.config(c))
		if err == nil {
			had, err = w.liveCutting(s, c)
			_ = s.Close()
		}
		if err := w.recovered(); err != nil {
			t.Fatalf("cut at call %d: %v", at, err)
		}
		for _, r := range had {
			bucket, l, out, err := r.restore(w.clock.Now())
			if err != nil {
				t.Fatalf("cut at call %d: %v", at, err)
			}
			restored := &world{lane: l, bucket: bucket, clock: w.clock, fan: 2}
			if found, _ := restored.checked(t); len(found) > 0 {
				t.Fatalf("cut at call %d: a restored store has %+v", at, found)
			}
			s := open(t, restored.config(nil))
			for n, m := range r.shards {
				res := put(t, s, telling(n, 1, out.Next))
				if m.keep > 0 && res.First != out.Next || m.keep == 0 && res.First != m.next {
					t.Errorf("cut at call %d: shard %d goes on at %d", at, n, res.First)
				}
			}
		}
		if !c.dead {
			if err != nil || len(had) != 2 {
				t.Fatalf("the history ends with %d cuts and %v", len(had), err)
			}
			return
		}
	}
}

// alive returns an error once the process has ended, be it in what the committer does between calls.
func (c *cutter) alive(s *shardlog.Store) error {
	for range 2 { // the second waits for what comes after the first
		_ = s.Release(ctx, id(0), "nobody")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errCut
	}
	return nil
}

// liveCutting is live with two cuts in it, unless the process has ended.
func (w *world) liveCutting(s *shardlog.Store, c *cutter) (had []remembered, err error) {
	for n, keep := range []time.Duration{0, 24 * time.Hour} {
		w.shards[n] = &told{first: 1, maybeGone: true}
		if err := s.Open(ctx, []shardlog.ShardID{id(n)}, shardlog.Retention{Age: keep}); err != nil {
			return had, err
		}
		w.shards[n].maybeGone = false
	}
	for i := range 10 {
		for n := range 2 {
			if err := w.append(s, n, 1+i%3, i); err != nil {
				return had, err
			}
		}
		w.clock.Advance(3 * time.Second)
		if i%5 != 3 {
			continue
		}
		if err := c.alive(s); err != nil { // a flush has failed, and waits for its next try
			return had, err
		}
		k, err := take(s, w.bucket)
		if err != nil {
			return had, err
		}
		r := remembered{kept: k, shards: map[int]*modelled{}}
		for n, sh := range w.shards {
			r.shards[n] = &modelled{keep: []time.Duration{0, 24 * time.Hour}[n], next: record.Index(len(sh.data) + 1)}
		}
		had = append(had, r)
	}
	return had, nil
}
