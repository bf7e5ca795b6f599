package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/lanetest"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

var ctx = context.Background()

// seeded makes generations that repeat.
func seeded(seed uint64) io.Reader {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	return rand.NewChaCha8(key)
}

// small is a ring whose segments a test fills in a few groups.
func small(segments int, bytes int64) Config {
	return Config{Segments: segments, SegmentBytes: bytes}
}

func mustOpen(t testing.TB, fs vfs.FS, cfg Config) *Lane {
	t.Helper()
	l, err := Open(ctx, fs, cfg)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	return l
}

func mustClose(t testing.TB, l *Lane) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// abandon lets go of a lane as a process that is killed does: nothing more is written.
func abandon(t testing.TB, l *Lane) {
	t.Helper()
	if err := l.release(); err != nil {
		t.Fatalf("release() = %v", err)
	}
}

// content is recognisable by position and variant.
func content(p lane.Position, variant, n int) []byte {
	b := bytes.Repeat([]byte{byte(p), byte(variant)}, n/2+1)[:n]
	copy(b, fmt.Sprintf("group %d.%d ", p, variant))
	return b
}

func mustAppend(t testing.TB, l *Lane, from, to lane.Position, size int) {
	t.Helper()
	for p := from; p <= to; p++ {
		if err := l.Append(ctx, p, content(p, 0, size)); err != nil {
			t.Fatalf("Append(%d) = %v", p, err)
		}
	}
}

func mustTrim(t testing.TB, l *Lane, first lane.Position) {
	t.Helper()
	if err := l.TrimTo(ctx, first); err != nil {
		t.Fatalf("TrimTo(%d) = %v", first, err)
	}
}

// wantHeld expects the groups first to next-1, as mustAppend wrote them.
func wantHeld(t testing.TB, l *Lane, first, next lane.Position, size int) {
	t.Helper()
	b, err := l.Bounds(ctx)
	if want := (lane.Bounds{First: first, Next: next}); err != nil || b != want {
		t.Fatalf("Bounds() = %+v, %v; want %+v", b, err, want)
	}
	for at := first; at < next; {
		groups, err := l.Read(ctx, at, 1<<20)
		if err != nil || len(groups) == 0 {
			t.Fatalf("Read(%d) = %d groups, %v", at, len(groups), err)
		}
		for _, g := range groups {
			if g.Position != at || !bytes.Equal(g.Payload, content(at, 0, size)) {
				t.Fatalf("read group %d with %d bytes, want group %d with %d", g.Position, len(g.Payload), at, size)
			}
			at++
		}
	}
}

func TestLaneOnMemfs(t *testing.T) {
	lanetest.Test(t, func(t *testing.T) lane.Lane { return mustOpen(t, memfs.New(), small(8, 256<<10)) })
}

func TestLaneOnErrfs(t *testing.T) {
	lanetest.Test(t, func(t *testing.T) lane.Lane {
		return mustOpen(t, errfs.New(memfs.New(), nil), small(8, 256<<10))
	})
}

func TestLaneOnOsfs(t *testing.T) {
	lanetest.Test(t, func(t *testing.T) lane.Lane { return mustOpen(t, openOS(t, t.TempDir()), small(8, 256<<10)) })
}

// TestLaneGrowing runs the kit while the ring is still being made.
func TestLaneGrowing(t *testing.T) {
	lanetest.Test(t, func(t *testing.T) lane.Lane {
		cfg := small(32, 512<<10)
		cfg.Ready = 4
		return mustOpen(t, memfs.New(), cfg)
	})
}

func openOS(t testing.TB, dir string) vfs.FS {
	t.Helper()
	fs, err := osfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}

func TestConfig(t *testing.T) {
	f := func(cfg Config, ok bool) {
		t.Helper()
		l, err := Open(ctx, memfs.New(), cfg)
		if (err == nil) != ok {
			t.Errorf("Open(%+v) = %v, want success: %v", cfg, err, ok)
		}
		if err == nil {
			mustClose(t, l)
		}
	}
	f(Config{Segments: 2, SegmentBytes: minSegmentBytes}, true)
	f(Config{Segments: 1, SegmentBytes: minSegmentBytes}, false)
	f(Config{Segments: maxSegments + 1, SegmentBytes: minSegmentBytes}, false)
	f(Config{Segments: 2, SegmentBytes: minSegmentBytes - block}, false)
	f(Config{Segments: 2, SegmentBytes: minSegmentBytes + 1}, false)
	f(Config{Segments: 2, SegmentBytes: minSegmentBytes, Ready: 3}, false)
	f(Config{Segments: 2, SegmentBytes: minSegmentBytes, MaxGroup: -1}, false)
	f(Config{Segments: 2, SegmentBytes: minSegmentBytes, MaxGroup: DefaultMaxGroup + 1}, false)
	f(Config{Segments: 2, SegmentBytes: minSegmentBytes, Random: bytes.NewReader(nil)}, false)
}

// TestOneWriteAndOneSync asserts what an Append costs, also where it begins another segment.
func TestOneWriteAndOneSync(t *testing.T) {
	fs := errfs.New(memfs.New(), nil)
	l := mustOpen(t, fs, small(4, 64<<10))
	defer mustClose(t, l)
	for p := lane.Position(1); p <= 12; p++ { // 3 of 20 KiB fit in a segment
		total, writes, syncs := fs.Total(), fs.Count(errfs.OpWrite), fs.Count(errfs.OpSync)
		mustAppend(t, l, p, p, 20_000-headerSize)
		if w, s, all := fs.Count(errfs.OpWrite)-writes, fs.Count(errfs.OpSync)-syncs, fs.Total()-total; w != 1 || s != 1 || all != 2 {
			t.Errorf("Append(%d) took %d writes, %d syncs, %d calls; want 1, 1, 2", p, w, s, all)
		}
	}
	total := fs.Total()
	if err := l.Append(ctx, 13, content(13, 0, 1)); !errors.Is(err, lane.ErrFull) {
		t.Errorf("Append to a full ring = %v, want ErrFull", err)
	}
	if got := fs.Total() - total; got != 0 {
		t.Errorf("a refused Append took %d calls", got)
	}
}

// still is a file that takes everything, so that only the lane allocates.
type still struct{ vfs.File }

func (still) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (still) Sync() error                            { return nil }

func TestAppendDoesNotAllocate(t *testing.T) {
	l := mustOpen(t, memfs.New(), small(2, 16<<20))
	defer abandon(t, l)
	for _, s := range l.mu.free {
		s.file = still{s.file}
		s.index = make([]entry, 0, 1024)
	}
	payload := make([]byte, 5000)
	next := lane.Position(1)
	if n := testing.AllocsPerRun(500, func() {
		if err := l.Append(ctx, next, payload); err != nil {
			t.Fatal(err)
		}
		next++
	}); n > 0 {
		t.Errorf("Append allocates %v times, want 0", n)
	}
}

func TestReopen(t *testing.T) {
	f := func(name string, leave func(testing.TB, *Lane)) {
		t.Run(name, func(t *testing.T) {
			disk := memfs.New()
			next := lane.Position(1)
			for i := range 6 {
				l := mustOpen(t, disk, small(8, 64<<10))
				wantHeld(t, l, 1, next, 3000)
				mustAppend(t, l, next, next+lane.Position(i), 3000)
				next += lane.Position(i) + 1
				wantHeld(t, l, 1, next, 3000)
				leave(t, l)
			}
			r, err := Check(ctx, disk)
			if err != nil || r.Bounds != (lane.Bounds{First: 1, Next: next}) || r.Segments != 8 || r.Torn {
				t.Errorf("Check() = %+v, %v", r, err)
			}
		})
	}
	f("closed", mustClose)
	f("killed", abandon)
}

func TestTrimOutlastsTheProcess(t *testing.T) {
	disk := memfs.New()
	l := mustOpen(t, disk, small(4, 32<<10)) // 7 groups a segment
	mustAppend(t, l, 1, 20, 3000)
	mustTrim(t, l, 10)
	abandon(t, l)
	l = mustOpen(t, disk, small(4, 32<<10))
	wantHeld(t, l, 10, 21, 3000) // a segment was freed
	mustTrim(t, l, 12)
	mustAppend(t, l, 21, 21, 3000)
	abandon(t, l)
	l = mustOpen(t, disk, small(4, 32<<10))
	wantHeld(t, l, 12, 22, 3000) // a group was appended
	mustTrim(t, l, 22)
	mustClose(t, l)
	l = mustOpen(t, disk, small(4, 32<<10))
	wantHeld(t, l, 22, 22, 3000) // positions go on though nothing is held
	mustAppend(t, l, 22, 30, 3000)
	wantHeld(t, l, 22, 31, 3000)
	mustClose(t, l)
}

// TestRingGoesRound wraps many times and never holds more than the ring.
func TestRingGoesRound(t *testing.T) {
	disk := memfs.New()
	l := mustOpen(t, disk, small(3, 32<<10))
	for p := lane.Position(1); p <= 300; p++ {
		err := l.Append(ctx, p, content(p, 0, 3000))
		if errors.Is(err, lane.ErrFull) {
			b, _ := l.Bounds(ctx)
			wantHeld(t, l, b.First, p, 3000)
			mustTrim(t, l, b.First+8)
			err = l.Append(ctx, p, content(p, 0, 3000))
		}
		if err != nil {
			t.Fatalf("Append(%d) = %v", p, err)
		}
	}
	entries, err := disk.List(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("List() = %v, %v; want three segments and the lock", entries, err)
	}
	mustClose(t, l)
}

func TestSecondLane(t *testing.T) {
	disk := memfs.New()
	l := mustOpen(t, disk, small(2, 32<<10))
	if _, err := Open(ctx, disk, small(2, 32<<10)); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a second Open = %v, want ErrLocked", err)
	}
	mustClose(t, l)
	mustClose(t, mustOpen(t, disk, small(2, 32<<10)))
}

func TestRingGrowsButNeverShrinks(t *testing.T) {
	disk := memfs.New()
	l := mustOpen(t, disk, small(2, 32<<10))
	mustAppend(t, l, 1, 14, 3000)
	if err := l.Append(ctx, 15, nil); !errors.Is(err, lane.ErrFull) {
		t.Fatalf("Append(15) = %v, want ErrFull", err)
	}
	mustClose(t, l)
	made := make(chan string, 4)
	cfg := small(5, 64<<10)
	cfg.Ready = 2
	cfg.Events.Grown = func(file string, err error) { made <- fmt.Sprint(file, " ", err) }
	l = mustOpen(t, disk, cfg)
	for _, want := range []string{"wal/002.wal <nil>", "wal/003.wal <nil>", "wal/004.wal <nil>"} {
		if got := <-made; got != want {
			t.Errorf("made %q, want %q", got, want)
		}
	}
	mustAppend(t, l, 15, 30, 3000)
	if l.MaxGroup() != 32<<10-block-headerSize {
		t.Errorf("MaxGroup() = %d, want what fits in the smaller segments", l.MaxGroup())
	}
	mustClose(t, l)
	l = mustOpen(t, disk, small(2, 32<<10))
	wantHeld(t, l, 1, 31, 3000)
	mustClose(t, l)
	if r, err := Check(ctx, disk); err != nil || r.Segments != 5 {
		t.Errorf("Check() = %+v, %v; want 5 segments", r, err)
	}
}

// TestNoRoomToGrow keeps the ring small when the device is full, and the lane alive.
func TestNoRoomToGrow(t *testing.T) {
	disk := memfs.NewSized(100 << 10)
	failed := make(chan error, 8)
	cfg := small(8, 32<<10)
	cfg.Ready = 2
	cfg.Events.Grown = func(_ string, err error) {
		if err != nil {
			failed <- err
		}
	}
	l := mustOpen(t, disk, cfg)
	if err := <-failed; !errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("growing failed with %v, want ErrNoSpace", err)
	}
	mustAppend(t, l, 1, 21, 3000)
	mustClose(t, l)
	cfg.Ready = 4
	if _, err := Open(ctx, disk, cfg); !errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("Open that must grow = %v, want ErrNoSpace", err)
	}
	cfg.Ready = 3
	l = mustOpen(t, disk, cfg)
	wantHeld(t, l, 1, 22, 3000)
	mustClose(t, l)
}

func TestOpenCancelled(t *testing.T) {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	disk := memfs.New()
	if _, err := Open(cancelled, disk, small(2, 32<<10)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v, want Canceled", err)
	}
	l := mustOpen(t, disk, small(2, 32<<10))
	mustAppend(t, l, 1, 3, 100)
	mustClose(t, l)
	if _, err := Open(cancelled, disk, small(2, 32<<10)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v, want Canceled", err)
	}
	l = mustOpen(t, disk, small(2, 32<<10))
	wantHeld(t, l, 1, 4, 100)
	mustClose(t, l)
}

// TestCapacity shows that files that exist count as they are, and files to come as configured.
func TestCapacity(t *testing.T) {
	fs := memfs.New()
	f := func(cfg Config, want int64) {
		t.Helper()
		l, err := Open(t.Context(), fs, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Capacity(); got != want {
			t.Errorf("with %d files of %d bytes the ring has %d bytes; want %d", cfg.Segments, cfg.SegmentBytes, got, want)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f(Config{Segments: 2, SegmentBytes: 64 << 10}, 128<<10)
	f(Config{Segments: 4, SegmentBytes: 1 << 20, Ready: 2}, 128<<10+2<<20)
}

// TestRoom appends and trims at random and expects Room to know beforehand whether there is room, and
// how much is left.
func TestRoom(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 0))
	l := mustOpen(t, memfs.New(), small(4, 16<<10))
	defer mustClose(t, l)
	left := func() (n int64) {
		if s := l.lastLocked(); s != nil {
			n = s.size - s.end
		}
		for _, s := range l.mu.free {
			n += s.size - block
		}
		return n
	}
	full := 0
	for range 2000 {
		b, err := l.Bounds(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if rng.IntN(4) == 0 && b.First < b.Next {
			if err := l.TrimTo(ctx, b.First+1+lane.Position(rng.IntN(int(b.Next-b.First)))); err != nil {
				t.Fatal(err)
			}
			continue
		}
		groups, n := 1, 1+rng.IntN(l.MaxGroup())
		want := l.Room(n)
		if rng.IntN(4) == 0 {
			groups, n = 2+rng.IntN(3), l.MaxGroup()
			want = l.Room(groups*n - rng.IntN(n))
		}
		var failed error
		for i := range groups {
			if failed = l.Append(ctx, b.Next+lane.Position(i), make([]byte, n)); failed != nil {
				break
			}
		}
		switch {
		case errors.Is(failed, lane.ErrFull) && want < 0:
			full++
		case failed != nil || want != left():
			t.Fatalf("%d groups of %d bytes: %v, and %d are left; Room said %d", groups, n, failed, left(), want)
		}
	}
	if full < 100 {
		t.Errorf("the ring was full %d times; want many", full)
	}
}
