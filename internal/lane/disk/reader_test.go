package disk

import (
	"bytes"
	"errors"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

func TestReader(t *testing.T) {
	disk := ring20(t, false)
	r, err := OpenReader(ctx, disk)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Found().Bounds, (lane.Bounds{First: 1, Next: 21}); got != want || !r.Found().Torn {
		t.Errorf("Found() = %+v, want bounds %v and a torn group", r.Found(), want)
	}
	next := lane.Position(1)
	for next < 21 {
		groups, err := r.Read(ctx, next, 10_000)
		if err != nil || len(groups) == 0 {
			t.Fatalf("Read(%d) = %d groups, %v", next, len(groups), err)
		}
		for _, g := range groups {
			if want := content(next, 0, 3000); g.Position != next || !bytes.Equal(g.Payload, want) {
				t.Errorf("Read() gives group %d with other content, want group %d", g.Position, next)
			}
			next++
		}
	}
	file, offset, ok := r.Place(8, 100)
	if whole := read(t, disk, "wal/001.wal"); !ok || file != "wal/001.wal" || !bytes.HasPrefix(whole[offset:], content(8, 0, 3000)[100:]) {
		t.Errorf("Place(8, 100) = %s, %d, %t", file, offset, ok)
	}
	if _, _, ok := r.Place(21, 0); ok {
		t.Error("Place(21) is somewhere")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestReaderWithoutARing(t *testing.T) {
	r, err := OpenReader(ctx, memfs.New())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Found().Bounds, (lane.Bounds{First: 1, Next: 1}); got != want {
		t.Errorf("Found() = %v, want %v", got, want)
	}
	if groups, err := r.Read(ctx, 1, 1<<20); len(groups) != 0 || err != nil {
		t.Errorf("Read() = %v, %v", groups, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestReaderTellsOfAllDamage(t *testing.T) {
	disk := ring20(t, true)
	flip(t, disk, "wal/000.wal", 2*block+500)
	flip(t, disk, "wal/001.wal", 10)
	write(t, disk, "wal/003.wal", read(t, disk, "wal/003.wal")[:block])
	_, err := OpenReader(ctx, disk)
	if !errors.Is(err, ErrCorrupt) {
		t.Fatalf("OpenReader() = %v", err)
	}
	for _, file := range []string{"wal/000.wal", "wal/001.wal", "wal/003.wal"} {
		if !bytes.Contains([]byte(err.Error()), []byte(file)) {
			t.Errorf("OpenReader() = %v, want it to name %s", err, file)
		}
	}
}
