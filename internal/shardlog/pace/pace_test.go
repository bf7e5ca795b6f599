package pace

import (
	"math/rand/v2"
	"testing"
	"time"
)

const mib = 1 << 20

func TestNext(t *testing.T) {
	plan := Plan{Bytes: 100 * mib, Memory: 200 * mib, Lane: 400 * mib, Age: time.Minute} // 400 pieces
	const now, free = time.Duration(0), time.Duration(-1)
	// f asks after so many pieces have been written; a group has just come.
	f := func(what string, plan Plan, pieces int, s Seen, want time.Duration) {
		t.Helper()
		p := New(plan)
		p.written, s.Groups = int64(pieces)*Piece, 9
		got := p.Next(s)
		if p.Free() && got == now {
			got = free
		}
		if got != want || p.Free() != (want == free) {
			t.Errorf("%s: Next() = %v, Free() = %t, want %v", what, got, p.Free(), want)
		}
	}
	f("nothing was written", plan, 0, Seen{}, now)
	f("nothing has come", plan, 1, Seen{}, look)
	f("an eighth of what makes it due, a sixth of the pieces", plan, 66, Seen{Memory: 25 * mib}, look)
	f("the same, a piece before", plan, 65, Seen{Memory: 25 * mib}, now)
	f("a thirty-second less", plan, 55, Seen{Memory: 25 * mib}, now)
	f("it lags by more than that", plan, 53, Seen{Memory: 25 * mib}, free)
	f("the log fills faster", plan, 66, Seen{Memory: 25 * mib, Lane: 51 * mib}, now)
	f("time fills faster", plan, 66, Seen{Memory: 25 * mib, Age: 8 * time.Second}, now)
	f("three quarters have come", plan, 398, Seen{Memory: 150 * mib}, free)
	f("and it is the last piece", plan, 399, Seen{Memory: 150 * mib}, free)
	f("more than a plan says", plan, 410, Seen{Memory: 150 * mib}, free)
	f("somebody waits", plan, 399, Seen{Hurry: true}, free)
	f("the clock was put back", plan, 66, Seen{Memory: 25 * mib, Age: -time.Hour}, look)
	change := func(f func(*Plan)) Plan { p := plan; f(&p); return p }
	f("a log without an end", change(func(p *Plan) { p.Lane = 0 }), 66, Seen{Memory: 25 * mib, Lane: 1 << 40}, look)
	f("memory that is full already", change(func(p *Plan) { p.Memory = -1 }), 300, Seen{}, free)
	f("a log that is full already", change(func(p *Plan) { p.Lane = -1 }), 300, Seen{}, free)
	f("no time at all", change(func(p *Plan) { p.Age = 0 }), 300, Seen{Age: 1}, free)
	small := change(func(p *Plan) { p.Bytes = 8 * Piece })
	f("few pieces, of which nearly four are due", small, 1, Seen{Memory: 90 * mib}, now)
	f("five are", small, 0, Seen{Memory: 94 * mib}, free)
}

func TestQuietLogLiftsThePace(t *testing.T) {
	p := New(Plan{Bytes: 100 * mib, Memory: 200 * mib, Age: time.Minute})
	s := Seen{Groups: 3}
	wait := func() (waited time.Duration) {
		for d := p.Next(s); d > 0; d = p.Next(s) {
			if waited += d; waited > time.Minute {
				t.Fatal("a flush that nobody is beside waits for ever")
			}
		}
		return waited
	}
	if got := wait(); got != 0 {
		t.Errorf("the first piece waited %v", got)
	}
	if got := wait(); got != rest {
		t.Errorf("the second piece waited %v with nobody writing, want %v", got, rest)
	}
	if got := wait(); got != 0 {
		t.Errorf("the third piece waited %v, want none: still nobody writes", got)
	}
	s.Groups++
	if got := wait(); got != rest {
		t.Errorf("after a group the next piece waited %v, want %v", got, rest)
	}
}

// flushing is a flush beside steady writers, on a disk that writes rate bytes a second of it.
type flushing struct {
	plan         Plan
	memory, lane float64 // bytes that come a second
	groups, disk float64 // groups a second, bytes a second
	largest      int64   // the most that was written in a fiftieth of the time to the next flush
	ends         time.Duration
}

// due is when the next flush is.
func (f *flushing) due() time.Duration {
	d := min(f.plan.Age, time.Duration(float64(f.plan.Memory)/f.memory*1e9))
	if f.plan.Lane > 0 {
		d = min(d, time.Duration(float64(f.plan.Lane)/f.lane*1e9))
	}
	return d
}

// run steps a clock through the flush.
func (f *flushing) run() {
	p, window, slot, now := New(f.plan), int64(0), time.Duration(-1), time.Duration(0)
	for left := f.plan.Bytes; left > 0; {
		d := p.Next(Seen{Memory: int64(f.memory * now.Seconds()), Lane: int64(f.lane * now.Seconds()),
			Groups: int64(f.groups * now.Seconds()), Age: now})
		if d > 0 {
			now += d
			continue
		}
		n := min(left, Piece)
		if s := now / (f.due() / 50); s != slot {
			slot, window = s, 0
		}
		window += n
		f.largest = max(f.largest, window)
		left -= n
		now += time.Duration(float64(n) / f.disk * 1e9)
	}
	f.ends = now
}

// TestFlushEndsInTime runs flushes beside writers of all rates. One that its disk lets end in time does,
// and is spread evenly; one that it does not is as fast as if nothing paced it.
func TestFlushEndsInTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	between := func(lo, hi float64) float64 { return lo + rng.Float64()*(hi-lo) }
	spread := 0
	for range 2000 {
		f := &flushing{disk: between(20, 500) * mib, memory: between(0.1, 300) * mib, groups: between(30, 2000)}
		f.lane = f.memory * between(1, 3)
		f.plan = Plan{Memory: int64(between(8, 512) * mib), Age: time.Duration(between(1, 60) * 1e9)}
		f.plan.Bytes = int64(between(0.2, 1) * float64(f.plan.Memory))
		if rng.IntN(2) == 0 {
			f.plan.Lane = int64(between(8, 1024) * mib)
		}
		f.run()
		alone := time.Duration(float64(f.plan.Bytes) / f.disk * 1e9)
		piece := time.Duration(float64(f.due()) * Piece / float64(f.plan.Bytes))
		aim := time.Duration(target * float64(f.due()))
		if latest := max(aim, alone) + 2*piece + 2*look + time.Duration(2*Piece/f.disk*1e9); f.ends > latest {
			t.Fatalf("%+v: ends after %v, want %v at most: the next is due after %v, and alone it takes %v", f, f.ends, latest, f.due(), alone)
		}
		if alone > aim/2 {
			continue // behind all the time, or nearly
		}
		spread++
		if f.ends < aim-2*piece-look {
			t.Fatalf("%+v: ends after %v, long before %v", f, f.ends, aim)
		}
		if even := 2*f.plan.Bytes/50 + 3*Piece; f.largest > even {
			t.Fatalf("%+v: %d bytes are written in a fiftieth of the time, want %d at most", f, f.largest, even)
		}
	}
	if spread < 200 {
		t.Fatalf("only %d of the flushes could be spread", spread)
	}
}
