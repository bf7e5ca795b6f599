// Package held is a bucket whose objects can be kept from deletion for a while, so that somebody can
// copy them while their owner goes on. It stores nothing itself, and knows nothing of what objects are
// for.
//
//	b := held.New(bucket)           // what the owner uses
//	hold := b.Hold()                // from here on nothing is deleted
//	defer hold.Release()
//	hold.Only(keys)                 // and from here on, of what was there, only these stay
//	body, err := hold.Get(ctx, key)
//
// An owner deletes what it does not want, and is told ErrHeld if that has to wait: it tries again
// later, as after any other error. A process that ends holds nothing.
package held

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/headrace/headrace/internal/objectstore"
)

var (
	// ErrHeld says that an object cannot be deleted now because somebody holds it.
	ErrHeld = errors.New("held: the object is held")
	// ErrGivenUp says that a hold has ended because the bucket is full, and objects that were to be
	// deleted were there for the hold only.
	ErrGivenUp = errors.New("held: room was short, and what was held has been given up for what is written")
	// ErrReleased says that a hold has been released.
	ErrReleased = errors.New("held: released")
)

// Bucket is another bucket, some of whose objects are held. It is safe for concurrent use.
//
// What is held takes room that its owner wants back. So when the bucket is full, or its owner says that
// room is short, holds end that keep something from being deleted: who writes comes before who copies.
type Bucket struct {
	objectstore.Bucket

	mu struct {
		sync.Mutex
		holds map[*Hold]bool
		// short is what Short said last.
		short bool
	}
}

// New returns a bucket of which nothing is held.
func New(b objectstore.Bucket) *Bucket {
	held := &Bucket{Bucket: b}
	held.mu.holds = make(map[*Hold]bool)
	return held
}

// Hold is one hold. It is safe for concurrent use.
type Hold struct {
	bucket *Bucket

	// Guarded by the bucket's lock:

	// keys are what is held, nil for everything.
	keys map[string]bool
	// blocks says that something would be gone without it.
	blocks bool
	ended  error
}

// Hold keeps every object from deletion until Only or Release. Put may still replace one.
func (b *Bucket) Hold() *Hold {
	h := &Hold{bucket: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.holds[h] = true
	return h
}

// Only lets go of all objects but these.
func (h *Hold) Only(keys []string) {
	held := make(map[string]bool, len(keys))
	for _, key := range keys {
		held[key] = true
	}
	h.bucket.mu.Lock()
	defer h.bucket.mu.Unlock()
	h.keys, h.blocks = held, false
}

// Release lets go of everything. Releasing again does nothing. Bodies that were opened before stay
// readable.
func (h *Hold) Release() {
	h.bucket.mu.Lock()
	defer h.bucket.mu.Unlock()
	h.endLocked(ErrReleased)
}

// endLocked REQUIRES: the bucket's lock held.
func (h *Hold) endLocked(why error) {
	delete(h.bucket.mu.holds, h)
	if h.ended == nil {
		h.ended = why
	}
}

// Get opens an object that is held. The error is ErrGivenUp once the bucket was full, ErrReleased
// after Release, or the bucket's own.
func (h *Hold) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := h.bucket.Get(ctx, key, 0, -1)
	h.bucket.mu.Lock()
	defer h.bucket.mu.Unlock()
	if h.ended == nil {
		return body, err
	}
	if err == nil {
		err = body.Close()
	} else if errors.Is(err, objectstore.ErrNotFound) {
		err = nil // that is why
	}
	return nil, errors.Join(h.ended, err)
}

// Delete implements objectstore.Bucket, or answers ErrHeld.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if b.holds(key) {
		return fmt.Errorf("delete object %q: %w", key, ErrHeld)
	}
	return b.Bucket.Delete(ctx, key)
}

// holds says whether some hold has the key, and notes that it was asked for.
func (b *Bucket) holds(key string) (held bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h := range b.mu.holds {
		switch {
		case h.keys == nil: // for as long as it takes to find out what to hold
			h.blocks, held = true, true
		case h.keys[key] && b.mu.short:
			h.endLocked(ErrGivenUp)
		case h.keys[key]:
			h.blocks, held = true, true
		}
	}
	return held
}

// Short says whether room is short: then holds of certain objects end with the first of them that is
// to be deleted.
func (b *Bucket) Short(short bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.short = short; !short {
		return
	}
	for h := range b.mu.holds {
		if h.blocks && h.keys != nil {
			h.endLocked(ErrGivenUp)
		}
	}
}

// Put implements objectstore.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	info, err := b.Bucket.Put(ctx, key, body)
	if errors.Is(err, objectstore.ErrFull) {
		b.giveUp()
	}
	return info, err
}

// giveUp ends the holds that cost room.
func (b *Bucket) giveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h := range b.mu.holds {
		if h.blocks {
			h.endLocked(ErrGivenUp)
		}
	}
}
