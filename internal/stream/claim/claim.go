// Package claim is who holds what there is one of: a newer holder takes the place of an older one, who hears
// why, but not of one that has only begun.
//
// It starts and stops nothing: whoever holds something says how it is told to end.
package claim

import (
	"sync"

	"github.com/headrace/headrace/internal/record"
)

// Holder holds something.
type Holder struct {
	// Began is when it began to.
	Began record.Millis
	// End tells it to end, and why. It must not block, and may be called more than once.
	End func(why error)
}

// Table is who holds each of many things. The zero value is ready. It is safe for concurrent use.
type Table[K comparable] struct {
	mu   sync.Mutex
	held map[K]*Holder
}

// Begin gives a thing to a holder. An older one hears other, but one that is not as old as least, in
// milliseconds, keeps it, and other is returned; so is what admit objects to, which is asked last.
func (t *Table[K]) Begin(key K, h *Holder, least record.Millis, other error, admit func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.held[key]
	if old != nil && h.Began-old.Began < least {
		return other
	}
	if err := admit(); err != nil {
		return err
	}
	if old != nil {
		old.End(other)
	}
	if t.held == nil {
		t.held = map[K]*Holder{}
	}
	t.held[key] = h
	return nil
}

// Remove takes a thing from a holder, unless another one has it.
func (t *Table[K]) Remove(key K, h *Holder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[key] == h {
		delete(t.held, key)
	}
}

// End tells the holders of all things that which picks to end, and why. They hold them until they are removed.
func (t *Table[K]) End(why error, which func(key *K) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, h := range t.held {
		if which(&key) {
			h.End(why)
		}
	}
}
