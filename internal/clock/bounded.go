package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// jumpStep is how far a wall clock may jump ahead of elapsed time and be believed at once. It
	// covers the corrections a time daemon makes.
	jumpStep = time.Minute
	// jumpRate is how many seconds of a larger jump are believed a second. At 4, a clock that is
	// years ahead takes five hours to age a day's records: time for the alarm to be read.
	jumpRate = 4
	// sleepStep is the shortest sleep that is told from the inexactness of asking.
	sleepStep = time.Second
	// trust is how long after a reading was judged others are taken as they are, if they say nothing
	// else than it and the time elapsed since, but for drift.
	trust = 100 * time.Millisecond
	drift = time.Millisecond
)

// Bounded is a Clock that does not believe a forward jump at once.
//
// A wall clock that jumps far ahead would do lasting harm: records get arrival times in the future,
// which a shard's later records must then exceed, and retention finds everything too old and trims
// it. A jump is seen by comparing the wall clock with the monotonic reading that time.Now carries.
// The clock then runs on from where it was, faster than real time, until it meets the wall clock:
// in any real time d it rises by at most d + jumpStep + jumpRate·d. While it lags, arrival times
// are early and retention is late, which loses nothing.
//
// A machine that was suspended is not a clock gone wrong: its monotonic clock stood still. On Linux
// and macOS the time it slept can be asked for and counts as elapsed; elsewhere it is a jump, and
// refusing jumps altogether was therefore no alternative. Steps back are followed at once, and so is
// the first reading: after a restart the wall clock is all there is. Readings without a monotonic
// part (Manual) never count as jumps.
//
// Requests read it several times each, so most readings are not judged: for a tenth of a second after one
// that was believed, a reading is taken as it is if the wall clock has moved as far as time has, but for a
// millisecond. The next one that is judged accounts for all that has gone by since the last one that was.
//
// It is safe for concurrent use.
type Bounded struct {
	source Clock
	onJump func(ahead time.Duration)
	slept  func() time.Duration

	// judged is the last reading that was judged, if it was believed as it was; nil otherwise.
	judged atomic.Pointer[time.Time]

	mu struct {
		sync.Mutex
		reading time.Time
		slept   time.Duration // what slept said when it was last asked
		state   bound
	}
}

// NewBounded returns a bounded clock over source. onJump, which may be nil, is called when a jump
// beyond what is believed at once is first seen, with the distance by which the wall clock is
// ahead; it is called again only after the clock has caught up. It runs in the goroutine that read
// the clock and must return quickly.
func NewBounded(source Clock, onJump func(ahead time.Duration)) *Bounded {
	return newBounded(source, onJump, machineSlept)
}

func newBounded(source Clock, onJump func(ahead time.Duration), slept func() time.Duration) *Bounded {
	b := &Bounded{source: source, onJump: onJump, slept: slept}
	b.mu.slept = slept()
	return b
}

// Now returns the believed time. It carries no monotonic reading.
func (b *Bounded) Now() time.Time {
	if last := b.judged.Load(); last != nil {
		reading := b.source.Now()
		if wall := reading.Round(0); trusts(wall.Sub(last.Round(0)), reading.Sub(*last)) {
			return wall
		}
	}
	now, ahead, alarm := b.read()
	if alarm && b.onJump != nil {
		b.onJump(ahead)
	}
	return now
}

// trusts says whether a wall clock that has moved by wall, elapsed after a reading that was believed, needs
// no judgement.
func trusts(wall, elapsed time.Duration) bool {
	ahead := wall - elapsed
	return 0 <= elapsed && elapsed < trust && -drift < ahead && ahead < drift
}

// Behind returns by how much the clock lagged its source at the last reading: 0 unless the source
// jumped.
func (b *Bounded) Behind() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.state.behind
}

func (b *Bounded) read() (now time.Time, ahead time.Duration, alarm bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Read under the lock: readings taken in one order and judged in another would look like jumps.
	reading := b.source.Now()
	elapsed := reading.Sub(b.mu.reading)
	if b.mu.state.doubts(reading.Round(0), elapsed) {
		// Asked for only now: it costs two system calls, and differs by some microseconds each time.
		if slept := b.slept(); slept-b.mu.slept > sleepStep {
			elapsed += slept - b.mu.slept
			b.mu.slept = slept
		}
	}
	was := b.mu.state.behind
	b.mu.reading = reading
	now = b.mu.state.step(reading.Round(0), elapsed)
	ahead = b.mu.state.behind
	b.judged.Store(nil)
	if ahead == 0 {
		believed := reading
		b.judged.Store(&believed)
	}
	return now, ahead, was == 0 && ahead > 0
}

// bound is the rule of Bounded without a clock: wall-clock times and elapsed real time in, believed
// time out. The zero value believes its first reading.
type bound struct {
	believed time.Time
	// budget is how much jump would be believed at once now, at most jumpStep.
	budget time.Duration
	// behind is the part of a jump not believed yet.
	behind  time.Duration
	started bool
}

// doubts reports whether step would not believe the whole of a reading.
func (b *bound) doubts(wall time.Time, elapsed time.Duration) bool {
	next := *b
	next.step(wall, elapsed)
	return next.behind > 0
}

// step returns the believed time when the wall clock shows wall, elapsed after the last step.
func (b *bound) step(wall time.Time, elapsed time.Duration) time.Time {
	if !b.started {
		*b = bound{believed: wall, budget: jumpStep, started: true}
		return wall
	}
	elapsed = max(elapsed, 0)
	b.budget = min(jumpStep, b.budget+jumpRate*min(elapsed, jumpStep))
	expected := b.believed.Add(elapsed)
	ahead := wall.Sub(expected)
	if ahead <= 0 {
		b.believed, b.behind = wall, 0
		return wall
	}
	taken := min(ahead, b.budget)
	b.budget -= taken
	b.behind = ahead - taken
	b.believed = expected.Add(taken)
	return b.believed
}
