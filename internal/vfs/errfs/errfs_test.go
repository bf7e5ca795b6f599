package errfs

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
	"github.com/headrace/headrace/internal/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Test(t, func(t *testing.T) vfs.FS { return New(memfs.New(), nil) })
}

// errSeen is an error that nothing else returns.
var errSeen = errors.New("injected")

// everyCall makes one call of each kind and returns the first error.
func everyCall(fs vfs.FS) error {
	h, err := fs.Open("a", vfs.Create)
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := fs.Lock("LOCK")
	if err != nil {
		return err
	}
	p := []byte("content")
	for _, call := range []func() error{
		l.Close,
		func() error { _, err := h.WriteAt(p, 0); return err },
		func() error { _, err := h.ReadAt(p, 0); return err },
		h.Sync,
		func() error { return h.Allocate(10) },
		func() error { return h.Truncate(5) },
		func() error { _, err := h.Size(); return err },
		func() error { return fs.Mkdir("dir") },
		func() error { return fs.Rename("a", "dir/b") },
		func() error { return fs.SyncDir("dir") },
		func() error { _, err := fs.List("dir"); return err },
		func() error { return fs.Remove("dir/b") },
		func() error { _, err := fs.Space(); return err },
		h.Close,
	} {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}

func TestEveryCallCanFail(t *testing.T) {
	plain := New(memfs.New(), nil)
	if err := everyCall(plain); err != nil {
		t.Fatal(err)
	}
	for op := range ops {
		if plain.Count(op) == 0 {
			t.Errorf("calls of kind %d are not counted", op)
		}
		fs := New(memfs.New(), Nth(1, On(op), errSeen))
		if err := everyCall(fs); !errors.Is(err, errSeen) {
			t.Errorf("with calls of kind %d failing, got %v", op, err)
		}
	}
	for n := range plain.Total() - 1 { // the last is the deferred Close, whose error is dropped
		fs := New(memfs.New(), Nth(n+1, Any, errSeen))
		if err := everyCall(fs); !errors.Is(err, errSeen) {
			t.Errorf("with call %d of %d failing, got %v", n+1, plain.Total(), err)
		}
	}
}

func TestNthAndFrom(t *testing.T) {
	f := func(script Script, want ...int) {
		t.Helper()
		fs := New(memfs.New(), script)
		h, err := fs.Open("a", vfs.Create)
		if err != nil {
			t.Fatal(err)
		}
		var failed []int
		for i := range 6 {
			if _, err := h.WriteAt([]byte{'x'}, int64(i)); err != nil {
				if !errors.Is(err, syscall.EIO) {
					t.Errorf("write %d = %v, want EIO", i+1, err)
				}
				failed = append(failed, i+1)
			}
			if err := h.Sync(); err != nil {
				t.Errorf("Sync = %v", err)
			}
		}
		if !slices.Equal(failed, want) {
			t.Errorf("writes %v failed, want %v", failed, want)
		}
	}
	f(nil)
	f(Nth(3, On(OpWrite), syscall.EIO), 3)
	f(Nth(7, On(OpWrite), syscall.EIO))
	f(From(4, On(OpWrite), syscall.EIO), 4, 5, 6)
	f(Nth(2, func(c Call) bool { return c.Op == OpWrite && c.Name == "a" && c.Offset >= 2 && c.Length == 1 }, syscall.EIO), 4)
}

func TestShort(t *testing.T) {
	f := func(flag vfs.Flag, allowed, wantN int) {
		t.Helper()
		disk := memfs.New()
		h, err := New(disk, Nth(1, On(OpWrite), &Short{N: allowed, Err: vfs.ErrNoSpace})).Open("a", vfs.Create|flag)
		if err != nil {
			t.Fatal(err)
		}
		p := vfs.AlignedBuffer(2 * vfs.Alignment)
		n, err := h.WriteAt(p, 0)
		if n != wantN || !errors.Is(err, vfs.ErrNoSpace) {
			t.Errorf("WriteAt = %d, %v; want %d and ErrNoSpace", n, err, wantN)
		}
		if size, _ := h.Size(); size != int64(wantN) {
			t.Errorf("%d bytes were written, want %d", size, wantN)
		}
		if n, err := h.WriteAt(p, 0); n != len(p) || err != nil {
			t.Errorf("the next WriteAt = %d, %v", n, err)
		}
	}
	f(0, 0, 0)
	f(0, 100, 100)
	f(0, 1<<20, 2*vfs.Alignment)
	f(vfs.Direct, 100, 0)
	f(vfs.Direct, vfs.Alignment+100, vfs.Alignment)

	// A call that has no parts fails whole.
	disk := New(memfs.New(), Nth(1, On(OpMkdir), &Short{N: 1, Err: errSeen}))
	if err := disk.Mkdir("d"); !errors.Is(err, errSeen) {
		t.Errorf("Mkdir = %v, want the error", err)
	}
}

func TestFailedCallsDoNothing(t *testing.T) {
	disk := memfs.New()
	fs := New(disk, From(1, On(OpRename, OpRemove, OpMkdir), errSeen))
	h, err := fs.Open("a", vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{fs.Rename("a", "b"), fs.Remove("a"), fs.Mkdir("d")} {
		if !errors.Is(err, errSeen) {
			t.Errorf("got %v, want the injected error", err)
		}
	}
	if entries, _ := disk.List("."); len(entries) != 1 || entries[0].Name != "a" {
		t.Errorf("the disk holds %v, want a alone", entries)
	}
}
