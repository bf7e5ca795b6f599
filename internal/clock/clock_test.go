package clock

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestManual(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := NewManual(start)
	f := func(advance time.Duration, want time.Time) {
		t.Helper()
		m.Advance(advance)
		if got := m.Now(); !got.Equal(want) {
			t.Errorf("Now() after Advance(%v) = %v, want %v", advance, got, want)
		}
	}
	f(0, start)
	f(time.Hour, start.Add(time.Hour))
	f(-2*time.Hour, start.Add(-time.Hour))

	var zero Manual
	if got := zero.Now(); !got.IsZero() {
		t.Errorf("zero Manual stands at %v, want the zero time", got)
	}
}

func TestSystemFollowsTimeNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := System{}.Now()
		<-time.After(time.Hour)
		if got := (System{}).Now().Sub(before); got != time.Hour {
			t.Errorf("an hour later Now moved by %v", got)
		}
	})
}

// jumpScript drives the rule with a wall clock that can be moved apart from real time.
type jumpScript struct {
	t     *testing.T
	b     bound
	wall  time.Time
	start time.Time
}

func newJumpScript(t *testing.T) *jumpScript {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &jumpScript{t: t, wall: start, start: start}
	s.b.step(start, 0)
	return s
}

// step lets elapsed pass while the wall clock is moved by jump besides, and checks how long after
// the start the believed time is and how far it lags.
func (s *jumpScript) step(elapsed, jump, want, behind time.Duration) {
	s.t.Helper()
	s.wall = s.wall.Add(elapsed + jump)
	if got := s.b.step(s.wall, elapsed).Sub(s.start); got != want {
		s.t.Errorf("believed start + %v, want + %v", got, want)
	}
	if s.b.behind != behind {
		s.t.Errorf("behind = %v, want %v", s.b.behind, behind)
	}
}

func TestBoundFollowsAnHonestClock(t *testing.T) {
	s := newJumpScript(t)
	s.step(time.Second, 0, time.Second, 0)
	s.step(0, 0, time.Second, 0)
	s.step(365*24*time.Hour, 0, 365*24*time.Hour+time.Second, 0)
}

func TestBoundBelievesASmallJumpAtOnce(t *testing.T) {
	s := newJumpScript(t)
	s.step(time.Second, 59*time.Second, time.Minute, 0)
}

func TestBoundSpreadsALargeJump(t *testing.T) {
	s := newJumpScript(t)
	const hour = time.Hour
	s.step(0, hour, time.Minute, 59*time.Minute)
	// Reading often gives no more than reading seldom.
	for range 1000 {
		s.step(0, 0, time.Minute, 59*time.Minute)
	}
	s.step(time.Second, 0, time.Minute+5*time.Second, 59*time.Minute-4*time.Second)
	s.step(15*time.Second, 0, time.Minute+5*time.Second+75*time.Second, 58*time.Minute-4*time.Second)
	for s.b.behind > 0 {
		s.b.step(s.wall.Add(time.Second), time.Second)
		s.wall = s.wall.Add(time.Second)
	}
	if got := s.b.believed; !got.Equal(s.wall) {
		t.Errorf("caught up at %v, want the wall clock's %v", got, s.wall)
	}
}

func TestBoundHarmIsProportionalToTheFault(t *testing.T) {
	s := newJumpScript(t)
	year := 365 * 24 * time.Hour
	s.step(0, 10*year, time.Minute, 10*year-time.Minute)
	for range 60 {
		s.wall = s.wall.Add(time.Second)
		s.b.step(s.wall, time.Second)
	}
	got := s.b.believed.Sub(s.start)
	if limit := time.Minute + 5*time.Minute; got > limit {
		t.Errorf("a minute of a wrong clock moved the believed time by %v, want at most %v", got, limit)
	}
	// The operator corrects it.
	s.step(0, -10*year, time.Minute, 0)
}

func TestBoundFollowsStepsBack(t *testing.T) {
	s := newJumpScript(t)
	s.step(time.Hour, 0, time.Hour, 0)
	s.step(time.Second, -30*time.Minute, 30*time.Minute+time.Second, 0)
	s.step(time.Second, 0, 30*time.Minute+2*time.Second, 0)
}

func TestBoundedNeverJudgesAManualClock(t *testing.T) {
	m := NewManual(time.Unix(1000, 0))
	b := NewBounded(m, func(ahead time.Duration) { t.Errorf("alarm: %v ahead", ahead) })
	b.Now()
	m.Advance(365 * 24 * time.Hour)
	if got, want := b.Now(), m.Now(); !got.Equal(want) {
		t.Errorf("Now() = %v, want %v", got, want)
	}
	m.Advance(-time.Hour)
	if got, want := b.Now(), m.Now(); !got.Equal(want) {
		t.Errorf("Now() after a step back = %v, want %v", got, want)
	}
}

// plant moves what the clock believes by d.
func (b *Bounded) plant(d time.Duration) {
	b.mu.state.believed = b.mu.state.believed.Add(d)
	b.judged.Store(nil)
}

func TestTrusts(t *testing.T) {
	f := func(wall, elapsed time.Duration, want bool) {
		t.Helper()
		if got := trusts(wall, elapsed); got != want {
			t.Errorf("trusts(%v, %v) = %v, want %v", wall, elapsed, got, want)
		}
	}
	f(0, 0, true)
	f(50*time.Millisecond, 50*time.Millisecond, true)
	f(trust-1, trust-1, true)
	f(trust, trust, false)
	f(50*time.Millisecond+drift-1, 50*time.Millisecond, true)
	f(50*time.Millisecond+drift, 50*time.Millisecond, false)
	f(50*time.Millisecond-drift, 50*time.Millisecond, false)
	f(time.Hour, 0, false)
	f(-time.Hour, 0, false)
	f(-1, -1, false) // a monotonic clock does not go back
}

// TestBoundedJudgesNowAndThen: what was not judged is part of what is next.
func TestBoundedJudgesNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBounded(System{}, func(ahead time.Duration) { t.Errorf("alarm: %v ahead", ahead) })
		b.Now()
		judged := 0
		last := b.judged.Load()
		for range 1000 {
			<-time.After(time.Millisecond)
			if got, want := b.Now(), time.Now(); !got.Equal(want) {
				t.Fatalf("Now() = %v, want %v", got, want)
			}
			if now := b.judged.Load(); now != last {
				judged, last = judged+1, now
			}
		}
		if judged != 10 {
			t.Errorf("%d of 1,000 readings in a second were judged, want 10", judged)
		}
		if got := b.mu.state.believed; time.Since(got) >= trust {
			t.Errorf("believed %v, want at most %v ago", got, trust)
		}
	})
}

// TestBoundedAlarmsOnce plants a state that an hour's jump leaves behind, since a reading whose
// wall and monotonic parts disagree cannot be made by hand.
func TestBoundedAlarmsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var alarms []time.Duration
		b := NewBounded(System{}, func(ahead time.Duration) { alarms = append(alarms, ahead) })
		b.Now()
		b.plant(-time.Hour)
		for range 3 {
			b.Now()
		}
		if len(alarms) != 1 || alarms[0] != 59*time.Minute {
			t.Errorf("alarms = %v, want one of 59m", alarms)
		}
		if got := b.Behind(); got != 59*time.Minute {
			t.Errorf("Behind() = %v, want 59m", got)
		}
		for b.Behind() > 0 {
			<-time.After(10 * time.Second)
			b.Now()
		}
		if got, want := b.Now(), time.Now(); !got.Equal(want) {
			t.Errorf("caught up at %v, want %v", got, want)
		}
	})
}

// TestBoundedBelievesSleep plants the same state, but the machine slept for the hour.
func TestBoundedBelievesSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slept, asked := time.Duration(0), 0
		b := newBounded(System{}, func(ahead time.Duration) { t.Errorf("alarm: %v ahead", ahead) }, func() time.Duration {
			asked++
			return slept
		})
		b.Now()
		b.Now()
		if asked != 1 {
			t.Errorf("asked %d times for the time slept; want once, at the start", asked)
		}
		b.plant(-time.Hour)
		slept = time.Hour
		if got, want := b.Now(), time.Now(); !got.Equal(want) {
			t.Errorf("Now() after an hour's sleep = %v, want %v", got, want)
		}
		b.plant(-time.Minute)
		if b.Now(); b.Behind() != 0 {
			t.Errorf("Behind() = %v after a minute's jump, want 0: sleep uses no budget", b.Behind())
		}
	})
}

func TestMachineSlept(t *testing.T) {
	first := machineSlept()
	if second := machineSlept(); first < -time.Second || second < first-time.Second {
		t.Errorf("machineSlept() = %v, then %v; want a time that does not fall", first, second)
	}
}

func TestBoundedConcurrently(t *testing.T) {
	b := NewBounded(System{}, func(ahead time.Duration) { t.Errorf("alarm: %v ahead", ahead) })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := b.Now()
			for range 1000 {
				now := b.Now()
				if now.Before(last.Add(-time.Second)) {
					t.Errorf("Now() went from %v back to %v", last, now)
				}
				last = now
			}
		})
	}
	wg.Wait()
}

func TestBoundedDoesNotAllocate(t *testing.T) {
	b := NewBounded(System{}, nil)
	if n := testing.AllocsPerRun(100, func() { b.Now() }); n != 0 {
		t.Errorf("Now allocates %v times, want 0", n)
	}
}
