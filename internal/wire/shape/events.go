package shape

import (
	"context"
	"errors"
	"time"
)

// ErrClientGone says that nobody takes the events of a stream any more.
var ErrClientGone = errors.New("the client of an event stream is gone")

// Events is the response of an operation that streams, once its initial response has been sent. Its
// methods are for the goroutine that was given it, but for Release.
type Events interface {
	// Format is the format of the events' payloads.
	Format() Format
	// Encode appends to dst an event of a type with v as its payload. What it appends depends on the
	// format alone, so that streams of one format may share it.
	Encode(dst []byte, eventType string, v Shape) []byte
	// Send sends whole events that were encoded, at once. It returns ErrClientGone when the client has
	// gone, or has taken nothing for too long; the bytes must not be changed then, for they may be read yet.
	Send(encoded []byte) error
	// Reserve takes memory for n bytes of events out of what all streams share, and waits for it no
	// longer than patience; it reports whether it came.
	Reserve(ctx context.Context, n int64, patience time.Duration) bool
	// Release gives back what was reserved, also by another stream. It may be called by any goroutine.
	Release(n int64)
}

// Push has f push the events of an operation that streams, after Handle has returned nil: everything that
// is wrong with the call must be said before. An *Error of f becomes the last message of the stream; nil
// ends it as one that has gone on for long enough. f must end when ctx is done, whatever it returns then.
// What Handle left to OnDone runs after f.
func (c *Call) Push(f func(ctx context.Context, to Events) error) { c.push = f }

// Pusher returns what was given to Push, nil if nothing was.
func (c *Call) Pusher() func(ctx context.Context, to Events) error { return c.push }
