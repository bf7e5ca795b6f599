package dir

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// checked reads a bucket and returns what is wrong in it, a line each.
func checked(t testing.TB, fs vfs.FS) (*Checked, []string) {
	t.Helper()
	var found []string
	c, err := Check(t.Context(), fs, "data/objects", func(file string, offset int64, err error) {
		found = append(found, fmt.Sprintf("%s %d", file, offset))
		if err == nil {
			t.Errorf("%s is damaged without an error", file)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, found
}

func TestCheck(t *testing.T) {
	fs := memfs.New()
	if c, found := checked(t, fs); c.Objects() != 0 || len(found) != 0 {
		t.Errorf("a bucket that does not exist has %d objects, %v", c.Objects(), found)
	}
	b := open(t, fs)
	put(t, b, "a/big", content(1, 3*blockBytes+9))
	put(t, b, "a/small", content(2, 10))
	put(t, b, "empty", nil)
	c, found := checked(t, fs)
	if c.Objects() != 3 || len(found) != 0 {
		t.Fatalf("a whole bucket has %d objects, %v", c.Objects(), found)
	}
	wantReadOnly(t, c)
	for _, n := range []int64{0, 5, blockBytes - 1, blockBytes, 3*blockBytes + 8} {
		file, offset := c.Place("a/big", n)
		if got, want := byteAt(t, fs, file, offset), content(1, 3*blockBytes+9)[n]; got != want {
			t.Errorf("Place(%d) = %d, where %x is, want %x", n, offset, got, want)
		}
	}
	file, offset := c.Place("a/big", 2*blockBytes+7)
	change(t, fs, file, offset)
	c, found = checked(t, fs)
	_, block := c.Place("a/big", 2*blockBytes)
	if want := fmt.Sprintf("%s %d", file, block); len(found) != 1 || found[0] != want {
		t.Errorf("found %v, want %q", found, want)
	}
	if _, err := c.Get(t.Context(), "a/big", 0, 1); !errors.Is(err, objectstore.ErrCorrupt) {
		t.Errorf("Get() of a damaged object = %v", err)
	}
	if _, err := c.Stat(t.Context(), "a/big"); !errors.Is(err, objectstore.ErrCorrupt) {
		t.Errorf("Stat() of a damaged object = %v", err)
	}
	change(t, fs, "data/objects/empty", 8)
	if _, found = checked(t, fs); len(found) != 2 || found[1] != "data/objects/empty 0" {
		t.Errorf("found %v, want the version of data/objects/empty too", found)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ctx, fs, "data/objects", func(file string, _ int64, _ error) { t.Error(file) }); !errors.Is(err, context.Canceled) {
		t.Errorf("Check() with its context done = %v", err)
	}
}

// wantReadOnly expects the objects of TestCheck in a bucket that changes nothing.
func wantReadOnly(t *testing.T, c *Checked) {
	t.Helper()
	infos, err := c.List(t.Context(), "a/", "a/big", 10)
	if err != nil || len(infos) != 1 || infos[0].Key != "a/small" || infos[0].Size != 10 {
		t.Errorf("List() = %+v, %v", infos, err)
	}
	if info, err := c.Stat(t.Context(), "empty"); err != nil || info.Size != 0 {
		t.Errorf("Stat() = %+v, %v", info, err)
	}
	if _, err := c.Put(t.Context(), "new", strings.NewReader("x")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Put() = %v", err)
	}
	if err := c.Delete(t.Context(), "empty"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Delete() = %v", err)
	}
	body, err := c.Get(t.Context(), "a/small", 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if n, _ := body.Read(got); string(got[:n]) != string(content(2, 10)[2:5]) {
		t.Errorf("Get() yields %q", got[:n])
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
}

func byteAt(t testing.TB, fs vfs.FS, name string, offset int64) byte {
	t.Helper()
	f, err := fs.Open(name, vfs.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

func change(t testing.TB, fs vfs.FS, name string, offset int64) {
	t.Helper()
	b := byteAt(t, fs, name, offset)
	f, err := fs.Open(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b ^ 4}, offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
