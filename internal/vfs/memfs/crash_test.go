package memfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path"
	"slices"
	"syscall"
	"testing"

	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
)

// The model is judged by small engines like those it is for, each correct or with one mistake: a
// correct one must survive every seed, a mistaken one must be caught in few.
const (
	seeds      = 2000
	catchSeeds = 200
)

// survives runs a scenario on many seeds. It returns an error if something acknowledged was lost.
func survives(t *testing.T, scenario func(rng *rand.Rand) error) {
	t.Helper()
	for seed := range uint64(seeds) {
		if err := scenario(rand.New(rand.NewPCG(seed, 1))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func caught(t *testing.T, scenario func(rng *rand.Rand) error) {
	t.Helper()
	for seed := range uint64(catchSeeds) {
		if err := scenario(rand.New(rand.NewPCG(seed, 1))); err != nil {
			t.Logf("caught at seed %d: %v", seed, err)
			return
		}
	}
	t.Errorf("not caught in %d seeds", catchSeeds)
}

// ring is a log in a recycled file: records overwrite what was written before, each with its
// number and a checksum, and recovery reads until the first that is not the next.
type ring struct {
	file      vfs.File
	next      uint64
	acked     uint64
	off       int64
	ackFirst  bool // acknowledge before the sync
	retrySync bool // try a failed sync again
}

const (
	ringSize   = 32 << 10
	ringHeader = 16
)

// newRing writes the file once through, as recycled segments are, and makes it durable.
func newRing(fs vfs.FS) (*ring, error) {
	h, err := fs.Open("wal", vfs.Create)
	if err != nil {
		return nil, err
	}
	_, err = h.WriteAt(bytes.Repeat([]byte("old "), ringSize/4), 0)
	return &ring{file: h, next: 1}, errors.Join(err, h.Sync(), fs.SyncDir("."))
}

func (r *ring) append(payload []byte) error {
	b := make([]byte, ringHeader, ringHeader+len(payload))
	binary.LittleEndian.PutUint64(b, r.next)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(payload)))
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[12:], checksum(b))
	if _, err := r.file.WriteAt(b, r.off); err != nil {
		return err
	}
	r.off += int64(len(b))
	r.next++
	if r.ackFirst {
		r.acked = r.next - 1
		return nil
	}
	err := r.file.Sync()
	if err != nil && r.retrySync {
		err = r.file.Sync()
	}
	if err == nil {
		r.acked = r.next - 1
	}
	return err
}

// checksum covers the record without the checksum itself.
func checksum(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b[:12]), crc32.IEEETable, b[ringHeader:])
}

// recovered returns the number of the last record that the file holds without a gap.
func recovered(b []byte, checked bool) uint64 {
	last := uint64(0)
	for len(b) >= ringHeader {
		n, size := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])
		if n != last+1 || int(size) > len(b)-ringHeader {
			break
		}
		record := b[:ringHeader+int(size)]
		if checked && checksum(record) != binary.LittleEndian.Uint32(b[12:]) {
			break
		}
		last, b = n, b[len(record):]
	}
	return last
}

// runRing appends records of up to a few sectors, cuts the power and compares.
func runRing(rng *rand.Rand, mistake func(*ring)) error {
	disk := New()
	r, err := newRing(disk)
	if err != nil {
		return err
	}
	mistake(r)
	for range 1 + rng.IntN(20) {
		if err := r.append(make([]byte, rng.IntN(1400))); err != nil {
			return err
		}
	}
	if rng.IntN(2) == 0 {
		// One more is under way when the power fails.
		acked := r.acked
		r.ackFirst = true
		err = r.append(make([]byte, rng.IntN(1400)))
		r.acked = max(acked, r.acked-1)
	}
	got := recovered(disk.CrashClone(rng).mu.names["wal"].content.live, true)
	if got < r.acked || got >= r.next {
		return fmt.Errorf("recovered to record %d, acknowledged to %d of %d", got, r.acked, r.next-1)
	}
	return err
}

func TestSyncedLogSurvives(t *testing.T) {
	survives(t, func(rng *rand.Rand) error { return runRing(rng, func(*ring) {}) })
}

func TestAcknowledgingBeforeSyncIsCaught(t *testing.T) {
	caught(t, func(rng *rand.Rand) error {
		return runRing(rng, func(r *ring) { r.ackFirst = true })
	})
}

// TestIgnoringTheChecksumIsCaught recovers a record whose header is there and whose end is not.
func TestIgnoringTheChecksumIsCaught(t *testing.T) {
	run := func(rng *rand.Rand, checked bool) error {
		disk := New()
		r, err := newRing(disk)
		if err != nil {
			return err
		}
		r.ackFirst = true
		payload := bytes.Repeat([]byte("new "), 500)
		if err := r.append(payload); err != nil {
			return err
		}
		b := disk.CrashClone(rng).mu.names["wal"].content.live
		if recovered(b, checked) == 1 && !bytes.Equal(b[ringHeader:ringHeader+len(payload)], payload) {
			return errors.New("recovered a record that was never written")
		}
		return nil
	}
	survives(t, func(rng *rand.Rand) error { return run(rng, true) })
	caught(t, func(rng *rand.Rand) error { return run(rng, false) })
}

// TestRetryingASyncIsCaught fails a sync once, as systems do: what was waiting is forgotten.
func TestRetryingASyncIsCaught(t *testing.T) {
	run := func(rng *rand.Rand, retry bool) error {
		disk := New()
		fail := errfs.Nth(int64(2+rng.IntN(10)), errfs.On(errfs.OpSync), syscall.EIO)
		r, err := newRing(errfs.New(disk, func(c errfs.Call) error {
			err := fail(c)
			if err != nil {
				disk.ForgetWrites(c.Name)
			}
			return err
		}))
		if err != nil {
			return err
		}
		r.retrySync = retry
		for range 12 {
			if r.append(make([]byte, rng.IntN(1400))) != nil {
				break // stop, as the contract says
			}
		}
		if got := recovered(disk.CrashClone(rng).mu.names["wal"].content.live, true); got < r.acked {
			return fmt.Errorf("recovered to record %d, acknowledged to %d", got, r.acked)
		}
		return nil
	}
	survives(t, func(rng *rand.Rand) error { return run(rng, false) })
	caught(t, func(rng *rand.Rand) error { return run(rng, true) })
}

// replaceSteps say which steps of replacing a file are done.
type replaceSteps struct{ syncFile, syncDir, rename bool }

// replace gives the file a new content through a temporary file.
func replace(fs vfs.FS, name string, content []byte, steps replaceSteps) error {
	tmp := name
	if steps.rename {
		tmp += ".tmp"
	}
	h, err := fs.Open(tmp, vfs.Create)
	if err != nil {
		return err
	}
	if err := h.Truncate(0); err != nil {
		return err
	}
	if _, err := h.WriteAt(content, 0); err != nil {
		return err
	}
	if steps.syncFile {
		err = h.Sync()
	}
	if err := errors.Join(err, h.Close()); err != nil {
		return err
	}
	if steps.rename {
		if err := fs.Rename(tmp, name); err != nil {
			return err
		}
	}
	if steps.syncDir {
		return fs.SyncDir(path.Dir(name))
	}
	return nil
}

// runReplace replaces a file some times and cuts the power before any of the calls: the file must
// be as it was when the last replacement was acknowledged, or as the one under way makes it.
func runReplace(rng *rand.Rand, steps replaceSteps) error {
	disk := New()
	version, acked := 0, 0
	content := func(v int) []byte { return bytes.Repeat([]byte{byte(v)}, 700*(v%3+1)) }
	cut := int64(rng.IntN(30))
	var after *FS
	fs := errfs.New(disk, func(errfs.Call) error {
		if cut--; cut < 0 && after == nil {
			after = disk.CrashClone(rng)
			return errors.New("power cut")
		}
		return nil
	})
	if err := disk.Mkdir("meta"); err != nil {
		return err
	}
	if err := disk.SyncDir("."); err != nil {
		return err
	}
	for after == nil {
		version++
		if err := replace(fs, "meta/snap", content(version), steps); err == nil {
			acked = version
		}
	}
	n := after.mu.names["meta/snap"]
	if n == nil {
		if acked > 0 {
			return fmt.Errorf("file is gone, version %d was acknowledged", acked)
		}
		return nil
	}
	for v := max(acked, 1); v <= version; v++ {
		if bytes.Equal(n.content.live, content(v)) {
			return nil
		}
	}
	return fmt.Errorf("file holds %d bytes that are neither version %d nor %d", n.content.size(), acked, version)
}

func TestReplacedFileSurvives(t *testing.T) {
	survives(t, func(rng *rand.Rand) error { return runReplace(rng, replaceSteps{true, true, true}) })
}

func TestMissingStepsOfAReplacementAreCaught(t *testing.T) {
	f := func(name string, steps replaceSteps) {
		t.Run(name, func(t *testing.T) {
			caught(t, func(rng *rand.Rand) error { return runReplace(rng, steps) })
		})
	}
	f("file not synced", replaceSteps{syncDir: true, rename: true})
	f("directory not synced", replaceSteps{syncFile: true, rename: true})
	f("written in place", replaceSteps{syncFile: true, syncDir: true})
}

// TestWhatMayHappenHappens lists every outcome of a few unsynced calls: all that the contract
// allows and none that it does not.
func TestWhatMayHappenHappens(t *testing.T) {
	f := func(name string, prepare, act func(fs *FS), want ...string) {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for seed := range uint64(300) {
				disk := New()
				prepare(disk)
				act(disk)
				seen[outcome(disk.CrashClone(rand.New(rand.NewPCG(seed, 7))))] = true
			}
			for _, w := range want {
				if !seen[w] {
					t.Errorf("never saw %q", w)
				}
				delete(seen, w)
			}
			for got := range seen {
				t.Errorf("saw %q", got)
			}
		})
	}
	put := func(fs *FS, name, letter string) {
		h, _ := fs.Open(name, vfs.Create)
		h.WriteAt(bytes.Repeat([]byte(letter), sector), 0)
		h.Sync()
	}
	one := func(fs *FS) {
		put(fs, "a", "x")
		fs.SyncDir(".")
	}
	two := func(fs *FS) {
		put(fs, "b", "y")
		one(fs)
	}
	f("create", func(*FS) {}, func(fs *FS) { put(fs, "a", "x") }, "", "a=x")
	f("create, synced", func(*FS) {}, one, "a=x")
	f("rename", one, func(fs *FS) { fs.Rename("a", "b") }, "a=x", "b=x")
	f("rename over", two, func(fs *FS) { fs.Rename("a", "b") }, "a=x b=y", "b=x")
	f("remove", two, func(fs *FS) { fs.Remove("a") }, "a=x b=y", "b=y")
	f("two renames", one, func(fs *FS) { fs.Rename("a", "b"); fs.Rename("b", "c") }, "a=x", "b=x", "c=x")
	f("removed and created", one, func(fs *FS) { fs.Remove("a"); put(fs, "a", "y") }, "", "a=x", "a=y")
	f("directory", func(*FS) {}, func(fs *FS) {
		fs.Mkdir("d")
		put(fs, "d/a", "x")
		fs.SyncDir("d")
	}, "", "d=/ d/a=x")
	f("moved, one side synced", func(fs *FS) { one(fs); fs.Mkdir("d"); fs.SyncDir(".") }, func(fs *FS) {
		fs.Rename("a", "d/a")
		fs.SyncDir("d")
	}, "a=x d=/", "d=/ d/a=x")
	f("moved, both synced", func(fs *FS) { one(fs); fs.Mkdir("d"); fs.SyncDir(".") }, func(fs *FS) {
		fs.Rename("a", "d/a")
		fs.SyncDir("d")
		fs.SyncDir(".")
	}, "d=/ d/a=x")

	overwrite := func(letters ...string) func(fs *FS) {
		return func(fs *FS) {
			h, _ := fs.Open("a", 0)
			for _, l := range letters {
				h.WriteAt(bytes.Repeat([]byte(l), 2*sector), 0)
			}
		}
	}
	// Both sectors have a history x, p, q of their own, and the size may be old or new.
	f("overwrites", one, overwrite("p", "q"), "a=x", "a=p", "a=q",
		"a=x0", "a=p0", "a=q0", "a=xp", "a=pp", "a=qp", "a=xq", "a=pq", "a=qq")
	f("truncation", one, func(fs *FS) {
		h, _ := fs.Open("a", 0)
		h.Truncate(0)
	}, "a=x", "a=0", "a=")
}

// outcome describes a file system by a letter a sector.
func outcome(fs *FS) string {
	var b bytes.Buffer
	var walk func(dir string)
	walk = func(dir string) {
		entries, _ := fs.List(dir)
		for _, e := range entries {
			name := path.Join(dir, e.Name)
			fmt.Fprintf(&b, " %s=", name)
			if e.Dir {
				b.WriteByte('/')
				walk(name)
				continue
			}
			for s := range slices.Chunk(fs.mu.names[name].content.live, sector) {
				letter := s[0]
				if !bytes.Equal(s, bytes.Repeat(s[:1], len(s))) {
					letter = '?'
				}
				b.WriteByte(max(letter, '0'))
			}
		}
	}
	walk(".")
	return string(bytes.TrimSpace(b.Bytes()))
}

func TestSameSeedSameCrash(t *testing.T) {
	run := func() string {
		disk := New()
		rng := rand.New(rand.NewPCG(42, 42))
		for i := range 30 {
			h, _ := disk.Open(fmt.Sprint("f", i%7), vfs.Create)
			h.WriteAt(bytes.Repeat([]byte{byte('a' + i)}, 3*sector), int64(i%3*sector))
		}
		return outcome(disk.CrashClone(rng))
	}
	want := run()
	for range 20 {
		if got := run(); got != want {
			t.Fatalf("got %q, then %q", want, got)
		}
	}
}
