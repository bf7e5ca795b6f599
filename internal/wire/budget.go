package wire

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errNoMemory is budget.acquire's answer when the memory did not come free in time.
var errNoMemory = errors.New("memory for the request did not come free in time")

// budget admits requests by the bytes they will hold. Waiters are served strictly in the order they
// came, so a large request is not starved by small ones. It is safe for concurrent use.
//
// Two kinds of memory count: request bodies, which wait for room before they are read, and
// responses, which wait for as much as the operation's last one took, and for as much as they will
// take where the operation says so. They are charged with what they are once they exist. A charge may
// therefore overdraw the budget, by what responses outgrew the guess; then nothing new is admitted
// until clients have taken their responses.
type budget struct {
	mu    sync.Mutex
	total int64
	free  int64 // negative while overdrawn
	queue []*waiter
}

type waiter struct {
	n     int64
	ready chan struct{} // closed once n bytes are the waiter's
}

func newBudget(total int64) *budget { return &budget{total: total, free: total} }

// clamp returns how many bytes a request for n takes: one that is larger than everything there is
// waits for everything there is.
func (b *budget) clamp(n int64) int64 { return min(n, b.total) }

// acquire takes n bytes, at most clamp(n), waiting until they are free, ctx is done or patience has
// passed. It returns errNoMemory or the context's error, and then has taken nothing.
func (b *budget) acquire(ctx context.Context, n int64, patience time.Duration) error {
	w, ok := b.tryAcquire(n)
	if ok {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	err := errNoMemory
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
	}
	if !b.withdraw(w) {
		return nil // admitted at the last moment
	}
	return err
}

// tryAcquire takes n bytes at once or returns the waiter that it queued.
func (b *budget) tryAcquire(n int64) (*waiter, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 && b.free >= n {
		b.free -= n
		return nil, true
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	b.queue = append(b.queue, w)
	return w, false
}

// withdraw removes w from the queue. It reports false when w has been admitted already.
func (b *budget) withdraw(w *waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.queue {
		if q == w {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.admitLocked() // w may have stood in front of requests that fit
			return true
		}
	}
	return false
}

// charge takes n bytes without waiting.
func (b *budget) charge(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free -= n
}

// release gives n bytes back and admits who fits now.
func (b *budget) release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	b.admitLocked()
}

// admitLocked admits waiters from the front for as long as they fit. REQUIRES: b.mu held.
func (b *budget) admitLocked() {
	for len(b.queue) > 0 && b.free >= b.queue[0].n {
		w := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		b.free -= w.n
		close(w.ready)
	}
}

// held returns the bytes taken.
func (b *budget) held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free
}
