package journal

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/headrace/headrace/internal/clock"
	lanemem "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

var errCut = errors.New("power cut")

// runCrash lets a journal keep its snapshots on a disk, cuts the power of that disk before any of
// the calls, and recovers from what is left of it and from the log, which goes on a little longer.
func runCrash(t *testing.T, seed uint64, lie func(vfs.FS) vfs.FS) error {
	rng := rand.New(rand.NewPCG(seed, 11))
	disk := memfs.New()
	cut := 10 + rng.IntN(100)
	var after *memfs.FS
	broken := lie(errfs.New(disk, func(errfs.Call) error {
		if cut--; cut == 0 {
			after = disk.CrashClone(rng)
		}
		if cut <= 0 {
			return errCut
		}
		return nil
	}))
	w := &world{t: t, lane: &faultyLane{Lane: lanemem.New(lanemem.Config{})}, bucket: &faultyBucket{}}
	w.cfg = Config{Bucket: w.bucket, Shard: shard, Name: "test", SnapshotBytes: 5 * (17 + commandCost)}
	defer w.close()
	bucket := func(fs vfs.FS) objectstore.Bucket {
		b, err := dir.Open(fs, "objects", clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	w.bucket.Bucket = bucket(broken)
	w.mustOpen()
	for after == nil {
		w.fill(1 + rng.IntN(8))
		synctest.Wait()
	}
	w.fill(rng.IntN(20))
	state := w.state()
	w.bucket.Bucket = bucket(after)
	if err := w.open(); err != nil {
		return err
	}
	if got := w.state(); got != state {
		t.Fatalf("recovered %s, want %s", got, state)
	}
	return nil
}

func TestPowerCuts(t *testing.T) {
	for seed := range uint64(500) {
		synctest.Test(t, func(t *testing.T) {
			if err := runCrash(t, seed, func(fs vfs.FS) vfs.FS { return fs }); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		})
	}
}

// noSync is a disk whose owner left out a step.
type noSync struct {
	vfs.FS
	file, dir bool
}

func (n noSync) SyncDir(dir string) error {
	if n.dir {
		return nil
	}
	return n.FS.SyncDir(dir)
}

func (n noSync) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := n.FS.Open(name, flag)
	if err == nil && n.file {
		f = noSyncFile{f}
	}
	return f, err
}

type noSyncFile struct{ vfs.File }

func (noSyncFile) Sync() error { return nil }

// TestAnUnsyncedSnapshotIsCaught trims the log after a snapshot that was not durable.
func TestAnUnsyncedSnapshotIsCaught(t *testing.T) {
	f := func(n noSync) {
		t.Helper()
		caught := false
		for seed := uint64(0); seed < 200 && !caught; seed++ {
			synctest.Test(t, func(t *testing.T) {
				err := runCrash(t, seed, func(fs vfs.FS) vfs.FS { n.FS = fs; return n })
				caught = errors.Is(err, ErrCorrupt)
			})
		}
		if !caught {
			t.Errorf("%+v was not caught", n)
		}
	}
	f(noSync{file: true})
	f(noSync{dir: true})
}
