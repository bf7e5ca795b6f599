package disk

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// failures are the ways in which a call fails here.
func failures() []error {
	return []error{syscall.EIO, vfs.ErrNoSpace, &errfs.Short{N: block, Err: vfs.ErrNoSpace}, &errfs.Short{N: 0, Err: syscall.EIO}}
}

// TestAppendDiesOfAnyFailure lets each write and sync of a run of Appends fail in turn.
func TestAppendDiesOfAnyFailure(t *testing.T) {
	for _, op := range []errfs.Op{errfs.OpWrite, errfs.OpSync} {
		for _, failure := range failures() {
			for n := lane.Position(1); n <= 10; n++ {
				var on func(errfs.Call) bool = func(errfs.Call) bool { return false }
				disk := memfs.New()
				script := errfs.Nth(int64(n), func(c errfs.Call) bool { return on(c) }, failure)
				l := mustOpen(t, errfs.New(disk, script), small(4, 32<<10))
				on = errfs.On(op)
				mustAppend(t, l, 1, n-1, 7000)
				err := l.Append(ctx, n, content(n, 0, 7000))
				if !errors.Is(err, syscall.EIO) && !errors.Is(err, vfs.ErrNoSpace) {
					t.Fatalf("Append(%d) with call %d of kind %d failing = %v", n, n, op, err)
				}
				wantDead(t, l, n, err)
				l = mustOpen(t, disk, small(4, 32<<10))
				b, err := l.Bounds(ctx)
				if err != nil || b.Next != n && b.Next != n+1 {
					t.Errorf("Bounds() = %+v, %v; want %d groups or one more", b, err, n-1)
				}
				wantHeld(t, l, 1, b.Next, 7000)
				mustClose(t, l)
			}
		}
	}
}

// wantDead expects the same error from every call.
func wantDead(t *testing.T, l *Lane, next lane.Position, want error) {
	t.Helper()
	_, read := l.Read(ctx, 1, 1)
	_, bounds := l.Bounds(ctx)
	for name, err := range map[string]error{
		"Append": l.Append(ctx, next, nil), "Read": read, "Bounds": bounds, "TrimTo": l.TrimTo(ctx, next), "Close": l.Close(),
	} {
		if err == nil || err.Error() != want.Error() {
			t.Errorf("%s of a dead lane = %v, want %v", name, err, want)
		}
	}
	if err := l.Append(ctx, next, nil); !errors.Is(err, lane.ErrClosed) {
		t.Errorf("Append after Close = %v, want ErrClosed", err)
	}
}

// quiet writes less than it is asked to and does not say so.
type quiet struct{ broken }

func (f quiet) WriteAt(p []byte, off int64) (int, error) {
	return f.File.WriteAt(p[:len(p)/2&^(block-1)], off)
}

func TestShortWriteWithoutError(t *testing.T) {
	l := mustOpen(t, memfs.New(), small(2, 32<<10))
	for _, s := range l.mu.all {
		s.file = quiet{broken{s.file, s.name}}
	}
	err := l.Append(ctx, 1, make([]byte, 10_000))
	if !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Append = %v, want ErrShortWrite", err)
	}
	wantDead(t, l, 1, err)
}

func TestTrimDiesOfAnyFailure(t *testing.T) {
	for _, op := range []errfs.Op{errfs.OpWrite, errfs.OpSync} {
		var on func(errfs.Call) bool = func(errfs.Call) bool { return false }
		disk := memfs.New()
		l := mustOpen(t, errfs.New(disk, errfs.Nth(1, func(c errfs.Call) bool { return on(c) }, syscall.EIO)), small(4, 32<<10))
		mustAppend(t, l, 1, 20, 3000)
		on = errfs.On(op)
		err := l.TrimTo(ctx, 10)
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("TrimTo = %v, want EIO", err)
		}
		wantDead(t, l, 21, err)
		l = mustOpen(t, disk, small(4, 32<<10))
		b, _ := l.Bounds(ctx)
		if b.First > 10 {
			t.Errorf("First = %d after TrimTo(10)", b.First)
		}
		wantHeld(t, l, b.First, 21, 3000)
		mustClose(t, l)
	}
}

// TestOpenReportsAnyFailure lets every call of an Open fail in turn, of a new ring and of one with
// groups, and expects that the next Open finds everything.
func TestOpenReportsAnyFailure(t *testing.T) {
	f := func(groups lane.Position) {
		t.Helper()
		prepare := func() *memfs.FS {
			disk := memfs.New()
			if groups > 0 {
				l := mustOpen(t, disk, small(4, 32<<10))
				mustAppend(t, l, 1, groups, 7000)
				abandon(t, l)
			}
			return disk
		}
		counted := errfs.New(prepare(), nil)
		abandon(t, mustOpen(t, counted, small(4, 32<<10)))
		for n := range counted.Total() - 5 { // the last five close files
			for _, failure := range failures() {
				disk := prepare()
				l, err := Open(ctx, errfs.New(disk, errfs.Nth(n+1, errfs.Any, failure)), small(4, 32<<10))
				if err == nil {
					t.Errorf("Open with call %d of %d failing succeeded", n+1, counted.Total())
					abandon(t, l)
				} else if !errors.Is(err, syscall.EIO) && !errors.Is(err, vfs.ErrNoSpace) {
					t.Errorf("Open with call %d failing = %v", n+1, err)
				}
				l = mustOpen(t, disk, small(4, 32<<10))
				wantHeld(t, l, 1, groups+1, 7000)
				mustClose(t, l)
			}
		}
	}
	f(0)
	f(10)
}

func TestReadFailureIsNotFatal(t *testing.T) {
	var on func(errfs.Call) bool = func(errfs.Call) bool { return false }
	l := mustOpen(t, errfs.New(memfs.New(), errfs.Nth(1, func(c errfs.Call) bool { return on(c) }, syscall.EIO)), small(2, 32<<10))
	mustAppend(t, l, 1, 3, 3000)
	on = errfs.On(errfs.OpRead)
	if _, err := l.Read(ctx, 1, 1); !errors.Is(err, syscall.EIO) {
		t.Errorf("Read = %v, want EIO", err)
	}
	mustAppend(t, l, 4, 4, 3000)
	wantHeld(t, l, 1, 5, 3000)
	mustClose(t, l)
}

// TestReadOnlyDirectory expects the name of what could not be opened.
func TestReadOnlyDirectory(t *testing.T) {
	disk := memfs.New()
	mustClose(t, mustOpen(t, disk, small(2, 32<<10)))
	f := func(op errfs.Op, name string) {
		t.Helper()
		denied := &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
		_, err := Open(ctx, errfs.New(disk, errfs.Nth(1, func(c errfs.Call) bool { return c.Op == op && c.Name == name }, denied)), small(2, 32<<10))
		var at *fs.PathError
		if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &at) || at.Path != name {
			t.Errorf("Open without permission for %s = %v", name, err)
		}
	}
	f(errfs.OpLock, "wal/LOCK")
	f(errfs.OpOpen, "wal/001.wal")
	readOnly := errfs.New(disk, errfs.From(1, errfs.On(errfs.OpWrite, errfs.OpSync, errfs.OpSyncDir, errfs.OpMkdir, errfs.OpLock), fs.ErrPermission))
	if _, err := Check(ctx, readOnly); err != nil {
		t.Errorf("Check of what cannot be written = %v", err)
	}
}

// TestMarkOfAFailedSync opens a lane whose last Open failed to sync its mark, on the same machine:
// the mark can be read and no sync will save it. What is appended must not hang on it.
func TestMarkOfAFailedSync(t *testing.T) {
	disk := memfs.New()
	l := mustOpen(t, disk, small(2, 32<<10))
	mustAppend(t, l, 1, 2, 3000)
	abandon(t, l)
	_, err := Open(ctx, errfs.New(disk, errfs.Nth(2, errfs.On(errfs.OpSync), syscall.EIO)), small(2, 32<<10))
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("Open with its second sync failing = %v, want EIO", err)
	}
	disk.ForgetWrites("wal/000.wal")
	l = mustOpen(t, disk, small(2, 32<<10))
	mustAppend(t, l, 3, 4, 3000)
	for seed := range uint64(20) {
		l := mustOpen(t, disk.CrashClone(rand.New(rand.NewPCG(seed, 3))), small(2, 32<<10))
		wantHeld(t, l, 1, 5, 3000)
		mustClose(t, l)
	}
	abandon(t, l)
}

// TestNameOfAKilledProcess kills a process between the naming of a segment and the sync of the
// directory. The next one sees the name and fills the segment, so a power cut must not take it away.
func TestNameOfAKilledProcess(t *testing.T) {
	disk := memfs.New()
	gone := errors.New("killed")
	_, err := Open(ctx, errfs.New(disk, errfs.From(4, errfs.On(errfs.OpSyncDir), gone)), small(2, 32<<10))
	if _, serr := disk.Open("wal/001.wal", vfs.ReadOnly); !errors.Is(err, gone) || serr != nil {
		t.Fatalf("Open = %v, and the second segment: %v; want it named and the process gone", err, serr)
	}
	l := mustOpen(t, disk, small(2, 32<<10))
	mustAppend(t, l, 1, 12, 3000)
	for seed := range uint64(20) {
		l := mustOpen(t, disk.CrashClone(rand.New(rand.NewPCG(seed, 3))), small(2, 32<<10))
		wantHeld(t, l, 1, 13, 3000)
		mustClose(t, l)
	}
	abandon(t, l)
}

// TestTrimWaitsForReaders frees a segment while somebody reads it.
func TestTrimWaitsForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reading := make(chan struct{})
		held := false
		fs := errfs.New(memfs.New(), func(c errfs.Call) error {
			if held && c.Op == errfs.OpRead {
				<-reading
			}
			return nil
		})
		l := mustOpen(t, fs, small(3, 32<<10))
		mustAppend(t, l, 1, 9, 3000)
		held = true
		var groups []lane.Group
		var rerr, terr error
		go func() { groups, rerr = l.Read(ctx, 2, 1) }()
		synctest.Wait()
		writes := fs.Count(errfs.OpWrite)
		go func() { terr = l.TrimTo(ctx, 9) }()
		synctest.Wait()
		if got := fs.Count(errfs.OpWrite) - writes; got != 0 {
			t.Errorf("TrimTo wrote %d times to a segment that is read", got)
		}
		close(reading)
		synctest.Wait()
		if rerr != nil || terr != nil || len(groups) != 1 || string(groups[0].Payload) != string(content(2, 0, 3000)) {
			t.Errorf("Read = %d groups, %v; TrimTo = %v", len(groups), rerr, terr)
		}
		if got := fs.Count(errfs.OpWrite) - writes; got != 1 {
			t.Errorf("TrimTo wrote %d times after the reader was done, want 1", got)
		}
		mustClose(t, l)
	})
}

// TestPaddingIsZeros keeps what other groups held out of the room behind a payload.
func TestPaddingIsZeros(t *testing.T) {
	disk := memfs.New()
	l := mustOpen(t, disk, small(2, 32<<10))
	mustAppend(t, l, 1, 1, 3900)
	mustAppend(t, l, 2, 2, 10)
	abandon(t, l)
	for i, b := range read(t, disk, "wal/000.wal")[2*block+headerSize+10 : 3*block] {
		if b != 0 {
			t.Fatalf("byte %d behind the payload is %d", i, b)
		}
	}
}
