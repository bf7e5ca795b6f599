package shardlog_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// hooked is a lane that asks before each append.
type hooked struct {
	lane.Lane
	mu     sync.Mutex
	before func(payload []byte) error
}

func (h *hooked) set(f func(payload []byte) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = f
}

func (h *hooked) Append(ctx context.Context, next lane.Position, payload []byte) error {
	h.mu.Lock()
	f := h.before
	h.mu.Unlock()
	if f != nil {
		if err := f(payload); err != nil {
			return err
		}
	}
	return h.Lane.Append(ctx, next, payload)
}

var day = shardlog.Retention{Age: 24 * time.Hour}

func id(n int) shardlog.ShardID { return shardlog.ShardID{Stream: 7, Shard: int32(n)} }

func ids(n int) []shardlog.ShardID {
	var out []shardlog.ShardID
	for i := range n {
		out = append(out, id(i))
	}
	return out
}

func open(t testing.TB, cfg shardlog.Config) *shardlog.Store {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	s, err := shardlog.Open(ctx, cfg)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openShards(t testing.TB, s *shardlog.Store, n int, keep shardlog.Retention) {
	t.Helper()
	if err := s.Open(ctx, ids(n), keep); err != nil {
		t.Fatalf("Open(%d shards) = %v", n, err)
	}
}

func batch(shard, records, size int) shardlog.Batch {
	b := shardlog.Batch{Shard: id(shard)}
	for i := range records {
		b.Entries = append(b.Entries, record.Entry{PartitionKey: fmt.Sprint("key", i), Data: make([]byte, size)})
	}
	return b
}

func put(t testing.TB, s *shardlog.Store, b shardlog.Batch) shardlog.Result {
	t.Helper()
	res, err := s.Append(ctx, []shardlog.Batch{b})
	if err != nil || res[0].Err != nil {
		t.Fatalf("Append = %+v, %v", res, err)
	}
	return res[0]
}

func wantNext(t testing.TB, s *shardlog.Store, shard int, next record.Index) {
	t.Helper()
	b, err := s.Bounds(ctx, id(shard))
	if err != nil || b.Next != next {
		t.Errorf("Bounds(%d) = %+v, %v; want Next %d", shard, b, err, next)
	}
}

func TestLaneFull(t *testing.T) {
	l := &hooked{Lane: mem.New(mem.Config{MaxGroup: 4 << 10})}
	s := open(t, shardlog.Config{Lane: l})
	openShards(t, s, 2, day)
	put(t, s, batch(0, 3, 10))
	l.set(func([]byte) error { return lane.ErrFull })
	producer := batch(0, 1, 10)
	producer.Producer = shardlog.Producer{ID: 1, Epoch: 1, Sequence: 1}
	res, err := s.Append(ctx, []shardlog.Batch{batch(0, 2, 10), producer, batch(1, 1, 9000), producer})
	if err != nil {
		t.Fatalf("Append = %v", err)
	}
	for i, r := range res {
		if !errors.Is(r.Err, shardlog.ErrFull) || r.First != 0 {
			t.Errorf("result %d = %+v; want ErrFull and nothing else", i, r)
		}
	}
	f := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, shardlog.ErrFull) {
			t.Errorf("%s = %v; want ErrFull", what, err)
		}
	}
	_, err = s.Seal(ctx, id(0))
	f("Seal", err)
	f("Open", s.Open(ctx, ids(3), day))
	f("Drop", s.Drop(ctx, ids(1)))
	f("Hold", s.Hold(ctx, id(0), "h", 1))
	wantNext(t, s, 0, 4)
	l.set(nil)
	if got := put(t, s, producer).First; got != 4 { // neither sealed nor a duplicate
		t.Errorf("First = %d after the full lane; want 4", got)
	}
	openShards(t, s, 3, day)
	put(t, s, batch(2, 1, 1))
}

func TestFatal(t *testing.T) {
	broken := errors.New("broken disk")
	l := &hooked{Lane: mem.New(mem.Config{})}
	fatal := make(chan error, 2)
	s := open(t, shardlog.Config{Lane: l, Events: shardlog.Events{Fatal: func(err error) { fatal <- err }}})
	openShards(t, s, 2, day)
	put(t, s, batch(0, 1, 10))
	entered, release := make(chan struct{}), make(chan struct{})
	l.set(func([]byte) error {
		close(entered)
		<-release
		return broken
	})
	errs := make(chan error, 5)
	try := func() {
		_, err := s.Append(ctx, []shardlog.Batch{batch(1, 1, 10)})
		errs <- err
	}
	go try()
	<-entered
	go func() { errs <- s.Wait(ctx, id(0), 2) }()
	go func() { _, err := s.Seal(ctx, id(0)); errs <- err }()
	go try()
	go try()
	close(release)
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, broken) {
			t.Errorf("error %v; want the lane's", err)
		}
	}
	if err := <-fatal; !errors.Is(err, broken) {
		t.Errorf("Fatal(%v); want the lane's error", err)
	}
	if _, err := s.Append(ctx, []shardlog.Batch{batch(0, 1, 1)}); !errors.Is(err, broken) {
		t.Errorf("Append = %v; want the lane's error", err)
	}
	if _, err := s.Read(ctx, id(0), 1, shardlog.Limit{Records: 1}); !errors.Is(err, broken) {
		t.Errorf("Read = %v; want the lane's error", err)
	}
	if err := s.Close(); !errors.Is(err, broken) {
		t.Errorf("Close = %v; want the lane's error", err)
	}
	if len(fatal) != 0 {
		t.Error("Fatal was called twice")
	}
}

func TestFencedByNextOwner(t *testing.T) {
	l := mem.New(mem.Config{})
	fatal := make(chan error, 1)
	old := open(t, shardlog.Config{Lane: l, Events: shardlog.Events{Fatal: func(err error) { fatal <- err }}})
	openShards(t, old, 1, day)
	put(t, old, batch(0, 2, 10))
	heir := open(t, shardlog.Config{Lane: l}) // from here the old owner can acknowledge nothing
	if _, err := old.Append(ctx, []shardlog.Batch{batch(0, 1, 10)}); !errors.Is(err, lane.ErrFenced) {
		t.Fatalf("Append by the former owner = %v; want ErrFenced", err)
	}
	if err := <-fatal; !errors.Is(err, lane.ErrFenced) {
		t.Errorf("Fatal(%v); want ErrFenced", err)
	}
	if got := put(t, heir, batch(0, 1, 10)).First; got != 3 {
		t.Errorf("First = %d on the new owner; want 3", got)
	}
}

// TestQueuedBehindSeal blocks the lane so that the order of the queue is known: what was queued
// before the seal lands, what was queued behind it is refused, in one group.
func TestQueuedBehindSeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &hooked{Lane: mem.New(mem.Config{})}
		s := open(t, shardlog.Config{Lane: l})
		openShards(t, s, 2, day)
		release := make(chan struct{})
		l.set(func([]byte) error { <-release; return nil })
		var wg sync.WaitGroup
		wg.Go(func() { put(t, s, batch(1, 1, 1)) })
		synctest.Wait()
		before, after := make([]error, 3), make([]error, 3)
		try := func(out *error) {
			wg.Go(func() {
				res, err := s.Append(ctx, []shardlog.Batch{batch(0, 2, 1)})
				if *out = err; err == nil {
					*out = res[0].Err
				}
			})
		}
		for i := range before {
			try(&before[i])
		}
		synctest.Wait()
		var sealed shardlog.Bounds
		wg.Go(func() { sealed, _ = s.Seal(ctx, id(0)) })
		synctest.Wait()
		for i := range after {
			try(&after[i])
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		for i := range before {
			if before[i] != nil || !errors.Is(after[i], shardlog.ErrSealed) {
				t.Errorf("appends before and after the seal: %v, %v; want nil, ErrSealed", before[i], after[i])
			}
		}
		if !sealed.Sealed || sealed.Next != 7 {
			t.Errorf("Seal = %+v; want Next 7", sealed)
		}
		if n := s.Stats().Groups; n != 3 { // open, the first append, all the rest
			t.Errorf("the lane holds %d groups; want 3", n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestAbandoned cancels appends while the lane is slow: the callers leave at once, the batches
// land whole, and their buffers are not reused before.
func TestAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &hooked{Lane: mem.New(mem.Config{})}
		s := open(t, shardlog.Config{Lane: l})
		openShards(t, s, 1, day)
		release := make(chan struct{})
		l.set(func([]byte) error { <-release; return nil })
		half, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := s.Append(half, []shardlog.Batch{batch(0, 5, 100)}); !errors.Is(err, context.Canceled) {
					t.Errorf("Append = %v; want Canceled", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait() // though the lane still blocks
		for range 10 {
			wg.Go(func() { put(t, s, batch(0, 5, 100)) })
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		wantNext(t, s, 0, 101)
		p, err := s.Read(ctx, id(0), 1, shardlog.Limit{Records: 1000, Bytes: 1 << 20})
		if err != nil || len(p.Records) != 100 {
			t.Fatalf("Read = %v, %v; want 100 records", p, err)
		}
		for i, r := range p.Records {
			if want := fmt.Sprint("key", i%5); r.PartitionKey != want || len(r.Data) != 100 {
				t.Errorf("record %d has key %q; want %q", r.Index, r.PartitionKey, want)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseCommitsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New(mem.Config{})
		l := &hooked{Lane: inner}
		s := open(t, shardlog.Config{Lane: l})
		openShards(t, s, 1, day)
		release := make(chan struct{})
		l.set(func([]byte) error { <-release; return nil })
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { put(t, s, batch(0, 1, 1)) })
		}
		synctest.Wait()
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		})
		synctest.Wait()
		close(release)
		wg.Wait()
		l.set(nil)
		wantNext(t, open(t, shardlog.Config{Lane: l}), 0, 4)
	})
}

// TestTimeStandsStillForChange raises the retention while the lane is slow and time passes: what a
// reader sees trimmed meanwhile stays trimmed, so the reader sees nothing trimmed meanwhile.
func TestTimeStandsStillForChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &hooked{Lane: mem.New(mem.Config{})}
		now := clock.NewManual(time.Unix(1_800_000_000, 0))
		s := open(t, shardlog.Config{Lane: l, Clock: now})
		openShards(t, s, 1, shardlog.Retention{Age: 10 * time.Second})
		for range 20 {
			put(t, s, batch(0, 1, 1))
			now.Advance(time.Second)
		}
		first := func() record.Index {
			b, err := s.Bounds(ctx, id(0))
			if err != nil {
				t.Fatal(err)
			}
			return b.First
		}
		release := make(chan struct{})
		l.set(func([]byte) error { <-release; return nil })
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.SetRetention(ctx, ids(1), day); err != nil {
				t.Errorf("SetRetention = %v", err)
			}
		})
		synctest.Wait()
		now.Advance(5 * time.Second)
		during := first()
		close(release)
		wg.Wait()
		if after := first(); during != 12 || after != during {
			t.Errorf("First = %d while the change was on its way and %d after; want 12 both times", during, after)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
