package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/clock"
	coordinatordisk "github.com/headrace/headrace/internal/coordinator/disk"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/lane"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore/dir"
	heldbucket "github.com/headrace/headrace/internal/objectstore/held"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/testpoll"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

// run is a server's engines on a directory, put together as package server does.
type run struct {
	t    testing.TB
	fs   vfs.FS
	lane *lanedisk.Lane
	log  *shardlog.Store
	rows *coordinatordisk.Coordinator
	// backup is what a backup is taken of.
	backup backup.Source
}

const (
	segments     = 6
	segmentBytes = 256 << 10
	shards       = 3
)

func start(t testing.TB, path string) *run {
	t.Helper()
	disk, err := osfs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, disk)
}

func startOn(t testing.TB, disk vfs.FS) *run {
	t.Helper()
	return startSealed(t, disk, encryption.Seal{})
}

// startSealed is startOn for a directory that is encrypted as seal says.
func startSealed(t testing.TB, disk vfs.FS, seal encryption.Seal) *run {
	t.Helper()
	ctx := t.Context()
	r := &run{t: t, fs: disk}
	lock, err := r.fs.Lock(lockFile)
	must := func() {
		if t.Helper(); err != nil {
			t.Fatal(err)
		}
	}
	must()
	stored, err := dir.Open(r.fs, blocks, clock.System{})
	must()
	bucket := heldbucket.New(seal.Bucket(stored, blocks))
	first, err := shardlog.Origin(ctx, bucket)
	must()
	r.lane, err = lanedisk.Open(ctx, r.fs, lanedisk.Config{Segments: segments, SegmentBytes: segmentBytes, First: first})
	must()
	groups, _, err := seal.Lane(ctx, r.lane)
	must()
	r.log, err = shardlog.Open(ctx, shardlog.Config{
		Lane: groups, LaneBytes: segments * segmentBytes, Bucket: bucket, Clock: clock.System{},
		Memory: 16 << 20, FlushBytes: 100 << 10, FlushAge: time.Hour,
	})
	must()
	kept, err := dir.Open(r.fs, state, clock.System{})
	must()
	snapshots := seal.Bucket(kept, state)
	r.rows, err = coordinatordisk.Open(ctx, coordinatordisk.Config{
		Log: r.log, Registry: r.log, Bucket: snapshots, Shard: coordinatorShard, SnapshotBytes: 4 << 10,
	})
	must()
	r.backup = backup.Source{Log: r.log, Blocks: bucket, Rows: r.rows, State: snapshots, Clock: clock.System{}}
	if err := lock.Close(); err != nil { // tests check while this process has it open
		t.Fatal(err)
	}
	return r
}

func (r *run) stop() {
	r.t.Helper()
	err := errors.Join(r.rows.Close(), r.log.Close(), r.lane.Close())
	if disk, ok := r.fs.(io.Closer); ok {
		err = errors.Join(err, disk.Close())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func shard(n int) shardlog.ShardID { return shardlog.ShardID{Stream: 1, Shard: int32(n)} }

// fill opens the shards and puts about n KiB into them, and a row for each KiB.
func (r *run) fill(n int) {
	r.t.Helper()
	ctx, random := r.t.Context(), rand.NewChaCha8([32]byte{byte(n)})
	for i := range shards {
		if err := r.log.Open(ctx, []shardlog.ShardID{shard(i)}, shardlog.Retention{Age: 24 * time.Hour}); err != nil {
			r.t.Fatal(err)
		}
	}
	for i := range n {
		data := make([]byte, 1000)
		_, _ = random.Read(data)
		batch := []shardlog.Batch{{Shard: shard(i % shards), Entries: []record.Entry{{PartitionKey: "key", Data: data}}}}
		r.throttled(func() error {
			res, err := r.log.Append(ctx, batch)
			if err == nil {
				err = res[0].Err
			}
			return err
		})
		row := fmt.Sprintf("row/%d/%d", time.Now().UnixNano(), i)
		r.throttled(func() error {
			_, err := r.rows.Put(ctx, row, data[:100], 0)
			return err
		})
	}
}

// throttled makes a call again for as long as the log has no room: this log is full until it has been
// flushed, which takes its time on a busy machine.
func (r *run) throttled(call func() error) {
	r.t.Helper()
	testpoll.Until(r.t, 30*time.Second, func() bool {
		err := call()
		if err != nil && !errors.Is(err, shardlog.ErrFull) {
			r.t.Fatal(err)
		}
		return err == nil
	}, "room in the log")
}

// files returns the files below a part of the directory, newest name last.
func files(t testing.TB, path, below string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(path, below), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != lockFile {
			rel, _ := filepath.Rel(path, p)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// made makes a directory with block files, a manifest, a snapshot, and groups behind both.
func made(t testing.TB) string {
	t.Helper()
	path := t.TempDir()
	r := start(t, path)
	r.fill(300)
	testpoll.Until(t, 10*time.Second, func() bool {
		return len(files(t, path, "blocks/manifest+")) > 0 && len(files(t, path, state)) > 0
	}, "a manifest and a snapshot")
	r.stop()
	r = start(t, path)
	r.fill(20)
	r.stop()
	return path
}

// check checks a directory, and that nothing in it changed.
func check(t testing.TB, path string) ([]Finding, Report) {
	t.Helper()
	before := contents(t, path)
	var found []Finding
	report, err := Directory(t.Context(), path, nil, func(f Finding) { found = append(found, f) })
	if err != nil {
		t.Fatalf("Directory() = %v", err)
	}
	if after := contents(t, path); !slices.Equal(before, after) {
		t.Error("Directory() changed the directory")
	}
	return found, report
}

func contents(t testing.TB, path string) []string {
	t.Helper()
	var out []string
	for _, name := range append(files(t, path, "."), "LOCK") {
		b, err := os.ReadFile(filepath.Join(path, name))
		info, serr := os.Stat(filepath.Join(path, name))
		if err != nil || serr != nil {
			out = append(out, name+" "+fmt.Sprint(err, serr))
			continue
		}
		out = append(out, name+info.ModTime().String()+string(b))
	}
	return out
}

func wantSound(t testing.TB, path string) Report {
	t.Helper()
	found, report := check(t, path)
	for _, f := range found {
		t.Errorf("a sound directory: %v", f)
	}
	return report
}

func TestSound(t *testing.T) {
	path := made(t)
	report := wantSound(t, path)
	if report.Segments != segments || report.BlockFiles < 2 || report.Shards != shards+1 || report.Objects < report.BlockFiles+2 || report.Next <= report.First {
		t.Errorf("Directory() = %+v", report)
	}
	// A shard goes, and what it held goes with it.
	r := start(t, path)
	if err := r.log.Drop(t.Context(), []shardlog.ShardID{shard(1)}); err != nil {
		t.Fatal(err)
	}
	r.fill(150)
	r.stop()
	wantSound(t, path)
	if err := os.Remove(filepath.Join(path, lockFile)); err != nil {
		t.Fatal(err)
	}
	wantSound(t, path)
	if _, err := os.Stat(filepath.Join(path, lockFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock file was made: %v", err)
	}
}

// TestYoung checks directories that a server has only just begun.
func TestYoung(t *testing.T) {
	path := t.TempDir()
	start(t, path).stop()
	wantSound(t, path)
	r := start(t, path)
	r.fill(3)
	r.stop()
	wantSound(t, path)
	for _, name := range []string{blocks, state} {
		if err := os.RemoveAll(filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	wantSound(t, path) // nothing was flushed
}

func TestNotADataDirectory(t *testing.T) {
	f := func(path string, want error) {
		t.Helper()
		_, err := Directory(t.Context(), path, nil, func(f Finding) { t.Error(f) })
		if !errors.Is(err, want) {
			t.Errorf("Directory(%s) = %v, want %v", path, err, want)
		}
	}
	path := t.TempDir()
	f(path, ErrNoData)
	f(filepath.Join(path, "missing"), ErrNoData)
	f(os.Args[0], ErrNoData)
	start(t, path).stop()
	held, err := osfs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	lock, err := held.Lock(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	f(path, ErrInUse)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	wantSound(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Directory(ctx, path, nil, func(Finding) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Directory() with its context done = %v", err)
	}
}

// TestDamage damages every kind of file, in turn: each damage is found, in the file that has it.
func TestDamage(t *testing.T) {
	path := made(t)
	wantSound(t, path)
	manifest := files(t, path, "blocks/manifest+")
	blockFiles := files(t, path, "blocks/blocks+")
	snapshots := files(t, path, state)
	reader := tail(t, path)
	disk := memfs.New()
	load(t, disk, path, ".")
	f := func(name string, want string, damage func(b []byte) []byte) {
		t.Helper()
		whole, err := os.ReadFile(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		if changed := damage(bytes.Clone(whole)); changed != nil {
			err = store(disk, name, changed)
		} else {
			err = disk.Remove(name)
		}
		if err != nil {
			t.Fatal(err)
		}
		found := checkOn(t, disk)
		if len(found) == 0 {
			t.Errorf("%s damaged: found nothing, want a finding in %s", name, want)
		}
		for _, f := range found {
			if f.File != want {
				t.Errorf("%s damaged: found %v, want findings in %s only", name, f, want)
			}
		}
		if err := store(disk, name, whole); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 0x20
			return b
		}
	}
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	gone := func([]byte) []byte { return nil }
	longer := func(b []byte) []byte { return append(b, 0) }
	every := func(name string) {
		t.Helper()
		for _, at := range []int{0, 9, 60, -1, -300} {
			f(name, name, flip(at))
		}
		f(name, name, cut)
		f(name, name, longer)
		f(name, name, func([]byte) []byte { return []byte{} })
	}
	every(manifest[len(manifest)-1])
	f(manifest[len(manifest)-1], blocks, gone)
	every(blockFiles[0])
	for _, name := range blockFiles {
		f(name, name, flip(200))
		f(name, name, gone)
	}
	every(snapshots[len(snapshots)-1])
	f(snapshots[len(snapshots)-1], state, gone)
	for _, name := range files(t, path, walDir) {
		f(name, name, flip(3))
		f(name, name, cut)
		f(name, name, func([]byte) []byte { return []byte{} })
	}
	f(reader.file, reader.file, flip(int(reader.offset)))
	f("wal/002.wal", "wal/002.wal", gone)
	f(blockFiles[0], blockFiles[0], func([]byte) []byte {
		b, err := os.ReadFile(filepath.Join(path, blockFiles[1]))
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	if found := checkOn(t, disk); len(found) > 0 {
		t.Errorf("everything is as it was: found %v", found)
	}
}

// checkOn checks a directory in memory.
func checkOn(t testing.TB, disk vfs.FS) []Finding {
	t.Helper()
	var found []Finding
	c := &checker{fs: readOnly{disk}, sound: true, found: func(f Finding) { found = append(found, f) }}
	if err := c.run(t.Context()); err != nil {
		t.Fatalf("run() = %v", err)
	}
	return found
}

// load copies a part of a directory into memory.
func load(t testing.TB, disk vfs.FS, path, part string) {
	t.Helper()
	for _, name := range files(t, path, part) {
		b, err := os.ReadFile(filepath.Join(path, name))
		if err == nil {
			err = store(disk, name, b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// store makes a file of the disk hold b.
func store(disk vfs.FS, name string, b []byte) error {
	if err := disk.Mkdir(filepath.ToSlash(filepath.Dir(name))); err != nil {
		return err
	}
	f, err := disk.Open(name, vfs.Create)
	if err != nil {
		return err
	}
	if err = f.Truncate(int64(len(b))); err == nil && len(b) > 0 {
		_, err = f.WriteAt(b, 0)
	}
	return errors.Join(err, f.Close())
}

type place struct {
	file   string
	offset int64
}

// tail returns where the first group stands that is not in block files.
func tail(t testing.TB, path string) place {
	t.Helper()
	disk, err := osfs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	r, err := lanedisk.OpenReader(t.Context(), readOnly{disk})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	file, offset, ok := r.Place(r.Found().Bounds.Next-3, 0)
	if !ok {
		t.Fatalf("no place of group %d: %+v", r.Found().Bounds.Next-3, r.Found())
	}
	return place{file, offset}
}

// TestTheLaneOfAnotherTime checks directories of which one part was put back to what it was earlier:
// every file is whole, and they do not fit together.
func TestTheLaneOfAnotherTime(t *testing.T) {
	path := made(t)
	old := t.TempDir()
	if err := os.CopyFS(filepath.Join(old, "copy"), os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	r := start(t, path)
	r.fill(600)
	r.stop()
	wantSound(t, path)
	f := func(part, want string) {
		t.Helper()
		disk := memfs.New()
		for _, p := range []string{walDir, blocks, state} {
			from := path
			if p == part {
				from = filepath.Join(old, "copy")
			}
			load(t, disk, from, p)
		}
		found := checkOn(t, disk)
		if len(found) == 0 || !strings.HasPrefix(found[0].File, want) {
			t.Errorf("%s is older than the rest: found %v, want a finding in %s", part, found, want)
		}
	}
	f(walDir, "blocks/manifest+/")
	f(blocks, "blocks/manifest+/")
	f(state, "state/journal+/")
}

// TestPowerCuts cuts the power while engines run: what is left is no damage.
func TestPowerCuts(t *testing.T) {
	disk := memfs.New()
	r := startOn(t, disk)
	files, objects := 0, 0
	for seed := range uint64(40) {
		r.fill(20)
		clone := disk.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		for range 2 {
			c := &checker{fs: readOnly{clone}, sound: true, found: func(f Finding) { t.Errorf("power cut of seed %d: %v", seed, f) }}
			if err := c.run(t.Context()); err != nil {
				t.Fatalf("power cut of seed %d: %v", seed, err)
			}
			files, objects = max(files, c.report.BlockFiles), max(objects, c.report.Objects)
			if seed%10 == 0 {
				startOn(t, clone).stop()
			}
		}
	}
	r.stop()
	if files < 2 || objects < files+2 {
		t.Errorf("at most %d block files and %d objects were read", files, objects)
	}
}

// TestCoordinatorGone drops the log that a server cannot be without.
func TestCoordinatorGone(t *testing.T) {
	disk := memfs.New()
	r := startOn(t, disk)
	r.fill(3)
	if err := r.log.Drop(t.Context(), []shardlog.ShardID{coordinatorShard}); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if found := checkOn(t, disk); len(found) != 1 || found[0].File != walDir {
		t.Errorf("found %v, want one thing in %s", found, walDir)
	}
}

// TestGroups damages what a group says, under checksums that are right.
func TestGroups(t *testing.T) {
	path := t.TempDir()
	r := start(t, path)
	r.fill(3)
	if err := errors.Join(r.rows.Close(), r.log.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := r.lane.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.lane.Append(t.Context(), b.Next, []byte{1, 0, 0, 0, 1, 0, 0, 0, 9}); err != nil {
		t.Fatal(err)
	}
	if err := r.lane.Close(); err != nil {
		t.Fatal(err)
	}
	found, _ := check(t, path)
	want := fmt.Sprintf("group %d: short chunk header", lane.Position(b.Next))
	if len(found) != 1 || found[0].What != want || found[0].File != "wal/000.wal" || found[0].Offset == 0 {
		t.Errorf("found %v, want %q", found, want)
	}
}

// TestRestored checks a directory as a restore leaves it, once it has been used, and one that was
// restored in part.
func TestRestored(t *testing.T) {
	r := startOn(t, memfs.New())
	r.fill(100)
	b, err := backup.Begin(t.Context(), r.backup)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := errors.Join(b.Write(t.Context(), &archive), b.Close()); err != nil {
		t.Fatal(err)
	}
	r.stop()
	disk := memfs.New()
	if _, err := backup.Restore(t.Context(), disk, bytes.NewReader(archive.Bytes()), nil, clock.System{}); err != nil {
		t.Fatal(err)
	}
	sound := func() {
		t.Helper()
		if found := checkOn(t, disk); len(found) > 0 {
			t.Errorf("found %v", found)
		}
	}
	sound()
	c := &checker{fs: readOnly{disk}, sound: true, found: func(f Finding) { t.Error(f) }}
	if err := c.run(t.Context()); err != nil || c.report.Segments != 0 || c.report.Shards != shards+1 || c.report.First < 2 || c.report.Next != c.report.First {
		t.Errorf("run() = %v, %+v", err, c.report)
	}
	r = startOn(t, disk)
	r.fill(100)
	r.stop()
	sound()
	if err := store(disk, backup.Mark, nil); err != nil {
		t.Fatal(err)
	}
	if found := checkOn(t, disk); len(found) != 1 || found[0].File != backup.Mark {
		t.Errorf("a restore that was cut short: found %v", found)
	}
}
