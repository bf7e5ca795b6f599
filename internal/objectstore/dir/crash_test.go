package dir

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/headrace/headrace/internal/alloctest"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

const (
	seeds      = 2000
	catchSeeds = 300
)

// errCut is what every call returns once the power is gone.
var errCut = errors.New("power cut")

// history is what a bucket was told and what of it is certain.
type history struct {
	// certain maps each key to the content acknowledged last; a deleted key is nil.
	certain map[string][]byte
	// possible maps the keys whose last Puts or Deletes failed to what they may hold beside.
	possible map[string][][]byte
}

func newHistory() *history {
	return &history{certain: map[string][]byte{}, possible: map[string][][]byte{}}
}

var crashKeys = []string{"a", "a/b", "a/c", "deep/er/key", "É"}

// step puts or deletes one object. It returns the error of the call, having noted its doubts.
func (h *history) step(t *testing.T, b *Bucket, rng *rand.Rand) error {
	key := crashKeys[rng.IntN(len(crashKeys))]
	var data []byte
	var err error
	if rng.IntN(4) == 0 {
		err = b.Delete(t.Context(), key)
	} else {
		data = content(rng.IntN(256), rng.IntN(3000))
		if rng.IntN(30) == 0 {
			data = content(rng.IntN(256), 5*blockBytes)
		}
		_, err = b.Put(t.Context(), key, bytes.NewReader(data))
	}
	if err != nil {
		h.possible[key] = append(h.possible[key], data)
		return err
	}
	h.certain[key] = data
	delete(h.possible, key)
	return nil
}

// check compares a bucket opened anew with the history.
func (h *history) check(t *testing.T, fs vfs.FS) error {
	b, err := Open(fs, "data/objects", clock.System{})
	if err != nil {
		return err
	}
	infos, err := b.List(t.Context(), "", "", 100)
	if err != nil {
		return err
	}
	there := 0
	for _, key := range crashKeys {
		got, err := get(t, b, key, 0, -1)
		if errors.Is(err, objectstore.ErrNotFound) {
			got, err = nil, nil
		} else {
			there++
		}
		if err != nil {
			return err
		}
		same := func(want []byte) bool { return (got == nil) == (want == nil) && bytes.Equal(got, want) }
		if !same(h.certain[key]) && !slices.ContainsFunc(h.possible[key], same) {
			return fmt.Errorf("%q holds %d bytes that were not acknowledged, instead of %d", key, len(got), len(h.certain[key]))
		}
	}
	if len(infos) != there {
		return fmt.Errorf("%d objects are listed, %d are there", len(infos), there)
	}
	for _, name := range files(t, fs, ".") {
		if isTemp(path.Base(name)) {
			return fmt.Errorf("%s is left over", name)
		}
	}
	return nil
}

// runCrash makes some changes on a disk, with the mistake built in by lie, lets one sync of a file
// fail, cuts the power before any of the calls, and compares what a bucket finds on what is left.
func runCrash(t *testing.T, rng *rand.Rand, lie func(vfs.FS) vfs.FS) error {
	disk := memfs.New()
	h := newHistory()
	cut, fail := 5+rng.IntN(150), rng.IntN(20)
	var after *memfs.FS
	fs := lie(errfs.New(disk, func(c errfs.Call) error {
		if after != nil {
			return errCut
		}
		if c.Op == errfs.OpSync {
			if fail--; fail == 0 {
				disk.ForgetWrites(c.Name)
				return syscall.EIO
			}
		}
		if cut--; cut < 0 {
			after = disk.CrashClone(rng)
			return errCut
		}
		return nil
	}))
	b, err := Open(fs, "data/objects", clock.System{})
	for err == nil {
		if err = h.step(t, b, rng); errors.Is(err, syscall.EIO) {
			err = nil // the bucket goes on: what it had is what it has
		}
		if err == nil && rng.IntN(20) == 0 {
			b, err = Open(fs, "data/objects", clock.System{}) // killed and started again
		}
	}
	if !errors.Is(err, errCut) {
		return err
	}
	return h.check(t, after)
}

func honest(fs vfs.FS) vfs.FS { return fs }

func TestPowerCuts(t *testing.T) {
	n := uint64(seeds)
	if alloctest.Raced {
		n /= 10 // each is ten times as slow, and one goroutine
	}
	for seed := range n {
		if err := runCrash(t, rand.New(rand.NewPCG(seed, 1)), honest); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// liar is a file system that leaves out steps which a mistaken bucket would leave out.
type liar struct {
	vfs.FS
	skipSync    bool
	retrySync   bool
	skipSyncDir func(dir string) bool
	inPlace     bool
}

func (l liar) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := l.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return lyingFile{f, l.skipSync, l.retrySync}, nil
}

// Rename copies in place of renaming, when told to, as who writes straight into the object's file.
func (l liar) Rename(from, to string) error {
	if !l.inPlace {
		return l.FS.Rename(from, to)
	}
	source, err := l.FS.Open(from, vfs.ReadOnly)
	if err != nil {
		return err
	}
	size, err := source.Size()
	if err != nil {
		return err
	}
	data := make([]byte, size)
	target, terr := l.FS.Open(to, vfs.Create)
	_, rerr := source.ReadAt(data, 0)
	if err := errors.Join(terr, rerr); err != nil {
		return err
	}
	_, err = target.WriteAt(data, 0)
	return errors.Join(err, target.Truncate(size), target.Sync(), target.Close(), source.Close(), l.FS.Remove(from))
}

func (l liar) SyncDir(dir string) error {
	if l.skipSyncDir != nil && l.skipSyncDir(dir) {
		return nil
	}
	return l.FS.SyncDir(dir)
}

type lyingFile struct {
	vfs.File
	skipSync, retrySync bool
}

func (f lyingFile) Sync() error {
	if f.skipSync {
		return nil
	}
	err := f.File.Sync()
	if err != nil && f.retrySync {
		err = f.File.Sync()
	}
	return err
}

func TestMissingStepsAreCaught(t *testing.T) {
	f := func(name string, l liar) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(catchSeeds) {
				rng := rand.New(rand.NewPCG(seed, 1))
				lie := func(fs vfs.FS) vfs.FS { l.FS = fs; return l }
				if err := runCrash(t, rng, lie); err != nil {
					t.Logf("caught at seed %d: %v", seed, err)
					return
				}
			}
			t.Errorf("not caught in %d seeds", catchSeeds)
		})
	}
	f("file not synced", liar{skipSync: true})
	f("failed sync tried again", liar{retrySync: true})
	f("no directory synced", liar{skipSyncDir: func(string) bool { return true }})
	f("directory of the object not synced", liar{skipSyncDir: func(dir string) bool { return strings.HasSuffix(dir, "+") }})
	f("directory above not synced", liar{skipSyncDir: func(dir string) bool { return dir == "data/objects" }})
	f("written in place", liar{inPlace: true})
}

// TestWhatOpenShowsSurvives kills a process between the rename and the sync of the directory: the next
// one sees the object, so it must not be lost afterwards.
func TestWhatOpenShowsSurvives(t *testing.T) {
	disk := memfs.New()
	killed := false
	fs := errfs.New(disk, func(c errfs.Call) error {
		if killed = killed || c.Op == errfs.OpSyncDir && strings.HasSuffix(c.Name, "+"); killed {
			return errCut
		}
		return nil
	})
	if _, err := open(t, fs).Put(t.Context(), "a/b", strings.NewReader("x")); !errors.Is(err, errCut) {
		t.Fatalf("Put = %v, want %v", err, errCut)
	}
	if got, err := get(t, open(t, disk), "a/b", 0, -1); err != nil || string(got) != "x" {
		t.Fatalf("the next process reads %q, %v; want the object", got, err)
	}
	for seed := range uint64(100) {
		after := disk.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		if got, err := get(t, open(t, after), "a/b", 0, -1); err != nil || string(got) != "x" {
			t.Fatalf("seed %d: after a power cut it is %q, %v", seed, got, err)
		}
	}
}

// TestEveryCallFails fails each call of a history once, or from then on, by an error and by a short
// write: what was acknowledged stays, and a bucket opened on the healed disk shows it.
func TestEveryCallFails(t *testing.T) {
	run := func(script errfs.Script) (calls int64, err error) {
		t.Helper()
		disk := memfs.New()
		fs := errfs.New(disk, script)
		h := newHistory()
		rng := rand.New(rand.NewPCG(7, 7))
		b, err := Open(fs, "data/objects", clock.System{})
		for range 12 {
			if err == nil {
				err = h.step(t, b, rng)
			}
		}
		if cerr := h.check(t, disk); cerr != nil {
			t.Fatalf("after %v: %v", err, cerr)
		}
		return fs.Total(), err
	}
	f := func(n int64, injected, want error) {
		t.Helper()
		for _, script := range []errfs.Script{errfs.Nth(n, errfs.Any, injected), errfs.From(n, errfs.Any, injected)} {
			if _, err := run(script); !errors.Is(err, want) {
				t.Errorf("call %d failing with %v: %v", n, injected, err)
			}
		}
	}
	calls, err := run(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= calls; n++ {
		f(n, syscall.EIO, syscall.EIO)
		f(n, &errfs.Short{N: 100, Err: syscall.EIO}, syscall.EIO)
		f(n, vfs.ErrNoSpace, vfs.ErrNoSpace)
	}
}

// TestFailedPutsLeaveNothing fails each call of one Put: if it reports an error from before the
// rename, the old object is there and no temporary file.
func TestFailedPutsLeaveNothing(t *testing.T) {
	for n := int64(1); ; n++ {
		disk := memfs.New()
		armed := false
		fail := errfs.Nth(n, func(errfs.Call) bool { return armed }, syscall.EIO)
		b := open(t, errfs.New(disk, fail))
		put(t, b, "k", content(1, 10))
		armed = true
		_, err := b.Put(t.Context(), "k", bytes.NewReader(content(2, 5*blockBytes)))
		if err == nil {
			break
		}
		armed = false
		if b.failed.Load() != nil {
			continue // the rename happened
		}
		if got, err := get(t, b, "k", 0, -1); err != nil || !bytes.Equal(got, content(1, 10)) {
			t.Errorf("call %d failed: the object has %d bytes, %v; want the old 10", n, len(got), err)
		}
		wantFiles(t, disk, "data/objects/k")
		put(t, b, "k", content(3, 20))
	}
}
