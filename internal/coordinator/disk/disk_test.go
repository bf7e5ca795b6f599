package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/coordinator/coordinatortest"
	"github.com/headrace/headrace/internal/lane"
	lanemem "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	bucketmem "github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/shardlog"
)

var shard = shardlog.ShardID{Stream: 1 << 63, Shard: 1}

// world is a lane and a bucket that outlive the processes which use them, and the present one.
type world struct {
	t      *testing.T
	lane   *faultyLane
	bucket objectstore.Bucket
	// snapshotBytes is Config.SnapshotBytes.
	snapshotBytes int64
	store         *shardlog.Store
	c             *Coordinator
}

func newWorld(t *testing.T) *world {
	return &world{t: t, lane: &faultyLane{Lane: lanemem.New(lanemem.Config{})}, bucket: bucketmem.New(clock.System{}, 0)}
}

// start starts a process. One that ran before is gone without a word: it learns at its next append
// that the lane has been taken over.
func (w *world) start() *Coordinator {
	w.t.Helper()
	store, c := w.store, w.c
	var err error
	if w.store, err = shardlog.Open(w.t.Context(), shardlog.Config{Lane: w.lane, Clock: clock.System{}}); err != nil {
		w.t.Fatal(err)
	}
	w.c, err = Open(w.t.Context(), Config{
		Log: w.store, Registry: w.store, Bucket: w.bucket, Shard: shard, SnapshotBytes: w.snapshotBytes,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if c != nil {
		c.Close()
		store.Close()
	}
	return w.c
}

// stop ends the present process in good order.
func (w *world) stop() {
	if w.c != nil {
		w.c.Close()
	}
	if w.store != nil {
		w.store.Close()
	}
	w.c, w.store = nil, nil
}

// faultyLane is a lane whose Append fails, before or after it took the group.
type faultyLane struct {
	lane.Lane
	failBefore, failAfter, full atomic.Bool
}

var errBroken = errors.New("broken")

func (l *faultyLane) Append(ctx context.Context, next lane.Position, payload []byte) error {
	switch {
	case l.failBefore.Load():
		return errBroken
	case l.full.Load():
		return lane.ErrFull
	}
	err := l.Lane.Append(ctx, next, payload)
	if l.failAfter.Load() {
		return errBroken
	}
	return err
}

func (l *faultyLane) heal() {
	l.failBefore.Store(false)
	l.failAfter.Store(false)
	l.full.Store(false)
}

func open(t *testing.T, snapshotBytes int64) *Coordinator {
	w := newWorld(t)
	w.snapshotBytes = snapshotBytes
	t.Cleanup(w.stop)
	return w.start()
}

func TestConformance(t *testing.T) {
	coordinatortest.Test(t, func(t *testing.T) coordinator.Coordinator { return open(t, 0) })
}

func TestConformanceWithManySnapshots(t *testing.T) {
	coordinatortest.Test(t, func(t *testing.T) coordinator.Coordinator { return open(t, 200) })
}

// TestConformanceAfterRestart runs the kit on coordinators that had rows and lost them.
func TestConformanceAfterRestart(t *testing.T) {
	coordinatortest.Test(t, func(t *testing.T) coordinator.Coordinator {
		w := newWorld(t)
		t.Cleanup(w.stop)
		c := w.start()
		v, err := c.Put(t.Context(), "k", []byte("before"), 0)
		if err = errors.Join(err, c.Delete(t.Context(), "k", v)); err != nil {
			t.Fatal(err)
		}
		return w.start()
	})
}

// TestVersionsRiseThroughRestarts deletes the last key there is and recovers, from the log and from
// a snapshot: nothing may get the version that the key had.
func TestVersionsRiseThroughRestarts(t *testing.T) {
	for _, snapshotBytes := range []int64{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.stop()
			w.snapshotBytes = snapshotBytes
			c := w.start()
			last := coordinator.Version(0)
			for i := range 10 {
				v, err := c.Put(t.Context(), "k", nil, 0)
				if err != nil || v <= last {
					t.Fatalf("Put after %d restarts = %d, %v; want more than %d", i, v, err, last)
				}
				if err := c.Delete(t.Context(), "k", v); err != nil {
					t.Fatal(err)
				}
				last = v + 1 // the deletion has one too
				synctest.Wait()
				c = w.start()
			}
			infos, err := w.bucket.List(t.Context(), "", "", 10)
			if err != nil || (len(infos) > 0) != (snapshotBytes == 1) {
				t.Errorf("%d snapshots, %v", len(infos), err)
			}
		})
	}
}

// TestRefusalsAreNotLogged counts what the log holds.
func TestRefusalsAreNotLogged(t *testing.T) {
	w := newWorld(t)
	defer w.stop()
	c := w.start()
	if _, err := c.Put(t.Context(), "k", nil, 0); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := c.Put(t.Context(), "k", nil, 0); !errors.Is(err, coordinator.ErrConflict) {
			t.Errorf("Put = %v, want %v", err, coordinator.ErrConflict)
		}
	}
	if b, err := w.store.Bounds(t.Context(), shard); err != nil || b.Next != 2 {
		t.Errorf("the log ends before %d, %v; want 2", b.Next, err)
	}
}

func TestFailureReachesEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		c := w.start()
		watcher, err := c.Watch(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		blocked := make(chan error, 1)
		go func() {
			_, err := watcher.Next(t.Context())
			blocked <- err
		}()
		synctest.Wait()
		w.lane.failBefore.Store(true)
		_, putErr := c.Put(t.Context(), "k", nil, 0)
		synctest.Wait()
		_, getErr := c.Get(t.Context(), "k")
		_, listErr := c.List(t.Context(), "", "", 1)
		_, watchErr := c.Watch(t.Context(), "")
		for _, err := range []error{putErr, getErr, listErr, watchErr, <-blocked, c.Delete(t.Context(), "k", 1)} {
			if !errors.Is(err, errBroken) {
				t.Errorf("a call on a broken lane = %v, want %v", err, errBroken)
			}
		}
	})
}

func TestFullLogChangesNothing(t *testing.T) {
	w := newWorld(t)
	defer w.stop()
	c := w.start()
	w.lane.full.Store(true)
	if _, err := c.Put(t.Context(), "k", nil, 0); !errors.Is(err, shardlog.ErrFull) {
		t.Errorf("Put = %v, want %v", err, shardlog.ErrFull)
	}
	w.lane.heal()
	if _, err := c.Put(t.Context(), "k", nil, 0); err != nil {
		t.Errorf("Put after there was room = %v", err)
	}
}

func TestSlowWatcherHoldsNoMoreThanTheKeys(t *testing.T) {
	c := open(t, 0)
	opened, err := c.Watch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	w := opened.(*watcher)
	f := func(want int) {
		t.Helper()
		if got := len(w.pending); got != want {
			t.Errorf("%d changes pending, want %d", got, want)
		}
		if got := len(w.order); got > 2*want+minStale {
			t.Errorf("%d places held for %d changes", got, want)
		}
	}
	var v coordinator.Version
	for i := range 300 {
		v, _ = c.Put(t.Context(), "k", nil, v)
		gone, _ := c.Put(t.Context(), strconv.Itoa(i), nil, 0)
		c.Delete(t.Context(), strconv.Itoa(i), gone)
	}
	f(1)
	if entries, err := w.Next(t.Context()); err != nil || len(entries) != 1 || entries[0].Version != v {
		t.Fatalf("Next = %v, %v; want k at version %d", entries, err, v)
	}
	f(0)
	c.Delete(t.Context(), "k", v)
	f(1)
	w.Close()
	f(0)
	if n := len(c.watchers.set); n != 0 {
		t.Errorf("%d watchers kept after Close, want 0", n)
	}
}

func TestNextIsBounded(t *testing.T) {
	c := open(t, 0)
	for i := range 10 {
		if _, err := c.Put(t.Context(), strconv.Itoa(i), make([]byte, coordinator.MaxValue), 0); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Watch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for seen := 0; seen < 10; {
		entries, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) > 2 {
			t.Errorf("Next returned %d values of MaxValue, want at most 2", len(entries))
		}
		seen += len(entries)
	}
}

// TestRestoreChecks hands the table rows that Freeze cannot have written.
func TestRestoreChecks(t *testing.T) {
	version := message{kind: kindVersion, number: 5}
	row := func(key string, v uint64) message { return message{kind: kindRow, number: v, key: key} }
	f := func(want string, rows ...message) {
		t.Helper()
		table := newTable()
		var err error
		for i := 0; i < len(rows) && err == nil; i++ {
			err = table.Restore(rows[i].append(nil))
		}
		if got := fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("Restore = %v, want %q", err, want)
		}
	}
	f("<nil>", version, row("a", 5), row("b", 1))
	f("the last was 0", row("a", 5))
	f("the last was 5", version, row("a", 6))
	f("version 0", version, row("a", 0))
	f("out of order", version, row("b", 1), row("a", 2))
	f("out of order", version, row("a", 1), row("a", 2))
	f("not a row", version, version)
	f("not a row", version, message{kind: kindPut, key: "a"})
	f("invalid key", version, row("", 1))
	f("kind 9", message{kind: 9})
	if err := newTable().Restore([]byte{1, 2}); err == nil {
		t.Error("Restore of two bytes succeeded")
	}
	newer := version.append(nil)
	newer[1]++
	if err := newTable().Restore(newer); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("Restore of a newer version = %v", err)
	}
}

// TestNothingGivenIsKept changes commands and rows after they were taken, as the owners of their
// memory may.
func TestNothingGivenIsKept(t *testing.T) {
	f := func(take func(*table, []byte) error, m message) {
		t.Helper()
		table := newTable()
		table.version = 5
		given := m.append(nil)
		if err := take(table, given); err != nil {
			t.Fatal(err)
		}
		clear(given)
		if got := string(table.rows["k"].value); got != "value" || table.keys[0] != "k" {
			t.Errorf("%q holds %q, want %q", table.keys, got, "value")
		}
	}
	value := []byte("value")
	f((*table).Restore, message{kind: kindRow, number: 1, key: "k", value: value})
	f(func(t *table, b []byte) error { _, err := t.Apply(b); return err }, message{kind: kindPut, key: "k", value: value})
}

// TestFreezeIsOfItsTime changes the table while a frozen state is run through.
func TestFreezeIsOfItsTime(t *testing.T) {
	table := newTable()
	for i := range 10 {
		m := message{kind: kindPut, key: strconv.Itoa(i), value: []byte("old")}
		if _, err := table.Apply(m.append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	copied := newTable()
	for row := range table.Freeze() {
		if err := copied.Restore(row); err != nil {
			t.Fatal(err)
		}
		for _, m := range []message{
			{kind: kindPut, key: "9", number: 10, value: []byte("new")},
			{kind: kindDelete, key: "8", number: 9},
			{kind: kindPut, key: "85"},
		} {
			if _, err := table.Apply(m.append(nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if copied.version != 10 || len(copied.keys) != 10 || string(copied.rows["9"].value) != "old" {
		t.Errorf("the frozen state has version %d, keys %q and %q", copied.version, copied.keys, copied.rows["9"].value)
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range []message{
		{kind: kindPut, number: 7, key: "k", value: []byte("value")},
		{kind: kindDelete, number: 1, key: "k"},
		{kind: kindVersion, number: 3},
		{kind: kindRow, number: 2, key: "é", value: []byte{}},
	} {
		f.Add(m.append(nil))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parse(data)
		if err != nil {
			return
		}
		if again := m.append(nil); !slices.Equal(again, data) {
			t.Errorf("%x is written again as %x", data, again)
		}
		// Whatever can be parsed can be applied or restored without a panic.
		newTable().Apply(data)
		newTable().Restore(data)
	})
}
