package space

import (
	"errors"
	"slices"
	"testing"

	"github.com/headrace/headrace/internal/record"
)

// world is a guard with a disk of 1,000 MiB, of which 100 are the mark, on a clock of its own.
type world struct {
	*Guard
	t      *testing.T
	now    record.Millis
	disk   Disk
	err    error
	asked  int
	events []View
	quotas []bool
}

const mib = 1 << 20

func newWorld(t *testing.T, limits Limits) *world {
	w := &world{t: t, now: 1_800_000_000_000, disk: Disk{Free: 900 * mib, Total: 1000 * mib}}
	w.Guard = NewGuard(Config{
		Limits:  limits,
		Disk:    func() (Disk, error) { w.asked++; return w.disk, w.err },
		Changed: func(v View) { w.events = append(w.events, v) },
		Quota:   func(_ uint64, reached bool, _ Usage, _ int64) { w.quotas = append(w.quotas, reached) },
	})
	w.rest(0)
	return w
}

// rest lets a second pass and the guard look.
func (w *world) rest(unflushed int64) {
	w.now += pause
	w.Tend(w.now, unflushed, true)
}

func (w *world) admits(a *Account, n int64, want bool) {
	w.t.Helper()
	if got := w.Admits(a, n, 1); got != want {
		w.t.Errorf("Admits(stream %d, %d bytes) = %v; want %v (%+v)", a.stream, n, got, want, w.View())
	}
}

func (w *world) state(want State, stopped ...uint64) {
	w.t.Helper()
	if v := w.View(); v.State != want || !slices.Equal(v.Stopped, stopped) {
		w.t.Errorf("%v with %v stopped; want %v with %v (%+v)", v.State, v.Stopped, want, stopped, v)
	}
}

var marked = Limits{LowWater: Share{Percent: 10}}

// TestBiggestWriterFirst fills a disk with a big writer and a small one, to the end, and makes room
// again.
func TestBiggestWriterFirst(t *testing.T) {
	w := newWorld(t, marked)
	big, small := w.Join(7), w.Join(8)
	write := func() {
		big.Wrote(20 * mib)
		small.Wrote(1000)
		w.disk.Free -= 20 * mib
	}
	for w.disk.Free > 100*mib {
		w.state(Ample)
		w.admits(big, 1000, true)
		write()
		w.rest(0)
	}
	write()
	w.rest(0)
	w.state(Low, 7)
	for range 100 {
		w.admits(big, 1000, false)
		w.admits(small, 1000, true)
		small.Wrote(1000)
		w.disk.Free -= 1000
		w.rest(0)
	}
	w.state(Low, 7)
	w.disk.Free = 49 * mib
	w.rest(0)
	w.state(Full, 7)
	w.admits(big, 1000, false)
	w.admits(small, 1000, false)
	w.disk.Free = 80 * mib
	w.rest(0)
	w.state(Low, 7)
	w.admits(small, 1000, true)
	w.Leave(big) // deleted
	w.state(Low, 7)
	w.disk.Free = 900 * mib
	w.rest(0)
	w.state(Ample)
	again := w.Join(7)
	w.admits(again, 1000, true)
	var told []State
	for _, e := range w.events {
		told = append(told, e.State)
	}
	if want := []State{Low, Full, Low, Ample}; !slices.Equal(told, want) {
		t.Errorf("told of %v; want %v: once a change", told, want)
	}
	if v := w.View(); v.NoRoom != 102 || v.OverQuota != 0 {
		t.Errorf("%+v; want 102 records refused for want of room", v)
	}
}

// TestUnflushedCountsAsUsed shows that room is lost when bytes are acknowledged, not when a flush
// writes them, and without asking the disk.
func TestUnflushedCountsAsUsed(t *testing.T) {
	w := newWorld(t, marked)
	a := w.Join(1)
	asked := w.asked
	a.Wrote(801 * mib)
	w.Tend(w.now, 801*mib, true)
	w.state(Low, 1)
	w.Tend(w.now, 851*mib, true)
	w.state(Full, 1)
	if w.asked != asked {
		t.Errorf("the disk was asked %d times for that", w.asked-asked)
	}
}

// TestAsks says when the disk is asked: once a second, and after files have changed, but not while
// one is being written, unless that takes long.
func TestAsks(t *testing.T) {
	w := newWorld(t, marked)
	f := func(what string, after record.Millis, resting bool, want int) {
		t.Helper()
		before := w.asked
		w.now += after
		w.Tend(w.now, 0, resting)
		if got := w.asked - before; got != want {
			t.Errorf("%s: asked %d times; want %d", what, got, want)
		}
	}
	f("at once", 0, true, 0)
	f("soon", pause-1, true, 0)
	f("after a second", 1, true, 1)
	f("while a file is written", pause, false, 0)
	f("while a file is written for long", stale, false, 1)
	w.Moved()
	f("files have moved, and more are written", 0, false, 0)
	f("files have moved", 0, true, 1)
	w.err = errors.New("no answer")
	w.disk.Free = 0
	f("no answer", pause, true, 1)
	w.state(Ample)
	w.err = nil
	f("an answer", pause, true, 1)
	w.state(Full)
}

func TestQuota(t *testing.T) {
	w := newWorld(t, Limits{Stream: Share{Percent: 50}})
	a, b := w.Join(1), w.Join(2)
	a.Stored(300 * mib)
	a.Unflushed(200*mib - 1000)
	w.admits(a, 1000, true)
	w.admits(a, 1001, false)
	w.admits(a, 1001, false)
	w.admits(b, 1001, true)
	w.rest(0)
	if v := w.View(); v.AtQuota != 1 || v.OverQuota != 2 || v.NoRoom != 0 || v.Quota != 500*mib {
		t.Errorf("%+v; want one stream at its quota of 500 MiB and two records refused", v)
	}
	a.Stored(-20 * mib) // retention
	w.admits(a, 10*mib, true)
	w.rest(0)
	if v := w.View(); v.AtQuota != 1 {
		t.Errorf("%+v; want the stream still to count as full: it is just below", v)
	}
	a.Stored(-20 * mib)
	w.rest(0)
	if v := w.View(); v.AtQuota != 0 {
		t.Errorf("%+v; want no stream at its quota", v)
	}
	if want := []bool{true, false}; !slices.Equal(w.quotas, want) {
		t.Errorf("told of %v; want %v", w.quotas, want)
	}
	w.disk.Total = 2000 * mib // the disk was made larger
	w.rest(0)
	w.admits(a, 500*mib, true)
	w.admits(b, 1000*mib+1, false)
	w.Leave(b)
	w.rest(0)
	if v := w.View(); v.AtQuota != 0 || v.Quota != 1000*mib {
		t.Errorf("%+v; want nobody at the quota of 1000 MiB", v)
	}
	if u := w.Used(1); u.Total() != 460*mib-1000 || w.Used(2) != (Usage{}) {
		t.Errorf("used: %+v and %+v", u, w.Used(2))
	}
}

// TestWithoutDisk has quotas in bytes only.
func TestWithoutDisk(t *testing.T) {
	g := NewGuard(Config{Limits: Limits{Stream: Share{Bytes: 1000}, LowWater: Share{Bytes: 1 << 40}}})
	a := g.Join(1)
	g.Tend(1, 1<<50, true)
	if !g.Admits(a, 1000, 1) || g.Admits(a, 1001, 1) {
		t.Error("want a quota of 1000 bytes and nothing else")
	}
	g = NewGuard(Config{Limits: Limits{Stream: Share{Percent: 1}}})
	a = g.Join(1)
	g.Tend(1, 0, true)
	if !g.Admits(a, 1<<50, 1) {
		t.Error("a part of no disk is a quota")
	}
}

// TestExhausted stops everybody when a file could not be stored, whatever the disk says.
func TestExhausted(t *testing.T) {
	f := func(limits Limits) {
		t.Helper()
		w := newWorld(t, limits)
		a := w.Join(1)
		w.Exhausted(true)
		w.Tend(w.now, 0, false)
		w.state(Full)
		w.admits(a, 1, false)
		for range 10 {
			w.rest(0)
		}
		w.state(Full)
		w.Exhausted(false)
		w.Tend(w.now, 0, true)
		w.state(Ample)
		w.admits(a, 1, true)
		if len(w.events) != 2 {
			t.Errorf("told %d times; want twice", len(w.events))
		}
	}
	f(marked)
	f(Limits{})
}

func TestSpare(t *testing.T) {
	w := newWorld(t, marked)
	w.disk.Free = 20 * mib
	w.rest(10 * mib)
	if whole, freeing := w.Spare(false), w.Spare(true); whole != -90*mib || freeing != 5*mib {
		t.Errorf("Spare = %d and %d; want -90 and 5 MiB", whole>>20, freeing>>20)
	}
	w.disk.Free = 60 * mib
	w.rest(10 * mib)
	if whole, freeing := w.Spare(false), w.Spare(true); whole != -50*mib || freeing != 25*mib {
		t.Errorf("Spare = %d and %d; want -50 and 25 MiB", whole>>20, freeing>>20)
	}
	if w := newWorld(t, Limits{}); w.Spare(false) < 1<<50 {
		t.Error("Spare is bounded without a mark")
	}
}

// TestHotPathAllocatesNothing is what every batch and every group cost.
func TestHotPathAllocatesNothing(t *testing.T) {
	w := newWorld(t, Limits{Stream: Share{Percent: 50}, LowWater: Share{Percent: 10}})
	a := w.Join(1)
	asked := w.asked
	if n := testing.AllocsPerRun(1000, func() {
		w.Admits(a, 1000, 1)
		a.Wrote(1000)
		a.Unflushed(1000)
		w.Tend(w.now, 1000, true)
	}); n != 0 {
		t.Errorf("%v allocations; want none", n)
	}
	if w.asked != asked {
		t.Errorf("the disk was asked %d times", w.asked-asked)
	}
}

func BenchmarkTend(b *testing.B) {
	g := NewGuard(Config{Limits: marked, Disk: func() (Disk, error) { return Disk{Free: 80 * mib, Total: 1000 * mib}, nil }})
	for i := range 10_000 {
		g.Join(uint64(i)).Wrote(int64(i))
	}
	now := record.Millis(1)
	for b.Loop() {
		now += pause
		g.Tend(now, 0, true)
	}
}
