package encryption

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/clock"
	lanemem "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

func TestFile(t *testing.T) {
	fs, key := memfs.New(), secret.NewKey()
	if id, err := Of(fs); id != "" || err != nil {
		t.Errorf("without a file: Of = %q, %v", id, err)
	}
	for range 2 {
		if err := Mark(fs, key.ID()); err != nil {
			t.Fatal(err)
		}
		if id, err := Of(fs); id != key.ID() || err != nil {
			t.Errorf("Of = %q, %v; want %s", id, err, key.ID())
		}
	}
	if err := Match(key.ID(), key); err != nil {
		t.Error(err)
	}
	if err := Match(key.ID(), secret.NewKey()); !errors.Is(err, ErrOtherKey) || !strings.Contains(err.Error(), File) {
		t.Errorf("Match with another key = %v", err)
	}
	whole := Text(key.ID())
	f := func(text string) {
		t.Helper()
		file, err := fs.Open(File, vfs.Create)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteAt([]byte(text), 0)
		if err = errors.Join(err, file.Truncate(int64(len(text))), file.Close()); err != nil {
			t.Fatal(err)
		}
		if id, err := Of(fs); id != "" || err == nil {
			t.Errorf("%.60q: Of = %q, %v; want an error", text, id, err)
		}
	}
	for i := range whole {
		f(whole[:i])
		changed := []byte(whole)
		changed[i] ^= 1
		f(string(changed))
	}
	f(whole + "\n")
	f(strings.Repeat(whole, 100))
	f(strings.Replace(whole, "v1", "v2", 1))
	if _, err := Of(fs); errors.Is(err, ErrFile) {
		t.Errorf("another version: %v, want an error that is not damage", err)
	}
}

// TestFilePowerCuts cuts the power before every call to the disk: a file that was made is there, and
// otherwise there is none or a whole one.
func TestFilePowerCuts(t *testing.T) {
	errCut, key := errors.New("power cut"), secret.NewKey()
	for seed := range uint64(40) {
		for cut := 1; ; cut++ {
			rng := rand.New(rand.NewPCG(seed, uint64(cut)))
			disk, left := memfs.New(), cut
			var after *memfs.FS
			fs := errfs.New(disk, func(errfs.Call) error {
				if left--; left == 0 {
					after = disk.CrashClone(rng)
				}
				if left <= 0 {
					return errCut
				}
				return nil
			})
			made := Mark(fs, key.ID())
			if made == nil {
				after = disk.CrashClone(rng)
			}
			id, err := Of(after)
			if err != nil || made == nil && id != key.ID() {
				t.Fatalf("seed %d, cut %d: Of = %q, %v", seed, cut, id, err)
			}
			if err := Mark(after, key.ID()); err != nil {
				t.Fatalf("seed %d, cut %d: the next start: %v", seed, cut, err)
			}
			if made == nil {
				break
			}
		}
	}
}

// TestSeal keeps a group and an object with and without a key.
func TestSeal(t *testing.T) {
	content := []byte("what is kept")
	f := func(s Seal) {
		t.Helper()
		inner, below := mem.New(clock.System{}, 0), lanemem.New(lanemem.Config{})
		b := s.Bucket(inner, "blocks")
		if _, err := b.Put(t.Context(), "k", bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		body, err := inner.Get(t.Context(), "k", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := io.ReadAll(body)
		if err != nil || bytes.Contains(stored, content) == s.On() {
			t.Errorf("On = %v: stored is %q, %v", s.On(), stored, err)
		}
		if !s.On() && !bytes.Equal(stored[s.ObjectOffset(3):], content[3:]) {
			t.Errorf("ObjectOffset(3) = %d", s.ObjectOffset(3))
		}
		if got, err := io.ReadAll(s.Open("blocks", "k", bytes.NewReader(stored))); err != nil || !bytes.Equal(got, content) {
			t.Errorf("On = %v: Open = %q, %v", s.On(), got, err)
		}
		l, size, err := s.Lane(t.Context(), below)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(t.Context(), 1, content); err != nil {
			t.Fatal(err)
		}
		raw, err := below.Read(t.Context(), 1, 1)
		if err != nil || len(raw[0].Payload) != size(len(content)) || bytes.Contains(raw[0].Payload, content) == s.On() {
			t.Errorf("On = %v: stored is %v, %v", s.On(), raw, err)
		}
		groups, err := l.Read(t.Context(), 1, 1)
		again, rerr := s.Groups(below).Read(t.Context(), 1, 1)
		if err != nil || rerr != nil || !bytes.Equal(groups[0].Payload, content) || !bytes.Equal(again[0].Payload, content) {
			t.Errorf("On = %v: read %v, %v; %v, %v", s.On(), groups, err, again, rerr)
		}
	}
	f(Seal{})
	f(With(secret.NewKey()))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Text("0123456789abcdef")))
	f.Add([]byte("headrace-encryption-v2 0 0\n"))
	f.Add([]byte("  \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		id, err := Parse(text)
		if err == nil && (len(id) != idDigits || Text(id) != string(text)) {
			t.Fatalf("%q is the key %q", text, id)
		}
	})
}
