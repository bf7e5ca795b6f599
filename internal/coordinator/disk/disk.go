// Package disk is the coordinator engine that survives: a table of rows kept as a journal, so that
// its commands ride in the groups of the lane that carries the records, and its snapshots lie in a
// bucket. It is for one process at a time and keeps all rows in memory; it has no files of its own.
// docs/format/coordinator.md draws its commands and snapshots.
//
//	c, err := disk.Open(ctx, disk.Config{Log: store, Registry: store, Bucket: bucket, Shard: id})
package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/journal"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/shardlog"
)

// name is the journal's name in the bucket.
const name = "coordinator"

// Config says what a coordinator stands on. The first four fields are required.
type Config struct {
	Log      shardlog.Log
	Registry shardlog.Registry
	Bucket   objectstore.Bucket
	// Shard is the log of the coordinator's commands. Nobody else uses it.
	Shard shardlog.ShardID
	// SnapshotBytes is journal.Config.SnapshotBytes.
	SnapshotBytes int64
	// Events tells the owner what no caller is told.
	Events journal.Events
}

// Coordinator implements coordinator.Coordinator. Use Open.
//
// A write is a command that holds the version it expects; the table decides when the command is
// applied, which is after it is durable. A write that the rows refuse already is not proposed: so a
// lost race costs the log something only when both were on their way together.
//
// Beside the contract's errors a write may answer shardlog.ErrFull: the log has no room, and
// nothing changed. Once the log has failed every call answers with its error.
//
// Locks: the journal's before watchers.
type Coordinator struct {
	table   *table
	journal *journal.Journal[outcome]

	watchers struct {
		sync.Mutex
		set map[*watcher]struct{}
		// ended is what watchers answer once the coordinator is closed or has failed.
		ended error
	}
}

var _ coordinator.Coordinator = (*Coordinator)(nil)

// Open recovers the coordinator, or makes an empty one. Errors are those of journal.Open.
func Open(ctx context.Context, cfg Config) (*Coordinator, error) {
	c := &Coordinator{table: newTable()}
	c.watchers.set = make(map[*watcher]struct{})
	c.table.changed = c.tell
	events := cfg.Events
	events.Failed = func(err error) {
		c.endWatchers(err)
		if f := cfg.Events.Failed; f != nil {
			f(err)
		}
	}
	j, err := journal.Open(ctx, journal.Config{
		Log: cfg.Log, Registry: cfg.Registry, Bucket: cfg.Bucket, Shard: cfg.Shard, Name: name,
		SnapshotBytes: cfg.SnapshotBytes, Events: events,
	}, c.table)
	if err != nil {
		return nil, fmt.Errorf("open coordinator: %w", err)
	}
	c.journal = j
	return c, nil
}

// Get implements coordinator.Coordinator.
func (c *Coordinator) Get(ctx context.Context, key string) (coordinator.Entry, error) {
	var r row
	if err := c.view(ctx, func() { r = c.table.rows[key] }); err != nil {
		return coordinator.Entry{}, err
	}
	if r.version == 0 {
		return coordinator.Entry{}, coordinator.ErrNotFound
	}
	return r.entry(key), nil
}

// List implements coordinator.Coordinator.
func (c *Coordinator) List(ctx context.Context, prefix, after string, limit int) ([]coordinator.Entry, error) {
	var found []coordinator.Entry
	if err := c.view(ctx, func() { found = c.table.list(prefix, after, limit) }); err != nil {
		return nil, err
	}
	own(found)
	return found, nil
}

// Put implements coordinator.Coordinator.
func (c *Coordinator) Put(ctx context.Context, key string, value []byte, expect coordinator.Version) (coordinator.Version, error) {
	if err := coordinator.Check(key, value); err != nil {
		return 0, err
	}
	return c.write(ctx, message{kind: kindPut, number: uint64(expect), key: key, value: value})
}

// Delete implements coordinator.Coordinator.
func (c *Coordinator) Delete(ctx context.Context, key string, expect coordinator.Version) error {
	_, err := c.write(ctx, message{kind: kindDelete, number: uint64(expect), key: key})
	return err
}

// write proposes a command that the rows do not refuse as they are now.
func (c *Coordinator) write(ctx context.Context, m message) (coordinator.Version, error) {
	refused := false
	if err := c.view(ctx, func() { refused = c.table.refuses(&m) }); err != nil {
		return 0, err
	}
	if refused {
		return 0, coordinator.ErrConflict
	}
	result, err := c.journal.Propose(ctx, m.append(nil))
	switch {
	case err != nil:
		return 0, closed(err)
	case result.conflict:
		return 0, coordinator.ErrConflict
	}
	return result.version, nil
}

// Watch implements coordinator.Coordinator.
func (c *Coordinator) Watch(ctx context.Context, prefix string) (coordinator.Watcher, error) {
	w := newWatcher(c, prefix)
	var ended error
	err := c.view(ctx, func() {
		c.watchers.Lock()
		defer c.watchers.Unlock()
		if ended = c.watchers.ended; ended == nil {
			w.startLocked(c.table)
			c.watchers.set[w] = struct{}{}
		}
	})
	if err = errors.Join(err, ended); err != nil {
		return nil, err
	}
	return w, nil
}

// Hold is journal.Journal's Hold, for whoever backs the rows up.
func (c *Coordinator) Hold(ctx context.Context) (newest objectstore.Info, release func(), err error) {
	return c.journal.Hold(ctx)
}

// Close implements coordinator.Coordinator. It closes neither log nor bucket.
func (c *Coordinator) Close() error {
	c.endWatchers(coordinator.ErrClosed)
	return c.journal.Close()
}

// tell notes a change of the table for those who watch. The journal's lock is held.
func (c *Coordinator) tell(ch change) {
	c.watchers.Lock()
	defer c.watchers.Unlock()
	for w := range c.watchers.set {
		w.noteLocked(ch)
	}
}

func (c *Coordinator) endWatchers(why error) {
	c.watchers.Lock()
	defer c.watchers.Unlock()
	if c.watchers.ended == nil {
		c.watchers.ended = why
	}
	for w := range c.watchers.set {
		w.endLocked()
	}
}

// view calls f with the table at rest. What it shows is durable.
func (c *Coordinator) view(ctx context.Context, f func()) error {
	if err := c.journal.View(func() {}); err != nil {
		return closed(err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return closed(c.journal.View(f))
}

// closed gives the journal's closing the contract's name.
func closed(err error) error {
	if errors.Is(err, journal.ErrClosed) {
		return coordinator.ErrClosed
	}
	return err
}

// own gives the caller copies of the values, made without a lock: rows are never changed in place.
func own(entries []coordinator.Entry) {
	for i := range entries {
		if e := &entries[i]; e.Value != nil {
			e.Value = bytes.Clone(e.Value)
		}
	}
}
