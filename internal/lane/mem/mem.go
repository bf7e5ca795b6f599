// Package mem is the lane engine that keeps its groups in memory: what `headrace dev` runs on and
// what tests recover from. A group survives the writer that appended it, not the process.
//
// It is not a cache in front of another lane. Payloads are kept as they were handed in and given
// out again without a copy.
package mem

import (
	"context"
	"fmt"
	"sync"

	"github.com/headrace/headrace/internal/lane"
)

// DefaultMaxGroup is MaxGroup where Config leaves it open: room for the largest request there is
// (10 MiB), so that in memory no batch has to span groups.
const DefaultMaxGroup = 16 << 20

// Config says how large a lane may grow. The zero value has no bound but DefaultMaxGroup.
type Config struct {
	// Capacity is the most payload bytes the lane holds before Append returns lane.ErrFull;
	// 0 means no bound.
	Capacity int64
	// MaxGroup is the largest payload in bytes; 0 means DefaultMaxGroup.
	MaxGroup int
	// First is the position of the first group; 0 means 1.
	First lane.Position
}

// Lane is a lane.Lane in memory. Only TrimTo frees memory, and only from the front: a writer that
// has to free a group behind one it still needs appends what it needs again and trims past both.
type Lane struct {
	cfg Config

	mu struct {
		sync.RWMutex
		// groups[head] is the first group held; the slots before it are empty.
		groups []lane.Group
		head   int
		next   lane.Position
		bytes  int64
		closed bool
	}
}

// New returns an empty lane.
func New(cfg Config) *Lane {
	if cfg.MaxGroup == 0 {
		cfg.MaxGroup = DefaultMaxGroup
	}
	l := &Lane{cfg: cfg}
	l.mu.next = max(1, cfg.First)
	return l
}

// MaxGroup implements lane.Lane.
func (l *Lane) MaxGroup() int { return l.cfg.MaxGroup }

// Keeps implements lane.Lane: payloads are kept as they were handed in.
func (l *Lane) Keeps() bool { return true }

// Append implements lane.Lane. A writer that has lost the lane hears ErrFenced whatever else is
// wrong with its group.
func (l *Lane) Append(ctx context.Context, next lane.Position, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.mu.closed:
		return lane.ErrClosed
	case next != l.mu.next:
		return fmt.Errorf("append group %d: %w", next, lane.ErrFenced)
	case len(payload) > l.cfg.MaxGroup:
		return lane.ErrTooLarge
	case l.cfg.Capacity > 0 && l.mu.bytes+int64(len(payload)) > l.cfg.Capacity:
		return lane.ErrFull
	}
	l.mu.groups = append(l.mu.groups, lane.Group{Position: next, Payload: payload})
	l.mu.next++
	l.mu.bytes += int64(len(payload))
	return nil
}

// Read implements lane.Lane.
func (l *Lane) Read(ctx context.Context, from lane.Position, maxBytes int) ([]lane.Group, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.mu.closed {
		return nil, lane.ErrClosed
	}
	held := l.mu.groups[l.mu.head:]
	first := l.firstLocked()
	if from < first {
		return nil, fmt.Errorf("read group %d: %w", from, lane.ErrTrimmed)
	}
	if from >= l.mu.next {
		return nil, nil
	}
	held = held[from-first:]
	n, bytes := 1, len(held[0].Payload)
	for n < len(held) && bytes+len(held[n].Payload) <= maxBytes {
		bytes += len(held[n].Payload)
		n++
	}
	return append([]lane.Group(nil), held[:n]...), nil
}

// Bounds implements lane.Lane.
func (l *Lane) Bounds(ctx context.Context) (lane.Bounds, error) {
	if err := ctx.Err(); err != nil {
		return lane.Bounds{}, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.mu.closed {
		return lane.Bounds{}, lane.ErrClosed
	}
	return lane.Bounds{First: l.firstLocked(), Next: l.mu.next}, nil
}

// TrimTo implements lane.Lane.
func (l *Lane) TrimTo(ctx context.Context, first lane.Position) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return lane.ErrClosed
	}
	for at := l.firstLocked(); at < min(first, l.mu.next); at++ {
		g := &l.mu.groups[l.mu.head]
		l.mu.bytes -= int64(len(g.Payload))
		*g = lane.Group{}
		l.mu.head++
	}
	l.compactLocked()
	return nil
}

// Close implements lane.Lane.
func (l *Lane) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.closed = true
	l.mu.groups, l.mu.head, l.mu.bytes = nil, 0, 0
	return nil
}

func (l *Lane) firstLocked() lane.Position {
	return l.mu.next - lane.Position(len(l.mu.groups)-l.mu.head)
}

// compactLocked gives the emptied front of the slice back once it is the larger half.
func (l *Lane) compactLocked() {
	if l.mu.head <= len(l.mu.groups)/2 {
		return
	}
	held := l.mu.groups[l.mu.head:]
	if cap(l.mu.groups) > 1024 && len(held) < cap(l.mu.groups)/4 {
		l.mu.groups = append(make([]lane.Group, 0, 2*len(held)), held...)
	} else {
		n := copy(l.mu.groups, held)
		clear(l.mu.groups[n:])
		l.mu.groups = l.mu.groups[:n]
	}
	l.mu.head = 0
}
