// Package lanetest is the kit every lane engine passes: one test for each sentence of the contract
// in package lane. It does not test what an engine survives; that is the engine's own to prove.
package lanetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/headrace/headrace/internal/lane"
)

// Test runs the kit. open returns a new empty lane that takes at least 256 KiB, in groups of at
// least 1 KiB; the kit closes it.
func Test(t *testing.T, open func(t *testing.T) lane.Lane) {
	run := func(name string, f func(t *testing.T, l lane.Lane)) {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			defer func() {
				if err := l.Close(); err != nil {
					t.Errorf("Close() = %v", err)
				}
			}()
			f(t, l)
		})
	}
	run("Empty", testEmpty)
	run("AppendRead", testAppendRead)
	run("ReadBytes", testReadBytes)
	run("Fencing", testFencing)
	run("RacingWriters", testRacingWriters)
	run("MaxGroup", testMaxGroup)
	run("Trim", testTrim)
	run("TrimEnd", testTrimEnd)
	run("Cancelled", testCancelled)
	run("Concurrent", testConcurrent)
	run("Closed", testClosed)
	run("Keeps", testKeeps)
}

// payload is recognisable by its position and fills n bytes.
func payload(p lane.Position, n int) []byte {
	b := bytes.Repeat([]byte{byte(p)}, n)
	copy(b, fmt.Sprintf("group %d ", p))
	return b
}

func appendAll(t *testing.T, l lane.Lane, from, to lane.Position, size int) {
	t.Helper()
	for p := from; p <= to; p++ {
		if err := l.Append(context.Background(), p, payload(p, size)); err != nil {
			t.Fatalf("Append(%d) = %v", p, err)
		}
	}
}

func wantBounds(t *testing.T, l lane.Lane, first, next lane.Position) {
	t.Helper()
	got, err := l.Bounds(context.Background())
	if want := (lane.Bounds{First: first, Next: next}); err != nil || got != want {
		t.Errorf("Bounds() = %+v, %v; want %+v", got, err, want)
	}
}

// wantGroups reads everything from the given position and expects the groups from..next-1.
func wantGroups(t *testing.T, l lane.Lane, from, next lane.Position, size int) {
	t.Helper()
	for at := from; at < next; {
		groups, err := l.Read(context.Background(), at, 4<<10)
		if err != nil || len(groups) == 0 {
			t.Fatalf("Read(%d) = %d groups, %v; want at least one", at, len(groups), err)
		}
		for _, g := range groups {
			if g.Position != at || !bytes.Equal(g.Payload, payload(at, size)) {
				t.Fatalf("read group %d with %d bytes; want group %d with %d", g.Position, len(g.Payload), at, size)
			}
			at++
		}
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v; want %v", what, got, want)
	}
}

func testEmpty(t *testing.T, l lane.Lane) {
	wantBounds(t, l, 1, 1)
	if groups, err := l.Read(context.Background(), 1, 1<<20); err != nil || len(groups) != 0 {
		t.Errorf("Read(1) = %d groups, %v; want none", len(groups), err)
	}
}

func testAppendRead(t *testing.T, l lane.Lane) {
	appendAll(t, l, 1, 20, 64)
	wantBounds(t, l, 1, 21)
	wantGroups(t, l, 1, 21, 64)
	wantGroups(t, l, 13, 21, 64)
	for _, from := range []lane.Position{21, 22, 1000} {
		if groups, err := l.Read(context.Background(), from, 1<<20); err != nil || len(groups) != 0 {
			t.Errorf("Read(%d) past the end = %d groups, %v; want none", from, len(groups), err)
		}
	}
}

func testReadBytes(t *testing.T, l lane.Lane) {
	appendAll(t, l, 1, 10, 100)
	f := func(maxBytes, want int) {
		t.Helper()
		groups, err := l.Read(context.Background(), 2, maxBytes)
		if err != nil || len(groups) < 1 || len(groups) > want {
			t.Errorf("Read(2, %d bytes) = %d groups, %v; want 1 to %d", maxBytes, len(groups), err, want)
		}
	}
	f(0, 1)
	f(99, 1)
	f(100, 1)
	f(250, 2)
	f(1000, 9)
}

func testFencing(t *testing.T, l lane.Lane) {
	ctx := context.Background()
	appendAll(t, l, 1, 3, 10) // the first writer knows 4 as next
	appendAll(t, l, 4, 4, 10) // another takes it
	wantErr(t, "Append(4) by the writer who lost", l.Append(ctx, 4, payload(4, 99)), lane.ErrFenced)
	wantErr(t, "Append(4) again", l.Append(ctx, 4, payload(4, 99)), lane.ErrFenced)
	wantErr(t, "Append(1)", l.Append(ctx, 1, payload(1, 99)), lane.ErrFenced)
	wantErr(t, "Append(9), a position nobody has reached", l.Append(ctx, 9, payload(9, 99)), lane.ErrFenced)
	wantBounds(t, l, 1, 5)
	wantGroups(t, l, 1, 5, 10)
	appendAll(t, l, 5, 5, 10) // the winner goes on
	wantGroups(t, l, 1, 6, 10)
}

// testRacingWriters lets two writers fight for every position: each position has one winner, and
// the lane holds what its winner wrote.
func testRacingWriters(t *testing.T, l lane.Lane) {
	ctx := context.Background()
	const rounds = 50
	for p := lane.Position(1); p <= rounds; p++ {
		var errs [2]error
		var wg sync.WaitGroup
		for w := range errs {
			wg.Go(func() { errs[w] = l.Append(ctx, p, []byte{byte(p), byte(w)}) })
		}
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || !errors.Is(errs[1-winner], lane.ErrFenced) {
			t.Fatalf("position %d: errors %v; want one nil and one ErrFenced", p, errs)
		}
		groups, err := l.Read(ctx, p, 1)
		if err != nil || len(groups) != 1 || !bytes.Equal(groups[0].Payload, []byte{byte(p), byte(winner)}) {
			t.Fatalf("Read(%d) = %v, %v; want what writer %d wrote", p, groups, err, winner)
		}
	}
	wantBounds(t, l, 1, rounds+1)
}

func testMaxGroup(t *testing.T, l lane.Lane) {
	ctx := context.Background()
	if l.MaxGroup() < 1<<10 {
		t.Fatalf("MaxGroup() = %d; want at least 1 KiB", l.MaxGroup())
	}
	if l.MaxGroup() > 64<<20 {
		t.Skipf("MaxGroup() = %d: too large to fill in a test", l.MaxGroup())
	}
	wantErr(t, "Append of MaxGroup+1 bytes", l.Append(ctx, 1, make([]byte, l.MaxGroup()+1)), lane.ErrTooLarge)
	wantBounds(t, l, 1, 1)
	if err := l.Append(ctx, 1, payload(1, l.MaxGroup())); err != nil {
		t.Errorf("Append of MaxGroup bytes = %v", err)
	}
	if err := l.Append(ctx, 2, payload(2, 0)); err != nil {
		t.Errorf("Append of an empty payload = %v", err)
	}
	wantBounds(t, l, 1, 3)
	groups, err := l.Read(ctx, 1, 2*l.MaxGroup())
	if err != nil || len(groups) != 2 || !bytes.Equal(groups[0].Payload, payload(1, l.MaxGroup())) || len(groups[1].Payload) != 0 {
		t.Errorf("Read(1) = %d groups, %v; want the full and the empty one", len(groups), err)
	}
}

func testTrim(t *testing.T, l lane.Lane) {
	ctx := context.Background()
	appendAll(t, l, 1, 10, 32)
	groups, err := l.Read(ctx, 1, 1)
	if err != nil || len(groups) == 0 {
		t.Fatalf("Read(1) = %d groups, %v", len(groups), err)
	}
	for _, first := range []lane.Position{5, 5, 2, 0} {
		if err := l.TrimTo(ctx, first); err != nil {
			t.Fatalf("TrimTo(%d) = %v", first, err)
		}
		wantBounds(t, l, 5, 11)
	}
	_, err = l.Read(ctx, 4, 1<<20)
	wantErr(t, "Read(4) after TrimTo(5)", err, lane.ErrTrimmed)
	_, err = l.Read(ctx, 0, 1<<20)
	wantErr(t, "Read(0)", err, lane.ErrTrimmed)
	wantGroups(t, l, 5, 11, 32)
	if !bytes.Equal(groups[0].Payload, payload(1, 32)) {
		t.Error("trimming changed a payload that was read before")
	}
}

func testTrimEnd(t *testing.T, l lane.Lane) {
	appendAll(t, l, 1, 5, 32)
	if err := l.TrimTo(context.Background(), 100); err != nil {
		t.Fatalf("TrimTo(100) = %v", err)
	}
	wantBounds(t, l, 6, 6) // positions go on where they were
	appendAll(t, l, 6, 8, 32)
	wantBounds(t, l, 6, 9)
	wantGroups(t, l, 6, 9, 32)
}

func testCancelled(t *testing.T, l lane.Lane) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wantErr(t, "Append with a cancelled context", l.Append(ctx, 1, payload(1, 10)), context.Canceled)
	wantBounds(t, l, 1, 1) // cancelled before the write began: the lane goes on
	appendAll(t, l, 1, 1, 10)
	_, err := l.Read(ctx, 1, 10)
	wantErr(t, "Read with a cancelled context", err, context.Canceled)
}

// testConcurrent reads, asks and trims while one goroutine appends: for the race detector, and
// what is read must be what was written.
func testConcurrent(t *testing.T, l lane.Lane) {
	ctx := context.Background()
	const n = 300
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for at := lane.Position(1); at <= n; {
				groups, err := l.Read(ctx, at, 256)
				if errors.Is(err, lane.ErrTrimmed) {
					b, err := l.Bounds(ctx)
					if err != nil || b.First <= at {
						t.Errorf("ErrTrimmed at %d but Bounds() = %+v, %v", at, b, err)
						return
					}
					at = b.First
					continue
				}
				if err != nil {
					t.Errorf("Read(%d) = %v", at, err)
					return
				}
				for _, g := range groups {
					if g.Position != at || !bytes.Equal(g.Payload, payload(at, 64)) {
						t.Errorf("read group %d as %d", at, g.Position)
						return
					}
					at++
				}
			}
		})
	}
	for p := lane.Position(1); p <= n; p++ {
		appendAll(t, l, p, p, 64)
		if p%50 == 0 {
			if err := l.TrimTo(ctx, p-40); err != nil {
				t.Errorf("TrimTo(%d) = %v", p-40, err)
			}
		}
	}
	wg.Wait()
}

func testClosed(t *testing.T, l lane.Lane) {
	ctx := context.Background()
	appendAll(t, l, 1, 2, 10)
	if err := l.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	wantErr(t, "Append", l.Append(ctx, 3, payload(3, 10)), lane.ErrClosed)
	_, err := l.Read(ctx, 1, 10)
	wantErr(t, "Read", err, lane.ErrClosed)
	_, err = l.Bounds(ctx)
	wantErr(t, "Bounds", err, lane.ErrClosed)
	wantErr(t, "TrimTo", l.TrimTo(ctx, 2), lane.ErrClosed)
}

// testKeeps overwrites what a lane says it has done with.
func testKeeps(t *testing.T, l lane.Lane) {
	if l.Keeps() {
		return
	}
	b := payload(1, 700)
	if err := l.Append(context.Background(), 1, b); err != nil {
		t.Fatalf("Append(1) = %v", err)
	}
	clear(b)
	wantGroups(t, l, 1, 2, 700)
}
