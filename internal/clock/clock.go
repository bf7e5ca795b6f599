// Package clock is the one source of time in Headrace. Everything that needs the time takes a
// Clock; nothing else calls time.Now, so that tests run under testing/synctest or a Manual clock.
// It is not a scheduler: timers come from package time, which synctest controls.
//
// A process reads System through one Bounded clock, so that a wall clock gone wrong cannot date
// records years ahead or age a stream's whole content at once:
//
//	c := clock.NewBounded(clock.System{}, func(ahead time.Duration) { /* warn the operator */ })
package clock

import (
	"sync"
	"time"
)

// Clock tells the time. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the current wall-clock time. Between two calls it may go back: clocks are
	// corrected. What must not go back (a shard's arrival times) takes the maximum of Now and its
	// own last.
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now returns time.Now.
func (System) Now() time.Time { return time.Now() }

// Manual is a clock that moves only when told to. The zero value stands at the zero time.
type Manual struct {
	mu struct {
		sync.Mutex
		now time.Time
	}
}

// NewManual returns a clock that stands at t.
func NewManual(t time.Time) *Manual {
	m := &Manual{}
	m.mu.now = t
	return m
}

// Now returns the time the clock stands at.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.now
}

// Advance moves the clock by d, which may be negative: clocks step back.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.now = m.mu.now.Add(d)
}
