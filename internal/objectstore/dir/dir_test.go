package dir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/objectstoretest"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

func open(t testing.TB, fs vfs.FS) *Bucket {
	t.Helper()
	b, err := Open(fs, "data/objects", clock.System{})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	return b
}

func machine(t *testing.T, dir string) *osfs.FS {
	t.Helper()
	fs, err := osfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return fs
}

func TestConformance(t *testing.T) {
	objectstoretest.Test(t, func(t *testing.T) objectstore.Bucket { return open(t, memfs.New()) })
}

// TestConformanceOnTheMachine runs in memory where it can: the kit has a key of 512 directories, each
// of which is synced, and does not test what that is for.
func TestConformanceOnTheMachine(t *testing.T) {
	const shm = "/dev/shm"
	objectstoretest.Test(t, func(t *testing.T) objectstore.Bucket {
		root, err := os.MkdirTemp(shm, "headrace-dir-")
		if err != nil {
			return open(t, machine(t, t.TempDir()))
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(root); err != nil {
				t.Error(err)
			}
		})
		return open(t, machine(t, root))
	})
}

func TestOnADisk(t *testing.T) {
	b := open(t, machine(t, t.TempDir()))
	data := content(1, 3*blockBytes)
	put(t, b, "a/b", data)
	put(t, b, "a/b", data[1:])
	if got, err := get(t, b, "a/b", 0, -1); err != nil || !bytes.Equal(got, data[1:]) {
		t.Errorf("Get = %d bytes, %v; want %d", len(got), err, len(data)-1)
	}
	if err := b.Delete(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
}

// content is recognisable and size bytes long.
func content(seed, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(seed + i + i>>8 + i>>16)
	}
	return b
}

func put(t testing.TB, b *Bucket, key string, data []byte) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, bytes.NewReader(data)); err != nil {
		t.Fatalf("Put(%q) = %v", key, err)
	}
}

func get(t testing.TB, b *Bucket, key string, offset, length int64) ([]byte, error) {
	body, err := b.Get(t.Context(), key, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	return data, errors.Join(err, body.Close())
}

// files returns the paths of all files below dir.
func files(t testing.TB, fs vfs.FS, dir string) []string {
	t.Helper()
	entries, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		if e.Dir {
			found = append(found, files(t, fs, name)...)
		} else {
			found = append(found, name)
		}
	}
	return found
}

func wantFiles(t testing.TB, fs vfs.FS, want ...string) {
	t.Helper()
	if got := files(t, fs, "."); !slices.Equal(got, want) {
		t.Errorf("there are the files %q, want %q", got, want)
	}
}

// TestRangesAcrossBlocks reads ranges around every edge between blocks and between reads.
func TestRangesAcrossBlocks(t *testing.T) {
	for _, size := range []int{blockBytes - 1, blockBytes, blockBytes + 1, batchBlocks * blockBytes, 6*blockBytes + 5} {
		b := open(t, memfs.New())
		data := content(1, size)
		put(t, b, "k", data)
		var edges []int
		for at := 0; at <= size+blockBytes; at += blockBytes {
			edges = append(edges, at-1, at, at+1)
		}
		edges = append(edges, size-1, size)
		for _, from := range edges {
			for _, to := range edges {
				if from < 0 || from > size || to < from {
					continue
				}
				got, err := get(t, b, "k", int64(from), int64(to-from))
				if want := data[from:min(to, size)]; err != nil || !bytes.Equal(got, want) {
					t.Fatalf("bytes %d to %d of %d: %d bytes, %v; want %d", from, to, size, len(got), err, len(want))
				}
			}
		}
	}
}

func TestReopenKeepsObjectsAndRemovesLeftovers(t *testing.T) {
	fs := memfs.New()
	b := open(t, fs)
	put(t, b, "a/b", content(1, 100))
	put(t, b, "gone/deeper/c", nil)
	info, _ := b.Stat(t.Context(), "a/b")
	if err := b.Delete(t.Context(), "gone/deeper/c"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data/objects/~1", "data/objects/a+/~7", "data/objects/gone+/~8"} {
		if _, err := fs.Open(name, vfs.Create); err != nil {
			t.Fatal(err)
		}
	}
	// What others put there is left alone.
	if _, err := fs.Open("data/objects/README.txt", vfs.Create); err != nil {
		t.Fatal(err)
	}
	b = open(t, fs)
	wantFiles(t, fs, "data/objects/README.txt", "data/objects/a+/b")
	if _, err := fs.List("data/objects/gone+"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("List of a directory without objects = %v, want %v", err, vfs.ErrNotExist)
	}
	if again, err := b.Stat(t.Context(), "a/b"); err != nil || again != info {
		t.Errorf("Stat = %+v, %v; want %+v", again, err, info)
	}
	if infos, err := b.List(t.Context(), "", "", 10); err != nil || len(infos) != 1 {
		t.Errorf("List = %+v, %v; want one object", infos, err)
	}
}

func TestSymbolicLinksAreRefused(t *testing.T) {
	root := t.TempDir()
	fs := machine(t, root)
	b := open(t, fs)
	put(t, b, "a", content(1, 100))
	link := filepath.Join(root, "data", "objects", "b")
	if err := os.Symlink("a", link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if _, err := get(t, b, "b", 0, -1); !errors.Is(err, objectstore.ErrCorrupt) {
		t.Errorf("Get through a link = %v, want %v", err, objectstore.ErrCorrupt)
	}
	if _, err := b.List(t.Context(), "", "", 10); err == nil {
		t.Error("List with a link succeeded")
	}
	if _, err := Open(fs, "data/objects", clock.System{}); err == nil || !strings.Contains(err.Error(), "data/objects/b") {
		t.Errorf("Open with a link = %v, want an error that names it", err)
	}
	// A Put takes the link's place and leaves what it led to.
	put(t, b, "b", content(2, 10))
	if got, err := get(t, b, "a", 0, -1); err != nil || !bytes.Equal(got, content(1, 100)) {
		t.Errorf("a holds %d bytes, %v; want its own", len(got), err)
	}
}

// TestFullDisk fills the disk at every size of the object: the old one stays, and nothing else.
func TestFullDisk(t *testing.T) {
	const room = 300 << 10
	fs := memfs.NewSized(room)
	b := open(t, fs)
	old := content(1, 100<<10)
	put(t, b, "k", old)
	for size := 150 << 10; size < 400<<10; size += 9 << 10 {
		_, err := b.Put(t.Context(), "k", bytes.NewReader(content(2, size)))
		if err == nil {
			put(t, b, "k", old)
			continue
		}
		if !errors.Is(err, objectstore.ErrFull) {
			t.Fatalf("Put of %d bytes = %v, want %v", size, err, objectstore.ErrFull)
		}
		if got, err := get(t, b, "k", 0, -1); err != nil || !bytes.Equal(got, old) {
			t.Fatalf("after a full disk the object has %d bytes, %v; want the old one", len(got), err)
		}
		wantFiles(t, fs, "data/objects/k")
	}
	if _, err := b.Put(t.Context(), "k", bytes.NewReader(content(2, room))); !errors.Is(err, objectstore.ErrFull) {
		t.Errorf("Put of all the room = %v, want %v", err, objectstore.ErrFull)
	}
}

func TestAFailedDirectorySyncIsTheEnd(t *testing.T) {
	failing := false
	b := open(t, errfs.New(memfs.New(), func(c errfs.Call) error {
		if failing && c.Op == errfs.OpSyncDir {
			return syscall.EIO
		}
		return nil
	}))
	put(t, b, "a", nil)
	failing = true
	if _, err := b.Put(t.Context(), "a", strings.NewReader("x")); !errors.Is(err, syscall.EIO) {
		t.Errorf("Put = %v, want %v", err, syscall.EIO)
	}
	failing = false
	_, putErr := b.Put(t.Context(), "a", strings.NewReader("x"))
	_, getErr := get(t, b, "a", 0, -1)
	_, listErr := b.List(t.Context(), "", "", 1)
	for _, err := range []error{putErr, getErr, listErr, b.Delete(t.Context(), "a")} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("a later call = %v, want %v", err, syscall.EIO)
		}
	}
}

// TestDamage changes, cuts and extends a file everywhere: what is read is right or an error.
func TestDamage(t *testing.T) {
	fs := memfs.New()
	b := open(t, fs)
	const name = "data/objects/k"
	data := content(1, 2*blockBytes+10)
	put(t, b, "k", data)
	f, err := fs.Open(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	damaged := func(what string, offset, length int64) {
		t.Helper()
		got, err := get(t, b, "k", offset, length)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: read %d bytes, %v; want an error that names the file", what, len(got), err)
		}
	}
	one := make([]byte, 1)
	for at := int64(0); at < size; at += 1 + at/50 {
		f.ReadAt(one, at)
		for _, bit := range []byte{1, 0x80} {
			f.WriteAt([]byte{one[0] ^ bit}, at)
			damaged(fmt.Sprintf("bit %d of byte %d flipped", bit, at), 0, -1)
		}
		f.WriteAt(one, at)
	}
	// Damage in one block leaves the others readable.
	at := headerBytes("k") + strideBytes + 7
	f.ReadAt(one, at)
	f.WriteAt([]byte{^one[0]}, at)
	damaged("a range in the damaged block", blockBytes, 1)
	if got, err := get(t, b, "k", 2*blockBytes, -1); err != nil || !bytes.Equal(got, data[2*blockBytes:]) {
		t.Errorf("a range in a whole block = %d bytes, %v", len(got), err)
	}
	f.WriteAt(one, at)

	// Two blocks in each other's place.
	first, second := make([]byte, strideBytes), make([]byte, strideBytes)
	f.ReadAt(first, headerBytes("k"))
	f.ReadAt(second, headerBytes("k")+strideBytes)
	f.WriteAt(second, headerBytes("k"))
	f.WriteAt(first, headerBytes("k")+strideBytes)
	damaged("blocks exchanged", 0, -1)
	f.WriteAt(first, headerBytes("k"))
	f.WriteAt(second, headerBytes("k")+strideBytes)
	if got, err := get(t, b, "k", 0, -1); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("after the repair: %d bytes, %v", len(got), err)
	}

	f.Truncate(size + 1)
	damaged("extended", 0, -1)
	for _, n := range []int64{size - 1, size / 2, headerBytes("k"), 10, 0} {
		f.Truncate(n)
		damaged(fmt.Sprintf("cut to %d bytes", n), 0, -1)
	}
}

func TestAFileUnderAnotherNameIsDamage(t *testing.T) {
	fs := memfs.New()
	b := open(t, fs)
	put(t, b, "a", nil)
	if err := fs.Rename("data/objects/a", "data/objects/b"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(t.Context(), "b"); !errors.Is(err, objectstore.ErrCorrupt) {
		t.Errorf("Stat = %v, want %v", err, objectstore.ErrCorrupt)
	}
}

func TestANewerVersionIsNotDamage(t *testing.T) {
	fs := memfs.New()
	b := open(t, fs)
	put(t, b, "a", nil)
	f, _ := fs.Open("data/objects/a", 0)
	f.WriteAt([]byte{formatVersion + 1}, int64(len(magic)))
	_, err := b.Stat(t.Context(), "a")
	if err == nil || errors.Is(err, objectstore.ErrCorrupt) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("Stat = %v, want an error that names the version", err)
	}
}

// TestCalls guards what an object costs in system calls.
func TestCalls(t *testing.T) {
	fs := errfs.New(memfs.New(), nil)
	b := open(t, fs)
	put(t, b, "a/b", nil)
	f := func(what string, want int64, do func()) {
		t.Helper()
		before := fs.Total()
		do()
		if got := fs.Total() - before; got != want {
			t.Errorf("%s made %d calls, want %d", what, got, want)
		}
	}
	// Open, a write for each 256 KiB, the header, Sync, Close, Rename, SyncDir.
	f("Put of 256 KiB", 7, func() { put(t, b, "a/b", content(1, batchBlocks*blockBytes)) })
	f("Put of 256 KiB + 1", 7, func() { put(t, b, "a/b", content(1, batchBlocks*blockBytes+1)) })
	// Open, Size, the header, a read for each 256 KiB, Close.
	f("Get of one block", 5, func() { get(t, b, "a/b", 5, 10) })
	f("Get of all", 6, func() { get(t, b, "a/b", 0, -1) })
}

// paced is a body that says how it wants to be written, another piece each time.
type paced struct {
	io.Reader
	pieces []int
	asked  int
}

func (p *paced) Piece() int {
	p.asked++
	return p.pieces[p.asked%len(p.pieces)]
}

// TestPieces puts bodies that ask for pieces: none that is written is larger, by a block at most, and
// what is there in the end is the same.
func TestPieces(t *testing.T) {
	f := func(most int, pieces ...int) {
		t.Helper()
		largest := 0
		b := open(t, errfs.New(memfs.New(), func(c errfs.Call) error {
			if c.Op == errfs.OpWrite {
				largest = max(largest, c.Length)
			}
			return nil
		}))
		for _, size := range []int{0, 1, blockBytes, 4*blockBytes - 60, 4 * blockBytes, 5*blockBytes + 3, writeBytes, 3*writeBytes + 77} {
			want := content(3, size)
			if _, err := b.Put(t.Context(), "k", &paced{bytes.NewReader(want), pieces, 0}); err != nil {
				t.Fatal(err)
			}
			if got, err := get(t, b, "k", 0, -1); err != nil || !bytes.Equal(got, want) {
				t.Errorf("pieces of %v: %d of %d bytes are read, %v", pieces, len(got), size, err)
			}
		}
		if largest > most {
			t.Errorf("pieces of %v: %d bytes are written at once, want %d at most", pieces, largest, most)
		}
	}
	f(writeBytes, 0)
	f(4*blockBytes+vfs.Alignment, 4*blockBytes)
	f(blockBytes+vfs.Alignment, 1)
	f(writeBytes, 0, 1, 2*blockBytes)
	f(writeBytes, 2*writeBytes)
}

// BenchmarkGet reads 10 MiB, as much as a page of records has, from the system's cache.
func BenchmarkGet(b *testing.B) {
	fs, err := osfs.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer fs.Close()
	bucket := open(b, fs)
	put(b, bucket, "k", content(1, 10<<20))
	b.SetBytes(10 << 20)
	b.ReportAllocs()
	for b.Loop() {
		body, err := bucket.Get(b.Context(), "k", 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			b.Fatal(err)
		}
		body.Close()
	}
}

// FuzzOpenObject reads files of any content.
func FuzzOpenObject(f *testing.F) {
	for _, size := range []int{0, 1, 100} {
		data := content(1, size)
		h := header{key: "k", size: int64(size), modified: 7}
		file := h.append(nil)
		if size > 0 {
			file = append(file, appendChecksum(data, 0)...)
		}
		f.Add(file)
		f.Add(file[:len(file)-1])
	}
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, file []byte) {
		fs := memfs.New()
		b := open(t, fs)
		h, err := fs.Open("data/objects/k", vfs.Create)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.WriteAt(file, 0); err != nil {
			t.Fatal(err)
		}
		data, err := get(t, b, "k", 0, -1)
		if err != nil {
			return
		}
		info, err := b.Stat(t.Context(), "k")
		if err != nil || info.Size != int64(len(data)) {
			t.Errorf("read %d bytes of an object that is %+v, %v", len(data), info, err)
		}
	})
}
