package dir

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/vfs"
)

// batchBlocks is how many blocks are read in one call.
const batchBlocks = 4

// openObject opens the object's file and reads its header.
func (b *Bucket) openObject(name, key string) (_ vfs.File, h header, err error) {
	f, err := b.fs.Open(name, vfs.ReadOnly)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil, header{}, objectstore.ErrNotFound
	}
	if err != nil {
		return nil, header{}, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("read object file %q: %w", name, errors.Join(err, f.Close()))
		}
	}()
	size, err := f.Size()
	if err != nil {
		return nil, header{}, err
	}
	start := make([]byte, min(size, headerBytes(key)))
	if _, err = f.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, header{}, err
	}
	if h, err = parseHeader(start, size); err != nil {
		return nil, header{}, err
	}
	if h.key != key {
		return nil, header{}, fmt.Errorf("%w: it holds the object %q", objectstore.ErrCorrupt, h.key)
	}
	return f, h, nil
}

// body yields a range of an object, verified block by block before any of it is given out.
type body struct {
	f    vfs.File
	name string
	pool *sync.Pool
	h    header
	// next is the first byte of the object not yet in stored, end the first not asked for.
	next, end int64
	// buf is the pooled buffer; stored the blocks in it that were not looked at yet, the first of
	// which has the given number.
	buf    *[]byte
	stored []byte
	number int64
	// skip is how many bytes of the next block lie before the range.
	skip int64
	// data is verified and not yet given out.
	data []byte
	err  error
}

// Read implements io.Reader.
func (r *body) Read(p []byte) (int, error) {
	for len(r.data) == 0 {
		n, err := 0, r.err
		if err == nil {
			n, err = r.advance(p)
			r.err = err
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// advance puts the rest of the next block that is in the range into data, or into p if that has room
// for all of the block, and then returns how much that is.
func (r *body) advance(p []byte) (int, error) {
	if len(r.stored) == 0 {
		if r.next >= r.end {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, fmt.Errorf("read object file %q: %w", r.name, err)
		}
	}
	stored := r.stored[:min(len(r.stored), strideBytes)]
	n := len(stored) - checksumBytes
	wanted := min(int64(n), r.end-r.number*blockBytes)
	given, err := 0, error(nil)
	if r.skip == 0 && wanted == int64(n) && len(p) >= n {
		given, err = n, copyVerified(p, stored, r.number)
	} else {
		r.data, err = stored[r.skip:wanted], verify(stored, r.number)
	}
	if err != nil {
		r.data = nil
		return 0, fmt.Errorf("read object file %q: %w", r.name, err)
	}
	r.stored, r.number, r.skip = r.stored[len(stored):], r.number+1, 0
	return given, nil
}

// fill reads the blocks from the one that holds next on.
func (r *body) fill() error {
	r.number = r.next / blockBytes
	r.skip = r.next % blockBytes
	last := min(r.number+batchBlocks-1, (r.end-1)/blockBytes)
	stop := min((last+1)*blockBytes, r.h.size)
	n := stop - r.number*blockBytes + checksumBytes*(last-r.number+1)
	if int64(cap(*r.buf)) < n {
		*r.buf = make([]byte, n, batchBlocks*strideBytes)
	}
	stored := (*r.buf)[:n]
	if _, err := r.f.ReadAt(stored, headerBytes(r.h.key)+r.number*strideBytes); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: the file has become shorter", objectstore.ErrCorrupt)
		}
		return err
	}
	r.stored, r.next = stored, stop
	return nil
}

// Close implements io.Closer.
func (r *body) Close() error {
	if r.buf != nil {
		r.pool.Put(r.buf)
	}
	r.buf, r.stored, r.data, r.err = nil, nil, nil, vfs.ErrClosed
	return r.f.Close()
}
