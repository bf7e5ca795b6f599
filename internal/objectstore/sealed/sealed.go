// Package sealed is a bucket on top of another bucket in which every object is encrypted: what lies below
// sees keys, times and about how long objects are, and no byte of one. docs/format/encryption.md draws
// an object.
//
// It is not an engine, and keeps nothing itself. It does not hide keys, and it cannot tell that an object
// was put back to what it was earlier.
//
//	b := sealed.New(inner, key, "blocks")
//
// An object is a row of chunks, each of which can be read without the others: a range costs the chunks
// that it touches, in one call to the bucket below. A chunk says with which salt the object's key was
// derived and whether it is the last, and opens only under its number, in an object of its key. So chunks
// that are swapped, left out or of two versions of an object are damage, and so is an object whose end is
// missing, to whoever reads that far.
package sealed

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/secret"
)

// Bucket implements objectstore.Bucket. Use New. Sizes that it reports are those of what was put.
type Bucket struct {
	inner objectstore.Bucket
	key   secret.Key
	id    [keyIDSize]byte
	name  string
	// buffers are *[]byte of ChunkBytes, twice that for a Put.
	readers, writers sync.Pool
}

var _ objectstore.Bucket = (*Bucket)(nil)

// New returns a bucket over inner. Objects are sealed under keys that depend on key and on name, which
// says which bucket of an installation this is.
func New(inner objectstore.Bucket, key secret.Key, name string) *Bucket {
	b := &Bucket{inner: inner, key: key, name: name}
	if n, err := hex.Decode(b.id[:], []byte(key.ID())); n != keyIDSize || err != nil {
		panic("sealed: a key's id has another length") // which is a constant
	}
	b.readers.New = func() any { return newBuffer(ChunkBytes) }
	b.writers.New = func() any { return newBuffer(plainBytes + 1 + ChunkBytes) }
	return b
}

func newBuffer(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

// Put implements objectstore.Bucket. It holds two chunks in memory.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader) (objectstore.Info, error) {
	if err := objectstore.CheckKey(key); err != nil {
		return objectstore.Info{}, err
	}
	buf := b.writers.Get().(*[]byte)
	defer b.writers.Put(buf)
	var salt [saltSize]byte
	rand.Read(salt[:]) // never fails
	s := &sealer{from: body, cipher: b.cipher(key, salt), plain: (*buf)[:plainBytes+1], chunk: (*buf)[plainBytes+1:]}
	info, err := b.inner.Put(ctx, key, s)
	if err != nil {
		return objectstore.Info{}, err
	}
	info.Size = s.size
	return info, nil
}

// Get implements objectstore.Bucket. The first chunk of the range is opened at once: an object that was
// sealed under another key is secret.ErrOtherKey.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || offset/plainBytes > math.MaxInt64/ChunkBytes-2 {
		// No object is as long: inner says whether there is one at all.
		body, err := b.inner.Get(ctx, key, max(-1, offset), 0)
		if err == nil {
			_ = body.Close() // nothing was read
			err = objectstore.ErrRange
		}
		return nil, err
	}
	first, skip := offset/plainBytes, offset%plainBytes
	r, err := b.open(ctx, key, first, skip, length)
	if err == nil && r.empty && first > 0 {
		// The object ends here, or is cut here. The chunk before says which.
		if err = r.Close(); err == nil {
			r, err = b.open(ctx, key, first-1, plainBytes+skip, length)
		}
	}
	if err == nil && r.err != nil && r.err != io.EOF {
		_ = r.Close() // it has failed already
		err = r.err
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// open opens an object from a chunk on and reads that, whose first skip bytes are not wanted.
func (b *Bucket) open(ctx context.Context, key string, first, skip, length int64) (*body, error) {
	stored := int64(-1)
	if length >= 0 && length <= math.MaxInt64/2 {
		chunks := max(1, (skip+length+plainBytes-1)/plainBytes)
		if chunks < math.MaxInt64/ChunkBytes {
			stored = chunks * ChunkBytes
		}
	}
	inner, err := b.inner.Get(ctx, key, first*ChunkBytes, stored)
	if err != nil {
		return nil, err
	}
	r := &body{bucket: b, inner: inner, key: key, number: uint64(first), left: length, buf: b.readers.Get().(*[]byte)}
	r.begin(skip)
	return r, nil
}

// Stat implements objectstore.Bucket. ErrCorrupt if no sealed object has the size of this one.
func (b *Bucket) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	info, err := b.inner.Stat(ctx, key)
	if err != nil {
		return objectstore.Info{}, err
	}
	size, ok := plainSize(info.Size)
	if !ok {
		return objectstore.Info{}, fmt.Errorf("open object %q: %w: no sealed object has %d bytes", key, objectstore.ErrCorrupt, info.Size)
	}
	info.Size = size
	return info, nil
}

// List implements objectstore.Bucket. An object that cannot be one by its size is listed with size 0.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]objectstore.Info, error) {
	infos, err := b.inner.List(ctx, prefix, after, limit)
	if err != nil {
		return nil, err
	}
	own := make([]objectstore.Info, len(infos)) // the slice may be inner's
	for i, info := range infos {
		own[i] = info
		own[i].Size, _ = plainSize(info.Size)
	}
	return own, nil
}

// Delete implements objectstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error { return b.inner.Delete(ctx, key) }

// Reader opens what a whole stored object yields, for who has it from elsewhere than a bucket. It is not
// used after its first error. Close closes nothing else.
func (b *Bucket) Reader(key string, stored io.Reader) io.ReadCloser {
	r := &body{bucket: b, inner: io.NopCloser(stored), key: key, left: -1, buf: b.readers.Get().(*[]byte)}
	r.begin(0)
	return r
}
