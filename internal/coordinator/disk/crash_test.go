package disk

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

var errCut = errors.New("power cut")

// stack is a process: everything a coordinator stands on, down to one disk.
type stack struct {
	lane  *lanedisk.Lane
	store *shardlog.Store
	c     *Coordinator
}

func openStack(t *testing.T, fs vfs.FS, rng *rand.Rand) (s *stack, err error) {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rng.IntN(256))
	}
	s = &stack{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.lane, err = lanedisk.Open(t.Context(), fs, lanedisk.Config{Segments: 6, SegmentBytes: 64 << 10, Random: rand.NewChaCha8(seed)})
	if err != nil {
		return s, err
	}
	s.store, err = shardlog.Open(t.Context(), shardlog.Config{Lane: s.lane, Clock: clock.System{}, Memory: 128 << 10})
	if err != nil {
		return s, err
	}
	bucket, err := dir.Open(fs, "objects", clock.System{})
	if err != nil {
		return s, err
	}
	s.c, err = Open(t.Context(), Config{Log: s.store, Registry: s.store, Bucket: bucket, Shard: shard, SnapshotBytes: 1000})
	return s, err
}

func (s *stack) close() {
	if s.c != nil {
		s.c.Close()
	}
	if s.store != nil {
		s.store.Close()
	}
	if s.lane != nil {
		s.lane.Close()
	}
}

// acknowledged is what a coordinator has promised.
type acknowledged struct {
	rows map[string]coordinator.Entry
	last coordinator.Version
	// doubtful is the key of the write that failed; value is what it was to hold, nil if it was to
	// be deleted.
	doubtful string
	value    []byte
}

// write makes one change, or notes that it is in doubt. What was under way when the power failed is,
// whatever it returned: isCut tells.
func (a *acknowledged) write(t *testing.T, c *Coordinator, rng *rand.Rand, isCut func() bool) error {
	key := fmt.Sprint("k", rng.IntN(10))
	old, exists := a.rows[key]
	if exists && rng.IntN(4) == 0 {
		if err := c.Delete(t.Context(), key, old.Version); err != nil || isCut() {
			a.doubtful, a.value = key, nil
			return cmp.Or(err, errCut)
		}
		a.last++
		delete(a.rows, key)
		return nil
	}
	value := fmt.Append(nil, rng.Uint64())
	v, err := c.Put(t.Context(), key, value, old.Version)
	if err != nil || isCut() {
		a.doubtful, a.value = key, value
		return cmp.Or(err, errCut)
	}
	if v <= a.last {
		t.Fatalf("version %d after %d", v, a.last)
	}
	a.last, a.rows[key] = v, coordinator.Entry{Key: key, Value: value, Version: v}
	return nil
}

// check compares a recovered coordinator with the promises.
func (a *acknowledged) check(t *testing.T, c *Coordinator) error {
	entries, err := c.List(t.Context(), "", "", 100)
	if err != nil {
		return err
	}
	found := map[string]coordinator.Entry{}
	for _, e := range entries {
		found[e.Key] = e
	}
	for i := range 10 {
		key := fmt.Sprint("k", i)
		got, want := found[key], a.rows[key]
		if same(got, want) || key == a.doubtful && string(got.Value) == string(a.value) && (got.Version == 0) == (a.value == nil) {
			continue
		}
		return fmt.Errorf("%s is %v, acknowledged was %v", key, got, want)
	}
	if v, err := c.Put(t.Context(), "new", nil, 0); err != nil || v <= a.last {
		return fmt.Errorf("the next write got version %d, %w; the last acknowledged was %d", v, err, a.last)
	}
	return nil
}

// runCrash writes rows, with a process that is killed now and then, cuts the power before any call
// to the disk, and compares what is recovered with what was acknowledged.
func runCrash(t *testing.T, seed uint64, lie func(vfs.FS) vfs.FS) error {
	rng := rand.New(rand.NewPCG(seed, 21))
	disk := memfs.New()
	cut := 60 + rng.IntN(1500)
	var mu sync.Mutex
	var after *memfs.FS
	isCut := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return after != nil
	}
	fs := lie(errfs.New(disk, func(errfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if cut--; cut == 0 {
			after = disk.CrashClone(rng)
		}
		if cut <= 0 {
			return errCut
		}
		return nil
	}))
	a := acknowledged{rows: map[string]coordinator.Entry{}}
	s, err := openStack(t, fs, rng)
	for err == nil {
		err = a.write(t, s.c, rng, isCut)
		synctest.Wait() // for a snapshot
		if err == nil && rng.IntN(30) == 0 {
			s.close()
			s, err = openStack(t, fs, rng)
		}
	}
	s.close()
	if after == nil {
		return err
	}
	if s, err = openStack(t, after, rng); err != nil {
		return err
	}
	defer s.close()
	return a.check(t, s.c)
}

func TestPowerCuts(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			if err := runCrash(t, seed, func(fs vfs.FS) vfs.FS { return fs }); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		})
	}
}

// noSync is a disk one of whose owners, the lane below wal or the bucket below objects, left out a
// step.
type noSync struct {
	vfs.FS
	below     string
	file, dir bool
}

func (n noSync) SyncDir(dir string) error {
	if n.dir && strings.HasPrefix(dir, n.below) {
		return nil
	}
	return n.FS.SyncDir(dir)
}

func (n noSync) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := n.FS.Open(name, flag)
	if err == nil && n.file && strings.HasPrefix(name, n.below) {
		f = noSyncFile{f}
	}
	return f, err
}

type noSyncFile struct{ vfs.File }

func (noSyncFile) Sync() error { return nil }

func TestLeftOutSyncsAreCaught(t *testing.T) {
	f := func(n noSync) {
		t.Helper()
		var caught error
		for seed := uint64(0); seed < 200 && caught == nil; seed++ {
			synctest.Test(t, func(t *testing.T) {
				caught = runCrash(t, seed, func(fs vfs.FS) vfs.FS { n.FS = fs; return n })
			})
		}
		if caught == nil {
			t.Errorf("%+v was not caught", n)
		}
		t.Logf("caught: %v", caught)
	}
	f(noSync{below: "wal", file: true})
	f(noSync{below: "wal", dir: true})
	f(noSync{below: "objects", file: true})
	f(noSync{below: "objects", dir: true})
}
