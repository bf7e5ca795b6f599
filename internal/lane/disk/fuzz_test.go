package disk

import (
	"bytes"
	"errors"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// image is a ring that went round and was opened anew in the middle: groups 9 to 24 are held, of
// one or two blocks, and stale ones lie behind them.
func image(t testing.TB, closed bool) *memfs.FS {
	t.Helper()
	disk := memfs.New()
	cfg := small(4, 32<<10)
	cfg.Random = seeded(7)
	l := mustOpen(t, disk, cfg)
	mustAppend(t, l, 1, 14, 3000)
	mustTrim(t, l, 9)
	mustAppend(t, l, 15, 17, 5000)
	mustTrim(t, l, 9)
	abandon(t, l)
	l = mustOpen(t, disk, cfg)
	mustAppend(t, l, 18, 20, 3000)
	if closed {
		mustClose(t, l)
	} else {
		abandon(t, l)
	}
	return disk
}

func imageSize(p lane.Position) int {
	if p >= 15 && p <= 17 {
		return 5000
	}
	return 3000
}

// damaged applies the operations in script to the files: each is a kind, a file, an offset and a
// value. It returns which of the files' blocks were changed.
func damaged(files [][]byte, script []byte) [][]bool {
	changed := make([][]bool, len(files))
	for i := range changed {
		changed[i] = make([]bool, len(files[i])/block)
	}
	for ; len(script) >= 5; script = script[5:] {
		n := int(script[1]) % len(files)
		file := files[n]
		off := (int(script[2])<<8 | int(script[3])) % len(file)
		before := bytes.Clone(file[off/block*block:])
		switch script[0] % 4 {
		case 0:
			file[off] ^= script[4]
		case 1: // a sector of one byte
			s := file[off/512*512:][:512]
			copy(s, bytes.Repeat(script[4:5], len(s)))
		case 2: // a block from elsewhere in the ring
			from := files[int(script[4])%len(files)]
			copy(file[off/block*block:][:block], from[int(script[4])*block%len(from):])
		case 3: // everything from there
			clear(file[off/block*block:])
		}
		after := file[off/block*block:]
		for i := 0; i < len(after); i += block {
			if !bytes.Equal(before[i:i+block], after[i:i+block]) {
				changed[n][off/block+i/block] = true
			}
		}
	}
	return changed
}

// where returns by position which blocks of which file hold the groups.
func where(t testing.TB) map[lane.Position][3]int {
	l := mustOpen(t, image(t, false), small(4, 32<<10))
	defer abandon(t, l)
	out := map[lane.Position][3]int{}
	for _, s := range l.mu.live {
		for i, e := range s.index {
			out[s.first+lane.Position(i)] = [3]int{s.number, int(e.block), int(e.end() / block)}
		}
	}
	return out
}

// FuzzRecovery damages a ring. Whatever is done to it, Open gives an error or what was written:
// no group is invented or changed, none is left out before another, and those cut off at the end
// are all damaged themselves. Of a ring that was closed, nothing may be missing.
func FuzzRecovery(f *testing.F) {
	f.Add(false, []byte{})
	f.Add(true, []byte{0, 0, 0, 40, 1})
	f.Add(false, []byte{0, 1, 0x10, 0x20, 0xff, 1, 2, 0x33, 0, 0})
	f.Add(false, []byte{2, 1, 0x20, 0, 3, 2, 1, 0x30, 0, 2})
	f.Add(false, []byte{3, 0, 0x20, 0, 0})
	f.Add(false, []byte{3, 0, 0x60, 0, 0})
	f.Add(true, []byte{1, 0, 0x60, 0, 9})
	places := where(f)
	f.Fuzz(func(t *testing.T, closed bool, script []byte) {
		disk := image(t, closed)
		files := make([][]byte, 4)
		for i := range files {
			files[i] = read(t, disk, segmentName(i))
		}
		changed := damaged(files, script[:min(len(script), 100)])
		for i := range files {
			write(t, disk, segmentName(i), files[i])
		}
		l, err := Open(ctx, disk, small(4, 32<<10))
		if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
			return
		}
		if err != nil {
			t.Fatalf("Open = %v, want success, ErrCorrupt or ErrVersion", err)
		}
		defer abandon(t, l)
		b, _ := l.Bounds(ctx)
		if b.First != 9 && b.First != 8 || b.Next > 21 || closed && b.Next != 21 {
			t.Fatalf("Bounds = %+v of a ring with 9 to 20", b)
		}
		for p := b.First; p < b.Next; p++ {
			groups, err := l.Read(ctx, p, 0)
			if err != nil || len(groups) != 1 || groups[0].Position != p || !bytes.Equal(groups[0].Payload, content(p, 0, imageSize(p))) {
				t.Fatalf("Read(%d) = %v, %v; want the group as written", p, len(groups), err)
			}
		}
		for p := b.Next; p < 21; p++ {
			at := places[p]
			hit := false
			for i := at[1]; i < at[2]; i++ {
				hit = hit || changed[at[0]][i]
			}
			if !hit {
				t.Fatalf("group %d is whole on the disk and was cut off: %+v", p, b)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	b := make([]byte, headerSize)
	h := header{kind: kindGroup, ring: 1, generation: 2, position: 3, first: 1, offset: block, segment: 1, segments: 4, bytes: 1 << 20, length: 9, sum: 5}
	h.encode(b)
	f.Add(b)
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, what := parse(b)
		if what != parsedHeader {
			return
		}
		again := make([]byte, headerSize)
		h.encode(again)
		if !bytes.Equal(again, b[:headerSize]) {
			t.Errorf("parsed %+v from other bytes than it is encoded to", h)
		}
	})
}
