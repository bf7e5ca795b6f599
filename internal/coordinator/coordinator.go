// Package coordinator is the contract for small shared state: versioned keys with single-key
// compare-and-set and watch, and leases made of them. Streams, shards and consumers are rows here.
//
// It is not a database: there are no transactions across keys, no queries but by prefix, and
// values stay under MaxValue, so domains keep one row a shard and make multi-row changes
// resumable. Engines live below (mem, disk, jetstream) and pass the kit in coordinatortest.
package coordinator

import (
	"context"
	"errors"
)

// MaxValue is the largest value in bytes a key may hold.
const MaxValue = 512 << 10

// Version identifies one state of a key. Versions rise with every write to the coordinator, to any
// key, so that watchers can order them. 0 means that the key does not exist.
type Version uint64

// Entry is a key and one state of it. In a watch, a deleted key has a nil Value.
type Entry struct {
	Key     string
	Value   []byte
	Version Version
}

var (
	// ErrConflict says that the key is not at the expected version; the caller reads it again and
	// decides anew.
	ErrConflict = errors.New("coordinator: version conflict")
	// ErrNotFound says that the key does not exist.
	ErrNotFound = errors.New("coordinator: no such key")
	// ErrTooLarge says that the value exceeds MaxValue.
	ErrTooLarge = errors.New("coordinator: value too large")
	// ErrClosed says that the coordinator has been closed.
	ErrClosed = errors.New("coordinator: closed")
)

// Coordinator is safe for concurrent use. Values passed in are copied and values handed out are
// the caller's. Keys are non-empty UTF-8 of at most 1 KiB; "/" separates levels by convention only.
type Coordinator interface {
	// Get returns the current state of key, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// List returns up to limit entries whose key starts with prefix and is greater than after, in
	// key order. Fewer than limit means the end.
	List(ctx context.Context, prefix, after string, limit int) ([]Entry, error)
	// Put sets key if it is still at version expect (0: if it does not exist) and returns the new
	// version; otherwise ErrConflict. When it returns nil the write is durable.
	Put(ctx context.Context, key string, value []byte, expect Version) (Version, error)
	// Delete removes key if it is still at version expect; otherwise ErrConflict.
	Delete(ctx context.Context, key string, expect Version) error
	// Watch reports the current state of every key under prefix and then each later change, in
	// version order a key; a fast series of changes to one key may be reported as its last.
	Watch(ctx context.Context, prefix string) (Watcher, error)
	// Close releases the coordinator and ends its watchers.
	Close() error
}

// Watcher is one stream of changes. It is for one goroutine.
type Watcher interface {
	// Next blocks until something changed and returns it, at least one entry. It returns the
	// context's error when ctx is done and ErrClosed once the watcher or coordinator is closed.
	Next(ctx context.Context) ([]Entry, error)
	// Close ends the watch; a blocked Next returns ErrClosed.
	Close() error
}
