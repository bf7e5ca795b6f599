package disk

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/journal"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// crowded is a disk that may have no room for one kind of call below some directories.
type crowded struct {
	disk  *memfs.FS
	below []string
	op    errfs.Op
	full  atomic.Bool
}

func (d *crowded) fs() vfs.FS {
	return errfs.New(d.disk, func(c errfs.Call) error {
		for _, below := range d.below {
			if d.full.Load() && c.Op == d.op && strings.HasPrefix(c.Name, below) {
				return vfs.ErrNoSpace
			}
		}
		return nil
	})
}

// openTiered opens a coordinator whose log moves into files, as a server's does. Every failure of a
// snapshot or a flush is for want of room, and counted.
func openTiered(t *testing.T, fs vfs.FS, failures *atomic.Int64) *stack {
	t.Helper()
	count := func(err error) {
		if failures.Add(1); !errors.Is(err, objectstore.ErrFull) && !errors.Is(err, shardlog.ErrFull) {
			t.Errorf("failed: %v; want for lack of room", err)
		}
	}
	fatal := func(err error) { t.Errorf("the end: %v", err) }
	must := func(err error) {
		if t.Helper(); err != nil {
			t.Fatal(err)
		}
	}
	s := &stack{}
	var err error
	s.lane, err = lanedisk.Open(t.Context(), fs, lanedisk.Config{Segments: 6, SegmentBytes: 64 << 10})
	must(err)
	blocks, err := dir.Open(fs, "blocks", clock.System{})
	must(err)
	s.store, err = shardlog.Open(t.Context(), shardlog.Config{Lane: s.lane, LaneBytes: s.lane.Capacity(), Bucket: blocks,
		Clock: clock.System{}, Events: shardlog.Events{Fatal: fatal, Stalled: count}})
	must(err)
	snapshots, err := dir.Open(fs, "state", clock.System{})
	must(err)
	s.c, err = Open(t.Context(), Config{Log: s.store, Registry: s.store, Bucket: snapshots, Shard: shard, SnapshotBytes: 1000,
		Events: journal.Events{SnapshotFailed: count, Failed: fatal}})
	must(err)
	return s
}

// TestSnapshotFindsNoRoom fills the disk for snapshots alone, and for the log's files as well, at each
// of the calls that store an object. Rows are written until the log is full too, if ever, and then
// refused; nothing is lost through a power cut meanwhile; and when there is room again a snapshot is
// stored and rows are taken.
func TestSnapshotFindsNoRoom(t *testing.T) {
	for _, below := range [][]string{{"state/"}, {"state/", "blocks/"}} {
		for _, op := range []errfs.Op{errfs.OpOpen, errfs.OpWrite, errfs.OpTruncate, errfs.OpRename} {
			synctest.Test(t, func(t *testing.T) {
				testNoRoom(t, &crowded{disk: memfs.New(), below: below, op: op})
			})
		}
	}
}

func testNoRoom(t *testing.T, d *crowded) {
	rng := rand.New(rand.NewPCG(uint64(d.op), 71))
	a := acknowledged{rows: map[string]coordinator.Entry{}}
	var failures atomic.Int64
	s := openTiered(t, d.fs(), &failures)
	defer func() { s.close() }()
	write := func() error {
		err := a.write(t, s.c, rng, func() bool { return false })
		if errors.Is(err, shardlog.ErrFull) {
			a.doubtful = "" // it was not carried out
		} else if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		return err
	}
	for range 20 {
		write()
	}
	d.full.Store(true)
	refused := 0
	for range 300 {
		if write() != nil {
			refused++
		}
	}
	if all := len(d.below) > 1; all != (refused > 0) {
		t.Errorf("%d of 300 rows were refused; want some: %v", refused, all)
	}
	<-time.After(3 * journal.DefaultRetry)
	if failures.Load() < 3 {
		t.Errorf("%d failures; want one every %v at least", failures.Load(), journal.DefaultRetry)
	}
	recovered := func() {
		t.Helper()
		var again atomic.Int64
		after := openTiered(t, d.disk.CrashClone(rng), &again)
		defer after.close()
		<-time.After(time.Minute) // for a flush, if the log is full
		synctest.Wait()
		if err := a.check(t, after.c); err != nil {
			t.Error(err)
		}
	}
	recovered()
	before, err := s.store.Bounds(t.Context(), shard)
	if err != nil {
		t.Fatal(err)
	}
	d.full.Store(false)
	<-time.After(time.Minute)
	synctest.Wait()
	after, err := s.store.Bounds(t.Context(), shard)
	if err != nil || after.First <= before.First {
		t.Errorf("the log holds %+v, %v once a snapshot had room; %+v before", after, err, before)
	}
	for range 50 {
		if err := write(); err != nil {
			t.Errorf("a row is refused when there is room again: %v", err)
		}
	}
	recovered()
}
