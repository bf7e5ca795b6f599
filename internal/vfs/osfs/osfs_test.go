package osfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/vfstest"
)

func open(t *testing.T, dir string) *FS {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return f
}

func TestConformance(t *testing.T) {
	vfstest.Test(t, func(t *testing.T) vfs.FS { return open(t, t.TempDir()) })
}

// TestConformanceInMemory runs the kit on a file system that keeps no blocks on a device, where
// direct I/O may be missing.
func TestConformanceInMemory(t *testing.T) {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err != nil || !info.IsDir() {
		t.Skip(shm, "is not there")
	}
	vfstest.Test(t, func(t *testing.T) vfs.FS {
		dir, err := os.MkdirTemp(shm, "headrace-osfs-")
		if err != nil {
			t.Skip("no directory in", shm, err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return open(t, dir)
	})
}

func TestMissingDirectory(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("Open of a missing directory succeeded")
	}
}

func TestSymbolicLinksDoNotLeadOut(t *testing.T) {
	outside, inside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(inside, "link")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	f := open(t, inside)
	if _, err := f.Open("link/secret", vfs.ReadOnly); err == nil {
		t.Error("a symbolic link led out of the directory")
	}
	if err := f.Remove("link/secret"); err == nil {
		t.Error("Remove followed a symbolic link out of the directory")
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	h, err := f.Open("a", vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if perm := info.Mode().Perm(); filepath.Separator == '/' && perm&0o077 != 0 {
		t.Errorf("file mode is %v, want nothing for others", perm)
	}
}

func TestFullDeviceHasItsOwnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no device that is always full here:", err)
	}
	h := &file{f: full}
	defer h.Close()
	if _, err := h.WriteAt([]byte("x"), 0); !errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("WriteAt to a full device = %v, want ErrNoSpace", err)
	}
}

// TestDirectWhereTheFileSystemHasIt notices when direct I/O is lost by a mistake of ours: Linux's
// usual file systems have it.
func TestDirectWhereTheFileSystemHasIt(t *testing.T) {
	if directFlag == 0 {
		t.Skip("files are always buffered here")
	}
	dir := t.TempDir()
	raw, err := os.OpenFile(filepath.Join(dir, "raw"), os.O_RDWR|os.O_CREATE|directFlag, filePerm)
	if err != nil {
		t.Skip("the file system of the test directory has no direct I/O:", err)
	}
	defer raw.Close()
	if _, err := raw.WriteAt(vfs.AlignedBuffer(vfs.Alignment), 0); err != nil {
		t.Skip("the file system of the test directory has no direct I/O:", err)
	}
	h, err := open(t, dir).Open("a", vfs.Create|vfs.Direct)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if !h.Direct() {
		t.Error("Direct() = false on a file system that has direct I/O")
	}
}

func TestListTellsSymbolicLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(dir, "b")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	entries, err := open(t, dir).List(".")
	if err != nil || len(entries) != 2 || entries[0].Irregular || !entries[1].Irregular {
		t.Errorf("List = %+v, %v; want a regular a and an irregular b", entries, err)
	}
}
