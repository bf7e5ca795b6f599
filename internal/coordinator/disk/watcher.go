package disk

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
	// minStale is how many stale places in a watcher's order are not worth clearing out.
	minStale = 64
)

// watcher remembers which keys changed since it last reported them, not how: the values are read
// when Next asks. So it holds at most one change a key, whatever the writers do, and a deletion
// only of a key that it has reported.
//
// Changes come in version order and are reported in it: order lists them as they came, and a place
// whose key has changed again since is stale and passed over.
type watcher struct {
	c      *Coordinator
	prefix string
	// wake holds a token when there may be something for Next.
	wake chan struct{}
	done chan struct{}

	// The rest is guarded by c.watchers.
	pending map[string]change
	order   []place
	ended   bool
}

// place is where in the order a key's change came.
type place struct {
	key     string
	version coordinator.Version
}

func newWatcher(c *Coordinator, prefix string) *watcher {
	return &watcher{
		c: c, prefix: prefix,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		pending: make(map[string]change),
	}
}

// startLocked makes every row pending, as if it were new. REQUIRES: c.watchers held, table at rest.
func (w *watcher) startLocked(t *table) {
	i, _ := slices.BinarySearch(t.keys, w.prefix)
	for _, key := range t.keys[i:] {
		if !strings.HasPrefix(key, w.prefix) {
			break
		}
		w.noteLocked(change{key: key, version: t.rows[key].version})
	}
	slices.SortFunc(w.order, func(a, b place) int { return cmp.Compare(a.version, b.version) })
}

// noteLocked makes a change pending. In pending, existed says that the key was there in what was
// reported last. REQUIRES: c.watchers held.
func (w *watcher) noteLocked(ch change) {
	if !strings.HasPrefix(ch.key, w.prefix) {
		return
	}
	if before, ok := w.pending[ch.key]; ok {
		ch.existed = before.existed
	}
	if ch.deleted && !ch.existed {
		delete(w.pending, ch.key) // came and went unreported
	} else {
		w.pending[ch.key] = ch
		w.order = append(w.order, place{ch.key, ch.version})
	}
	if len(w.order) > 2*len(w.pending)+minStale {
		w.order = slices.DeleteFunc(w.order, w.staleLocked)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// staleLocked says whether the key at that place has changed since. REQUIRES: c.watchers held.
func (w *watcher) staleLocked(p place) bool { return w.pending[p.key].version != p.version }

// Next implements coordinator.Watcher.
func (w *watcher) Next(ctx context.Context) ([]coordinator.Entry, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var entries []coordinator.Entry
		var ended error
		err := w.c.journal.View(func() { entries, ended = w.take() })
		switch {
		case err != nil:
			return nil, closed(err)
		case ended != nil:
			return nil, ended
		case len(entries) > 0:
			own(entries)
			return entries, nil
		}
		select {
		case <-w.wake:
		case <-w.done:
		case <-ctx.Done():
		}
	}
}

// take removes the oldest pending changes and returns them. The table is at rest.
func (w *watcher) take() ([]coordinator.Entry, error) {
	w.c.watchers.Lock()
	defer w.c.watchers.Unlock()
	if w.ended {
		return nil, cmp.Or(w.c.watchers.ended, coordinator.ErrClosed)
	}
	var entries []coordinator.Entry
	n, size := 0, 0
	for n < len(w.order) && len(entries) < batchEntries && size < batchBytes {
		p := w.order[n]
		n++
		if w.staleLocked(p) {
			continue
		}
		e := coordinator.Entry{Key: p.key, Version: p.version}
		if !w.pending[p.key].deleted {
			e.Value = w.c.table.rows[p.key].value
		}
		delete(w.pending, p.key)
		size += len(e.Value)
		entries = append(entries, e)
	}
	w.order = slices.Delete(w.order, 0, n)
	return entries, nil
}

// Close implements coordinator.Watcher.
func (w *watcher) Close() error {
	w.c.watchers.Lock()
	defer w.c.watchers.Unlock()
	w.endLocked()
	return nil
}

// endLocked ends the watch once. REQUIRES: c.watchers held.
func (w *watcher) endLocked() {
	if w.ended {
		return
	}
	w.ended = true
	w.pending, w.order = nil, nil
	close(w.done)
	delete(w.c.watchers.set, w)
}
