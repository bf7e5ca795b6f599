package disk

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// read returns a file of the disk.
func read(t testing.TB, disk vfs.FS, name string) []byte {
	t.Helper()
	f, err := disk.Open(name, vfs.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if size > 0 {
		if err := readAt(f, b, 0); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// write makes a file of the disk hold b.
func write(t testing.TB, disk vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := disk.Open(name, vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(int64(len(b))), writeAt(f, b, 0), f.Sync(), disk.SyncDir(dir), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// flip changes one byte.
func flip(t testing.TB, disk vfs.FS, name string, off int64) {
	t.Helper()
	b := read(t, disk, name)
	b[off] ^= 0x10
	write(t, disk, name, b)
}

// ring20 is a ring of 4 segments with groups 1 to 20 of one block, 7 a segment; and 21, torn, where
// the lane was killed. Closed, it has no 21.
func ring20(t testing.TB, closed bool) *memfs.FS {
	t.Helper()
	disk := memfs.New()
	l := mustOpen(t, disk, small(4, 32<<10))
	mustAppend(t, l, 1, 20, 3000)
	if closed {
		mustClose(t, l)
		return disk
	}
	mustAppend(t, l, 21, 21, 3000)
	abandon(t, l)
	flip(t, disk, "wal/002.wal", 7*block+2000)
	return disk
}

// wantRefused expects that Open and Check name the place, and that Open changed nothing.
func wantRefused(t *testing.T, disk *memfs.FS, want error, place string) {
	t.Helper()
	before, _ := disk.List(dir)
	var contents []string
	for _, e := range before {
		contents = append(contents, string(read(t, disk, dir+"/"+e.Name)))
	}
	for range 2 {
		l, err := Open(ctx, disk, small(4, 32<<10))
		if err == nil {
			b, _ := l.Bounds(ctx)
			t.Errorf("Open succeeded with %+v, want %v at %s", b, want, place)
			abandon(t, l)
			return
		}
		if !errors.Is(err, want) || !strings.Contains(err.Error(), place) {
			t.Errorf("Open = %v, want %v at %s", err, want, place)
		}
	}
	if _, err := Check(ctx, disk); !errors.Is(err, want) || !strings.Contains(err.Error(), place) {
		t.Errorf("Check = %v, want %v at %s", err, want, place)
	}
	for i, e := range before {
		if string(read(t, disk, dir+"/"+e.Name)) != contents[i] {
			t.Errorf("a refused Open changed %s", e.Name)
		}
	}
}

func TestTornTailIsCut(t *testing.T) {
	disk := ring20(t, false)
	var got Recovery
	cfg := small(4, 32<<10)
	cfg.Events.Recovered = func(r Recovery) { got = r }
	l := mustOpen(t, disk, cfg)
	wantHeld(t, l, 1, 21, 3000)
	want := Recovery{Bounds: lane.Bounds{First: 1, Next: 21}, Segments: 4, Free: 1, TailFile: "wal/002.wal", TailOffset: 7 * block, Torn: true, Direct: true}
	if got != want {
		t.Errorf("recovered %+v, want %+v", got, want)
	}
	mustAppend(t, l, 21, 25, 3000)
	wantHeld(t, l, 1, 26, 3000)
	mustClose(t, l)
}

// TestTornBehindTrimmedGroups tears a group behind others that were all trimmed already: its segment is
// free, and the header of what was torn must not pass for damage to a later start.
func TestTornBehindTrimmedGroups(t *testing.T) {
	disk := memfs.New()
	l := mustOpen(t, disk, small(3, 32<<10))
	mustAppend(t, l, 1, 9, 3000) // 7 in a segment
	mustTrim(t, l, 10)           // frees the first segment, whose mark tells of it
	mustAppend(t, l, 10, 10, 3000)
	abandon(t, l)
	flip(t, disk, "wal/001.wal", 3*block+2000)
	for n := range 3 {
		cfg := small(3, 32<<10)
		cfg.Events.Recovered = func(r Recovery) {
			if r.Torn != (n == 0) || r.Free != 3 {
				t.Errorf("start %d recovered %+v", n, r)
			}
		}
		l := mustOpen(t, disk, cfg)
		wantHeld(t, l, 10, 10, 3000)
		abandon(t, l)
	}
	l = mustOpen(t, disk, small(3, 32<<10))
	mustAppend(t, l, 10, 12, 3000)
	abandon(t, l)
	l = mustOpen(t, disk, small(3, 32<<10))
	wantHeld(t, l, 10, 13, 3000)
	mustClose(t, l)
}

// TestEveryPrefixOfTheLastGroup tears a group of several blocks at every sector, each way round.
func TestEveryPrefixOfTheLastGroup(t *testing.T) {
	const size, sector = 3*block - headerSize, 512
	disk := memfs.New()
	l := mustOpen(t, disk, small(2, 32<<10))
	mustAppend(t, l, 1, 1, 100)
	before := read(t, disk, "wal/000.wal")
	mustAppend(t, l, 2, 2, size)
	after := read(t, disk, "wal/000.wal")
	free := read(t, disk, "wal/001.wal")
	abandon(t, l)
	for n := 0; n <= 3*block; n += sector {
		at := 2*block + n
		f := func(first, last []byte, whole bool) {
			t.Helper()
			write(t, disk, "wal/000.wal", append(append([]byte(nil), first[:at]...), last[at:]...))
			write(t, disk, "wal/001.wal", free) // which notes the end when the lane is opened
			l := mustOpen(t, disk, small(2, 32<<10))
			b, _ := l.Bounds(ctx)
			if want := lane.Position(2); b.Next != want && !whole || whole && b.Next != want+1 {
				t.Errorf("with %d bytes of the last group, Next = %d", n, b.Next)
			}
			abandon(t, l)
		}
		f(after, before, n == 3*block)
		f(before, after, n == 0)
	}
}

// TestDamageIsRead damages the payload of a group that others follow: Check finds it, and whoever comes
// to read it, who gets all groups but this one.
func TestDamageIsRead(t *testing.T) {
	f := func(file string, off int64, damaged lane.Position, place string) {
		t.Helper()
		disk := ring20(t, false)
		flip(t, disk, file, off)
		if _, err := Check(ctx, disk); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), place) {
			t.Errorf("Check = %v, want %v at %s", err, ErrCorrupt, place)
		}
		for range 2 {
			l := mustOpen(t, disk, small(4, 32<<10))
			for p := lane.Position(1); p < 21; p++ {
				groups, err := l.Read(ctx, p, 1)
				if p == damaged && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), place)) {
					t.Errorf("Read(%d) = %v, %v, want %v at %s", p, groups, err, ErrCorrupt, place)
				}
				if p != damaged && (err != nil || len(groups) != 1) {
					t.Errorf("Read(%d) = %v, %v", p, groups, err)
				}
			}
			abandon(t, l)
		}
	}
	f("wal/001.wal", 3*block+2000, 10, "wal/001.wal at offset 12288")
	f("wal/000.wal", block+2000, 1, "wal/000.wal at offset 4096")
}

func TestDamageIsRefused(t *testing.T) {
	f := func(name string, closed bool, damage func(t *testing.T, disk *memfs.FS), want error, place string) {
		t.Run(name, func(t *testing.T) {
			disk := ring20(t, closed)
			damage(t, disk)
			wantRefused(t, disk, want, place)
		})
	}
	at := func(file string, off int64) func(*testing.T, *memfs.FS) {
		return func(t *testing.T, disk *memfs.FS) { flip(t, disk, file, off) }
	}
	gone := func(file string) func(*testing.T, *memfs.FS) {
		return func(t *testing.T, disk *memfs.FS) {
			if err := disk.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	f("header in the middle", false, at("wal/001.wal", 3*block+32), ErrCorrupt, "wal/001.wal at offset 12288")
	f("payload of a segment's last", false, at("wal/000.wal", 7*block+2000), ErrCorrupt, "wal/000.wal at offset 28672")
	f("mark", false, at("wal/001.wal", 20), ErrCorrupt, "wal/001.wal at offset 0")
	f("mark of a free segment", false, at("wal/003.wal", 20), ErrCorrupt, "wal/003.wal at offset 0")
	f("last group after a clean end", true, at("wal/002.wal", 6*block+2000), ErrCorrupt, "wal/002.wal at offset 24576")
	f("last group's header after a clean end", true, at("wal/002.wal", 6*block), ErrCorrupt, "wal/002.wal at offset 24576")
	f("first file missing", false, gone("wal/000.wal"), ErrCorrupt, "wal/000.wal")
	f("last written file missing", false, gone("wal/002.wal"), ErrCorrupt, "wal/002.wal")
	f("free file missing", false, gone("wal/003.wal"), ErrCorrupt, "wal/003.wal")
	f("shortened", false, func(t *testing.T, disk *memfs.FS) {
		write(t, disk, "wal/001.wal", read(t, disk, "wal/001.wal")[:5*block])
	}, ErrCorrupt, "wal/001.wal at offset 0")
	f("shortened to nothing", false, func(t *testing.T, disk *memfs.FS) {
		write(t, disk, "wal/001.wal", []byte("x"))
	}, ErrCorrupt, "wal/001.wal")
	f("files exchanged", false, func(t *testing.T, disk *memfs.FS) {
		write(t, disk, "wal/001.wal", read(t, disk, "wal/000.wal"))
	}, ErrCorrupt, "wal/001.wal at offset 0")
	f("file of another ring", false, func(t *testing.T, disk *memfs.FS) {
		write(t, disk, "wal/001.wal", read(t, ring20(t, false), "wal/001.wal"))
	}, ErrCorrupt, "wal/001.wal at offset 0")
	f("a write that the disk put elsewhere", false, func(t *testing.T, disk *memfs.FS) {
		b := read(t, disk, "wal/001.wal")
		copy(b[2*block:3*block], b[3*block:])
		write(t, disk, "wal/001.wal", b)
	}, ErrCorrupt, "wal/001.wal at offset 8192")
	newer := func(off int64) func(t *testing.T, disk *memfs.FS) {
		return func(t *testing.T, disk *memfs.FS) {
			b := read(t, disk, "wal/001.wal")
			h, _ := parse(b[off:])
			h.encode(b[off:])
			b[off+4] = version + 1
			sum := addSum(0, b[off:off+crcAt])
			b[off+crcAt], b[off+crcAt+1], b[off+crcAt+2], b[off+crcAt+3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
			write(t, disk, "wal/001.wal", b)
		}
	}
	f("newer mark", false, newer(0), ErrVersion, "wal/001.wal at offset 0")
	f("newer group", false, newer(3*block), ErrVersion, "wal/001.wal at offset 12288")
}

// TestExtraFiles expects that what does not belong to the ring is left alone, and leftovers go.
func TestExtraFiles(t *testing.T) {
	disk := ring20(t, true)
	for _, name := range []string{"wal/notes.txt", "wal/0001.wal", "wal/1.wal", "wal/004.wal.bak", "wal/004.wal.new"} {
		write(t, disk, name, []byte("x"))
	}
	if err := disk.Mkdir("wal/lost+found"); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, disk, small(4, 32<<10))
	wantHeld(t, l, 1, 21, 3000)
	mustClose(t, l)
	entries, _ := disk.List(dir)
	if len(entries) != 4+1+5 {
		t.Errorf("List() = %v; want all but 004.wal.new", entries)
	}
}

// TestDamageWhileReading names the group that rotted under an open lane.
func TestDamageWhileReading(t *testing.T) {
	disk := memfs.New()
	l := mustOpen(t, disk, small(2, 32<<10))
	defer abandon(t, l)
	mustAppend(t, l, 1, 3, 3000)
	flip(t, disk, "wal/000.wal", 2*block+300)
	var at *CorruptError
	if _, err := l.Read(ctx, 2, 1); !errors.As(err, &at) || at.File != "wal/000.wal" || at.Offset != 2*block {
		t.Errorf("Read = %v, want ErrCorrupt at 8192", err)
	}
	if groups, err := l.Read(ctx, 1, 1); err != nil || len(groups) != 1 {
		t.Errorf("Read(1) = %d groups, %v", len(groups), err)
	}
}

// flipHeader flips one bit in a header of a ring that was closed. The lane must say so.
func flipHeader(t *testing.T, seed uint64, wrap func(vfs.FS) vfs.FS) (caught bool) {
	rng := rand.New(rand.NewPCG(seed, 2))
	disk := ring20(t, true)
	name, blk := segmentName(rng.IntN(3)), int64(rng.IntN(7))
	b := read(t, disk, name)
	b[blk*block+rng.Int64N(headerSize)] ^= 1 << rng.IntN(8)
	write(t, disk, name, b)
	l, err := Open(ctx, wrap(disk), small(4, 32<<10))
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
		return false
	}
	if err != nil {
		return true
	}
	defer abandon(t, l)
	return true // a flipped bit went unnoticed
}

// trusting makes every header's checksum right, as if nobody compared it.
type trusting struct{ broken }

func (f trusting) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	for at := 0; at+block <= n; at += block {
		if b := p[at:]; string(b[:4]) == magic {
			sum := addSum(0, b[:crcAt])
			b[crcAt], b[crcAt+1], b[crcAt+2], b[crcAt+3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
	}
	return n, err
}

func TestFlippedHeaderBits(t *testing.T) {
	for seed := range crashSeeds(2000) {
		if flipHeader(t, seed, func(fs vfs.FS) vfs.FS { return fs }) {
			t.Fatalf("seed %d: a flipped bit went unnoticed", seed)
		}
	}
}

func TestIgnoringTheHeaderChecksumIsCaught(t *testing.T) {
	for seed := range uint64(catchSeeds) {
		if flipHeader(t, seed, func(fs vfs.FS) vfs.FS {
			return &brokenFS{FS: fs, wrap: func(b broken) vfs.File { return trusting{b} }}
		}) {
			t.Logf("caught at seed %d", seed)
			return
		}
	}
	t.Errorf("not caught in %d seeds", catchSeeds)
}
