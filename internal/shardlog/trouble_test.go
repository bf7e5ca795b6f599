package shardlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/clock"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// place opens the lane and the bucket of a world anew on a disk.
func (w *world) place(fs vfs.FS, random uint64) (closeLane func() error, err error) {
	l, err := lanedisk.Open(ctx, fs, lanedisk.Config{Segments: 6, SegmentBytes: 16 << 10, MaxGroup: 2 << 10,
		Random: seeded(rand.New(rand.NewPCG(random, 51)))})
	if err != nil {
		return nil, err
	}
	w.lane = l
	if w.bucket, err = dir.Open(fs, "blocks", w.clock); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l.Close, nil
}

// livedOn runs the fixed history of the crash tests on a disk, until it ends or a call fails.
func (w *world) livedOn(fs vfs.FS) error {
	closeLane, err := w.place(fs, 1)
	if err != nil {
		return err
	}
	s, err := shardlog.Open(ctx, w.config(nil))
	if err == nil {
		err = errors.Join(w.live(s), s.Close())
	}
	return errors.Join(err, closeLane())
}

// TestEveryCallFails lets each call of a history to the disk fail in turn, once or from then on, with
// an I/O error, in part, or for want of room. Whatever the store makes of that, what it acknowledged is
// there when the disk is well again, also when the power was cut in between.
func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	counted := errfs.New(memfs.New(), nil)
	if err := newWorld(2).livedOn(counted); err != nil {
		t.Fatal(err)
	}
	f := func(n int64, what string, failure error, kinds func(errfs.Call) bool, script func(int64, func(errfs.Call) bool, error) errfs.Script) {
		disk := memfs.New()
		failing := script(n, kinds, failure)
		w := newWorld(2)
		err := w.livedOn(errfs.New(disk, func(c errfs.Call) error {
			err := failing(c)
			if err != nil && c.Op == errfs.OpSync && !errors.Is(err, vfs.ErrNoSpace) {
				disk.ForgetWrites(c.Name)
			}
			return err
		}))
		for _, after := range []*memfs.FS{disk.CrashClone(rand.New(rand.NewPCG(uint64(n), 52))), disk} {
			closeLane, perr := w.place(after, 2)
			if perr == nil {
				perr = errors.Join(w.recovered(), closeLane())
			}
			if perr != nil {
				t.Fatalf("call %d of %d %s (the history ended with %v): %v", n, counted.Total(), what, err, perr)
			}
		}
	}
	room := errfs.On(errfs.OpOpen, errfs.OpWrite, errfs.OpAllocate, errfs.OpMkdir, errfs.OpRename)
	// Each run of the test begins elsewhere, so that together they come by every call.
	usual := uint64(64)
	if alloctest.Raced {
		usual = 512
	}
	step := int64(number(t, "FAULT_STEP", usual))
	t.Logf("%d calls, of which every %dth fails", counted.Total(), step)
	for n := 1 + rand.Int64N(step); n <= counted.Total(); n += step {
		f(n, "fails", syscall.EIO, errfs.Any, errfs.Nth)
		f(n, "and all after it fail", syscall.EIO, errfs.Any, errfs.From)
		f(n, "is done in part", &errfs.Short{N: int(n) % 5000, Err: syscall.EIO}, errfs.Any, errfs.Nth)
		f(n, "finds no room", vfs.ErrNoSpace, room, errfs.Nth)
		f(n, "and all after it find no room", vfs.ErrNoSpace, room, errfs.From)
	}
}

// crowded is a disk that has no room for some of the objects while it is full.
type crowded struct {
	mu      sync.Mutex
	full    func(kind objectKind) bool
	refused map[objectKind]int
	// reads says of each object being written how often others were read meanwhile.
	reads map[string]int
}

type objectKind string

const (
	flushed  objectKind = "flush"
	merged   objectKind = "merge"
	manifest objectKind = "manifest"
)

// ask refuses room: a merge is told from a flush by its reading other files while it makes its own.
func (c *crowded) ask(call errfs.Call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	temp := strings.HasPrefix(path.Base(call.Name), "~")
	switch {
	case !strings.HasPrefix(call.Name, "blocks/"):
	case call.Op == errfs.OpOpen && temp:
		c.reads[call.Name] = 0
	case call.Op == errfs.OpRead && !temp:
		for name := range c.reads {
			c.reads[name]++
		}
	case call.Op == errfs.OpClose:
		delete(c.reads, call.Name)
	case call.Op == errfs.OpWrite && temp:
		kind := flushed
		if strings.Contains(call.Name, "/manifest+/") {
			kind = manifest
		} else if c.reads[call.Name] > 0 {
			kind = merged
		}
		if c.full(kind) {
			c.refused[kind]++
			return vfs.ErrNoSpace
		}
	}
	return nil
}

func (c *crowded) set(full func(objectKind) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = full
}

func (c *crowded) count(k objectKind) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused[k]
}

// TestFullDisk fills the disk for flushes, for manifests and for merges. Nothing ends the store; puts
// are throttled, from the first failure on, where the log cannot be emptied; nothing is lost, through a power cut as well, and when
// there is room again all goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, kind := range []objectKind{flushed, merged, manifest} {
		t.Run(string(kind), func(t *testing.T) {
			c := &crowded{full: func(objectKind) bool { return false }, refused: map[objectKind]int{}, reads: map[string]int{}}
			disk, now := memfs.New(), clock.NewManual(time.Unix(1_800_000_000, 0))
			e := engines{ring: lanedisk.Config{Segments: 4, SegmentBytes: 64 << 10}}
			e.store = shardlog.Config{Clock: now, FlushBytes: 20 << 10}
			e.store.Inline()
			e.store.NoCache()
			e.store.MergeFan(3)
			stalls := 0
			e.store.Events.Stalled = func(err error) {
				if stalls++; !errors.Is(err, objectstore.ErrFull) {
					t.Errorf("Stalled(%v); want ErrFull", err)
				}
			}
			e.store.Events.Fatal = func(err error) { t.Errorf("Fatal(%v)", err) }
			s := mustOpenOnDisk(t, errfs.New(disk, c.ask), e)
			openShards(t, s.Store, 2, day)
			f := &filler{t: t, now: now, next: 1}
			f.fill(s, 100)
			c.set(func(k objectKind) bool { return k == kind })
			before := f.next
			if took := f.fill(s, 600); kind == merged && took != 600 || kind != merged && (took > 20 || took < 1) {
				t.Errorf("%d of 600 puts were taken while there was no room for a %s", took, kind)
			}
			if c.count(kind) < 2 || stalls < 2 {
				t.Errorf("a %s was refused %d times, the store told of %d failures; want several", kind, c.count(kind), stalls)
			}
			f.check(s)
			after := mustOpenOnDisk(t, errfs.New(disk.CrashClone(rand.New(rand.NewPCG(1, 53))), c.ask), e)
			f.check(after)
			f.close(after)
			files := s.Stats().Files
			c.set(func(objectKind) bool { return false })
			now.Advance(2 * time.Second)
			settle(t, s.Store)
			if took := f.fill(s, 100); took != 100 {
				t.Errorf("%d of 100 puts were taken when there was room again", took)
			}
			if got := s.Stats().Files; kind == merged && got >= files {
				t.Errorf("%d files after merges had room again, %d before", got, files)
			}
			f.check(s)
			f.close(s)
			t.Logf("%d records before, %d in all; a %s was refused %d times", before-1, f.next-1, kind, c.count(kind))
			after = mustOpenOnDisk(t, disk.CrashClone(rand.New(rand.NewPCG(2, 53))), e)
			f.check(after)
			f.close(after)
		})
	}
}

func mustOpenOnDisk(t *testing.T, fs vfs.FS, e engines) *onDisk {
	t.Helper()
	s, err := openOnDisk(fs, e)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filler writes one shard, and knows what is in it.
type filler struct {
	t    *testing.T
	now  *clock.Manual
	next record.Index
}

// fill makes so many puts and returns how many were taken.
func (f *filler) fill(s *onDisk, puts int) (took int) {
	f.t.Helper()
	for range puts {
		res, err := s.Append(ctx, []shardlog.Batch{telling(0, 10, f.next)})
		switch {
		case err != nil:
			f.t.Fatal(err)
		case res[0].Err == nil:
			f.next += 10
			took++
		case !errors.Is(res[0].Err, shardlog.ErrFull):
			f.t.Fatal(res[0].Err)
		}
		settle(f.t, s.Store)
		f.now.Advance(100 * time.Millisecond)
	}
	return took
}

func (f *filler) check(s *onDisk) {
	f.t.Helper()
	wantAll(f.t, s.Store, 0, 1, f.next)
}

func (f *filler) close(s *onDisk) {
	f.t.Helper()
	if err := s.Close(); err != nil {
		f.t.Error(fmt.Errorf("close: %w", err))
	}
}
