package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var taken = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// sample is the objects of a small archive.
func sample() map[string]string {
	return map[string]string{
		"state/journal/coordinator/00000000000000000007": "rows",
		"blocks/blocks/1d/0000000000000001":              strings.Repeat("records ", 80),
		"blocks/blocks/1d/0000000000000002":              "",
		"blocks/manifest/0000000000000003":               "manifest",
	}
}

// archive makes an archive of objects, in the order of names.
func archive(t testing.TB, objects map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := newWriter(&out, taken)
	for _, name := range sorted(objects) {
		if err == nil {
			err = w.add(Entry{name, int64(len(objects[name]))}, strings.NewReader(objects[name]))
		}
	}
	if err == nil {
		err = w.close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sorted(objects map[string]string) (names []string) {
	for name := range maps.Keys(objects) {
		at := 0
		for at < len(names) && names[at] < name {
			at++
		}
		names = append(names[:at], append([]string{name}, names[at:]...)...)
	}
	return names
}

// readAll reads an archive.
func readAll(r io.Reader) (map[string]string, Summary, error) {
	got := map[string]string{}
	summary, err := Read(context.Background(), r, func(e Entry, body io.Reader) error {
		b, err := io.ReadAll(body)
		if err == nil && int64(len(b)) != e.Size {
			err = fmt.Errorf("entry %+v has %d bytes", e, len(b))
		}
		got[e.Name] = string(b)
		return err
	})
	return got, summary, err
}

func TestArchive(t *testing.T) {
	objects := sample()
	b := archive(t, objects)
	f := func(r io.Reader) {
		t.Helper()
		got, summary, err := readAll(r)
		want := Summary{Taken: taken, Objects: 4, Bytes: 652}
		if err != nil || !maps.Equal(got, objects) || summary != want {
			t.Errorf("read %d objects, %+v, %v; want %+v", len(got), summary, err, want)
		}
	}
	f(bytes.NewReader(b))
	f(iotest.OneByteReader(bytes.NewReader(b)))
	f(iotest.DataErrReader(bytes.NewReader(b)))
	f(io.MultiReader(bytes.NewReader(b), bytes.NewReader(make([]byte, 100_000)))) // as tar pads
	// Who looks only leaves the bodies: they are compared all the same.
	summary, err := Read(t.Context(), bytes.NewReader(b), func(Entry, io.Reader) error { return nil })
	if err != nil || summary.Objects != 4 {
		t.Errorf("Read() without reading = %+v, %v", summary, err)
	}
}

// TestArchiveIsTar reads an archive with a tar reader, and its listing as text.
func TestArchiveIsTar(t *testing.T) {
	r := tar.NewReader(bytes.NewReader(archive(t, sample())))
	var listing strings.Builder
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || h.Format != tar.FormatUSTAR || h.Mode != 0o600 || !h.ModTime.Equal(taken) {
			t.Errorf("entry %+v, %v", h, err)
		}
		if h.Name == listingName {
			text := listing.String()
			if want := fmt.Sprintf("%send 5 %x\n", text, sha256.Sum256([]byte(text))); string(b) != want {
				t.Errorf("the listing is\n%s\nwant\n%s", b, want)
			}
			return
		}
		if h.Name == titleName && string(b) != "headrace backup 1\ntaken 2026-11-23T10:00:00Z\n" {
			t.Errorf("the title is %q", b)
		}
		fmt.Fprintf(&listing, "%x %d %s\n", sha256.Sum256(b), len(b), h.Name)
	}
	t.Error("there is no listing")
}

// TestArchiveDamaged changes every byte of an archive, cuts it at every length and adds to it.
func TestArchiveDamaged(t *testing.T) {
	whole := archive(t, sample())
	end := len(whole) - 1024 // of the listing's block
	text := bytes.LastIndexByte(whole, '\n') + 1
	for at := range whole[:end] {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		got, _, err := readAll(bytes.NewReader(b))
		padding := err == nil && maps.Equal(got, sample()) // what fills blocks up, and times
		if !padding && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBackup) && !errors.Is(err, ErrNotWhole) && !errors.Is(err, ErrVersion) {
			t.Fatalf("byte %d damaged: %v", at, err)
		}
	}
	for n := range text {
		if _, _, err := readAll(bytes.NewReader(whole[:n])); !errors.Is(err, ErrNotWhole) && !errors.Is(err, ErrNotBackup) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
	}
	f := func(b []byte, want error, name string) {
		t.Helper()
		if _, _, err := readAll(bytes.NewReader(b)); !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %v with %q", err, want, name)
		}
	}
	f(append(bytes.Clone(whole), 1), ErrDamaged, "follows its end")
	f(append(bytes.Clone(whole[:end]), whole...), ErrDamaged, "follows its listing")
	f(nil, ErrNotBackup, "")
	f(make([]byte, 2048), ErrNotBackup, "")
	f([]byte("{}"), ErrNotWhole, "")
	f(bytes.Repeat([]byte("x"), 4096), ErrNotBackup, "")
	f(bytes.Replace(whole, []byte("records records"), []byte("records_records"), 1), ErrDamaged, "blocks/blocks/1d/0000000000000001")
	f(bytes.Replace(whole, []byte("headrace backup 1"), []byte("headrace backup 2"), 1), ErrVersion, `"2"`)
	f(bytes.Replace(whole, []byte("\nend 5"), []byte("\nend 6"), 1), ErrDamaged, listingName)
	f(bytes.Replace(whole, []byte("taken 2026"), []byte("taken 20x6"), 1), ErrDamaged, "when it was taken")
}

// TestArchiveRefuses reads tar files that a tool might make of a backup, and ones that nobody should.
func TestArchiveRefuses(t *testing.T) {
	f := func(want error, headers ...*tar.Header) {
		t.Helper()
		var out bytes.Buffer
		w, err := newWriter(&out, taken)
		for _, h := range headers {
			if err == nil {
				err = w.tar.WriteHeader(h)
			}
			if err == nil {
				_, err = io.CopyN(w.tar, zeros{}, h.Size)
			}
		}
		if err == nil {
			err = w.close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := readAll(&out); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", headers[0], err, want)
		}
	}
	f(ErrDamaged, &tar.Header{Typeflag: tar.TypeSymlink, Name: "blocks/a", Linkname: "/etc/passwd"})
	f(ErrDamaged, &tar.Header{Typeflag: tar.TypeDir, Name: "blocks/"})
	f(ErrDamaged, &tar.Header{Typeflag: tar.TypeReg, Name: "blocks/a", Size: 1}, &tar.Header{Typeflag: tar.TypeReg, Name: "blocks/a", Size: 2})
	f(ErrDamaged, &tar.Header{Typeflag: tar.TypeReg, Name: titleName, Size: 1})
	f(ErrDamaged, &tar.Header{Typeflag: tar.TypeReg, Name: "blocks/a\nb", Size: 1})
	f(ErrDamaged, &tar.Header{Typeflag: tar.TypeReg, Name: "blocks/not listed", Size: 1})
	w, err := newWriter(io.Discard, taken)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.add(Entry{"a", 3}, strings.NewReader("four")); err == nil {
		t.Error("an object that is longer than told was written")
	}
	if w, err = newWriter(io.Discard, taken); err != nil {
		t.Fatal(err)
	}
	if err := w.add(Entry{"a", 5}, strings.NewReader("four")); err == nil {
		t.Error("an object that is shorter than told was written")
	}
	if err := w.add(Entry{"a\nb", 0}, strings.NewReader("")); err == nil {
		t.Error("a name of two lines was written")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestReadFails reads from what breaks, and until the context ends.
func TestReadFails(t *testing.T) {
	whole, broken := archive(t, sample()), errors.New("broken")
	for n := range len(whole) {
		r := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken))
		if _, _, err := readAll(r); !errors.Is(err, broken) {
			t.Fatalf("broken after %d bytes: %v", n, err)
		}
	}
	if _, err := Read(t.Context(), bytes.NewReader(whole), func(Entry, io.Reader) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("Read() = %v, want what its function says", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(ctx, bytes.NewReader(whole), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Read() with its context done = %v", err)
	}
}

func FuzzRead(f *testing.F) {
	whole := archive(f, sample())
	f.Add(whole)
	f.Add(whole[:len(whole)-1024])
	f.Add(archive(f, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, summary, err := readAll(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(got) != summary.Objects {
			t.Fatalf("%d objects of %d", len(got), summary.Objects)
		}
		again, _, err := readAll(bytes.NewReader(archive(t, got)))
		if err != nil || !maps.Equal(got, again) {
			t.Fatalf("%v: what was read is refused, or something else", err)
		}
	})
}
