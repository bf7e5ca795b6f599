// Package mem is the object store that keeps everything in memory: for development and tests.
// Nothing survives the process.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
)

// Bucket implements objectstore.Bucket. Use New.
type Bucket struct {
	clock clock.Clock
	room  int64

	mu struct {
		sync.Mutex
		objects map[string]object
		keys    []string // of objects, sorted, for List
		size    int64
	}
}

// object is a stored object. Its data is never changed, so that open bodies may share it.
type object struct {
	info objectstore.Info
	data []byte
}

// New returns an empty bucket that takes room bytes in all, or any number if room is 0. Objects are
// dated by c.
func New(c clock.Clock, room int64) *Bucket {
	b := &Bucket{clock: c, room: room}
	b.mu.objects = make(map[string]object)
	return b
}

// Put implements objectstore.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	if err := usable(ctx, key); err != nil {
		return objectstore.Info{}, err
	}
	if b.room > 0 {
		// One byte more than can fit is enough to know.
		body = io.LimitReader(body, b.room+1)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return objectstore.Info{}, fmt.Errorf("read object body: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return objectstore.Info{}, err
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	old, existed := b.mu.objects[key]
	size := b.mu.size - old.info.Size + int64(len(data))
	if b.room > 0 && size > b.room {
		return objectstore.Info{}, objectstore.ErrFull
	}
	info := objectstore.Info{Key: key, Size: int64(len(data)), Modified: b.clock.Now()}
	b.mu.objects[key] = object{info: info, data: data}
	b.mu.size = size
	if !existed {
		i, _ := slices.BinarySearch(b.mu.keys, key)
		b.mu.keys = slices.Insert(b.mu.keys, i, key)
	}
	return info, nil
}

// Get implements objectstore.Bucket.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	o, err := b.object(ctx, key)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > o.info.Size {
		return nil, objectstore.ErrRange
	}
	data := o.data[offset:]
	if length >= 0 && length < int64(len(data)) {
		data = data[:length]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Stat implements objectstore.Bucket.
func (b *Bucket) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	o, err := b.object(ctx, key)
	return o.info, err
}

// List implements objectstore.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]objectstore.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []objectstore.Info
	i, _ := slices.BinarySearch(b.mu.keys, max(prefix, after))
	for _, key := range b.mu.keys[i:] {
		if len(found) >= limit || !strings.HasPrefix(key, prefix) {
			break
		}
		if key > after {
			found = append(found, b.mu.objects[key].info)
		}
	}
	return found, nil
}

// Delete implements objectstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.mu.objects[key]
	if !ok {
		return nil
	}
	delete(b.mu.objects, key)
	b.mu.size -= o.info.Size
	i, _ := slices.BinarySearch(b.mu.keys, key)
	b.mu.keys = slices.Delete(b.mu.keys, i, i+1)
	return nil
}

func (b *Bucket) object(ctx context.Context, key string) (object, error) {
	if err := usable(ctx, key); err != nil {
		return object{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.mu.objects[key]
	if !ok {
		return object{}, objectstore.ErrNotFound
	}
	return o, nil
}

// usable returns why a call must not begin.
func usable(ctx context.Context, key string) error {
	if err := objectstore.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}
