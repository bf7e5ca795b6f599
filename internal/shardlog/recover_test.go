package shardlog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/shardlog"
)

// groups returns everything a lane holds.
func groups(t testing.TB, l lane.Lane) []lane.Group {
	t.Helper()
	b, err := l.Bounds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	g, err := l.Read(ctx, b.First, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// laneOf returns a lane that holds the given payloads.
func laneOf(t testing.TB, payloads ...[]byte) lane.Lane {
	t.Helper()
	l := mem.New(mem.Config{})
	for i, p := range payloads {
		if err := l.Append(ctx, lane.Position(i+1), p); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// story writes a little of everything to a lane and returns its groups.
func story(t testing.TB) [][]byte {
	t.Helper()
	l := mem.New(mem.Config{MaxGroup: 4 << 10})
	s := open(t, shardlog.Config{Lane: l})
	openShards(t, s, 3, day)
	put(t, s, batch(0, 5, 50))
	p := batch(1, 2, 20)
	p.Producer = shardlog.Producer{ID: 3, Epoch: 1, Sequence: 9}
	p.Entries[0].HasExplicitHashKey = true
	put(t, s, p)
	put(t, s, batch(0, 1, 10_000)) // spans three groups
	for _, err := range []error{
		s.Hold(ctx, id(0), "reader", 2),
		s.TrimTo(ctx, id(1), 2),
		s.Drop(ctx, []shardlog.ShardID{id(2)}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Seal(ctx, id(1)); err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, g := range groups(t, l) {
		out = append(out, bytes.Clone(g.Payload))
	}
	return out
}

// TestRecoverPrefixes recovers from every prefix of a history: what a crash leaves is always a
// state that the history went through, and it goes on from there.
func TestRecoverPrefixes(t *testing.T) {
	all := story(t)
	if len(all) < 10 {
		t.Fatalf("the story has %d groups; the test needs more", len(all))
	}
	spans := 0
	for n := range len(all) + 1 {
		l := laneOf(t, all[:n]...)
		s := open(t, shardlog.Config{Lane: l})
		if n == 0 {
			continue
		}
		b, err := s.Bounds(ctx, id(0))
		if errors.Is(err, shardlog.ErrNotFound) {
			continue
		}
		if err != nil || b.Next != 1 && b.Next != 6 && b.Next != 7 {
			t.Errorf("after %d groups: Bounds = %+v, %v; want a whole number of batches", n, b, err)
		}
		if b.Next == 6 {
			spans++
		}
		// It goes on, over the rest of a span that was cut short, and recovers again.
		put(t, s, batch(0, 1, 10_000))
		put(t, s, batch(0, 2, 10))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wantNext(t, open(t, shardlog.Config{Lane: l}), 0, b.Next+3)
	}
	if spans < 3 {
		t.Errorf("%d prefixes end before or within the span; want at least 3", spans)
	}
}

// overtaken is a lane whose former owner trims it while a new one is already reading.
type overtaken struct {
	lane.Lane
	trims []lane.Position // one before each of the first reads
}

func (l *overtaken) Read(ctx context.Context, from lane.Position, maxBytes int) ([]lane.Group, error) {
	if len(l.trims) > 0 {
		if err := l.Lane.TrimTo(ctx, l.trims[0]); err != nil {
			return nil, err
		}
		l.trims = l.trims[1:]
	}
	return l.Lane.Read(ctx, from, 1) // one group at a time
}

// untrimmed is a lane that keeps what it may forget.
type untrimmed struct{ lane.Lane }

func (untrimmed) TrimTo(context.Context, lane.Position) error { return nil }

// TestRecoverWhileTrimmed recovers while the former owner, who does not know yet that it is fenced,
// trims what it has dropped: before the first read, and in the middle of the replay.
func TestRecoverWhileTrimmed(t *testing.T) {
	l := mem.New(mem.Config{})
	old := open(t, shardlog.Config{Lane: untrimmed{l}})
	openShards(t, old, 1, day)
	for range 5 {
		put(t, old, batch(0, 10, 100))
	}
	if err := old.Drop(ctx, []shardlog.ShardID{id(0)}); err != nil {
		t.Fatal(err)
	}
	all := groups(t, l)
	wanted := all[len(all)-1].Position + 1
	openShards(t, old, 2, day)
	put(t, old, batch(1, 3, 100))
	s := open(t, shardlog.Config{Lane: &overtaken{Lane: l, trims: []lane.Position{2, 2, 4, 4, wanted}}})
	wantNext(t, s, 0, 1)
	wantNext(t, s, 1, 4)
}

// TestRecoverIsStable recovers twice and expects the same pages and bounds.
func TestRecoverIsStable(t *testing.T) {
	l := laneOf(t, story(t)...)
	dump := func(s *shardlog.Store) string {
		var out strings.Builder
		for n := range 3 {
			p, err := s.Read(ctx, id(n), 1, shardlog.Limit{Records: 100, Bytes: 1 << 20})
			if err != nil {
				fmt.Fprintln(&out, n, err)
				continue
			}
			fmt.Fprintln(&out, n, p.Bounds, p.Next)
			for _, r := range p.Records {
				fmt.Fprintln(&out, r.Index, r.ArrivalTime, r.PartitionKey, r.HasExplicitHashKey, r.ExplicitHashKey, len(r.Data))
			}
			p.Release()
		}
		return out.String()
	}
	first := dump(open(t, shardlog.Config{Lane: l}))
	second := dump(open(t, shardlog.Config{Lane: l}))
	if first != second {
		t.Errorf("first recovery:\n%s\nsecond:\n%s", first, second)
	}
	if !strings.Contains(first, "key0") || !strings.Contains(first, "10000") {
		t.Errorf("recovered too little:\n%s", first)
	}
}

// TestCorruptGroups damages histories in ways a lane's checksums would not notice and expects an
// error that names the group.
func TestCorruptGroups(t *testing.T) {
	f := func(what, in string, damage func(all [][]byte) [][]byte) {
		t.Helper()
		l := laneOf(t, damage(story(t))...)
		_, err := shardlog.Open(ctx, shardlog.Config{Lane: l, Clock: systemClock})
		if !errors.Is(err, shardlog.ErrCorrupt) || !strings.Contains(err.Error(), in) {
			t.Errorf("%s: Open = %v; want ErrCorrupt with %q", what, err, in)
		}
	}
	at := func(n int, change func(g []byte)) func([][]byte) [][]byte {
		return func(all [][]byte) [][]byte { change(all[n]); return all }
	}
	f("version", "decode group 1 at offset 0", at(0, func(g []byte) { g[0] = 9 }))
	f("chunk kind", "decode group 2 at offset 8: unknown chunk kind", at(1, func(g []byte) { g[12] = 77 }))
	f("chunk flags", "unknown chunk flags", at(1, func(g []byte) { g[13] = 0x80 }))
	f("key id", "encrypted", at(1, func(g []byte) { g[28] = 1 }))
	f("chunk size", "chunk size", at(1, func(g []byte) { binary.LittleEndian.PutUint32(g[8:], 1<<31) }))
	f("chunk count", "bytes after the last chunk", at(0, func(g []byte) { g[4]-- }))
	f("record length", "malformed record", at(1, func(g []byte) { g[8+48] = 0xff }))
	f("record count", "decode group 2", at(1, func(g []byte) { g[8+40]++ }))
	f("first index", "do not follow", at(1, func(g []byte) { g[8+24]++ }))
	f("short", "short header", func(all [][]byte) [][]byte { return append(all, []byte{1, 0}) })
	f("lost group", "do not follow", func(all [][]byte) [][]byte { return append(all[:1:1], all[3:]...) })
	f("lost part", "part does not follow", func(all [][]byte) [][]byte { return append(all[:4:4], all[5:]...) })
	f("lost state", "not its state", func(all [][]byte) [][]byte { return all[1:2] })
}

// FuzzRecover replays arbitrary groups after a sound beginning: an error or a store that works,
// never a panic.
func FuzzRecover(f *testing.F) {
	all := story(f)
	for _, g := range all {
		f.Add(g, g)
	}
	for i := 1; i < len(all); i++ {
		f.Add(all[i-1], all[i])
	}
	f.Add([]byte{}, []byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	w, _ := beyond(f)
	s := open(f, w.config(nil))
	if err := s.Hold(ctx, id(0), "reader", 2); err != nil { // its state tells what was left out
		f.Fatal(err)
	}
	for _, g := range groups(f, w.lane) {
		f.Add(all[0], g.Payload)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		l := laneOf(t, all[0], a, b)
		s, err := shardlog.Open(ctx, shardlog.Config{Lane: l, Clock: systemClock})
		if err != nil {
			return
		}
		for n := range 3 {
			p, err := s.Read(ctx, id(n), 0, shardlog.Limit{Records: 1000, Bytes: 1 << 20})
			if errors.Is(err, shardlog.ErrNotFound) {
				continue
			}
			if err != nil {
				t.Fatalf("Read(%d) = %v from groups that were accepted", n, err)
			}
			p.Release()
			if res, err := s.Append(ctx, []shardlog.Batch{batch(n, 2, 10)}); err != nil {
				t.Fatalf("Append = %+v, %v", res, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, err = shardlog.Open(ctx, shardlog.Config{Lane: l, Clock: systemClock})
		if err != nil {
			t.Fatalf("what was accepted once is refused the second time: %v", err)
		}
		_ = s.Close()
	})
}
