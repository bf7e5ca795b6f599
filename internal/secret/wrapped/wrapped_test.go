package wrapped

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// sample returns a wrapped key, another one for every n.
func sample(n byte) Key {
	return Key{ID: "0123456789abcdef", URI: "aws-kms://arn:aws:kms:eu-west-1:111122223333:key/a-b", Wrapping: bytes.Repeat([]byte{n}, 184)}
}

func TestParse(t *testing.T) {
	want := sample(7)
	text := want.Text()
	if got, err := Parse([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	for i := range len(text) {
		changed := []byte(text)
		changed[i] ^= 1
		if got, err := Parse(changed); err == nil {
			t.Errorf("with byte %d changed: got %+v, want an error", i, got)
		}
		if got, err := Parse([]byte(text[:i])); err == nil {
			t.Errorf("cut to %d bytes: got %+v, want an error", i, got)
		}
	}
	f := func(text string, says string) {
		t.Helper()
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: got %v, want an error saying %q", text, err, says)
		}
	}
	f(text+"\n", "damaged")
	f(text+text, "damaged")
	f(strings.Replace(text, "-v1 ", "-v2 ", 1), "newer version")
	f(Key{ID: "0123456789abcdeF", URI: want.URI, Wrapping: want.Wrapping}.Text(), "damaged")
	f(Key{ID: want.ID, URI: "", Wrapping: want.Wrapping}.Text(), "damaged")
	f(Key{ID: want.ID, URI: "a\tb", Wrapping: want.Wrapping}.Text(), "damaged")
	f(Key{ID: want.ID, URI: strings.Repeat("a", maxURI+1), Wrapping: want.Wrapping}.Text(), "damaged")
	f(Key{ID: want.ID, URI: want.URI}.Text(), "damaged")
	f(Key{ID: want.ID, URI: want.URI, Wrapping: make([]byte, maxWrapping+1)}.Text(), "damaged")
	longest := Key{ID: want.ID, URI: strings.Repeat("a", maxURI), Wrapping: make([]byte, maxWrapping)}
	if _, err := Parse([]byte(longest.Text())); err != nil || len(longest.Text()) >= MaxFile {
		t.Errorf("the longest file, %d bytes: %v", len(longest.Text()), err)
	}
}

// TestVersion1 reads a file as version 1 wrote it.
func TestVersion1(t *testing.T) {
	got, err := Parse([]byte("headrace-wrapped-node-key-v1 0123456789abcdef AQIDBA== aws-kms://arn:aws:kms:eu-west-1:111122223333:key/1234 ff4e9aa5\n"))
	want := Key{ID: "0123456789abcdef", URI: "aws-kms://arn:aws:kms:eu-west-1:111122223333:key/1234", Wrapping: []byte{1, 2, 3, 4}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestFile(t *testing.T) {
	fs := memfs.New()
	if _, err := Read(fs); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("without a file: got %v, want ErrNotExist", err)
	}
	for n := range byte(3) {
		if err := Write(fs, sample(n)); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(fs); err != nil || !reflect.DeepEqual(got, sample(n)) {
			t.Errorf("got %+v, %v; want what was written", got, err)
		}
	}
	if err := Write(fs, Key{ID: "x"}); !errors.Is(err, ErrFile) {
		t.Errorf("what cannot be read was written: %v", err)
	}
	if got, err := Read(fs); err != nil || !reflect.DeepEqual(got, sample(2)) {
		t.Errorf("after a refused write: got %+v, %v", got, err)
	}
	for _, text := range []string{"", "x", strings.Repeat("a", MaxFile), strings.Repeat("a", 2*MaxFile)} {
		if err := errors.Join(fs.Remove(File), write(fs, []byte(text))); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(fs); !errors.Is(err, ErrFile) {
			t.Errorf("a file of %d bytes: got %v, want ErrFile", len(text), err)
		}
	}
}

// TestPowerCuts cuts the power before every call to the disk, while the first file is made and while it is
// replaced: there is the one that was written or the one before, never a part and, once there was one,
// never none. The next start can replace it.
func TestPowerCuts(t *testing.T) {
	errCut := errors.New("power cut")
	for seed := range uint64(40) {
		for first := range 2 {
			for cut := 1; ; cut++ {
				rng := rand.New(rand.NewPCG(seed, uint64(cut)))
				disk := memfs.New()
				if first == 1 {
					if err := Write(disk, sample(1)); err != nil {
						t.Fatal(err)
					}
				}
				var after *memfs.FS
				left := cut
				fs := errfs.New(disk, func(errfs.Call) error {
					if left--; left == 0 {
						after = disk.CrashClone(rng)
					}
					if left <= 0 {
						return errCut
					}
					return nil
				})
				err := Write(fs, sample(2))
				if err == nil {
					after = disk.CrashClone(rng)
				}
				got, readErr := Read(after)
				before := first == 1 && reflect.DeepEqual(got, sample(1)) || first == 0 && errors.Is(readErr, vfs.ErrNotExist)
				if !reflect.DeepEqual(got, sample(2)) && (err == nil || !before) {
					t.Fatalf("seed %d, cut %d: Write returned %v, and then there is %+v, %v", seed, cut, err, got, readErr)
				}
				if err := Write(after, sample(3)); err != nil {
					t.Fatalf("seed %d, cut %d: the next write: %v", seed, cut, err)
				}
				if err == nil {
					break
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample(1).Text()))
	f.Add([]byte(word + " 0123456789abcdef AAAA aws-kms://x 00000000\n"))
	f.Add([]byte(anyWord + "2"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, err := Parse(text); err == nil && k.Text() != string(text) {
			t.Fatalf("%q was read as %+v", text, k)
		}
	})
}
