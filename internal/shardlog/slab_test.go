package shardlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/shardlog/slab"
	"github.com/headrace/headrace/internal/testpoll"
)

// telling makes a batch whose records say which they are in every byte of their data.
func telling(shard, records int, first record.Index) shardlog.Batch {
	b := shardlog.Batch{Shard: id(shard)}
	for i := range records {
		b.Entries = append(b.Entries, record.Entry{PartitionKey: fmt.Sprint(first + record.Index(i)), Data: bytes.Repeat([]byte{byte(first) + byte(i)}, 1000)})
	}
	return b
}

// checkTelling checks records that telling made.
func checkTelling(t testing.TB, records []record.Record) {
	t.Helper()
	for _, r := range records {
		if r.PartitionKey != fmt.Sprint(r.Index) || !bytes.Equal(r.Data, bytes.Repeat([]byte{byte(r.Index)}, 1000)) {
			t.Fatalf("record %d is %s %x…", r.Index, r.PartitionKey, r.Data[:8])
		}
	}
}

// TestMemoryServesAgain writes more than twice the budget, trimming as it goes, and counts the slabs.
func TestMemoryServesAgain(t *testing.T) {
	s := open(t, shardlog.Config{Lane: mem.New(mem.Config{}), Memory: 64 << 20})
	openShards(t, s, 1, shardlog.Retention{})
	for range 1500 {
		res := put(t, s, batch(0, 100, 1000))
		if err := s.TrimTo(ctx, id(0), res.First+100); err != nil {
			t.Fatal(err)
		}
	}
	if made := s.SlabsMade(); made > 6 {
		t.Errorf("150 MB through a store that holds 100 kB took %d slabs of a MiB; want a few", made)
	}
}

// TestPageKeepsItsMemory reads a page, drops its shard and writes far more than was freed.
func TestPageKeepsItsMemory(t *testing.T) {
	s := open(t, shardlog.Config{Lane: mem.New(mem.Config{}), Memory: 64 << 20})
	openShards(t, s, 2, shardlog.Retention{})
	put(t, s, telling(0, 500, 1))
	page, err := s.Read(ctx, id(0), 1, shardlog.Limit{Records: 1000, Bytes: 10 << 20})
	if err != nil || len(page.Records) != 500 {
		t.Fatalf("Read = %d records, %v", len(page.Records), err)
	}
	if err := s.Drop(ctx, ids(1)); err != nil {
		t.Fatal(err)
	}
	churn := func() {
		for range 200 {
			res := put(t, s, batch(1, 100, 1000))
			if err := s.TrimTo(ctx, id(1), res.First+100); err != nil {
				t.Fatal(err)
			}
		}
	}
	churn()
	checkTelling(t, page.Records)
	made := s.SlabsMade()
	page.Release()
	churn()
	if again := s.SlabsMade(); again > made {
		t.Errorf("%d slabs were made with a page out, %d after its release; want no more", made, again)
	}
}

// TestReadersSeeWhatWasWritten reads at the very horizon of a shard that is trimmed as fast as it is
// written: the race detector sees it if a slab serves again while a page reads from it, and the system
// if its memory has gone back.
func TestReadersSeeWhatWasWritten(t *testing.T) {
	t.Run("Heap", func(t *testing.T) {
		readersSeeWhatWasWritten(t, shardlog.Config{Lane: mem.New(mem.Config{}), Memory: 64 << 20})
	})
	t.Run("System", func(t *testing.T) {
		readersSeeWhatWasWritten(t, shardlog.Config{Lane: copying{mem.New(mem.Config{})}, Memory: 2 << 20})
	})
}

func readersSeeWhatWasWritten(t *testing.T, cfg shardlog.Config) {
	s := open(t, cfg)
	openShards(t, s, 1, shardlog.Retention{})
	var (
		wg   sync.WaitGroup
		done atomic.Bool
		seen atomic.Int64
	)
	for range 3 {
		wg.Go(func() {
			for !done.Load() {
				page, err := s.Read(ctx, id(0), 1, shardlog.Limit{Records: 300, Bytes: 1 << 20})
				if err != nil {
					t.Error(err)
					return
				}
				checkTelling(t, page.Records)
				seen.Add(int64(len(page.Records)))
				page.Release()
			}
		})
	}
	next := record.Index(1)
	for i := 0; i < 600 || seen.Load() == 0; i++ {
		res := put(t, s, telling(0, 100, next))
		next = res.First + 100
		if err := s.TrimTo(ctx, id(0), max(200, next)-200); err != nil {
			t.Fatal(err)
		}
	}
	done.Store(true)
	wg.Wait()
}

// copying is a lane that has done with payloads when Append returns, so that the store's memory is
// the system's.
type copying struct{ lane.Lane }

func (l copying) Append(ctx context.Context, next lane.Position, payload []byte) error {
	return l.Lane.Append(ctx, next, bytes.Clone(payload))
}

func (copying) Keeps() bool { return false }

// needSystemMemory skips a test where slabs come from the heap.
func needSystemMemory(t *testing.T) {
	if !slab.HasSystem() {
		t.Skip("slabs come from the heap here")
	}
}

// TestSystemMemoryGoesBack closes stores and counts the slabs that are still mapped: none, but what a
// page reads from, until it is released.
func TestSystemMemoryGoesBack(t *testing.T) {
	needSystemMemory(t)
	l := copying{mem.New(mem.Config{})}
	s := open(t, shardlog.Config{Lane: l, Memory: 64 << 20})
	openShards(t, s, 2, day)
	put(t, s, telling(0, 200, 1))
	for range 40 {
		put(t, s, batch(1, 100, 1000))
	}
	slabs := s.Slabs()
	kept := func() (n int) {
		for _, b := range slabs {
			if !b.OfSystem() {
				t.Fatal("a slab is the heap's; want the system's, for the lane keeps nothing")
			}
			if !b.GivenBack() {
				n++
			}
		}
		return n
	}
	if n := kept(); n != len(slabs) || n < 4 {
		t.Fatalf("%d slabs of %d are mapped; want all, of a MiB each", n, len(slabs))
	}
	page, err := s.Read(ctx, id(0), 1, shardlog.Limit{Records: 200, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := kept(); n != 1 {
		t.Errorf("%d slabs are mapped after Close with a page out; want the page's", n)
	}
	checkTelling(t, page.Records)
	page.Release()
	if n := kept(); n != 0 {
		t.Errorf("%d slabs are mapped after the page's release; want none", n)
	}
	if _, err := s.Read(ctx, id(0), 1, shardlog.Limit{Records: 1, Bytes: 1}); !errors.Is(err, shardlog.ErrClosed) {
		t.Errorf("Read after Close = %v; want ErrClosed", err)
	}
	again := open(t, shardlog.Config{Lane: l, Memory: 64 << 20})
	for _, b := range again.Slabs() {
		if !b.OfSystem() {
			t.Error("what was recovered is on the heap")
		}
	}
	if page, err = again.Read(ctx, id(0), 1, shardlog.Limit{Records: 200, Bytes: 1 << 20}); err != nil || len(page.Records) != 200 {
		t.Fatalf("Read = %v, %v; want 200 records", page, err)
	}
	checkTelling(t, page.Records)
}

// TestCloseBeside closes a store while readers are at its tail: what they got stays readable, and
// what they ask for from then on is refused.
func TestCloseBeside(t *testing.T) {
	for range 20 {
		s := open(t, shardlog.Config{Lane: copying{mem.New(mem.Config{})}, Memory: 64 << 20})
		openShards(t, s, 1, day)
		put(t, s, telling(0, 200, 1))
		var wg sync.WaitGroup
		var reading atomic.Int32
		for range 3 {
			wg.Go(func() {
				for {
					page, err := s.Read(ctx, id(0), 1, shardlog.Limit{Records: 200, Bytes: 1 << 20})
					if errors.Is(err, shardlog.ErrClosed) {
						return
					}
					if err != nil || len(page.Records) != 200 {
						t.Errorf("Read = %v, %v", page, err)
						return
					}
					reading.Add(1)
					checkTelling(t, page.Records)
					page.Release()
				}
			})
		}
		testpoll.Until(t, 10*time.Second, func() bool { return reading.Load() > 2 }, "a page read")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
}
