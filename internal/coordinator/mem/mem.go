// Package mem is the coordinator engine that keeps everything in memory: for development, for
// tests and as the reference of what the contract means. Nothing survives the process, so "durable"
// means here that the write is visible to everyone.
package mem

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/headrace/headrace/internal/coordinator"
)

// Coordinator implements coordinator.Coordinator. Use New.
type Coordinator struct {
	mu struct {
		sync.Mutex
		version  coordinator.Version
		rows     map[string]row
		keys     []string // of rows, sorted, for List
		watchers map[*watcher]struct{}
		closed   bool
	}
}

// row is the state of a key. Its value is never changed in place, so that it can be copied out
// without the lock.
type row struct {
	value   []byte
	version coordinator.Version
}

// New returns an empty coordinator.
func New() *Coordinator {
	c := &Coordinator{}
	c.mu.rows = make(map[string]row)
	c.mu.watchers = make(map[*watcher]struct{})
	return c
}

// Get implements coordinator.Coordinator.
func (c *Coordinator) Get(ctx context.Context, key string) (coordinator.Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usableLocked(ctx); err != nil {
		return coordinator.Entry{}, err
	}
	r, ok := c.mu.rows[key]
	if !ok {
		return coordinator.Entry{}, coordinator.ErrNotFound
	}
	return r.entry(key), nil
}

// List implements coordinator.Coordinator.
func (c *Coordinator) List(ctx context.Context, prefix, after string, limit int) ([]coordinator.Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usableLocked(ctx); err != nil {
		return nil, err
	}
	var found []coordinator.Entry
	i, _ := slices.BinarySearch(c.mu.keys, max(prefix, after))
	for _, key := range c.mu.keys[i:] {
		if len(found) >= limit || !strings.HasPrefix(key, prefix) {
			break
		}
		if key > after {
			found = append(found, c.mu.rows[key].entry(key))
		}
	}
	return found, nil
}

// Put implements coordinator.Coordinator.
func (c *Coordinator) Put(ctx context.Context, key string, value []byte, expect coordinator.Version) (coordinator.Version, error) {
	if err := coordinator.Check(key, value); err != nil {
		return 0, err
	}
	kept := append([]byte{}, value...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usableLocked(ctx); err != nil {
		return 0, err
	}
	old, existed := c.mu.rows[key]
	if old.version != expect {
		return 0, coordinator.ErrConflict
	}
	c.mu.version++
	c.mu.rows[key] = row{value: kept, version: c.mu.version}
	if !existed {
		i, _ := slices.BinarySearch(c.mu.keys, key)
		c.mu.keys = slices.Insert(c.mu.keys, i, key)
	}
	for w := range c.mu.watchers {
		w.putLocked(key, c.mu.version, existed)
	}
	return c.mu.version, nil
}

// Delete implements coordinator.Coordinator.
func (c *Coordinator) Delete(ctx context.Context, key string, expect coordinator.Version) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usableLocked(ctx); err != nil {
		return err
	}
	old, ok := c.mu.rows[key]
	if !ok || old.version != expect {
		return coordinator.ErrConflict
	}
	c.mu.version++
	delete(c.mu.rows, key)
	i, _ := slices.BinarySearch(c.mu.keys, key)
	c.mu.keys = slices.Delete(c.mu.keys, i, i+1)
	for w := range c.mu.watchers {
		w.deletedLocked(key, c.mu.version)
	}
	return nil
}

// Watch implements coordinator.Coordinator.
func (c *Coordinator) Watch(ctx context.Context, prefix string) (coordinator.Watcher, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usableLocked(ctx); err != nil {
		return nil, err
	}
	w := newWatcher(c, prefix)
	for key, r := range c.mu.rows {
		w.putLocked(key, r.version, false)
	}
	c.mu.watchers[w] = struct{}{}
	return w, nil
}

// Close implements coordinator.Coordinator.
func (c *Coordinator) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.closed = true
	for w := range c.mu.watchers {
		w.endLocked()
	}
	return nil
}

// usableLocked returns why a call must not begin. REQUIRES: c.mu held.
func (c *Coordinator) usableLocked(ctx context.Context) error {
	if c.mu.closed {
		return coordinator.ErrClosed
	}
	return ctx.Err()
}

func (r row) entry(key string) coordinator.Entry {
	return coordinator.Entry{Key: key, Value: bytes.Clone(r.value), Version: r.version}
}
