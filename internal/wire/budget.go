package wire

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errNoMemory is budget.raise's answer when the memory did not come free in time.
var errNoMemory = errors.New("memory for the request did not come free in time")

// budget admits requests by the bytes they will hold. Two kinds of memory count: request bodies, which
// wait for room before they are read, and responses, which wait for as much as the operation's last one
// took, or for as much as they will take where the operation says so. They are charged with what they are
// once they exist. A charge may therefore overdraw the budget, by what responses outgrew the guess; then
// nothing new is admitted until clients have taken their responses.
//
// A request waits with a share in its hands: nobody knows what a client that announces a body will send, so
// shares begin small and grow. Were there no more to it, all that there is could be in the hands of requests
// that wait for each other's. So shares have classes, and one only waits for a share of a higher class than
// the one it has: what the lower classes may hold together is bounded, and leaves room for the largest share
// of the class above. A share of the highest class does not wait to grow; it gets what is free, or nothing.
// Hence whoever waits is waited for by nobody it depends on, and is served once those above have gone.
//
// Within a class waiters are served strictly in the order they came, and between classes the smaller first:
// a large share is not starved by small ones, of which there are only so many. It is safe for concurrent use.
type budget struct {
	mu    sync.Mutex
	total int64
	free  int64 // negative while overdrawn
	// held is what shares of the lower classes hold.
	held  [large]int64
	queue [large + 1][]*waiter
}

// class is how large a share is.
type class int

const (
	// small is the least that a request with a body holds, minBuffer; medium is firstStep.
	small class = iota
	medium
	large
)

// lowShare is the part of the budget that shares of the lower classes may hold, and small ones half of that.
const lowShare = 4

// leastMemory has room for more than one share of each class.
const leastMemory = 1 << 20

// share is what a request has of the budget; the zero value is nothing.
type share struct {
	class class
	n     int64
}

type waiter struct {
	from, to share
	ready    chan struct{} // closed once to is the waiter's in place of from
}

// newBudget returns a budget of total bytes, leastMemory at least if its shares have classes.
func newBudget(total int64) *budget { return &budget{total: total, free: total} }

// shareOf returns the share that n bytes take. More than a large share can be takes the largest there is.
func (b *budget) shareOf(n int64) share {
	switch {
	case n <= 0:
		return share{}
	case n <= minBuffer:
		return share{small, minBuffer}
	case n <= firstStep:
		return share{medium, firstStep}
	}
	return share{large, min(n, b.total-b.low(medium))}
}

// low returns how much shares of a lower class and those below it may hold.
func (b *budget) low(c class) int64 {
	if c == small {
		return b.total / lowShare / 2
	}
	return b.total / lowShare
}

// raise makes the share from the share to, which is larger, and waits for that until there is room, ctx is
// done or patience has passed. It returns errNoMemory or the context's error, and then from is what it was.
func (b *budget) raise(ctx context.Context, from, to share, patience time.Duration) error {
	w, ok := b.tryRaise(from, to)
	if ok {
		return nil
	}
	if w == nil {
		return errNoMemory
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

// tryRaise makes from the share to at once, or returns the waiter that it queued: nil if one must not wait.
func (b *budget) tryRaise(from, to share) (*waiter, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue[to.class]) == 0 && b.fitsLocked(from, to) {
		b.exchangeLocked(from, to)
		if from.n > 0 {
			b.admitLocked() // the class below has room
		}
		return nil, true
	}
	if from.n > 0 && from.class == to.class {
		return nil, false
	}
	w := &waiter{from: from, to: to, ready: make(chan struct{})}
	b.queue[to.class] = append(b.queue[to.class], w)
	return w, false
}

// fitsLocked says whether there is room for one share in place of another. REQUIRES: b.mu held.
func (b *budget) fitsLocked(from, to share) bool {
	more := to.n - from.n
	return b.free >= more && b.boundsLocked(to.class, more)
}

// boundsLocked says whether the lower classes may hold more if the share of one class is. REQUIRES: b.mu held.
func (b *budget) boundsLocked(c class, more int64) bool {
	if c == small && b.held[small]+more > b.low(small) {
		return false
	}
	return c == large || b.held[small]+b.held[medium]+more <= b.low(medium)
}

// exchangeLocked gives a share for another. REQUIRES: b.mu held.
func (b *budget) exchangeLocked(from, to share) {
	b.countLocked(from, -1)
	b.countLocked(to, 1)
}

// countLocked counts a share as taken, or given back. REQUIRES: b.mu held.
func (b *budget) countLocked(s share, sign int64) {
	b.free -= sign * s.n
	if s.class < large {
		b.held[s.class] += sign * s.n
	}
}

// withdraw removes w from the queue. It reports false when w has been admitted already.
func (b *budget) withdraw(w *waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue := b.queue[w.to.class]
	for i, q := range queue {
		if q == w {
			b.queue[w.to.class] = append(queue[:i], queue[i+1:]...)
			b.admitLocked() // w may have stood in front of requests that fit
			return true
		}
	}
	return false
}

// drop gives a share back and admits who fits now.
func (b *budget) drop(s share) { b.lower(s, share{}) }

// lower gives a share back but for the smaller share to, and returns what it is then: where its class has no
// room it keeps the one it had.
func (b *budget) lower(from, to share) share {
	b.mu.Lock()
	defer b.mu.Unlock()
	if from.class == large && to.n > 0 && !b.boundsLocked(to.class, to.n) {
		to.class = large
	}
	b.exchangeLocked(from, to)
	b.admitLocked()
	return to
}

// charge takes n bytes without waiting; release gives them back.
func (b *budget) charge(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free -= n
}

func (b *budget) release(n int64) { b.drop(share{large, n}) }

// admitLocked admits waiters of each class from the front for as long as they fit. REQUIRES: b.mu held.
func (b *budget) admitLocked() {
	for c := range b.queue {
		for len(b.queue[c]) > 0 && b.fitsLocked(b.queue[c][0].from, b.queue[c][0].to) {
			w := b.queue[c][0]
			b.queue[c][0] = nil
			b.queue[c] = b.queue[c][1:]
			b.exchangeLocked(w.from, w.to)
			close(w.ready)
		}
	}
}

// taken returns the bytes taken.
func (b *budget) taken() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free
}
