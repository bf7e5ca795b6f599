package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// Random histories of a lane run against a small model of what it promised, through power cuts,
// failed calls, kills and restarts. A history is judged whenever the lane is opened again: every
// acknowledged group must be there with its bytes, in order, and nothing else but the one group
// that was under way, whole.
//
// The harness is judged by engines with one mistake each: see TestMistakesAreCaught.

// crashSeeds is how many histories run; LANE_SEEDS runs more.
func crashSeeds(n uint64) uint64 {
	if v, err := strconv.ParseUint(os.Getenv("LANE_SEEDS"), 10, 64); err == nil {
		return v
	}
	return n
}

const catchSeeds = 2000

var errPower = errors.New("power cut")

// mistake is what an engine does wrong.
type mistake struct {
	// wrap stands between the lane and the disk.
	wrap func(vfs.FS) vfs.FS
	// recycleEarly frees the oldest segment whatever it holds.
	recycleEarly bool
}

// world is one history: the disk, what was promised, and the dice.
type world struct {
	rng     *rand.Rand
	random  io.Reader
	disk    *memfs.FS
	mistake mistake
	// everyStep opens a copy of the disk as a power cut before every call would leave it.
	everyStep bool

	written map[lane.Position][]byte // acknowledged, by position
	first   lane.Position            // what may be gone
	next    lane.Position            // what is acknowledged
	doubt   []byte                   // the group at next that was under way, nil if none
	variant int
	lanes   int // how many were opened
}

func newWorld(seed uint64, m mistake) *world {
	return &world{rng: rand.New(rand.NewPCG(seed, 1)), random: seeded(seed), disk: memfs.New(), mistake: m,
		written: map[lane.Position][]byte{}, first: 1, next: 1}
}

func (w *world) config() Config {
	return Config{Segments: 3 + w.rng.IntN(2), SegmentBytes: 32 << 10, Random: w.random}
}

// life opens the lane once and uses it until something ends it. It returns what was wrong.
func (w *world) life() error {
	var after *memfs.FS // what the power cut left
	var failed error    // the call that was made to fail
	inOpen, killed := true, false
	cut, kind := w.rng.IntN(120), w.rng.IntN(4)
	if w.rng.IntN(2) == 0 {
		cut = w.rng.IntN(25) // while the lane is opened, or soon after
	}
	var fs vfs.FS = errfs.New(w.disk, func(c errfs.Call) error {
		if after != nil || killed {
			return errPower
		}
		if w.everyStep && !inOpen {
			if err := w.judgeCopy(w.disk.CrashClone(w.rng)); err != nil && failed == nil {
				failed = err
			}
		}
		cut--
		switch {
		case cut >= 0:
			return nil
		case kind == 0 && cut == -1:
			if c.Op != errfs.OpWrite && c.Op != errfs.OpSync {
				cut++ // another one
				return nil
			}
			if c.Op == errfs.OpSync {
				w.disk.ForgetWrites(c.Name)
			}
			if w.rng.IntN(2) == 0 {
				return &errfs.Short{N: w.rng.IntN(1 + c.Length), Err: syscall.EIO}
			}
			return syscall.EIO
		case kind == 1:
			after = w.disk.CrashClone(w.rng)
			return errPower
		case kind == 3: // what was written, and the names, stay in the system's cache
			killed = true
			return errPower
		}
		return nil
	})
	if w.mistake.wrap != nil {
		fs = w.mistake.wrap(fs)
	}
	l, err := Open(ctx, fs, w.config())
	inOpen = false
	if err == nil {
		w.lanes++
		err = w.use(l)
		if kind == 2 && w.rng.IntN(2) == 0 {
			err = errors.Join(err, l.Close())
		} else {
			err = errors.Join(err, l.release())
		}
	}
	if after != nil {
		w.disk = after
	}
	if err != nil && !errors.Is(err, errPower) && !errors.Is(err, syscall.EIO) {
		return err
	}
	if failed != nil {
		return failed
	}
	return wrong(err)
}

// wrongError says that a promise was broken.
type wrongError string

func (e wrongError) Error() string { return string(e) }

func wrong(err error) error {
	var e wrongError
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// use judges what the lane holds and calls it at random until it fails or enough was done.
func (w *world) use(l *Lane) error {
	if err := w.judge(l); err != nil {
		return err
	}
	for range w.rng.IntN(40) {
		var err error
		switch n := w.rng.IntN(10); {
		case n < 7:
			err = w.append(l)
		case n < 8:
			err = w.trim(l)
		case n < 9 && w.mistake.recycleEarly:
			err = freeOldest(l)
		default:
			err = w.read(l, w.first)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) append(l *Lane) error {
	size := w.rng.IntN(3000)
	if w.rng.IntN(4) == 0 {
		size = w.rng.IntN(l.MaxGroup() + 1)
	}
	w.variant++
	payload := content(w.next, w.variant, size)
	w.doubt = payload
	err := l.Append(ctx, w.next, payload)
	switch {
	case err == nil:
		w.written[w.next] = payload
		w.next++
		w.doubt = nil
	case errors.Is(err, lane.ErrFull):
		w.doubt = nil
		return w.trim(l)
	default:
		if again := l.Append(ctx, w.next, payload); again == nil || again.Error() != err.Error() {
			return wrongError(fmt.Sprintf("Append failed with %v and then with %v", err, again))
		}
	}
	return err
}

func (w *world) trim(l *Lane) error {
	to := w.first + lane.Position(w.rng.Int64N(int64(w.next-w.first)+1))
	if w.rng.IntN(3) == 0 {
		to = w.next // as after a flush with nothing behind it
	}
	w.first = to
	return l.TrimTo(ctx, to)
}

// judge compares a lane that was just opened with what was promised, and takes over what it has.
func (w *world) judge(l *Lane) error {
	b, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	switch {
	case b.First > w.first:
		return wrongError(fmt.Sprintf("group %d is gone, the oldest is %d", w.first, b.First))
	case b.Next < w.next:
		return wrongError(fmt.Sprintf("group %d was acknowledged, the last is %d", w.next-1, b.Next-1))
	case b.Next == w.next+1 && w.doubt != nil:
		w.written[w.next] = w.doubt
		w.next++
	case b.Next > w.next:
		return wrongError(fmt.Sprintf("group %d was never written", b.Next-1))
	}
	w.doubt = nil
	w.first = b.First
	return w.read(l, b.First)
}

// read expects every group from the given one to the last.
func (w *world) read(l *Lane, from lane.Position) error {
	for at := from; at < w.next; {
		groups, err := l.Read(ctx, at, 64<<10)
		if errors.Is(err, ErrCorrupt) {
			return wrongError(err.Error())
		}
		if err != nil {
			return err
		}
		if len(groups) == 0 {
			return wrongError(fmt.Sprintf("no group %d", at))
		}
		for _, g := range groups {
			if g.Position != at || !bytes.Equal(g.Payload, w.written[at]) {
				return wrongError(fmt.Sprintf("group %d of %d bytes is not group %d of %d as written", g.Position, len(g.Payload), at, len(w.written[at])))
			}
			at++
		}
	}
	return nil
}

// judgeCopy opens another disk without touching the history.
func (w *world) judgeCopy(disk *memfs.FS) error {
	other := *w
	l, err := Open(ctx, disk, Config{Segments: 3, SegmentBytes: 32 << 10, Random: w.random})
	if err != nil {
		return wrongError(err.Error())
	}
	defer l.release()
	other.written = map[lane.Position][]byte{}
	for p, b := range w.written {
		other.written[p] = b
	}
	return other.judge(l)
}

// freeOldest recycles a segment that holds groups somebody needs.
func freeOldest(l *Lane) error {
	if len(l.mu.live) < 2 {
		return nil
	}
	s := l.mu.live[0]
	if err := l.renew(s); err != nil {
		return err
	}
	l.mu.live = l.mu.live[1:]
	l.mu.free = append(l.mu.free, s)
	return nil
}

// history runs some lives. An Open that refuses what a crash left is wrong, too.
func history(seed uint64, m mistake, everyStep bool) (opened int, err error) {
	w := newWorld(seed, m)
	w.everyStep = everyStep
	for range 5 {
		err := w.life()
		if err != nil {
			return w.lanes, fmt.Errorf("seed %d, lane %d: %w", seed, w.lanes, err)
		}
	}
	return w.lanes, nil
}

func TestHistories(t *testing.T) {
	opened := 0
	for seed := range crashSeeds(1500) {
		n, err := history(seed, mistake{}, false)
		if err != nil {
			t.Fatal(err)
		}
		opened += n
	}
	t.Logf("%d lanes recovered and judged", opened)
}

func TestCutsAtEveryStep(t *testing.T) {
	for seed := range crashSeeds(1500) / 75 { // each opens a lane a hundred times
		if _, err := history(seed, mistake{}, true); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMistakesAreCaught runs the same histories on engines that break one rule each.
func TestMistakesAreCaught(t *testing.T) {
	f := func(name string, m mistake) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(catchSeeds) {
				if _, err := history(seed, m, false); err != nil {
					t.Logf("caught: %v", err)
					return
				}
			}
			t.Errorf("not caught in %d seeds", catchSeeds)
		})
	}
	files := func(wrap func(broken) vfs.File) mistake {
		return mistake{wrap: func(fs vfs.FS) vfs.FS { return &brokenFS{FS: fs, wrap: wrap} }}
	}
	f("acknowledged before the sync", files(func(b broken) vfs.File { return &lateSync{broken: b} }))
	f("failed sync tried again", files(func(b broken) vfs.File { return &retriedSync{b} }))
	f("payload checksum ignored", files(func(b broken) vfs.File { return &believer{b} }))
	f("recycled too early", mistake{recycleEarly: true})
	f("directory not synced", mistake{wrap: func(fs vfs.FS) vfs.FS { return namesUnsynced{fs} }})
	f("new file not synced", files(func(b broken) vfs.File { return &fillUnsynced{b} }))
	f("last group not written again", files(func(b broken) vfs.File { return &lazyWriter{broken: b} }))
	f("end told before the last group is synced", files(func(b broken) vfs.File { return &lazyWriter{broken: b, write: true} }))
	f("generation used again", mistake{wrap: func(fs vfs.FS) vfs.FS {
		return &brokenFS{FS: fs, wrap: func(b broken) vfs.File { return &noMark{b} }}
	}})
}

// brokenFS puts files between the lane and its files.
type brokenFS struct {
	vfs.FS
	wrap func(broken) vfs.File
}

// broken is a file as a mistaken engine handles it.
type broken struct {
	vfs.File
	name string
}

func (f *brokenFS) Open(name string, flag vfs.Flag) (vfs.File, error) {
	file, err := f.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return f.wrap(broken{file, name}), nil
}

// lateSync syncs before the next write instead of after this one.
type lateSync struct {
	broken
	waiting bool
}

func (f *lateSync) Sync() error {
	f.waiting = true
	return nil
}

func (f *lateSync) WriteAt(p []byte, off int64) (int, error) {
	if f.waiting {
		f.waiting = false
		if err := f.File.Sync(); err != nil {
			return 0, err
		}
	}
	return f.File.WriteAt(p, off)
}

type retriedSync struct{ broken }

func (f *retriedSync) Sync() error {
	if f.File.Sync() == nil {
		return nil
	}
	return f.File.Sync()
}

// believer makes every payload's checksum right, as if nobody compared it.
type believer struct{ broken }

func (f *believer) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	for at := 0; at+block <= n; at += block {
		h, what := parse(p[at:])
		if what != parsedHeader || h.kind != kindGroup {
			continue
		}
		group := vfs.AlignedBuffer(int(extent(int(h.length))))
		if m, _ := f.File.ReadAt(group, off+int64(at)); m == len(group) {
			h.sum = addSum(0, group[headerSize:headerSize+h.length])
			h.encode(p[at:])
		}
	}
	return n, err
}

type namesUnsynced struct{ vfs.FS }

func (namesUnsynced) SyncDir(string) error { return nil }

// fillUnsynced renames files whose content may not be there.
type fillUnsynced struct{ broken }

func (f *fillUnsynced) Sync() error {
	if strings.HasSuffix(f.name, unborn) {
		return nil
	}
	return f.File.Sync()
}

// lazyWriter leaves out writes that change nothing; or only the sync that follows them.
type lazyWriter struct {
	broken
	write bool
	skip  bool
}

func (f *lazyWriter) WriteAt(p []byte, off int64) (int, error) {
	there := vfs.AlignedBuffer(len(p))
	if n, _ := f.File.ReadAt(there, off); n == len(p) && bytes.Equal(there, p) {
		f.skip = f.write
		if !f.write {
			return len(p), nil
		}
	}
	return f.File.WriteAt(p, off)
}

func (f *lazyWriter) Sync() error {
	if f.skip {
		f.skip = false
		return nil
	}
	return f.File.Sync()
}

// noMark forgets marks: segments go on in the generation that they were made with.
type noMark struct{ broken }

func (f *noMark) WriteAt(p []byte, off int64) (int, error) {
	if h, what := parse(p); what == parsedHeader && h.kind == kindMark && !strings.HasSuffix(f.name, unborn) {
		return len(p), nil
	}
	return f.File.WriteAt(p, off)
}
