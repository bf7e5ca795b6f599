package sealed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/lane/lanetest"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/vfs"
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

func mustOpen(t testing.TB, inner lane.Lane, key secret.Key) *Lane {
	t.Helper()
	l, err := Open(context.Background(), inner, key, "wal")
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	return l
}

func openDisk(t testing.TB, fs vfs.FS) *disk.Lane {
	t.Helper()
	l, err := disk.Open(context.Background(), fs, disk.Config{Segments: 3, SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatalf("open disk lane: %v", err)
	}
	return l
}

func TestConformance(t *testing.T) {
	t.Run("Mem", func(t *testing.T) {
		lanetest.Test(t, func(t *testing.T) lane.Lane { return mustOpen(t, mem.New(mem.Config{}), testKey(t, 1)) })
	})
	t.Run("Disk", func(t *testing.T) {
		lanetest.Test(t, func(t *testing.T) lane.Lane { return mustOpen(t, openDisk(t, memfs.New()), testKey(t, 1)) })
	})
}

// watched notes every key and nonce that a payload was sealed with, as a lane below sees them: the
// generation in the group, and the position.
type watched struct {
	lane.Lane
	t      testing.TB
	sealed map[string][]byte
	// fail, if set, is what Append answers, after it has seen the group.
	fail error
}

func (w *watched) Append(ctx context.Context, next lane.Position, b []byte) error {
	use := fmt.Sprintf("%x %d", b[:HeaderSize], next)
	if before, ok := w.sealed[use]; ok {
		w.t.Errorf("two groups under generation and position %s: %x, %x", use, before, b)
	}
	w.sealed[use] = bytes.Clone(b)
	if w.fail != nil {
		return w.fail
	}
	return w.Lane.Append(ctx, next, b)
}

// TestNoNonceTwice appends at positions again and again: after refusals, after failures, after
// restarts, and in two copies of one lane that both go on.
func TestNoNonceTwice(t *testing.T) {
	ctx, key := t.Context(), testKey(t, 1)
	sealed := map[string][]byte{}
	var inners []*mem.Lane
	for range 2 {
		inners = append(inners, mem.New(mem.Config{}))
	}
	payload := byte(0)
	f := func(w *watched, l *Lane, p lane.Position, fail, want error) {
		t.Helper()
		payload++
		w.fail = fail
		if err := l.Append(ctx, p, []byte{payload}); !errors.Is(err, want) {
			t.Errorf("Append(%d) = %v, want %v", p, err, want)
		}
	}
	next := lane.Position(1)
	for life := range 4 {
		for _, inner := range inners { // which hold different groups at the same positions
			w := &watched{Lane: inner, t: t, sealed: sealed}
			l := mustOpen(t, w, key)
			f(w, l, next, lane.ErrFull, lane.ErrFull)
			f(w, l, next, lane.ErrFull, lane.ErrFull)
			f(w, l, next, context.Canceled, context.Canceled)
			f(w, l, next+7, nil, lane.ErrFenced)
			f(w, l, next, nil, nil)
			f(w, l, next, nil, lane.ErrFenced)
			f(w, l, next+1, nil, nil)
			f(w, l, 1, nil, lane.ErrFenced)
			f(w, l, next+2, nil, nil)
		}
		next += 3
		if want := (life + 1) * 2 * 9; len(sealed) != want {
			t.Errorf("life %d: %d keys and nonces, want %d", life, len(sealed), want)
		}
	}
}

// TestGenerations counts them: one a life while nothing goes wrong, and another when one is used up.
func TestGenerations(t *testing.T) {
	w := &watched{Lane: mem.New(mem.Config{}), t: t, sealed: map[string][]byte{}}
	l := mustOpen(t, w, testKey(t, 1))
	l.limit = 5
	for p := lane.Position(1); p <= 12; p++ {
		if err := l.Append(t.Context(), p, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	for _, b := range w.sealed {
		seen[string(b[:HeaderSize])]++
	}
	if len(seen) != 3 {
		t.Errorf("12 groups in %d generations of at most 5, want 3", len(seen))
	}
	groups, err := l.Read(t.Context(), 1, 1<<20)
	if err != nil || len(groups) != 12 {
		t.Errorf("Read = %d groups, %v; want 12", len(groups), err)
	}
}

// TestManyLives reads what more lives wrote than ciphers are kept.
func TestManyLives(t *testing.T) {
	inner, key := mem.New(mem.Config{}), testKey(t, 1)
	const lives = 3 * openers
	for p := lane.Position(1); p <= lives; p++ {
		if err := mustOpen(t, inner, key).Append(t.Context(), p, []byte(fmt.Sprint("life ", p))); err != nil {
			t.Fatal(err)
		}
	}
	l := mustOpen(t, inner, key)
	for range 2 {
		groups, err := l.Read(t.Context(), 1, 1<<20)
		if err != nil || len(groups) != lives {
			t.Fatalf("Read = %d groups, %v; want %d", len(groups), err, lives)
		}
		for _, g := range groups {
			if string(g.Payload) != fmt.Sprint("life ", g.Position) {
				t.Errorf("group %d is %q", g.Position, g.Payload)
			}
		}
	}
}

// TestDamage changes what lies below: nothing of it is given out.
func TestDamage(t *testing.T) {
	ctx, key := t.Context(), testKey(t, 1)
	payload := []byte("what must not be seen by others")
	w := &watched{Lane: mem.New(mem.Config{}), t: t, sealed: map[string][]byte{}}
	if err := mustOpen(t, w, key).Append(ctx, 1, payload); err != nil {
		t.Fatal(err)
	}
	var stored []byte
	for _, b := range w.sealed {
		stored = b
	}
	if len(stored) != len(payload)+Overhead || bytes.Contains(stored, payload[:8]) {
		t.Fatalf("%d bytes became %q", len(payload), stored)
	}
	f := func(what string, at lane.Position, stored []byte, key secret.Key, name string, want error) {
		t.Helper()
		inner := mem.New(mem.Config{First: at})
		if err := inner.Append(ctx, at, stored); err != nil {
			t.Fatal(err)
		}
		_, err := Open(ctx, inner, key, name)
		if want != nil && !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: Open() = %v, want %v", what, err, want)
		}
		groups, err := NewReader(inner, key, name).Read(ctx, at, 1<<10)
		if want != nil && (!errors.Is(err, want) || groups != nil) || (err == nil) != (want == nil) {
			t.Errorf("%s: Read() = %v, %v; want %v", what, groups, err, want)
		}
	}
	f("as it was", 1, stored, key, "wal", nil)
	f("at another place", 2, stored, key, "wal", lane.ErrCorrupt)
	f("of another lane", 1, stored, key, "other", lane.ErrCorrupt)
	f("another key", 1, stored, testKey(t, 2), "wal", secret.ErrOtherKey)
	f("not sealed", 1, []byte{1, 0, 0, 0, 1, 0, 0, 0}, key, "wal", lane.ErrCorrupt)
	f("empty", 1, nil, key, "wal", lane.ErrCorrupt)
	f("longer", 1, append(bytes.Clone(stored), 0), key, "wal", lane.ErrCorrupt)
	for i := range stored {
		f(fmt.Sprint("cut at ", i), 1, stored[:i], key, "wal", lane.ErrCorrupt)
		changed := bytes.Clone(stored)
		changed[i] ^= 0x20
		want := lane.ErrCorrupt
		switch {
		case i == len(magic)-1:
			continue // another version, see below
		case i >= len(magic) && i < len(magic)+keyIDSize:
			want = secret.ErrOtherKey
		}
		f(fmt.Sprint("changed at ", i), 1, changed, key, "wal", want)
	}
	newer := bytes.Clone(stored)
	newer[len(magic)-1]++
	inner := mem.New(mem.Config{})
	if err := inner.Append(ctx, 1, newer); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, inner, key, "wal"); err == nil || errors.Is(err, lane.ErrCorrupt) {
		t.Errorf("another version: Open() = %v, want an error that is not damage", err)
	}
}

// TestAppendAllocations holds Append to no memory for a group where the lane below keeps none.
func TestAppendAllocations(t *testing.T) {
	l := mustOpen(t, &sink{max: 1 << 20}, testKey(t, 1))
	payload, p := make([]byte, 100<<10), lane.Position(0)
	got := testing.AllocsPerRun(100, func() {
		p++
		if err := l.Append(context.Background(), p, payload); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations a group, want none", got)
	}
}

// TestStored compares what Stored says with what inner is given.
func TestStored(t *testing.T) {
	s := &sink{max: 1000}
	l := mustOpen(t, s, testKey(t, 1))
	f := func(n int) {
		t.Helper()
		s.bytes = 0
		p := lane.Position(1)
		for left, done := n, false; !done; p++ {
			size := min(left, l.MaxGroup())
			if err := l.Append(t.Context(), p, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			left -= size
			done = left == 0
		}
		if got := l.Stored(n); got != s.bytes {
			t.Errorf("Stored(%d) = %d, but it was %d", n, got, s.bytes)
		}
	}
	for _, n := range []int{0, 1, l.MaxGroup() - 1, l.MaxGroup(), l.MaxGroup() + 1, 5 * l.MaxGroup(), 5*l.MaxGroup() + 1} {
		f(n)
	}
}

// sink takes groups and forgets them.
type sink struct {
	lane.Lane
	max, bytes int
}

func (s *sink) MaxGroup() int { return s.max }
func (s *sink) Keeps() bool   { return false }
func (s *sink) Bounds(context.Context) (lane.Bounds, error) {
	return lane.Bounds{First: 1, Next: 1}, nil
}
func (s *sink) Append(_ context.Context, _ lane.Position, b []byte) error {
	s.bytes += len(b)
	return nil
}

// BenchmarkAppend seals groups of 1 MiB for a lane that costs nothing.
func BenchmarkAppend(b *testing.B) {
	l := mustOpen(b, &sink{max: 2 << 20}, testKey(b, 1))
	payload := make([]byte, 1<<20)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for p := lane.Position(1); b.Loop(); p++ {
		if err := l.Append(context.Background(), p, payload); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead opens groups of 1 MiB.
func BenchmarkRead(b *testing.B) {
	l := mustOpen(b, mem.New(mem.Config{}), testKey(b, 1))
	payload := make([]byte, 1<<20)
	if err := l.Append(context.Background(), 1, payload); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Read(context.Background(), 1, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzOpen opens what somebody else stored: never more than was sealed, and no panic.
func FuzzOpen(f *testing.F) {
	key := testKey(f, 1)
	w := &watched{Lane: mem.New(mem.Config{}), t: f, sealed: map[string][]byte{}}
	if err := mustOpen(f, w, key).Append(context.Background(), 1, []byte("payload")); err != nil {
		f.Fatal(err)
	}
	for _, b := range w.sealed {
		f.Add(b, uint64(1))
		f.Add(b[:Overhead], uint64(1))
	}
	f.Add([]byte(magic), uint64(1))
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0}, uint64(3))
	f.Fuzz(func(t *testing.T, stored []byte, at uint64) {
		at = max(at, 1)
		inner := mem.New(mem.Config{First: lane.Position(at)})
		if err := inner.Append(t.Context(), lane.Position(at), stored); err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(stored)
		groups, err := NewReader(inner, key, "wal").Read(t.Context(), lane.Position(at), 1<<20)
		if !bytes.Equal(before, stored) {
			t.Fatal("reading changed what is stored")
		}
		if err == nil && (len(groups) != 1 || len(groups[0].Payload)+Overhead != len(stored)) {
			t.Fatalf("%d bytes opened to %v", len(stored), groups)
		}
	})
}
