package shardlog_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
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
// written: the race detector sees it if a slab serves again while a page reads from it.
func TestReadersSeeWhatWasWritten(t *testing.T) {
	s := open(t, shardlog.Config{Lane: mem.New(mem.Config{}), Memory: 64 << 20})
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
