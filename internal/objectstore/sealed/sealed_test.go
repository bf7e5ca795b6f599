package sealed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/objectstore/objectstoretest"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

func testKey(t testing.TB, b byte) secret.Key {
	t.Helper()
	key, err := secret.KeyOf(bytes.Repeat([]byte{b}, secret.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestConformance(t *testing.T) {
	t.Run("Mem", func(t *testing.T) {
		objectstoretest.Test(t, func(t *testing.T) objectstore.Bucket {
			return New(mem.New(clock.System{}, 0), testKey(t, 1), "blocks")
		})
	})
	t.Run("Dir", func(t *testing.T) {
		objectstoretest.Test(t, func(t *testing.T) objectstore.Bucket {
			return New(openDir(t, memfs.New()), testKey(t, 1), "blocks")
		})
	})
}

func openDir(t testing.TB, fs *memfs.FS) *dir.Bucket {
	t.Helper()
	b, err := dir.Open(fs, "blocks", clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// content does not repeat within an object.
func content(n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func put(t testing.TB, b objectstore.Bucket, key string, content []byte) {
	t.Helper()
	info, err := b.Put(context.Background(), key, bytes.NewReader(content))
	if err != nil || b != nil && info.Key != key {
		t.Fatalf("Put(%q) = %+v, %v", key, info, err)
	}
}

func get(b objectstore.Bucket, key string, offset, length int64) ([]byte, error) {
	body, err := b.Get(context.Background(), key, offset, length)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(body)
	return content, errors.Join(err, body.Close())
}

// sizes are those around the borders of chunks.
var sizes = []int{0, 1, 100, plainBytes - 1, plainBytes, plainBytes + 1, 2*plainBytes - 1, 2 * plainBytes, 2*plainBytes + 1, 3*plainBytes + 777}

// TestRanges reads objects of all sizes from and to every border.
func TestRanges(t *testing.T) {
	b := New(mem.New(clock.System{}, 0), testKey(t, 1), "blocks")
	all := content(4 * plainBytes)
	for _, size := range sizes {
		put(t, b, "k", all[:size])
		info, err := b.Stat(t.Context(), "k")
		list, lerr := b.List(t.Context(), "", "", 1)
		if err != nil || lerr != nil || info.Size != int64(size) || len(list) != 1 || list[0].Size != int64(size) {
			t.Errorf("%d bytes: Stat = %+v, %v; List = %+v, %v", size, info, err, list, lerr)
		}
		for _, offset := range sizes {
			for _, n := range append([]int{-1, math.MaxInt64, math.MaxInt64 / 2, math.MaxInt64 - plainBytes}, sizes...) {
				got, err := get(b, "k", int64(offset), int64(n))
				if offset > size {
					if !errors.Is(err, objectstore.ErrRange) {
						t.Errorf("%d bytes: Get(%d, %d) = %d bytes, %v; want ErrRange", size, offset, n, len(got), err)
					}
					continue
				}
				want := all[offset:size]
				if n >= 0 && n < len(want) {
					want = want[:n]
				}
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes: Get(%d, %d) = %d bytes, %v; want %d", size, offset, n, len(got), err, len(want))
				}
			}
		}
		for _, offset := range []int64{math.MaxInt64, math.MaxInt64 - ChunkBytes, math.MaxInt64 / 2, math.MinInt64} {
			if _, err := get(b, "k", offset, 1); !errors.Is(err, objectstore.ErrRange) {
				t.Errorf("Get(%d) = %v, want ErrRange", offset, err)
			}
		}
	}
}

// counted notes what is asked of a bucket.
type counted struct {
	objectstore.Bucket
	asked []string
}

func (c *counted) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	c.asked = append(c.asked, fmt.Sprintf("%d+%d", offset, length))
	return c.Bucket.Get(ctx, key, offset, length)
}

// TestTouches holds a range to one call for the chunks that it touches.
func TestTouches(t *testing.T) {
	c := &counted{Bucket: mem.New(clock.System{}, 0)}
	b := New(c, testKey(t, 1), "blocks")
	put(t, b, "k", content(10*plainBytes))
	f := func(offset, length int64, want string) {
		t.Helper()
		c.asked = nil
		if _, err := get(b, "k", offset, length); err != nil || strings.Join(c.asked, " ") != want {
			t.Errorf("Get(%d, %d) asked for %v, %v; want %s", offset, length, c.asked, err, want)
		}
	}
	const chunk, stored = plainBytes, ChunkBytes
	f(0, 10, fmt.Sprintf("0+%d", stored))
	f(chunk, chunk, fmt.Sprintf("%d+%d", stored, stored))
	f(chunk-1, 2, fmt.Sprintf("0+%d", 2*stored))
	f(7*chunk+5, -1, fmt.Sprintf("%d+-1", 7*stored))
	f(0, -1, "0+-1")
}

// TestDamage changes what lies below: nothing of it is given out.
func TestDamage(t *testing.T) {
	inner := mem.New(clock.System{}, 0)
	key := testKey(t, 1)
	all := content(3*plainBytes + 100)
	b := New(inner, key, "blocks")
	stored := func(content []byte) []byte {
		put(t, b, "k", content)
		s, err := get(inner, "k", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	four := stored(all)
	again := stored(all)
	three := stored(all[:3*plainBytes])
	chunk := func(s []byte, n int) []byte { return s[n*ChunkBytes : min(len(s), (n+1)*ChunkBytes)] }
	f := func(what string, stored []byte, b *Bucket, at string, want error) {
		t.Helper()
		put(t, inner, at, stored)
		got, err := get(b, at, 0, -1)
		if want != nil && !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: Get = %d bytes, %v; want %v", what, len(got), err, want)
		}
		if !bytes.HasPrefix(all, got) {
			t.Errorf("%s: Get gave bytes that were never put", what)
		}
		got, err = io.ReadAll(b.Reader(at, bytes.NewReader(stored)))
		if want != nil && !errors.Is(err, want) || (err == nil) != (want == nil) || !bytes.HasPrefix(all, got) {
			t.Errorf("%s: Reader = %d bytes, %v; want %v", what, len(got), err, want)
		}
	}
	corrupt := objectstore.ErrCorrupt
	f("as it was", four, b, "k", nil)
	f("as it was, of three", three, b, "k", nil)
	f("under another key", four, b, "l", corrupt)
	f("another bucket", four, New(inner, key, "state"), "k", corrupt)
	f("another node's key", four, New(inner, testKey(t, 2), "blocks"), "k", secret.ErrOtherKey)
	f("not sealed", all, b, "k", corrupt)
	f("nothing", nil, b, "k", corrupt)
	f("longer", append(bytes.Clone(four), 0), b, "k", corrupt)
	f("longer by a chunk", slice(three, chunk(four, 3)), b, "k", corrupt)
	f("swapped", slice(chunk(four, 1), chunk(four, 0), chunk(four, 2), chunk(four, 3)), b, "k", corrupt)
	f("swapped behind the first", slice(chunk(four, 0), chunk(four, 2), chunk(four, 1), chunk(four, 3)), b, "k", corrupt)
	f("one left out", slice(chunk(four, 0), chunk(four, 2), chunk(four, 3)), b, "k", corrupt)
	f("one twice", slice(chunk(four, 0), chunk(four, 1), chunk(four, 1), chunk(four, 2), chunk(four, 3)), b, "k", corrupt)
	f("of two versions", slice(chunk(four, 0), chunk(again, 1), chunk(four, 2), chunk(four, 3)), b, "k", corrupt)
	for n := range 4 {
		f(fmt.Sprint("cut behind chunk ", n), four[:n*ChunkBytes], b, "k", corrupt)
		f(fmt.Sprint("cut in chunk ", n), four[:n*ChunkBytes+min(60, len(chunk(four, n))/2)], b, "k", corrupt)
		for _, at := range []int{0, 2, len(magic), len(magic) + keyIDSize, headerSize - flagSize, headerSize - 1, headerSize, len(chunk(four, n)) - 1} {
			changed := bytes.Clone(four)
			changed[n*ChunkBytes+at] ^= 1
			want := corrupt
			if at == len(magic) {
				want = secret.ErrOtherKey
			}
			f(fmt.Sprintf("changed at %d of chunk %d", at, n), changed, b, "k", want)
		}
	}
	newer := bytes.Clone(four)
	newer[len(magic)-1]++
	put(t, inner, "k", newer)
	if _, err := get(b, "k", 0, -1); err == nil || errors.Is(err, corrupt) {
		t.Errorf("another version: %v, want an error that is not damage", err)
	}
	// Whoever reads at the place where an object was cut hears of it.
	put(t, inner, "k", four[:2*ChunkBytes])
	for _, offset := range []int64{2 * plainBytes, 2*plainBytes + 1, plainBytes} {
		if got, err := get(b, "k", offset, -1); !errors.Is(err, corrupt) {
			t.Errorf("cut: Get(%d) = %d bytes, %v; want ErrCorrupt", offset, len(got), err)
		}
	}
	put(t, inner, "k", four[:ChunkBytes+3])
	if _, err := b.Stat(t.Context(), "k"); !errors.Is(err, corrupt) {
		t.Errorf("cut: Stat = %v, want ErrCorrupt", err)
	}
}

func slice(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestNothingShows looks for what was put in what is stored, and for two objects that are alike.
func TestNothingShows(t *testing.T) {
	inner := mem.New(clock.System{}, 0)
	b := New(inner, testKey(t, 1), "blocks")
	secretWords := bytes.Repeat([]byte("nobody may read this. "), 20000)
	seen := map[string]bool{}
	for range 3 {
		put(t, b, "k", secretWords)
		stored, err := get(inner, "k", 0, -1)
		if err != nil || bytes.Contains(stored, []byte("nobody")) {
			t.Fatalf("stored %d bytes with the words in it, or %v", len(stored), err)
		}
		for at := 0; at < len(stored); at += ChunkBytes {
			sealed := string(stored[at+headerSize : at+headerSize+64])
			if seen[sealed] {
				t.Error("two chunks are alike")
			}
			seen[sealed] = true
		}
	}
}

// slow is a body that asks for pieces of 5 bytes.
type slow struct{ io.Reader }

func (slow) Piece() int { return 5 }

// asking is a bucket that asks bodies for their piece.
type asking struct {
	objectstore.Bucket
	piece int
}

func (b *asking) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	b.piece = objectstore.PieceOf(body)
	return b.Bucket.Put(ctx, key, body)
}

// TestPiece expects that a body's wish reaches the bucket below.
func TestPiece(t *testing.T) {
	f := func(body io.Reader, want int) {
		t.Helper()
		inner := &asking{Bucket: mem.New(clock.System{}, 0)}
		if _, err := New(inner, testKey(t, 1), "blocks").Put(t.Context(), "k", body); err != nil || inner.piece != want {
			t.Errorf("the bucket below is asked for pieces of %d, %v; want %d", inner.piece, err, want)
		}
	}
	f(slow{strings.NewReader("x")}, 5)
	f(strings.NewReader("x"), 0)
}

// TestFailedBody fails a body with the error that also ends one in the middle of a read.
func TestFailedBody(t *testing.T) {
	b := New(mem.New(clock.System{}, 0), testKey(t, 1), "blocks")
	for _, n := range []int{0, 10, plainBytes, plainBytes + 1, 3 * plainBytes} {
		body := io.MultiReader(bytes.NewReader(make([]byte, n)), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := b.Put(t.Context(), "k", body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Put of %d bytes and an error = %v", n, err)
		}
		if _, err := b.Stat(t.Context(), "k"); !errors.Is(err, objectstore.ErrNotFound) {
			t.Errorf("after a failed Put: Stat = %v", err)
		}
	}
}

func TestSizes(t *testing.T) {
	valid := map[int64]int64{}
	for n := int64(0); n <= 3*plainBytes+5; n += 1 + n%97/96*300 {
		chunks := max(1, (n+plainBytes-1)/plainBytes)
		valid[n+chunks*overhead] = n
	}
	for n := range int64(4 * ChunkBytes) {
		size, ok := plainSize(n)
		if want, in := valid[n]; in && (!ok || size != want) {
			t.Fatalf("plainSize(%d) = %d, %v; want %d", n, size, ok, want)
		}
		if ok && size+max(1, (size+plainBytes-1)/plainBytes)*overhead != n {
			t.Fatalf("plainSize(%d) = %d, which takes another size", n, size)
		}
	}
	all := content(2*plainBytes + 10)
	for _, n := range []int64{0, 5, plainBytes - 1, plainBytes, 2*plainBytes + 9} {
		inner := mem.New(clock.System{}, 0)
		b := New(inner, testKey(t, 1), "blocks")
		put(t, b, "k", all)
		stored, err := get(inner, "k", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		stored[StoredOffset(n)] ^= 1 // the chunk that holds byte n, and no other, is damaged by it
		put(t, inner, "k", stored)
		if _, err := get(b, "k", n, 1); !errors.Is(err, objectstore.ErrCorrupt) {
			t.Errorf("byte %d does not lie at %d: %v", n, StoredOffset(n), err)
		}
	}
}

// TestPowerCuts puts objects through power cuts: the old one or the new one is there, and opens.
func TestPowerCuts(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := memfs.New()
		b := New(openDir(t, fs), testKey(t, 1), "blocks")
		all, acknowledged := content(3*plainBytes), -1
		for range 5 {
			size := rng.IntN(len(all))
			var during *memfs.FS
			body := io.MultiReader(bytes.NewReader(all[:size]), readerFunc(func() { during = fs.CrashClone(rng) }))
			if _, err := b.Put(t.Context(), "k", body); err != nil {
				t.Fatal(err)
			}
			judge(t, during, all, acknowledged)
			acknowledged = size
			judge(t, fs.CrashClone(rng), all, acknowledged)
		}
	}
}

// readerFunc does something once and ends.
type readerFunc func()

func (f readerFunc) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func judge(t *testing.T, fs *memfs.FS, all []byte, size int) {
	t.Helper()
	got, err := get(New(openDir(t, fs), testKey(t, 1), "blocks"), "k", 0, -1)
	if size < 0 {
		if !errors.Is(err, objectstore.ErrNotFound) {
			t.Errorf("an object is there that was never put whole: %d bytes, %v", len(got), err)
		}
		return
	}
	if err != nil || !bytes.Equal(got, all[:size]) {
		t.Errorf("after a power cut: %d bytes, %v; want %d", len(got), err, size)
	}
}

// null takes objects and forgets them.
type null struct{ objectstore.Bucket }

func (null) Put(_ context.Context, key string, body io.Reader) (objectstore.Info, error) {
	n, err := io.Copy(io.Discard, body)
	return objectstore.Info{Key: key, Size: n}, err
}

// BenchmarkPut seals an object of 16 MiB for a bucket that costs nothing.
func BenchmarkPut(b *testing.B) {
	bucket, object := New(null{}, testKey(b, 1), "blocks"), make([]byte, 16<<20)
	b.SetBytes(int64(len(object)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bucket.Put(context.Background(), "k", bytes.NewReader(object)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGet opens ranges of an object in memory.
func BenchmarkGet(b *testing.B) {
	bucket := New(mem.New(clock.System{}, 0), testKey(b, 1), "blocks")
	put(b, bucket, "k", make([]byte, 16<<20))
	buf := make([]byte, 16<<20)
	f := func(name string, n int64) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				body, err := bucket.Get(context.Background(), "k", 100, n)
				if err == nil {
					_, err = io.ReadFull(body, buf[:n])
				}
				if err != nil || body.Close() != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("8MiB", 8<<20)
	f("32KiB", 32<<10)
}

// FuzzOpen opens what somebody else stored: never more than was put, and no panic.
func FuzzOpen(f *testing.F) {
	inner := mem.New(clock.System{}, 0)
	b := New(inner, testKey(f, 1), "blocks")
	for _, n := range []int{0, 10, plainBytes, plainBytes + 1} {
		put(f, b, "k", make([]byte, n))
		stored, err := get(inner, "k", 0, -1)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stored, int64(0), int64(-1))
		f.Add(stored, int64(n), int64(1))
		f.Add(stored[:len(stored)/2], int64(n/2), int64(5))
	}
	f.Fuzz(func(t *testing.T, stored []byte, offset, length int64) {
		inner := mem.New(clock.System{}, 0)
		put(t, inner, "k", stored)
		b := New(inner, testKey(t, 1), "blocks")
		info, serr := b.Stat(t.Context(), "k")
		got, err := get(b, "k", offset, length)
		if err == nil && (serr != nil || offset+int64(len(got)) > info.Size || len(bytes.Trim(got, "\x00")) > 0) {
			t.Fatalf("%d stored bytes: Get(%d, %d) = %x, Stat = %+v, %v", len(stored), offset, length, got, info, serr)
		}
	})
}
