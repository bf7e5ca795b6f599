package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/held"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/testpoll"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// restored restores an archive to a disk in memory and starts engines on it.
func restored(t testing.TB, archive []byte, now clock.Clock) (*engines, *memfs.FS, Restored) {
	t.Helper()
	disk := memfs.New()
	out, err := Restore(t.Context(), disk, bytes.NewReader(archive), nil, now)
	if err != nil {
		t.Fatal(err)
	}
	e, err := start(t.Context(), disk)
	if err != nil {
		t.Fatal(err)
	}
	return e, disk, out
}

// TestThereAndBack takes backups and restores them, one of the other and the same twice: what was
// acknowledged before a backup is there, and no index comes again.
func TestThereAndBack(t *testing.T) {
	ctx, rng := t.Context(), rand.New(rand.NewPCG(3, 4))
	archive, in, all := backedUp(t)
	now := clock.NewManual(time.Now())
	issued := all.issued
	for round := range 4 {
		now.Advance(time.Millisecond)
		e, _, out := restored(t, archive, now)
		if out.Shards != shards+1 || out.Jumped != shards || out.Objects < 3 {
			t.Errorf("Restore() = %+v", out)
		}
		if err := e.compare(ctx, in); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		now := in.clone()
		now.issued = issued // of every life
		if err := e.fill(ctx, now, rng, 100); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		issued = now.issued
		if err := e.compare(ctx, now); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if round%2 == 1 { // every other round restores the same backup again
			var next bytes.Buffer
			if err := send(ctx, e.Source, &next); err != nil {
				t.Fatal(err)
			}
			archive, in = next.Bytes(), now
		}
		if err := e.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBackupBesideWriters takes backups while others write, block files are merged and snapshots are
// taken: what was acknowledged before each began is in it.
func TestBackupBesideWriters(t *testing.T) {
	ctx, rng := t.Context(), rand.New(rand.NewPCG(5, 6))
	e, err := start(ctx, memfs.New())
	if err != nil {
		t.Fatal(err)
	}
	all := newContent()
	for i := range 8 {
		var mu sync.Mutex
		var writer sync.WaitGroup
		begun := make(chan struct{})
		writer.Go(func() {
			for round := range 20 {
				part := newContent()
				part.issued = all.issued
				if err := e.fill(ctx, part, rng, 5); err != nil {
					t.Error(err)
				}
				mu.Lock()
				all.add(part)
				mu.Unlock()
				if round == 5 {
					close(begun)
				}
			}
		})
		<-begun
		mu.Lock()
		want := newContent()
		want.add(all)
		mu.Unlock()
		var out bytes.Buffer
		if err := send(ctx, e.Source, &out); err != nil {
			t.Fatal(err)
		}
		writer.Wait()
		again, _, _ := restored(t, out.Bytes(), clock.System{})
		if err := again.holds(ctx, want); err != nil {
			t.Fatalf("backup %d: %v", i, err)
		}
		if err := again.stop(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(e.compare(ctx, all), e.stop()); err != nil {
		t.Fatal(err)
	}
}

// holds expects all of the content, perhaps among other things.
func (e *engines) holds(ctx context.Context, c *content) error {
	for i := range shards {
		for at, want := range c.records[i] {
			p, err := e.log.Read(ctx, shard(i), at, shardlog.Limit{Records: 1, Bytes: 1})
			if err != nil {
				return err
			}
			if len(p.Records) != 1 || p.Records[0].Index != at || string(p.Records[0].Data) != want {
				return errors.New("a record is missing or another")
			}
			p.Release()
		}
	}
	for key, want := range c.rows {
		if r, err := e.rows.Get(ctx, key); err != nil || string(r.Value) != want {
			return errors.New("a row is missing or another: " + key)
		}
	}
	return nil
}

var errCut = errors.New("power cut")

// cutting returns the disk behind a script that cuts its power before call at, and what is left then.
func cutting(disk *memfs.FS, at int64, seed uint64) (fs *errfs.FS, after func() *memfs.FS) {
	rng := rand.New(rand.NewPCG(seed, 9))
	var left *memfs.FS
	calls := int64(0)
	fs = errfs.New(disk, func(errfs.Call) error {
		if calls++; calls == at {
			left = disk.CrashClone(rng)
		}
		if calls >= at {
			return errCut
		}
		return nil
	})
	return fs, func() *memfs.FS { return left }
}

// names lists everything on a disk but the lock.
func names(t testing.TB, disk vfs.FS) (out []string) {
	t.Helper()
	entries, err := disk.List(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name != lockFile {
			out = append(out, e.Name)
		}
	}
	return out
}

// judge looks at what a restore that ended early has left: nothing, a directory that is refused, or
// all of it.
func judge(t testing.TB, disk *memfs.FS, in *content, what string) (kind string) {
	t.Helper()
	left := names(t, disk)
	if len(left) == 0 {
		return "nothing"
	}
	e, err := start(t.Context(), disk)
	if errors.Is(err, ErrUnfinished) {
		if _, err := Restore(t.Context(), disk, nil, nil, clock.System{}); !errors.Is(err, ErrUnfinished) {
			t.Errorf("%s: restoring over what is left: %v", what, err)
		}
		return "refused"
	}
	if err == nil {
		err = e.compare(t.Context(), in)
	}
	if err == nil {
		err = e.stop()
	}
	if err != nil {
		t.Fatalf("%s: left is %q: %v", what, left, err)
	}
	return "all"
}

// TestRestoreCuts cuts the power at every call of a restore, and kills the process there.
func TestRestoreCuts(t *testing.T) {
	archive, in, _ := backedUp(t)
	kinds := map[string]int{}
	for at := int64(1); ; at++ {
		disk := memfs.New()
		fs, after := cutting(disk, at, uint64(at))
		_, err := Restore(t.Context(), fs, bytes.NewReader(archive), nil, clock.System{})
		if after() == nil {
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(10) { // what is done is done
				if left := judge(t, disk.CrashClone(rand.New(rand.NewPCG(seed, 1))), in, "after all"); left != "all" {
					t.Errorf("a power cut after a restore leaves %s", left)
				}
			}
			break
		}
		if !errors.Is(err, errCut) {
			t.Fatalf("cut at call %d: %v", at, err)
		}
		kinds[judge(t, after(), in, "after a power cut")]++
		kinds["killed "+judge(t, disk, in, "after a kill")]++
	}
	if kinds["nothing"] == 0 || kinds["refused"] < 20 || kinds["killed all"] == 0 {
		t.Errorf("left are %v; want some of each", kinds)
	}
	t.Log(kinds)
}

// TestUndoCuts cuts the power at every call of a restore that takes itself back, and at the last one,
// when the mark has just been removed, often.
func TestUndoCuts(t *testing.T) {
	archive, _, _ := backedUp(t)
	archive = archive[:len(archive)-2048] // without its end
	kinds := map[string]int{}
	cut := func(at int64, seed uint64) bool {
		t.Helper()
		disk := memfs.New()
		fs, after := cutting(disk, at, seed)
		_, err := Restore(t.Context(), fs, bytes.NewReader(archive), nil, clock.System{})
		if after() != nil {
			kinds[judge(t, after(), nil, "after a power cut")]++
			return true
		}
		if left := names(t, disk); !errors.Is(err, ErrNotWhole) || len(left) > 0 {
			t.Errorf("%v; left is %q", err, left)
		}
		return false
	}
	calls := int64(1)
	for cut(calls, uint64(calls)) {
		calls++
	}
	for seed := range uint64(400) {
		cut(calls-1, seed<<32)
	}
	if kinds["all"] > 0 || kinds["nothing"] < 5 || kinds["refused"] < 100 {
		t.Errorf("left are %v", kinds)
	}
}

// TestRestoreFails fails every call of a restore: it leaves nothing, or what no server starts on. With
// the disk full it leaves nothing.
func TestRestoreFails(t *testing.T) {
	archive, in, _ := backedUp(t)
	f := func(script func(n int64) errfs.Script, want error, kinds string) {
		t.Helper()
		seen := map[string]int{}
		for n := int64(1); ; n++ {
			disk := memfs.New()
			fs := errfs.New(disk, script(n))
			_, err := Restore(t.Context(), fs, bytes.NewReader(archive), nil, clock.System{})
			if err == nil {
				if judge(t, disk, in, "whole") != "all" {
					t.Fatal("nothing failed, and it is not all there")
				}
				break
			}
			if !errors.Is(err, want) {
				t.Fatalf("call %d: %v, want %v", n, err, want)
			}
			seen[judge(t, disk, in, err.Error())]++
		}
		for kind := range seen {
			if !strings.Contains(kinds, kind) {
				t.Errorf("left are %v; want %v", seen, kinds)
			}
		}
		if seen["nothing"] < 5 {
			t.Errorf("left are %v", seen)
		}
	}
	broken := errors.New("broken disk")
	f(func(n int64) errfs.Script { return errfs.Nth(n, failable, broken) }, broken, "nothing refused all")
	f(func(n int64) errfs.Script {
		return errfs.From(n, errfs.On(errfs.OpWrite), vfs.ErrNoSpace)
	}, vfs.ErrNoSpace, "nothing")
	f(func(n int64) errfs.Script {
		return errfs.Nth(n, errfs.On(errfs.OpWrite), &errfs.Short{N: 100, Err: vfs.ErrNoSpace})
	}, vfs.ErrNoSpace, "nothing")
	// A real device that is too small.
	for room := int64(10_000); room < 200_000; room += 10_000 {
		disk := memfs.NewSized(room)
		_, err := Restore(t.Context(), disk, bytes.NewReader(archive), nil, clock.System{})
		if err == nil {
			break
		}
		if left := names(t, disk); !errors.Is(err, vfs.ErrNoSpace) || len(left) > 0 {
			t.Errorf("on a disk of %d bytes: %v; left is %q", room, err, left)
		}
	}
}

// failable are the calls whose failure a restore cannot overlook: all but closing the lock.
func failable(c errfs.Call) bool { return !(c.Op == errfs.OpClose && c.Name == lockFile) }

// TestRestoreRefuses restores to what is not empty, and what is no backup.
func TestRestoreRefuses(t *testing.T) {
	whole, _, _ := backedUp(t)
	f := func(want error, archive []byte, there ...string) {
		t.Helper()
		disk := memfs.New()
		for _, name := range there {
			file, err := disk.Open(name, vfs.Create)
			if err == nil {
				err = file.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_, err := Restore(t.Context(), disk, bytes.NewReader(archive), nil, clock.System{})
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("with %q there: %v, want %v", there, err, want)
		}
		if left := names(t, disk); err != nil && len(left) != len(there) {
			t.Errorf("with %q there: left is %q", there, left)
		}
	}
	f(nil, whole, "lost+found")
	f(ErrNotEmpty, whole, "notes.txt")
	f(ErrUnfinished, whole, Mark)
	f(ErrNotWhole, whole[:len(whole)/2])
	f(ErrNotBackup, []byte(nil))
	damaged := bytes.Clone(whole)
	damaged[bytes.Index(damaged, []byte("HRbk"))+20] ^= 1 // in a block file
	f(ErrDamaged, damaged)
	f(ErrDamaged, archive(t, map[string]string{"state/journal/a/1": "x"})) // no manifest
	f(ErrVersion, archive(t, map[string]string{"videos/a": "x"}))
	f(ErrDamaged, archive(t, map[string]string{"blocks": "x"}))
	f(shardlog.ErrCorrupt, archive(t, map[string]string{"blocks/manifest/0000000000000001": "x"}))
	f(ErrDamaged, archive(t, map[string]string{"blocks/manifest/1": "x", "blocks/manifest/2": "x"}))
	disk := memfs.New()
	lock, err := disk.Lock(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := Restore(t.Context(), disk, bytes.NewReader(whole), nil, clock.System{}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("Restore() to a directory in use = %v", err)
	}
}

// TestSaveCuts cuts the power at every call of saving a backup: the file is whole, or the older one, or
// not there.
func TestSaveCuts(t *testing.T) {
	older, newer := archive(t, map[string]string{"state/a": "older"}), archive(t, sample())
	f := func(has bool) {
		t.Helper()
		kinds := map[string]int{}
		for at := int64(1); ; at++ {
			disk := memfs.New()
			if has {
				if _, err := Save(t.Context(), disk, "b.tar", bytes.NewReader(older)); err != nil {
					t.Fatal(err)
				}
			}
			fs, after := cutting(disk, at, uint64(at))
			_, err := Save(t.Context(), fs, "b.tar", bytes.NewReader(newer))
			if after() == nil {
				left := disk.CrashClone(rand.New(rand.NewPCG(1, 1)))
				if got := file(t, left, "b.tar"); err != nil || !bytes.Equal(got, newer) || len(names(t, left)) != 1 {
					t.Errorf("Save() = %v; left is %q", err, names(t, left))
				}
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatalf("cut at call %d: %v", at, err)
			}
			switch got := file(t, after(), "b.tar"); {
			case bytes.Equal(got, newer):
				kinds["newer"]++
			case has && bytes.Equal(got, older):
				kinds["older"]++
			case !has && got == nil:
				kinds["none"]++
			default:
				t.Fatalf("cut at call %d: the file has %d bytes", at, len(got))
			}
		}
		if kinds["newer"] == 0 || kinds["older"]+kinds["none"] < 5 {
			t.Errorf("left are %v", kinds)
		}
	}
	f(false)
	f(true)
}

// file returns what a file holds, nil if it is not there.
func file(t testing.TB, disk vfs.FS, name string) []byte {
	t.Helper()
	f, err := disk.Open(name, vfs.ReadOnly)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

// TestSaveFails fails every call, fills the disk, and cuts the archive short: nothing is left but the
// older file.
func TestSaveFails(t *testing.T) {
	older, newer := archive(t, map[string]string{"state/a": "older"}), archive(t, sample())
	f := func(disk *memfs.FS, script errfs.Script, body io.Reader, want error) (failed bool) {
		t.Helper()
		if _, err := Save(t.Context(), disk, "b.tar", bytes.NewReader(older)); err != nil {
			t.Fatal(err)
		}
		_, err := Save(t.Context(), errfs.New(disk, script), "b.tar", body)
		if err == nil {
			return false
		}
		left := names(t, disk)
		if got := file(t, disk, "b.tar"); !errors.Is(err, want) || !bytes.Equal(got, older) && !bytes.Equal(got, newer) || len(left) != 1 {
			t.Errorf("%v, want %v; left is %q", err, want, left)
		}
		return true
	}
	broken := errors.New("broken disk")
	n := int64(1)
	for f(memfs.New(), errfs.Nth(n, errfs.Any, broken), bytes.NewReader(newer), broken) {
		n++
	}
	if n < 7 {
		t.Errorf("only %d calls failed", n)
	}
	f(memfs.NewSized(int64(len(older)+len(newer)/2)), nil, bytes.NewReader(newer), vfs.ErrNoSpace)
	f(memfs.New(), nil, bytes.NewReader(newer[:len(newer)/2]), ErrNotWhole)
	damaged := bytes.Replace(newer, []byte("records records"), []byte("records_records"), 1)
	f(memfs.New(), nil, bytes.NewReader(damaged), ErrDamaged)
	// What an earlier one left behind is written over.
	disk := memfs.New()
	left, err := disk.Open("b.tar"+partial, vfs.Create)
	if err == nil {
		_, err = left.WriteAt(bytes.Repeat([]byte("x"), 100_000), 0)
	}
	if err == nil {
		err = left.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Save(t.Context(), disk, "b.tar", bytes.NewReader(newer)); err != nil || !bytes.Equal(file(t, disk, "b.tar"), newer) {
		t.Errorf("Save() over what was left = %v", err)
	}
}

// TestBackupWithoutRoom fills the server's disk under a backup: it fails, its server loses nothing and
// goes on when there is room, and nothing is left behind.
func TestBackupWithoutRoom(t *testing.T) {
	ctx := t.Context()
	full := false
	var mu sync.Mutex
	disk := memfs.New()
	e, err := start(ctx, errfs.New(disk, func(c errfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if full && c.Op == errfs.OpWrite && len(c.Name) > 6 && c.Name[:6] == blocksPart {
			return vfs.ErrNoSpace
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	setFull := func(v bool) { mu.Lock(); defer mu.Unlock(); full = v }
	all, rng := newContent(), rand.New(rand.NewPCG(7, 8))
	if err := e.fill(ctx, all, rng, 20); err != nil {
		t.Fatal(err)
	}
	setFull(true)
	if err := send(ctx, e.Source, io.Discard); !errors.Is(err, objectstore.ErrFull) {
		t.Errorf("a backup with no room = %v", err)
	}
	// Puts are throttled from now on, which is how fill comes to ask for room; what was taken is kept.
	if err := e.fill(ctx, all, rng, 20); err != nil && !errors.Is(err, objectstore.ErrFull) {
		t.Fatalf("put with no room for block files: %v", err)
	}
	setFull(false)
	var out bytes.Buffer
	testpoll.Until(t, 20*time.Second, func() bool {
		out.Reset()
		return send(ctx, e.Source, &out) == nil
	}, "a backup")
	again, _, _ := restored(t, out.Bytes(), clock.System{})
	if err := errors.Join(again.compare(ctx, all), again.stop()); err != nil {
		t.Error(err)
	}
	// A backup that has begun, and holds what writers need, gives way.
	b, err := Begin(ctx, e.Source)
	if err != nil {
		t.Fatal(err)
	}
	for i := range shards {
		if err := e.log.Drop(ctx, []shardlog.ShardID{shard(i)}); err != nil {
			t.Fatal(err)
		}
	}
	after := newContent()
	after.rows = all.rows
	if err := e.fill(ctx, after, rng, 200); err != nil { // some flushes
		t.Fatal(err)
	}
	setFull(true)
	testpoll.Until(t, 20*time.Second, func() bool {
		_, err := e.log.Cut(ctx)
		return errors.Is(err, objectstore.ErrFull)
	}, "a full disk")
	if err := b.Write(ctx, io.Discard); !errors.Is(err, held.ErrGivenUp) {
		t.Errorf("a backup whose files were needed = %v", err)
	}
	setFull(false)
	if err := errors.Join(b.Close(), e.stop()); err != nil {
		t.Error(err)
	}
}

// TestBackupEnds ends the context and the taker of a backup in the middle: nothing stays held.
func TestBackupEnds(t *testing.T) {
	ctx := t.Context()
	e, err := start(ctx, memfs.New())
	if err != nil {
		t.Fatal(err)
	}
	all, rng := newContent(), rand.New(rand.NewPCG(7, 8))
	if err := e.fill(ctx, all, rng, 100); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(ctx)
	b, err := Begin(gone, e.Source)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := b.Write(gone, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("Write() = %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Begin(gone, e.Source); !errors.Is(err, context.Canceled) {
		t.Errorf("Begin() = %v", err)
	}
	broken := errors.New("gone")
	if err := send(ctx, e.Source, brokenWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("a backup to nowhere = %v", err)
	}
	infos, err := e.Blocks.List(ctx, "blocks/", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range infos {
		if err := e.Blocks.Delete(ctx, o.Key); err != nil {
			t.Errorf("%s is held by nobody: %v", o.Key, err)
		}
	}
	_ = e.stop() // its files are gone
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }
