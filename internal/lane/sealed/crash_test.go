package sealed

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

var errCut = errors.New("power cut")

// TestPowerCuts cuts the power while a lane is used, some lives long: what was acknowledged is there,
// at most the group under way besides, whether one is torn is told without a key, and no two groups
// of all lives share a key and a nonce.
func TestPowerCuts(t *testing.T) {
	key, total, torn := testKey(t, 1), 0, 0
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 1))
		clone, sealed := memfs.New(), map[string][]byte{}
		var kept [][]byte // group i+1
		for life := range 4 {
			var after *memfs.FS
			left := 1 + rng.IntN(60)
			now := clone
			fs := errfs.New(now, func(errfs.Call) error {
				if left--; left == 0 {
					after = now.CrashClone(rng)
				}
				if left <= 0 {
					return errCut
				}
				return nil
			})
			before := len(kept)
			doubt := use(t, fs, rng, sealed, &kept, fmt.Sprint("seed ", seed, " life ", life))
			if after == nil {
				after = now.CrashClone(rng)
			}
			clone = after
			if judge(t, clone, &kept, doubt, fmt.Sprint("seed ", seed, " life ", life)) {
				torn++
			}
			total += len(kept) - before
		}
		l := mustOpen(t, openDisk(t, clone), key)
		if b, err := l.Bounds(t.Context()); err != nil || b.Next != lane.Position(len(kept)+1) {
			t.Fatalf("seed %d: Bounds = %+v, %v; want %d groups", seed, b, err, len(kept))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if total < 500 || torn < 5 {
		t.Errorf("%d groups were kept and %d times one was torn: too few to prove anything", total, torn)
	}
}

// use appends until something fails. It returns the group that was under way.
func use(t *testing.T, fs vfs.FS, rng *rand.Rand, sealed map[string][]byte, kept *[][]byte, what string) []byte {
	inner, err := disk.Open(t.Context(), fs, disk.Config{Segments: 3, SegmentBytes: 64 << 10})
	if err != nil {
		return nil // the power was cut before
	}
	defer inner.Close()
	l, err := Open(t.Context(), &watched{Lane: inner, t: t, sealed: sealed}, testKey(t, 1), "wal")
	if err != nil {
		return nil
	}
	for range 8 {
		p := lane.Position(len(*kept) + 1)
		payload := bytes.Repeat([]byte(fmt.Sprint(what, " ", p, " ")), rng.IntN(300))
		if err := l.Append(t.Context(), p, payload); err != nil {
			return payload
		}
		*kept = append(*kept, payload)
	}
	return nil
}

// judge reads what a power cut left, without the key and with it. It reports whether that ended in part
// of a group.
func judge(t *testing.T, fs vfs.FS, kept *[][]byte, doubt []byte, what string) (torn bool) {
	t.Helper()
	found, err := disk.Check(t.Context(), fs)
	if err != nil {
		t.Fatalf("%s: without the key: %v", what, err)
	}
	inner, err := disk.Open(t.Context(), fs, disk.Config{Segments: 3, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer inner.Close()
	l, err := Open(t.Context(), inner, testKey(t, 1), "wal")
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	b, err := l.Bounds(t.Context())
	if err != nil || found.Segments > 0 && b != found.Bounds {
		t.Fatalf("%s: Bounds = %+v, %v; without the key they were %+v", what, b, err, found.Bounds)
	}
	if n := lane.Position(len(*kept) + 1); b.Next == n+1 && doubt != nil {
		*kept = append(*kept, doubt)
	} else if b.Next != n {
		t.Fatalf("%s: %d groups are left of %d", what, b.Next-1, len(*kept))
	}
	for p := b.First; p < b.Next; {
		groups, err := l.Read(t.Context(), p, 16<<10)
		if err != nil || len(groups) == 0 {
			t.Fatalf("%s: Read(%d) = %v", what, p, err)
		}
		for _, g := range groups {
			if g.Position != p || !bytes.Equal(g.Payload, (*kept)[p-1]) {
				t.Fatalf("%s: group %d is %.40q, want %.40q", what, p, g.Payload, (*kept)[p-1])
			}
			p++
		}
	}
	return found.Torn
}
