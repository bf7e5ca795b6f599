package mem

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/headrace/headrace/internal/coordinator"
)

const (
	// batchEntries and batchBytes bound what one Next copies.
	batchEntries = 1024
	batchBytes   = 1 << 20
)

// watcher remembers which keys changed since it last reported them, not how: the values are read
// when Next asks. So it holds at most one change a key, whatever the writers do.
//
// A deletion must be reported only if the key was: known says so, and a key that came and went
// unreported is forgotten. Without this, keys that are created and deleted would pile up in a
// watcher that does not read.
type watcher struct {
	c      *Coordinator
	prefix string
	// wake holds a token when there may be something for Next.
	wake chan struct{}
	done chan struct{}

	// pending and ended are guarded by c.mu.
	pending map[string]change
	ended   bool
}

// change is what happened last to a key.
type change struct {
	key     string
	version coordinator.Version
	deleted bool
	// known says that the key existed in what the watcher reported last.
	known bool
}

func newWatcher(c *Coordinator, prefix string) *watcher {
	return &watcher{
		c:       c,
		prefix:  prefix,
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		pending: make(map[string]change),
	}
}

// putLocked notes that key was written; existed says whether it was there before.
// REQUIRES: c.mu held.
func (w *watcher) putLocked(key string, version coordinator.Version, existed bool) {
	if strings.HasPrefix(key, w.prefix) {
		w.noteLocked(change{key: key, version: version, known: existed})
	}
}

// deletedLocked notes that key was deleted. REQUIRES: c.mu held.
func (w *watcher) deletedLocked(key string, version coordinator.Version) {
	if !strings.HasPrefix(key, w.prefix) {
		return
	}
	if before, ok := w.pending[key]; ok && !before.known {
		delete(w.pending, key)
		return
	}
	w.noteLocked(change{key: key, version: version, deleted: true, known: true})
}

// noteLocked replaces what is pending for the key. REQUIRES: c.mu held.
func (w *watcher) noteLocked(ch change) {
	if before, ok := w.pending[ch.key]; ok {
		ch.known = before.known
	}
	w.pending[ch.key] = ch
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Next implements coordinator.Watcher.
func (w *watcher) Next(ctx context.Context) ([]coordinator.Entry, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		entries, err := w.take()
		if err != nil || len(entries) > 0 {
			return entries, err
		}
		select {
		case <-w.wake:
		case <-w.done:
		case <-ctx.Done():
		}
	}
}

// take removes the oldest pending changes and returns them.
func (w *watcher) take() ([]coordinator.Entry, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.ended {
		return nil, coordinator.ErrClosed
	}
	oldest := make([]change, 0, len(w.pending))
	for _, ch := range w.pending {
		oldest = append(oldest, ch)
	}
	slices.SortFunc(oldest, func(a, b change) int { return cmp.Compare(a.version, b.version) })

	var entries []coordinator.Entry
	size := 0
	for _, ch := range oldest {
		if len(entries) == batchEntries || size >= batchBytes {
			break
		}
		e := coordinator.Entry{Key: ch.key, Version: ch.version}
		if !ch.deleted {
			e = w.c.mu.rows[ch.key].entry(ch.key)
		}
		delete(w.pending, ch.key)
		size += len(e.Value)
		entries = append(entries, e)
	}
	return entries, nil
}

// Close implements coordinator.Watcher.
func (w *watcher) Close() error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.endLocked()
	return nil
}

// endLocked ends the watch once. REQUIRES: c.mu held.
func (w *watcher) endLocked() {
	if w.ended {
		return
	}
	w.ended = true
	w.pending = nil
	close(w.done)
	delete(w.c.mu.watchers, w)
}
