package space

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/headrace/headrace/internal/record"
)

// State is how near the disk is to its end.
type State uint8

const (
	// Ample stops nobody.
	Ample State = iota
	// Low stops the biggest writers.
	Low
	// Full stops everybody.
	Full
)

// String returns the state as metrics and logs spell it.
func (s State) String() string {
	switch s {
	case Low:
		return "low"
	case Full:
		return "full"
	}
	return "ample"
}

const (
	// horizon is how long those who may write must be able to go on before all are stopped.
	horizon = 10 * time.Minute
	// window is the time over which a Meter averages.
	window = 30 * time.Second
)

// Room is what is left of a disk.
type Room struct {
	// Left is what is free less what is still to be written, in bytes. It may be below 0.
	Left int64
	// Mark is the low-water mark; 0 is none.
	Mark int64
	// Exhausted says that the disk has refused to store a file, whatever it claims to have free.
	Exhausted bool
}

// floor is the room at which all are stopped, step what must be gained before a stop is taken back.
func (r Room) floor() int64 { return r.Mark / 2 }
func (r Room) step() int64  { return r.Mark / 8 }

// Writer is a stream that writes.
type Writer struct {
	Stream uint64
	// Rate is how fast it does, in bytes a second.
	Rate float64
}

// Situation says who is stopped for want of room. The zero value stops nobody.
//
// Below the mark the biggest writers are stopped, as many of them as it takes for the others to be
// able to go on for ten minutes on what lies above half the mark; at half of it, everybody. As the
// room shrinks, so does what may be written, and the next biggest are stopped.
//
// The biggest writer is the one that has written most in the last half minute, not the one that has
// most on the disk. The disk fills by what is written: a stream that keeps a year of records at a
// steady trickle is large, but stopping it would save nothing, and its size is what quotas are for.
// Rates are of what was accepted, so whoever repeats refused calls does not look bigger for it, and
// one that is stopped shows none any more. That is why a stop holds until there is room again and is
// not worked out anew each time: the biggest writer, stopped and measured again, would be the
// smallest.
//
// Slowing all down alike was the other way. A writer that may take its share of what is left takes
// it all in the end, and the small ones are stopped with it; stopped itself, it leaves them days.
//
// A state is left only when an eighth of the mark has been gained, so that a store at the edge does
// not change its mind with every file that comes and goes.
type Situation struct {
	State State
	// Stopped are the streams that are stopped by name, in rising order. It is never changed in place.
	Stopped []uint64
}

// Next returns the situation that follows when r is left and writers write. Those who are stopped
// already may be among them.
func (s Situation) Next(r Room, writers []Writer) Situation {
	next := Situation{State: s.State.next(r)}
	if next.State == Ample {
		return next
	}
	next.Stopped = s.Stopped
	if next.State == Low && r.Left < r.Mark {
		next.Stopped = s.stop(writers, float64(r.Left-r.floor())/horizon.Seconds())
	}
	return next
}

func (s State) next(r Room) State {
	switch {
	case r.Exhausted:
		return Full
	case r.Mark <= 0:
		return Ample
	case r.Left < r.floor(), s == Full && r.Left < r.floor()+r.step():
		return Full
	case r.Left < r.Mark, s != Ample && r.Left < r.Mark+r.step():
		return Low
	}
	return Ample
}

// stop returns who is stopped when all others together may write allowed bytes a second.
func (s Situation) stop(writers []Writer, allowed float64) []uint64 {
	var free []Writer
	for _, w := range writers {
		if !s.Stops(w.Stream) {
			free = append(free, w)
		}
	}
	slices.SortFunc(free, func(a, b Writer) int {
		return cmp.Or(cmp.Compare(a.Rate, b.Rate), cmp.Compare(a.Stream, b.Stream))
	})
	n, sum := 0, 0.0
	for n < len(free) && sum+free[n].Rate <= allowed {
		sum += free[n].Rate
		n++
	}
	if n == len(free) {
		return s.Stopped
	}
	stopped := slices.Clone(s.Stopped)
	for _, w := range free[n:] {
		stopped = append(stopped, w.Stream)
	}
	slices.Sort(stopped)
	return stopped
}

// Stops says whether the stream is stopped by name.
func (s Situation) Stops(stream uint64) bool {
	_, found := slices.BinarySearch(s.Stopped, stream)
	return found
}

// Meter measures how fast a stream writes. The zero value has measured nothing.
type Meter struct {
	level float64 // bytes of the window, at the time of the last look
	at    record.Millis
	fresh int64 // since then
}

// Add counts n bytes written.
func (m *Meter) Add(n int64) { m.fresh += n }

// Rate returns the bytes a second written lately: an average in which what is older by half a minute
// counts for a third. What was added since the last call counts as written now, so it is to be called
// every few seconds.
func (m *Meter) Rate(now record.Millis) float64 {
	past := float64(max(now-m.at, 0)) / float64(window.Milliseconds())
	m.level = m.level*math.Exp(-past) + float64(m.fresh)
	m.at, m.fresh = max(m.at, now), 0
	return m.level / window.Seconds()
}
