package ratelimit

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/clock"
)

func manual() *clock.Manual { return clock.NewManual(time.Unix(1_700_000_000, 0)) }

// allowed returns how many of n are.
func allowed[K comparable](l *Limiter[K], key K, n int) int {
	got := 0
	for range n {
		if l.Allow(key) {
			got++
		}
	}
	return got
}

func TestRateAndBurst(t *testing.T) {
	now := manual()
	l := New[string](Config{Rate: 10, Burst: 5, Clock: now})
	f := func(pause time.Duration, want int) {
		t.Helper()
		now.Advance(pause)
		if got := allowed(l, "a", 100); got != want {
			t.Errorf("after %v: %d were allowed, want %d", pause, got, want)
		}
	}
	f(0, 5)
	f(0, 0)
	f(99*time.Millisecond, 0)
	f(time.Millisecond, 1)
	f(250*time.Millisecond, 2)
	f(50*time.Millisecond, 1)
	f(time.Hour, 5) // no more than the burst
	if got := allowed(l, "b", 100); got != 5 {
		t.Errorf("another key: %d were allowed, want 5", got)
	}
}

func TestNoBound(t *testing.T) {
	if l := New[string](Config{}); l != nil || !l.Allow("a") {
		t.Error("without a rate everything is allowed")
	}
	if got := allowed(New[int](Config{Rate: 3, Clock: manual()}), 1, 100); got != 3 {
		t.Errorf("the burst is %d without one, want a second's worth", got)
	}
}

// Against a slow bucket that is filled and emptied by the token.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rate, burst := 1+rng.IntN(1000), 1+rng.IntN(50)
		now := manual()
		l := New[int](Config{Rate: rate, Burst: burst, Clock: now})
		interval := time.Second / time.Duration(rate)
		debt := time.Duration(0) // what is missing from a full bucket, in time
		for i := range 2000 {
			step := time.Duration(rng.Int64N(int64(3 * interval)))
			now.Advance(step)
			debt = max(debt-step, 0)
			want := debt <= time.Duration(burst-1)*interval
			if want {
				debt += interval
			}
			if got := l.Allow(7); got != want {
				t.Fatalf("seed %d, step %d: got %t, want %t", seed, i, got, want)
			}
		}
	}
}

// The table does not grow, whoever fills it, and keys that were there keep their buckets.
func TestTableIsBounded(t *testing.T) {
	now := manual()
	l := New[int](Config{Rate: 1, Burst: 2, Keys: 320, Clock: now})
	regulars := 0
	for key := range 50 {
		if l.Allow(-key - 1) {
			regulars++
		}
	}
	through := 0
	for key := range 100_000 {
		if l.Allow(key) {
			through++
		}
	}
	if n := l.keys(); n > 320 {
		t.Errorf("%d keys have a bucket, want at most 320", n)
	}
	if most := 320 + 2*parts; through > most {
		t.Errorf("%d invented keys got through in no time, want at most %d", through, most)
	}
	for key := range 50 {
		if !l.Allow(-key - 1) {
			t.Errorf("key %d lost its bucket to invented ones", -key-1)
		}
		if l.Allow(-key - 1) {
			t.Errorf("key %d was forgotten, and with it what it had used", -key-1)
		}
	}
	if regulars != 50 {
		t.Errorf("%d of 50 keys got in before the flood", regulars)
	}
	// Once they have all gone, newcomers have buckets again.
	now.Advance(time.Minute)
	newcomers := 0
	for key := range 100 {
		if l.Allow(1_000_000 + key) {
			newcomers++
		}
	}
	if newcomers != 100 {
		t.Errorf("%d of 100 newcomers were allowed after the flood", newcomers)
	}
}

func TestConcurrentUse(t *testing.T) {
	l := New[int](Config{Rate: 1, Burst: 100, Keys: 64, Clock: manual()})
	var through atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 4000 {
				if i%2 == 0 && l.Allow(-1) {
					through.Add(1)
				}
				l.Allow(i)
			}
		})
	}
	wg.Wait()
	if got := through.Load(); got != 100 {
		t.Errorf("one key was allowed %d times, want 100", got)
	}
}

func TestAllowDoesNotAllocate(t *testing.T) {
	l := New[string](Config{Rate: 1 << 30})
	l.Allow("AKIAIOSFODNN7EXAMPLE")
	if n := testing.AllocsPerRun(1000, func() { l.Allow("AKIAIOSFODNN7EXAMPLE") }); n != 0 {
		t.Errorf("a call allocates %v times", n)
	}
}

func BenchmarkAllow(b *testing.B) {
	l := New[string](Config{Rate: 1 << 30})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Allow("AKIAIOSFODNN7EXAMPLE")
		}
	})
}
