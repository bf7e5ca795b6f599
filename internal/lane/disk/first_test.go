package disk

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// TestFirst makes a ring that begins in the middle: it goes on from there, and what Config says of
// the first position counts no more once there is a ring.
func TestFirst(t *testing.T) {
	disk := memfs.New()
	cfg := small(3, 4*block)
	cfg.First = 1000
	want := func(l *Lane, first, next lane.Position) {
		t.Helper()
		if b, err := l.Bounds(ctx); err != nil || b != (lane.Bounds{First: first, Next: next}) {
			t.Errorf("Bounds() = %+v, %v; want %d to %d", b, err, first, next)
		}
	}
	l := mustOpen(t, disk, cfg)
	want(l, 1000, 1000)
	if _, err := l.Read(ctx, 999, 1); !errors.Is(err, lane.ErrTrimmed) {
		t.Errorf("Read(999) = %v, want ErrTrimmed", err)
	}
	mustClose(t, l)
	cfg.First = 7
	l = mustOpen(t, disk, cfg) // no group has been written
	want(l, 1000, 1000)
	if err := l.Append(ctx, 1, nil); !errors.Is(err, lane.ErrFenced) {
		t.Errorf("Append(1) = %v, want ErrFenced", err)
	}
	for at := lane.Position(1000); at < 1020; at++ {
		mustTrim(t, l, at)
		mustAppend(t, l, at, at, 100)
	}
	abandon(t, l)
	l = mustOpen(t, disk, small(3, 4*block))
	want(l, 1019, 1020)
	mustClose(t, l)
	if found, err := Check(ctx, disk); err != nil || found.Bounds != (lane.Bounds{First: 1019, Next: 1020}) {
		t.Errorf("Check() = %+v, %v", found, err)
	}
}

// TestFirstCuts cuts the power at every call while such a ring is made: what is left begins there, or
// is no ring yet.
func TestFirstCuts(t *testing.T) {
	errCut := errors.New("power cut")
	for at := int64(1); ; at++ {
		disk := memfs.New()
		var after *memfs.FS
		rng := rand.New(rand.NewPCG(uint64(at), 3))
		calls := int64(0)
		fs := errfs.New(disk, func(errfs.Call) error {
			if calls++; calls == at {
				after = disk.CrashClone(rng)
			}
			if calls >= at {
				return errCut
			}
			return nil
		})
		cfg := small(3, 4*block)
		cfg.First = 1000
		l, err := Open(ctx, fs, cfg)
		if err == nil {
			_ = l.release() // the power may be gone
		}
		if after == nil {
			if at < 20 {
				t.Errorf("a ring is made in %d calls; want many", at)
			}
			return
		}
		l = mustOpen(t, after, cfg)
		if b, err := l.Bounds(ctx); err != nil || b != (lane.Bounds{First: 1000, Next: 1000}) {
			t.Errorf("cut at call %d: Bounds() = %+v, %v", at, b, err)
		}
		abandon(t, l)
	}
}
