package wire

import (
	"math/bits"
	"sync"
)

const (
	minBuffer   = 4 << 10  // smallest buffer made
	smallBuffer = 64 << 10 // buffers to this size may use the whole limit
	maxBuffer   = 64 << 20 // larger buffers are not kept
)

// bufferSize returns the size of the buffer that serves n bytes: a power of two, so that buffers of
// different requests fit each other.
func bufferSize(n int64) int64 {
	if n <= minBuffer {
		return minBuffer
	}
	return 1 << bits.Len64(uint64(n-1))
}

// buffers keeps byte buffers between requests. It differs from a sync.Pool in that the memory it
// holds is bounded by bytes, not by when the garbage collector last ran: request bodies are up to
// 14 MiB, and a burst of them must neither be allocated anew each time nor stay for ever. It is safe
// for concurrent use.
type buffers struct {
	mu    sync.Mutex
	limit int64
	idle  int64
	free  [32][][]byte // by log2 of capacity, rounded down
}

// get returns an empty buffer with room for at least n bytes, whether it must be made or not.
func (p *buffers) get(n int64) []byte {
	if b := p.borrow(n); b != nil {
		return b
	}
	return make([]byte, 0, bufferSize(n))
}

// borrow returns an idle buffer with room for n bytes, or nil when there is none of that size. It
// never allocates.
func (p *buffers) borrow(n int64) []byte {
	class := bits.Len64(uint64(bufferSize(n))) - 1
	p.mu.Lock()
	defer p.mu.Unlock()
	if class >= len(p.free) || len(p.free[class]) == 0 {
		return nil
	}
	last := len(p.free[class]) - 1
	b := p.free[class][last]
	p.free[class][last] = nil
	p.free[class] = p.free[class][:last]
	p.idle -= int64(cap(b))
	return b
}

// put takes b back; nothing may refer to it any more. Buffers that do not fit the limit are left to
// the garbage collector. Large ones may fill three quarters of it, so that a few of them do not
// drive out the small ones that every request needs.
func (p *buffers) put(b []byte) {
	n := int64(cap(b))
	if n < minBuffer || n > maxBuffer {
		return
	}
	class, limit := bits.Len64(uint64(n))-1, p.limit
	if n > smallBuffer {
		limit -= limit / 4
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle+n > limit {
		return
	}
	p.free[class] = append(p.free[class], b[:0])
	p.idle += n
}
