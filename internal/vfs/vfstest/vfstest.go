// Package vfstest is the conformance kit of package vfs: what every vfs.FS does while the power is
// on. What a power cut leaves is tested where it can be cut, in memfs.
package vfstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/headrace/headrace/internal/vfs"
)

// Test runs the kit. open returns an empty file system with room for at least 16 MiB.
func Test(t *testing.T, open func(t *testing.T) vfs.FS) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, f vfs.FS)
	}{
		{"Open", testOpen},
		{"Names", testNames},
		{"ReadWrite", testReadWrite},
		{"Resize", testResize},
		{"Direct", testDirect},
		{"DirectOddSize", testDirectOddSize},
		{"Rename", testRename},
		{"Remove", testRemove},
		{"Directories", testDirectories},
		{"Lock", testLock},
		{"Space", testSpace},
		{"Closed", testClosed},
		{"Concurrent", testConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func testOpen(t *testing.T, f vfs.FS) {
	refused := func(name string, flag vfs.Flag, want error) {
		t.Helper()
		if _, err := f.Open(name, flag); !errors.Is(err, want) {
			t.Errorf("Open(%q, %b) = %v, want %v", name, flag, err, want)
		}
	}
	for _, flag := range []vfs.Flag{0, vfs.Exclusive, vfs.ReadOnly, vfs.Direct, vfs.Direct | vfs.ReadOnly} {
		refused("a", flag, vfs.ErrNotExist)
	}
	refused("missing/a", vfs.Create, vfs.ErrNotExist)
	refused("missing/a", vfs.Create|vfs.Direct, vfs.ErrNotExist)
	wantNames(t, f, ".")

	write(t, f, "a", "content")
	refused("a", vfs.Create|vfs.Exclusive, vfs.ErrExist)
	refused("a", vfs.Create|vfs.Exclusive|vfs.Direct, vfs.ErrExist)
	// Create leaves a file that exists as it is.
	mustClose(t, mustOpen(t, f, "a", vfs.Create))
	wantContent(t, f, "a", "content")
	mustClose(t, mustOpen(t, f, "b", vfs.Create|vfs.Exclusive|vfs.Direct))
	wantContent(t, f, "b", "")

	r := mustOpen(t, f, "a", vfs.ReadOnly)
	defer mustClose(t, r)
	if _, err := r.WriteAt([]byte("x"), 0); err == nil {
		t.Error("WriteAt to a file open for reading succeeded")
	}
	if err := r.Truncate(0); err == nil {
		t.Error("Truncate of a file open for reading succeeded")
	}
	if err := r.Allocate(100); err == nil {
		t.Error("Allocate of a file open for reading succeeded")
	}
	wantContent(t, f, "a", "content")
}

func testNames(t *testing.T, f vfs.FS) {
	for _, name := range []string{"", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a/."} {
		calls := map[string]error{
			"Rename from": f.Rename(name, "x"),
			"Rename to":   f.Rename("x", name),
			"Remove":      f.Remove(name),
			"Mkdir":       f.Mkdir(name),
			"SyncDir":     f.SyncDir(name),
		}
		_, calls["Open"] = f.Open(name, vfs.Create)
		_, calls["List"] = f.List(name)
		_, calls["Lock"] = f.Lock(name)
		for call, err := range calls {
			if !errors.Is(err, vfs.ErrName) {
				t.Errorf("%s(%q) = %v, want ErrName", call, name, err)
			}
		}
	}
	wantNames(t, f, ".")
}

func testReadWrite(t *testing.T, f vfs.FS) {
	h := mustOpen(t, f, "a", vfs.Create)
	defer mustClose(t, h)
	read := func(off int64, length int, want string, wantErr error) {
		t.Helper()
		p := make([]byte, length)
		n, err := h.ReadAt(p, off)
		if string(p[:n]) != want || !errors.Is(err, wantErr) {
			t.Errorf("ReadAt(%d, %d) = %q, %v; want %q, %v", off, length, p[:n], err, want, wantErr)
		}
	}
	read(0, 1, "", io.EOF)
	mustWrite(t, h, "hello", 0)
	read(0, 5, "hello", nil)
	read(1, 3, "ell", nil)
	read(3, 5, "lo", io.EOF)
	read(5, 1, "", io.EOF)
	read(100, 1, "", io.EOF)
	read(2, 0, "", nil)
	mustWrite(t, h, "HE", 0)
	mustWrite(t, h, "!", 8)
	read(0, 9, "HEllo\x00\x00\x00!", nil)
	mustWrite(t, h, "", 100)
	wantSize(t, h, 9)
	if err := h.Sync(); err != nil {
		t.Errorf("Sync() = %v", err)
	}
	if _, err := h.WriteAt([]byte("x"), -1); err == nil {
		t.Error("WriteAt at a negative offset succeeded")
	}

	// Two handles see one file.
	other := mustOpen(t, f, "a", 0)
	defer mustClose(t, other)
	mustWrite(t, other, "j", 0)
	read(0, 5, "jEllo", nil)
}

func testResize(t *testing.T, f vfs.FS) {
	h := mustOpen(t, f, "a", vfs.Create)
	defer mustClose(t, h)
	step := func(resize func(int64) error, size int64, want string) {
		t.Helper()
		if err := resize(size); err != nil {
			t.Fatalf("resize to %d = %v", size, err)
		}
		wantSize(t, h, int64(len(want)))
		wantContent(t, f, "a", want)
	}
	mustWrite(t, h, "abcdef", 0)
	step(h.Truncate, 3, "abc")
	step(h.Truncate, 5, "abc\x00\x00")
	step(h.Allocate, 4, "abc\x00\x00")
	step(h.Allocate, 5, "abc\x00\x00")
	step(h.Allocate, 7, "abc\x00\x00\x00\x00")
	step(h.Truncate, 0, "")
	step(h.Allocate, 2, "\x00\x00")
	if err := h.Allocate(8 << 20); err != nil {
		t.Errorf("Allocate(8 MiB) = %v", err)
	}
	wantSize(t, h, 8<<20)
}

func testDirect(t *testing.T, f vfs.FS) {
	h := mustOpen(t, f, "a", vfs.Create|vfs.Direct)
	defer mustClose(t, h)
	const block = vfs.Alignment
	p := vfs.AlignedBuffer(3 * block)
	for i := range p {
		p[i] = byte(i/block + 1)
	}
	if n, err := h.WriteAt(p, block); n != len(p) || err != nil {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	if err := h.Sync(); err != nil {
		t.Errorf("Sync() = %v", err)
	}
	wantSize(t, h, 4*block)
	q := vfs.AlignedBuffer(4 * block)
	if n, err := h.ReadAt(q, 0); n != len(q) || err != nil {
		t.Fatalf("ReadAt = %d, %v", n, err)
	}
	if !bytes.Equal(q[:block], make([]byte, block)) || !bytes.Equal(q[block:], p) {
		t.Error("ReadAt returned other bytes than were written")
	}
	if n, err := h.ReadAt(q, 3*block); n != block || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt across the end = %d, %v; want %d, EOF", n, err, block)
	}

	unaligned := func(p []byte, off int64) {
		t.Helper()
		if _, err := h.WriteAt(p, off); !errors.Is(err, vfs.ErrUnaligned) {
			t.Errorf("WriteAt of %d bytes at %d = %v, want ErrUnaligned", len(p), off, err)
		}
		if _, err := h.ReadAt(p, off); !errors.Is(err, vfs.ErrUnaligned) {
			t.Errorf("ReadAt of %d bytes at %d = %v, want ErrUnaligned", len(p), off, err)
		}
	}
	unaligned(p[:block-1], 0)
	unaligned(p[:block], 512)
	unaligned(p[1:block+1], 0)

	// Buffered and direct handles see one file.
	b := mustOpen(t, f, "a", 0)
	mustWrite(t, b, "x", 0)
	if err := b.Sync(); err != nil {
		t.Errorf("Sync() = %v", err)
	}
	mustClose(t, b)
	if _, err := h.ReadAt(q[:block], 0); err != nil || q[0] != 'x' {
		t.Errorf("direct read after a buffered write = %q, %v; want x", q[0], err)
	}
}

// testDirectOddSize reads a file whose size is not aligned, as a torn one is after a crash.
func testDirectOddSize(t *testing.T, f vfs.FS) {
	for _, size := range []int{1, 511, 512, 5000, 3*vfs.Alignment + 7} {
		name := fmt.Sprint("file-", size)
		want := bytes.Repeat([]byte("odd"), size)[:size]
		write(t, f, name, string(want))
		h := mustOpen(t, f, name, vfs.Direct|vfs.ReadOnly)
		p := vfs.AlignedBuffer(4 * vfs.Alignment)
		n, err := h.ReadAt(p, 0)
		if !bytes.Equal(p[:n], want) || !errors.Is(err, io.EOF) {
			t.Errorf("direct read of %d bytes = %d, %v; want all and EOF", size, n, err)
		}
		mustClose(t, h)
	}
}

func testRename(t *testing.T, f vfs.FS) {
	write(t, f, "a", "one")
	write(t, f, "b", "two")
	mustDo(t, f.Mkdir("dir"))
	mustDo(t, f.Rename("a", "c"))
	wantNames(t, f, ".", "b 3", "c 3", "dir/")
	mustDo(t, f.Rename("c", "b"))
	wantContent(t, f, "b", "one")
	mustDo(t, f.Rename("b", "b"))
	mustDo(t, f.Rename("b", "dir/b"))
	wantContent(t, f, "dir/b", "one")
	wantNames(t, f, ".", "dir/")
	mustDo(t, f.SyncDir("."))
	mustDo(t, f.SyncDir("dir"))
	if err := f.Rename("missing", "x"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("Rename of a missing file = %v, want ErrNotExist", err)
	}
	if err := f.Rename("dir/b", "missing/b"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("Rename into a missing directory = %v, want ErrNotExist", err)
	}
	if err := f.Rename("dir/b", "dir"); err == nil {
		t.Error("Rename of a file over a directory succeeded")
	}
	wantContent(t, f, "dir/b", "one")
}

func testRemove(t *testing.T, f vfs.FS) {
	write(t, f, "a", "one")
	mustDo(t, f.Mkdir("dir/sub"))
	write(t, f, "dir/sub/b", "two")
	if err := f.Remove("missing"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("Remove of a missing file = %v, want ErrNotExist", err)
	}
	if err := f.Remove("dir/sub"); err == nil {
		t.Error("Remove of a directory that is not empty succeeded")
	}
	mustDo(t, f.Remove("a"))
	mustDo(t, f.Remove("dir/sub/b"))
	mustDo(t, f.Remove("dir/sub"))
	wantNames(t, f, ".", "dir/")
	wantNames(t, f, "dir")
	write(t, f, "a", "again")
	wantContent(t, f, "a", "again")
}

func testDirectories(t *testing.T, f vfs.FS) {
	mustDo(t, f.Mkdir("."))
	mustDo(t, f.Mkdir("x/y/z"))
	mustDo(t, f.Mkdir("x/y"))
	write(t, f, "x/b", "12345")
	write(t, f, "x/a", "")
	write(t, f, "x/y/c", "")
	wantNames(t, f, ".", "x/")
	wantNames(t, f, "x", "a 0", "b 5", "y/")
	wantNames(t, f, "x/y", "c 0", "z/")
	wantNames(t, f, "x/y/z")
	if err := f.Mkdir("x/a"); err == nil {
		t.Error("Mkdir where a file is succeeded")
	}
	if _, err := f.List("missing"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("List of a missing directory = %v, want ErrNotExist", err)
	}
	if err := f.SyncDir("missing"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("SyncDir of a missing directory = %v, want ErrNotExist", err)
	}
	if _, err := f.Open("x", 0); err == nil {
		t.Error("Open of a directory for writing succeeded")
	}
}

func testLock(t *testing.T, f vfs.FS) {
	take := func() io.Closer {
		t.Helper()
		l, err := f.Lock("LOCK")
		if err != nil {
			t.Fatalf("Lock = %v", err)
		}
		return l
	}
	l := take()
	if _, err := f.Lock("LOCK"); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("Lock of a locked file = %v, want ErrLocked", err)
	}
	other, err := f.Lock("OTHER")
	mustDo(t, err)
	mustDo(t, other.Close())
	mustDo(t, l.Close())
	mustDo(t, take().Close())
}

func testSpace(t *testing.T, f vfs.FS) {
	s, err := f.Space()
	if err != nil || s.Free <= 0 || s.Total < s.Free {
		t.Errorf("Space() = %+v, %v", s, err)
	}
}

func testClosed(t *testing.T, f vfs.FS) {
	h := mustOpen(t, f, "a", vfs.Create)
	mustClose(t, h)
	check := func(call string, err error) {
		t.Helper()
		if !errors.Is(err, vfs.ErrClosed) {
			t.Errorf("%s of a closed file = %v, want ErrClosed", call, err)
		}
	}
	_, err := h.ReadAt(make([]byte, 1), 0)
	check("ReadAt", err)
	_, err = h.WriteAt(make([]byte, 1), 0)
	check("WriteAt", err)
	check("Sync", h.Sync())
	check("Truncate", h.Truncate(1))
	check("Close", h.Close())
}

func testConcurrent(t *testing.T, f vfs.FS) {
	h := mustOpen(t, f, "a", vfs.Create)
	defer mustClose(t, h)
	const workers, writes, size = 4, 50, 100
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			want := bytes.Repeat([]byte{byte(w + 1)}, size)
			got := make([]byte, size)
			for i := range writes {
				off := int64((i*workers + w) * size)
				if _, err := h.WriteAt(want, off); err != nil {
					t.Errorf("WriteAt = %v", err)
				}
				if _, err := h.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
					t.Errorf("ReadAt(%d) = %v, %v", off, got[:4], err)
				}
				if i%10 == 0 {
					if err := h.Sync(); err != nil {
						t.Errorf("Sync = %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	wantSize(t, h, workers*writes*size)
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, f vfs.FS, name string, flag vfs.Flag) vfs.File {
	t.Helper()
	h, err := f.Open(name, flag)
	if err != nil {
		t.Fatalf("Open(%q, %b) = %v", name, flag, err)
	}
	return h
}

func mustClose(t *testing.T, h vfs.File) {
	t.Helper()
	if err := h.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

func mustWrite(t *testing.T, h vfs.File, content string, off int64) {
	t.Helper()
	if n, err := h.WriteAt([]byte(content), off); n != len(content) || err != nil {
		t.Fatalf("WriteAt(%q, %d) = %d, %v", content, off, n, err)
	}
}

func write(t *testing.T, f vfs.FS, name, content string) {
	t.Helper()
	h := mustOpen(t, f, name, vfs.Create)
	mustWrite(t, h, content, 0)
	mustDo(t, h.Sync())
	mustClose(t, h)
}

func wantSize(t *testing.T, h vfs.File, want int64) {
	t.Helper()
	if got, err := h.Size(); got != want || err != nil {
		t.Errorf("Size() = %d, %v; want %d", got, err, want)
	}
}

func wantContent(t *testing.T, f vfs.FS, name, want string) {
	t.Helper()
	h := mustOpen(t, f, name, vfs.ReadOnly)
	defer mustClose(t, h)
	p := make([]byte, len(want)+1)
	n, err := h.ReadAt(p, 0)
	if string(p[:n]) != want || !errors.Is(err, io.EOF) {
		t.Errorf("%s holds %q, %v; want %q", name, p[:n], err, want)
	}
}

// wantNames compares a directory with names as "file size" or "directory/".
func wantNames(t *testing.T, f vfs.FS, dir string, want ...string) {
	t.Helper()
	entries, err := f.List(dir)
	if err != nil {
		t.Fatalf("List(%q) = %v", dir, err)
	}
	got := []string{}
	for _, e := range entries {
		if e.Dir {
			got = append(got, e.Name+"/")
		} else {
			got = append(got, fmt.Sprint(e.Name, " ", e.Size))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("List(%q) = %v, want %v", dir, got, want)
	}
}
