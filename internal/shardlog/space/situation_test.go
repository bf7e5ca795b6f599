package space

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
)

const gib = 1 << 30

func TestShare(t *testing.T) {
	f := func(s Share, total, want int64) {
		t.Helper()
		if got := s.Of(total); got != want {
			t.Errorf("%+v of %d = %d; want %d", s, total, got, want)
		}
	}
	f(Share{}, 100, 0)
	f(Share{Bytes: 7}, 100, 7)
	f(Share{Bytes: 7}, 0, 7)
	f(Share{Percent: 80}, 1000, 800)
	f(Share{Percent: 80}, 0, 0)
	f(Share{Percent: 5, Most: 2 * gib}, 100*gib, 2*gib)
	f(Share{Percent: 5, Most: 2 * gib}, 20*gib, gib)
}

// TestNext walks the boundaries of the states. The mark is 80, so that its half is 40 and a step 10.
func TestNext(t *testing.T) {
	f := func(was State, left int64, want State) {
		t.Helper()
		if got := (Situation{State: was}).Next(Room{Left: left, Mark: 80}, nil); got.State != want {
			t.Errorf("%v with %d left of a mark of 80: %v; want %v", was, left, got.State, want)
		}
	}
	f(Ample, 80, Ample)
	f(Ample, 79, Low)
	f(Ample, 40, Low)
	f(Ample, 39, Full)
	f(Ample, -5, Full)
	f(Low, 80, Low)
	f(Low, 89, Low)
	f(Low, 90, Ample)
	f(Low, 40, Low)
	f(Low, 39, Full)
	f(Full, 39, Full)
	f(Full, 49, Full)
	f(Full, 50, Low)
	f(Full, 89, Low)
	f(Full, 90, Ample)

	g := func(was State, r Room, want State) {
		t.Helper()
		if got := (Situation{State: was}).Next(r, nil); got.State != want {
			t.Errorf("%v with %+v: %v; want %v", was, r, got.State, want)
		}
	}
	g(Ample, Room{Left: 1000, Mark: 80, Exhausted: true}, Full)
	g(Ample, Room{Left: 1000, Exhausted: true}, Full)
	g(Full, Room{Left: 1000}, Ample)
	g(Ample, Room{Left: -1}, Ample)
}

// TestStops says who is stopped: 2 GiB of mark, and 600 MiB above its half, for ten minutes, are
// 1 MiB a second.
func TestStops(t *testing.T) {
	room := Room{Left: gib + 600<<20, Mark: 2 * gib}
	const mib = 1 << 20
	f := func(already []uint64, writers []Writer, want ...uint64) {
		t.Helper()
		got := Situation{State: Low, Stopped: already}.Next(room, writers)
		if got.State != Low || !slices.Equal(got.Stopped, want) {
			t.Errorf("%+v with %v stopped before: %+v; want %v stopped", writers, already, got, want)
		}
	}
	f(nil, nil)
	f(nil, []Writer{{1, 100}})
	f(nil, []Writer{{1, mib}})
	f(nil, []Writer{{1, mib + 1}}, 1)
	f(nil, []Writer{{1, 50 * mib}, {2, 1000}}, 1)
	f(nil, []Writer{{1, 1000}, {2, 40 * mib}, {3, 2000}, {4, 50 * mib}}, 2, 4)
	f(nil, []Writer{{1, 0.4 * mib}, {2, 0.5 * mib}, {3, 0.6 * mib}}, 3)
	f([]uint64{3}, []Writer{{1, 0.4 * mib}, {2, 0.5 * mib}, {3, 9 * mib}}, 3)
	f([]uint64{3}, []Writer{{1, 0.6 * mib}, {2, 0.5 * mib}}, 1, 3)
	f([]uint64{3}, nil, 3)
	f(nil, []Writer{{2, 2 * mib}, {1, 2 * mib}}, 1, 2)
}

// scene makes random rooms and writers.
func scene(rng *rand.Rand) (Room, []Writer) {
	mark := int64(1000 + rng.IntN(1_000_000))
	r := Room{Mark: mark, Left: rng.Int64N(2*mark) - mark/4, Exhausted: rng.IntN(20) == 0}
	var writers []Writer
	for i := range rng.IntN(8) {
		writers = append(writers, Writer{uint64(i + 1), math.Exp(rng.Float64()*12 - 4)})
	}
	rng.Shuffle(len(writers), func(i, j int) { writers[i], writers[j] = writers[j], writers[i] })
	return r, writers
}

// goOn returns the writers that a situation lets through.
func goOn(s Situation, writers []Writer) (through []Writer, sum float64) {
	for _, w := range writers {
		if s.State != Full && !s.Stops(w.Stream) {
			through = append(through, w)
			sum += w.Rate
		}
	}
	return through, sum
}

// TestProperties holds random walks against what a situation promises.
func TestProperties(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var s Situation
		for range 60 {
			r, writers := scene(rng)
			kept := slices.Clone(s.Stopped)
			next := s.Next(r, writers)
			through, sum := goOn(next, writers)
			wrong := func(what string) {
				t.Helper()
				t.Fatalf("seed %d: %+v with %+v and %+v becomes %+v: %s", seed, s, r, writers, next, what)
			}
			switch {
			case !slices.Equal(s.Stopped, kept):
				wrong("the situation before was changed")
			case !slices.IsSorted(next.Stopped):
				wrong("out of order")
			case r.Exhausted && len(through) > 0:
				wrong("somebody writes to a disk that refused")
			case r.Left < r.Mark/2 && len(through) > 0:
				wrong("somebody writes below half the mark")
			case r.Left >= r.Mark+r.Mark/8 && !r.Exhausted && len(through) != len(writers):
				wrong("somebody is stopped although there is room")
			case next.State == Low && r.Left < r.Mark && sum*horizon.Seconds() > float64(r.Left-r.Mark/2)*(1+1e-9):
				wrong("those who go on use the room up too soon")
			}
			if next.State != Ample {
				for _, id := range s.Stopped {
					if !next.Stops(id) {
						wrong("a stop was taken back before there was room")
					}
				}
			}
			before, _ := goOn(Situation{Stopped: s.Stopped}, writers)
			for _, a := range before {
				for _, b := range through {
					if next.Stops(a.Stream) && a.Rate < b.Rate {
						wrong("a smaller writer was stopped before a bigger one")
					}
				}
			}
			smallest := math.Inf(1) // of those stopped just now
			for _, w := range before {
				if next.Stops(w.Stream) {
					smallest = min(smallest, w.Rate)
				}
			}
			if next.State == Low && (sum+smallest)*horizon.Seconds() <= float64(r.Left-r.Mark/2)*(1-1e-9) {
				wrong("more were stopped than it takes")
			}
			s = next
		}
	}
}

// TestLessRoomStopsMore compares two rooms that differ in size only.
func TestLessRoomStopsMore(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 2))
		r, writers := scene(rng)
		less := r
		less.Left -= rng.Int64N(r.Mark)
		s := Situation{State: State(rng.IntN(3))}
		more, fewer := s.Next(r, writers), s.Next(less, writers)
		for _, w := range writers {
			if (more.State == Full || more.Stops(w.Stream)) && fewer.State != Full && !fewer.Stops(w.Stream) {
				t.Fatalf("seed %d: %+v stops %d with %+v and not with %+v", seed, writers, w.Stream, r, less)
			}
		}
	}
}

// TestEdgesAreQuiet moves the room about by less than a step: the state changes once at most.
func TestEdgesAreQuiet(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 3))
		mark := int64(8000)
		at := rng.Int64N(2 * mark)
		s, changes := Situation{}.Next(Room{Left: at, Mark: mark}, nil), 0
		for range 50 {
			next := s.Next(Room{Left: at + rng.Int64N(mark/8), Mark: mark}, nil)
			if next.State != s.State {
				changes++
			}
			s = next
		}
		if changes > 1 {
			t.Fatalf("seed %d: the state changed %d times between %d and %d of a mark of %d", seed, changes, at, at+mark/8, mark)
		}
	}
}

func TestMeter(t *testing.T) {
	var m Meter
	now := record.Millis(1_800_000_000_000)
	f := func(what string, want, within float64) {
		t.Helper()
		if got := m.Rate(now); math.Abs(got-want) > within*max(want, 1) {
			t.Errorf("%s: %.1f bytes a second; want %.1f", what, got, want)
		}
	}
	f("nothing", 0, 0)
	for range 100 {
		m.Add(5000)
		now += 5000
		m.Rate(now)
	}
	f("1,000 a second for minutes", 1000, 0.1)
	now += record.Millis(window.Milliseconds())
	f("half a minute later", 1000/math.E, 0.1)
	now += 20 * record.Millis(window.Milliseconds())
	f("ten minutes later", 0, 0.001)
	m.Add(30_000)
	f("30,000 at once", 1000, 0.01)
	now -= record.Millis(time.Hour / time.Millisecond)
	f("the clock was set back", 1000, 0.01)
}

// TestBacklog compares a backlog with a list of chunks.
func TestBacklog(t *testing.T) {
	type chunk struct {
		first record.Index
		n     int64
	}
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 4))
		var b Backlog
		var list []chunk
		next, frozenTo := record.Index(1), record.Index(0)
		for range 100 {
			switch rng.IntN(6) {
			case 0, 1, 2:
				c := chunk{next, rng.Int64N(1000)}
				b.Add(c.n)
				list = append(list, c)
				next += 1 + record.Index(rng.IntN(5))
			case 3:
				if len(list) > 0 {
					b.Remove(list[0].first, list[0].n)
					list = list[1:]
				}
			case 4:
				if frozenTo == 0 {
					b.Freeze(next)
					frozenTo = next
				}
			case 5:
				if frozenTo == 0 {
					break
				}
				if frozenTo = 0; rng.IntN(2) == 0 { // it failed
					break
				}
				want, rest := int64(0), []chunk(nil)
				for _, c := range list {
					if c.first < b.next {
						want += c.n
					} else {
						rest = append(rest, c)
					}
				}
				if got := b.Stored(); got != want {
					t.Fatalf("seed %d: Stored = %d; want %d", seed, got, want)
				}
				list = rest
			}
			sum := int64(0)
			for _, c := range list {
				sum += c.n
			}
			if b.Bytes() != sum {
				t.Fatalf("seed %d: %d bytes; want %d", seed, b.Bytes(), sum)
			}
		}
	}
}
