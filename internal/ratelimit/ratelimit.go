// Package ratelimit bounds how often each of many callers may do something: a token bucket for every
// key, in bounded memory. It is about strangers and runaway clients, not about the quotas of a
// service: those are part of what the service does and have answers of their own.
//
//	l := ratelimit.New[string](ratelimit.Config{Rate: 1000})
//	if !l.Allow(accessKey) { /* throttle */ }
//
// # One number a key
//
// A bucket that fills at a steady rate is known by the moment at which it will be full. So a key's
// state is that moment, a key whose moment has passed is like one that never came, and forgetting it
// changes nothing (this is the generic cell rate algorithm, ITU-T I.371). When the table is full of
// keys that are all in use, further keys share one bucket of their part of it: whoever invents keys
// to fill the table throttles the inventions, and takes nothing from the keys that were there.
package ratelimit

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/clock"
)

// Config says how much each key may do.
type Config struct {
	// Rate is how many times a second; 0 means that there is no bound.
	Rate int
	// Burst is how many times at once, after a pause; 0 means as many as in one second.
	Burst int
	// Keys is how many keys have a bucket of their own at a time; 0 means 65,536, which take a few MiB.
	Keys int
	// Clock tells the time. It should not go back: a key waits until it has come forward again. The
	// machine's own, clock.System, is measured by a counter that does not; nil means that one.
	Clock clock.Clock
}

const (
	defaultKeys = 64 << 10
	parts       = 32
	// looks is how many keys a new one looks at for one that can be forgotten. Most tables are full
	// of those, and of one that is not, the new key soon hears.
	looks = 8
)

// Limiter holds the buckets. It is safe for concurrent use; a nil one allows everything.
type Limiter[K comparable] struct {
	interval, ahead time.Duration // between two tokens; how far a key's moment may lie ahead
	clock           clock.Clock
	epoch           time.Time
	seed            maphash.Seed
	parts           [parts]part[K]
}

// part is a share of the keys. Times are since the epoch.
type part[K comparable] struct {
	mu     sync.Mutex
	room   int
	full   map[K]time.Duration // when a key's bucket is full
	shared time.Duration       // the same for all keys without one of their own
}

// New returns a limiter, nil if there is no bound.
func New[K comparable](cfg Config) *Limiter[K] {
	if cfg.Rate <= 0 {
		return nil
	}
	if cfg.Burst <= 0 {
		cfg.Burst = cfg.Rate
	}
	if cfg.Keys <= 0 {
		cfg.Keys = defaultKeys
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	interval := max(time.Second/time.Duration(cfg.Rate), 1)
	l := &Limiter[K]{
		interval: interval, ahead: time.Duration(cfg.Burst-1) * interval,
		clock: cfg.Clock, epoch: cfg.Clock.Now(), seed: maphash.MakeSeed(),
	}
	for i := range l.parts {
		l.parts[i].room = max(cfg.Keys/parts, 1)
		l.parts[i].full = map[K]time.Duration{}
	}
	return l
}

// Allow takes a token from the key's bucket and reports whether there was one.
func (l *Limiter[K]) Allow(key K) bool {
	if l == nil {
		return true
	}
	now := l.clock.Now().Sub(l.epoch)
	p := &l.parts[maphash.Comparable(l.seed, key)%parts]
	p.mu.Lock()
	defer p.mu.Unlock()
	full, known := p.full[key]
	if known || p.makeRoomLocked(now) {
		full, ok := l.take(full, now)
		p.full[key] = full
		return ok
	}
	shared, ok := l.take(p.shared, now)
	p.shared = shared
	return ok
}

// take returns when a bucket is full after a token was taken from it, if there was one.
func (l *Limiter[K]) take(full, now time.Duration) (time.Duration, bool) {
	full = max(full, now)
	if full-now > l.ahead {
		return full, false
	}
	return full + l.interval, true
}

// makeRoomLocked reports whether there is room for one more key, forgetting some that are like new.
// REQUIRES: p.mu held.
func (p *part[K]) makeRoomLocked(now time.Duration) bool {
	if len(p.full) < p.room {
		return true
	}
	left := looks
	for key, full := range p.full { // from a random one on
		if full <= now {
			delete(p.full, key)
		}
		if left--; left == 0 {
			break
		}
	}
	return len(p.full) < p.room
}

// keys returns how many keys have a bucket of their own.
func (l *Limiter[K]) keys() int {
	n := 0
	for i := range l.parts {
		p := &l.parts[i]
		p.mu.Lock()
		n += len(p.full)
		p.mu.Unlock()
	}
	return n
}
