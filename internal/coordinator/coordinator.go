// Package coordinator is the contract for small shared state: versioned keys with single-key
// compare-and-set and watch, and leases made of them. Streams, shards and consumers are rows here.
//
// It is not a database: there are no transactions across keys, no queries but by prefix, and
// values stay under MaxValue, so domains keep one row a shard and make multi-row changes
// resumable. Engines live below (mem, disk, jetstream) and pass the kit in coordinatortest; lease
// is built on the contract alone.
//
// A change is a read, a decision and a conditional write, again from the start on a conflict:
//
//	for {
//		e, err := c.Get(ctx, key)
//		…
//		_, err = c.Put(ctx, key, change(e.Value), e.Version)
//		if !errors.Is(err, coordinator.ErrConflict) {
//			return err
//		}
//	}
package coordinator

import (
	"context"
	"errors"
	"unicode/utf8"
)

const (
	// MaxValue is the largest value in bytes a key may hold.
	MaxValue = 512 << 10
	// MaxKey is the longest key in bytes.
	MaxKey = 1 << 10
)

// Version identifies one state of a key. Versions rise with every write and deletion in the
// coordinator, of any key, so that watchers can order them; a key created again never returns to a
// version it had before. 0 means that the key does not exist.
type Version uint64

// Entry is a key and one state of it. In a watch, a deleted key has a nil Value and the version of
// its deletion; everywhere else Value is not nil, even when it is empty.
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
	// ErrKey says that a key to write is empty, longer than MaxKey or not UTF-8.
	ErrKey = errors.New("coordinator: invalid key")
	// ErrTooLarge says that the value exceeds MaxValue.
	ErrTooLarge = errors.New("coordinator: value too large")
	// ErrClosed says that the coordinator or the watcher has been closed.
	ErrClosed = errors.New("coordinator: closed")
)

// Coordinator is safe for concurrent use. Values passed in are copied and values handed out are
// the caller's. Keys are non-empty UTF-8 of at most MaxKey bytes; "/" separates levels by
// convention only. A call whose context is done before it begins returns the context's error and
// changes nothing; if the context ends later, the outcome of a write is unknown and the caller
// reads the key to learn it.
type Coordinator interface {
	// Get returns the current state of key, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// List returns up to limit entries whose key starts with prefix and is greater than after, in
	// byte order of keys. Fewer than limit means the end. Writes that run meanwhile may or may
	// not show.
	List(ctx context.Context, prefix, after string, limit int) ([]Entry, error)
	// Put sets key if it is still at version expect (0: if it does not exist) and returns the new
	// version; otherwise ErrConflict. When it returns nil the write is durable, and every Get and
	// List that begins afterwards sees it.
	Put(ctx context.Context, key string, value []byte, expect Version) (Version, error)
	// Delete removes key if it is still at version expect; otherwise, and always if the key does
	// not exist, ErrConflict.
	Delete(ctx context.Context, key string, expect Version) error
	// Watch reports the current state of every key that starts with prefix and then each later
	// change, in version order. A series of changes to one key may be reported as its last, and a
	// key that came and went may not be reported at all; so a watcher that does not keep up
	// costs no more than the keys there are, and never delays a writer. ctx bounds this call, not
	// the watcher, which lives until it is closed.
	Watch(ctx context.Context, prefix string) (Watcher, error)
	// Close releases the coordinator and ends its watchers; every later call returns ErrClosed,
	// except Close.
	Close() error
}

// Watcher is one stream of changes. Next is for one goroutine; Close is for any.
type Watcher interface {
	// Next blocks until something changed and returns it, at least one entry. It returns the
	// context's error when ctx is done, losing nothing, and ErrClosed once the watcher or
	// coordinator is closed. It does not tell where the initial state ends: who must know lists.
	Next(ctx context.Context) ([]Entry, error)
	// Close ends the watch; a blocked Next returns ErrClosed.
	Close() error
}

// Check returns ErrKey or ErrTooLarge, or nil if key and value may be written. Engines call it
// first in Put.
func Check(key string, value []byte) error {
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) {
		return ErrKey
	}
	if len(value) > MaxValue {
		return ErrTooLarge
	}
	return nil
}
