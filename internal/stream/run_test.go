package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	coordmem "github.com/headrace/headrace/internal/coordinator/mem"
	lanemem "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
)

// inMemory returns what Streams need at least, on storage in memory that is closed when the test ends.
func inMemory(t *testing.T) Config {
	t.Helper()
	store, err := shardlog.Open(t.Context(), shardlog.Config{Lane: lanemem.New(lanemem.Config{}), Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	rows := coordmem.New()
	t.Cleanup(func() {
		if err := errors.Join(store.Close(), rows.Close()); err != nil {
			t.Error(err)
		}
	})
	return Config{Log: store, Registry: store, Coordinator: rows, Clock: clock.System{}}
}

// nodes runs n Streams on one storage inside a synctest bubble.
func nodes(t *testing.T, n int, delay time.Duration, f func(ctx context.Context, nodes []*Streams)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := inMemory(t)
		cfg.TransitionDelay = delay
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var all []*Streams
		for range n {
			s, err := New(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
			running.Go(func() {
				if err := s.Run(ctx); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
		synctest.Wait()
		f(ctx, all)
		synctest.Wait()
		stop()
		running.Wait()
	})
}

func (s *Streams) status(ref Ref) Status {
	d, err := s.DescribeStreamSummary(home, ref)
	if err != nil {
		return ""
	}
	return d.Status
}

// TestRunCarriesOutTransitions follows a stream through its life on two nodes, each of which sees
// what the other did.
func TestRunCarriesOutTransitions(t *testing.T) {
	ref := Ref{Name: "mill"}
	nodes(t, 2, 30*time.Second, func(ctx context.Context, n []*Streams) {
		want := func(at string, status Status) {
			t.Helper()
			synctest.Wait()
			for i := range n {
				if got := n[i].status(ref); got != status {
					t.Errorf("%s: node %d says %q; want %q", at, i, got, status)
				}
			}
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		wait := func(d time.Duration) { <-time.After(d) }
		do(n[0].CreateStream(ctx, home, CreateInput{Name: ref.Name, ShardCount: 2}))
		want("created", Creating)
		wait(29 * time.Second)
		want("a second before", Creating)
		wait(2 * time.Second)
		want("in time", Active)
		do(n[1].SplitShard(ctx, home, ref, "0", "2"))
		want("split", Updating)
		wait(31 * time.Second)
		want("in time", Active)
		_, err := n[0].UpdateShardCount(ctx, home, ref, 4)
		do(err)
		wait(31 * time.Second)
		want("scaled", Active)
		wait(25 * time.Hour)
		synctest.Wait()
		for i := range n {
			e, v, err := n[i].find(home, ref)
			do(err)
			if len(v.open) != 4 || len(n[i].known(e)) != 4 {
				t.Errorf("node %d: %d open shards of %d rows after a day; want 4 of 4", i, len(v.open), len(n[i].known(e)))
			}
		}
		// A consumer that one node registers is the other's as well, and the stream takes it along.
		_, err = n[0].RegisterConsumer(ctx, home, home.arn(ref.Name), "wheel", nil)
		do(err)
		wheel := ConsumerRef{StreamARN: home.arn(ref.Name), Name: "wheel"}
		for _, status := range []Status{Creating, Active} {
			synctest.Wait()
			for i := range n {
				if c, err := n[i].DescribeConsumer(home, wheel); err != nil || c.Status != status {
					t.Errorf("node %d says %q of the consumer, error %v; want %q", i, c.Status, err, status)
				}
			}
			wait(31 * time.Second)
		}
		do(n[1].DeleteStream(ctx, home, ref, true))
		want("deleted", Deleting)
		wait(31 * time.Second)
		want("gone", "")
		for i := range n {
			n[i].rows.Lock()
			if r := &n[i].rows; len(r.byID)+len(r.orphans)+len(r.lostConsumers)+len(r.gone)+len(r.pending)+r.usage.Len()+r.usage.Total().Held != 0 {
				t.Errorf("node %d still remembers %+v", i, r)
			}
			n[i].rows.Unlock()
			if left := len(*n[i].accounts.Load()); left != 0 {
				t.Errorf("node %d still has %d accounts", i, left)
			}
		}
	})
}

// TestPutsDuringReshards puts through two nodes while a third reshards, and checks that every record
// is there once, each writer's in its order along the lineage.
func TestPutsDuringReshards(t *testing.T) {
	ref := Ref{Name: "mill"}
	const writers, puts = 4, 200
	nodes(t, 3, 0, func(ctx context.Context, n []*Streams) {
		if err := n[0].CreateStream(ctx, home, CreateInput{Name: ref.Name, ShardCount: 2}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range puts {
					r, err := n[w%2].Put(ctx, home, ref, entry1(fmt.Sprint("writer", w), fmt.Sprintf("%d/%03d", w, i)), "")
					if err != nil || r.Err != nil {
						t.Errorf("writer %d, put %d: %v", w, i, err)
						return
					}
					<-time.After(time.Millisecond)
				}
			})
		}
		for _, target := range []int{4, 3, 6, 5, 9, 5} {
			if _, err := n[2].UpdateShardCount(ctx, home, ref, target); err != nil {
				t.Errorf("to %d shards: %v", target, err)
			}
			<-time.After(20 * time.Millisecond)
		}
		wg.Wait()
		synctest.Wait()
		last := map[byte]string{}
		count := 0
		walk(t, n[1], ref, func(rec *record.Record) {
			data := string(rec.Data)
			if data <= last[data[0]] {
				t.Errorf("%s comes after %s", data, last[data[0]])
			}
			last[data[0]] = data
			count++
		})
		if count != writers*puts {
			t.Errorf("read %d records; want %d", count, writers*puts)
		}
	})
}

// walk reads a stream the way consumers do: it starts with the shards open at the trim horizon and
// goes on to the children of those it finished, never to a child before all its parents.
func walk(t testing.TB, s *Streams, ref Ref, each func(*record.Record)) {
	t.Helper()
	page, err := s.ListShards(home, ListShardsInput{Ref: ref, Filter: &ShardFilter{Type: AtTrimHorizon}})
	if err != nil {
		t.Fatal(err)
	}
	var ready []string
	for _, sh := range page.Shards {
		ready = append(ready, sh.ID)
	}
	finished := map[string]bool{}
	for len(ready) > 0 {
		id := ready[0]
		ready = ready[1:]
		children, closed := drain(t, s, ref, id, each)
		if !closed {
			continue
		}
		finished[id] = true
		for _, c := range children {
			all := true
			for _, p := range c.Parents {
				all = all && finished[p]
			}
			if all {
				ready = append(ready, c.ID)
			}
		}
	}
}

// drain reads a shard from the trim horizon until nothing more comes, and checks that its records
// have no gap and that it ends as AWS's do.
func drain(t testing.TB, s *Streams, ref Ref, id string, each func(*record.Record)) (children []ChildShard, closed bool) {
	t.Helper()
	it, err := s.GetShardIterator(t.Context(), home, ref, IteratorInput{ShardID: id, Type: TrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	last, seq := record.Index(0), ""
	for {
		r, err := s.GetRecords(t.Context(), home, "", it, 7)
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Page.Records {
			rec := &r.Page.Records[i]
			if last != 0 && rec.Index != last+1 {
				t.Errorf("%s: record %d comes after %d", id, rec.Index, last)
			}
			if now := r.Sequence(i).String(); now <= seq {
				t.Errorf("%s: sequence number %s comes after %s", id, now, seq)
			} else {
				last, seq = rec.Index, now
			}
			each(rec)
		}
		n := len(r.Page.Records)
		r.Release()
		if (r.Next == "") != (len(r.Children) > 0) {
			t.Errorf("%s: next iterator %q with %d children", id, r.Next, len(r.Children))
		}
		if it = r.Next; it == "" {
			return r.Children, true
		}
		if n == 0 {
			return nil, false
		}
	}
}

// TestPutWaitsForRouting holds a reshard between sealing the parent and opening the children.
func TestPutWaitsForRouting(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ref := w.create("mill", 1)
	w.fuse.left = 3 // the plan, the logs, the seal
	w.must(w.SplitShard(t.Context(), home, ref, "0", "2"))
	if len(w.failed) != 1 {
		t.Fatalf("transitions failed: %v", w.failed)
	}
	w.fuse.left = -1

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Put(ctx, home, ref, entry1("k", "x"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("put with a cancelled context: %v", err)
	}
	it := w.iterator(ref, IteratorInput{ShardID: "0", Type: TrimHorizon})
	r, err := w.GetRecords(t.Context(), home, "", it, 0)
	w.must(err)
	if r.Next == "" || len(r.Children) != 0 {
		t.Errorf("a sealed shard without children ends: next %q", r.Next)
	}
	r.Release()

	done := make(chan PutResult)
	go func() {
		r, err := w.Put(t.Context(), home, ref, entry1("k", "x"), "")
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	w.tick(2 * time.Second)
	if r := <-done; r.ShardID != "shardId-000000000002" {
		t.Errorf("the record went to %s", r.ShardID)
	}
}

// TestRunStopsAtOnce asks it to stop before it has begun.
func TestRunStopsAtOnce(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Errorf("Run = %v; want nil", err)
	}
}
