package memfs

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Test(t, func(t *testing.T) vfs.FS { return New() })
}

func TestConformanceSized(t *testing.T) {
	vfstest.Test(t, func(t *testing.T) vfs.FS { return NewSized(16 << 20) })
}

// TestConformanceAfterCrash runs the kit on what an empty file system leaves.
func TestConformanceAfterCrash(t *testing.T) {
	vfstest.Test(t, func(t *testing.T) vfs.FS {
		return New().CrashClone(rand.New(rand.NewPCG(1, 1)))
	})
}

func TestRoom(t *testing.T) {
	f := NewSized(10)
	write := func(name string, size int, want error) {
		t.Helper()
		h, err := f.Open(name, vfs.Create)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := h.WriteAt(make([]byte, size), 0); !errors.Is(err, want) || (err != nil && n != 0) {
			t.Errorf("WriteAt of %d bytes to %s = %d, %v; want %v", size, name, n, err, want)
		}
	}
	free := func(want int64) {
		t.Helper()
		if s, err := f.Space(); err != nil || s.Free != want || s.Total != 10 {
			t.Errorf("Space() = %+v, %v; want %d of 10 free", s, err, want)
		}
	}
	free(10)
	write("a", 6, nil)
	write("b", 5, vfs.ErrNoSpace)
	free(4)
	write("b", 4, nil)
	write("a", 6, nil)
	free(0)
	if err := f.Rename("b", "a"); err != nil {
		t.Fatal(err)
	}
	free(6)
	h, _ := f.Open("a", 0)
	if err := h.Allocate(11); !errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("Allocate beyond the room = %v, want ErrNoSpace", err)
	}
	if err := h.Truncate(1); err != nil {
		t.Fatal(err)
	}
	free(9)
	if err := f.Remove("a"); err != nil {
		t.Fatal(err)
	}
	free(10)
	free2, _ := f.CrashClone(rand.New(rand.NewPCG(1, 1))).Space()
	if free2.Total != 10 {
		t.Errorf("the clone has room for %d, want 10", free2.Total)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	f := New()
	write := func(f *FS, content string) {
		t.Helper()
		h, err := f.Open("a", vfs.Create)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.WriteAt([]byte(content), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(h.Sync(), f.SyncDir("."), h.Close()); err != nil {
			t.Fatal(err)
		}
	}
	write(f, "original")
	if _, err := f.Lock("LOCK"); err != nil {
		t.Fatal(err)
	}
	clone := f.CrashClone(rand.New(rand.NewPCG(1, 1)))
	if _, err := clone.Lock("LOCK"); err != nil {
		t.Errorf("Lock after a crash = %v, want it free", err)
	}
	write(clone, "clone")
	if got := string(read(t, f, "a")); got != "original" {
		t.Errorf("the original holds %q after a write to the clone", got)
	}
	if got := string(read(t, clone, "a")); got != "clonenal" {
		t.Errorf("the clone holds %q", got)
	}
}

// read returns the file's content, or nil if it is missing.
func read(t *testing.T, f *FS, name string) []byte {
	t.Helper()
	h, err := f.Open(name, vfs.ReadOnly)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	size, err := h.Size()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, size)
	if _, err := h.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}
