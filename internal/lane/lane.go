// Package lane is the contract for the one place where an acknowledged byte becomes durable: a
// fenced, totally ordered log of record groups. A group carries chunks of many shards at once, so
// that one sync acknowledges everything that was waiting.
//
// A lane knows nothing of shards, records or what a group means: package shardlog writes groups
// and reads them back. Engines live below: mem keeps groups in memory, disk on recycled segments,
// jetstream on a replicated stream. Each passes the kit in lanetest.
package lane

import (
	"context"
	"errors"
)

// Position numbers the groups of a lane. Positions rise by one a group from 1 for the lane's whole
// life, through restarts and moves; a lane that is made for what was restored from a backup goes on
// where the backup ended. 0 stands before the first group.
type Position uint64

// Group is one durable unit. Payload is immutable: it may be shared between the lane and everyone
// who read it.
type Group struct {
	Position Position
	Payload  []byte
}

// Bounds says what a lane holds: the groups First to Next-1. An empty lane has First == Next.
type Bounds struct{ First, Next Position }

var (
	// ErrFenced says that somebody else has appended since the caller last did: the caller has
	// lost the lane, must acknowledge nothing more and stop.
	ErrFenced = errors.New("lane: fenced by another writer")
	// ErrFull says that the lane has no room until groups are trimmed; nothing was written and
	// the caller may try again.
	ErrFull = errors.New("lane: full")
	// ErrTooLarge says that a group exceeds MaxGroup; nothing was written.
	ErrTooLarge = errors.New("lane: group exceeds the lane's limit")
	// ErrTrimmed says that a position lies before the first group the lane still holds.
	ErrTrimmed = errors.New("lane: position is trimmed")
	// ErrClosed says that the lane has been closed.
	ErrClosed = errors.New("lane: closed")
	// ErrCorrupt says that what a lane holds is not what was appended; the error around it says where.
	ErrCorrupt = errors.New("lane: corrupt")
)

// Lane is a log of groups with one writer at a time. Append is called by one goroutine; the other
// methods are safe at any time from any goroutine.
//
// Any error from Append other than ErrFull, ErrTooLarge and a cancelled context before the write
// began leaves the outcome unknown and the lane unusable: the process must stop and recover.
type Lane interface {
	// MaxGroup is the largest payload in bytes that Append takes.
	MaxGroup() int
	// Keeps says whether the lane goes on using payloads after Append has returned. Where it does
	// not, the writer may do with their memory what it likes.
	Keeps() bool
	// Append makes payload durable as the group at position next, which must be the lane's
	// Bounds().Next as the caller knows it; if another writer got there first it returns
	// ErrFenced. When it returns nil the group has survived whatever the engine survives. The
	// lane may use payload for as long as it holds the group: the caller must not change it until
	// then, unless Keeps says otherwise.
	Append(ctx context.Context, next Position, payload []byte) error
	// Read returns groups in order from the given position, at least one if any exists there and
	// more while they fit in maxBytes. At the end it returns none. ErrTrimmed if from lies before
	// the first group held.
	Read(ctx context.Context, from Position, maxBytes int) ([]Group, error)
	// Bounds returns what the lane holds.
	Bounds(ctx context.Context) (Bounds, error)
	// TrimTo lets the lane forget every group before first. It never trims past the end and
	// trimming what is trimmed does nothing.
	TrimTo(ctx context.Context, first Position) error
	// Close releases the lane. Groups appended stay appended.
	Close() error
}
