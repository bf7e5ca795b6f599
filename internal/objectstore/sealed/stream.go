package sealed

import (
	"errors"
	"fmt"
	"io"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/secret"
)

// sealer yields the chunks of what another reader yields.
type sealer struct {
	from   io.Reader
	cipher *objectCipher
	// plain has room for a chunk and one byte more, which says that the chunk is not the last; held bytes
	// of it are filled.
	plain []byte
	held  int
	// chunk is the memory of a chunk, out what of it was not yielded yet.
	chunk, out []byte
	number     uint64
	// size is how many bytes of the object were sealed.
	size int64
	err  error
}

// Read implements io.Reader.
func (s *sealer) Read(p []byte) (int, error) {
	if len(s.out) == 0 && s.err == nil {
		s.next()
	}
	if len(s.out) == 0 {
		return 0, s.err
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// Piece implements objectstore.Paced: pieces of chunks are about as long as pieces of what is in them.
func (s *sealer) Piece() int { return objectstore.PieceOf(s.from) }

// next seals the next chunk, or sets err: to io.EOF behind the last.
func (s *sealer) next() {
	n, last, err := fill(s.from, s.plain[s.held:])
	s.held += n
	if err != nil {
		s.err = err
		return
	}
	size := min(s.held, plainBytes)
	s.out = s.cipher.seal(s.chunk[:0], s.plain[:size], s.number, last)
	s.number, s.size = s.number+1, s.size+int64(size)
	if last {
		s.err = io.EOF
		return
	}
	s.plain[0], s.held = s.plain[plainBytes], 1
}

// fill reads until b is full or from ends. io.ReadFull would not do: whoever yields io.ErrUnexpectedEOF has
// not ended but failed.
func fill(from io.Reader, b []byte) (n int, ended bool, err error) {
	for n < len(b) {
		m, err := from.Read(b[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// body yields a range of an object. Nothing of a chunk is given out before all of it was opened.
type body struct {
	bucket *Bucket
	inner  io.ReadCloser
	key    string
	cipher *objectCipher // of the first chunk that was read
	number uint64        // of the next chunk
	// left is how many bytes are still wanted, negative for all to the end.
	left int64
	last bool // the last chunk has been read
	// empty says that inner had nothing at all.
	empty bool
	buf   *[]byte
	data  []byte // opened and not yet given out
	err   error
}

// begin reads the first chunk. An error is kept for Read.
func (r *body) begin(skip int64) {
	r.advance()
	switch {
	case r.err != nil, r.empty:
	case skip > int64(len(r.data)) && !r.last:
		r.data, r.err = nil, r.wrap(fmt.Errorf("%w: its end is missing", objectstore.ErrCorrupt))
	case skip > int64(len(r.data)):
		r.data, r.err = nil, objectstore.ErrRange
	default:
		r.data = r.data[skip:]
		r.cut()
	}
}

// cut drops of data what is not wanted.
func (r *body) cut() {
	if r.left >= 0 && int64(len(r.data)) > r.left {
		r.data = r.data[:r.left]
	}
}

// Read implements io.Reader.
func (r *body) Read(p []byte) (int, error) {
	for len(r.data) == 0 && r.err == nil {
		switch {
		case r.left == 0:
			r.err = io.EOF
		case r.last:
			r.err = r.end()
		default:
			r.advance()
			r.cut()
		}
	}
	if len(r.data) == 0 {
		return 0, r.err
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	if r.left > 0 {
		r.left -= int64(n)
	}
	return n, nil
}

// end is io.EOF if nothing stands behind the last chunk.
func (r *body) end() error {
	n, _, err := fill(r.inner, (*r.buf)[:1])
	switch {
	case err != nil:
		return err
	case n > 0:
		return r.wrap(fmt.Errorf("%w: there is more behind its end", objectstore.ErrCorrupt))
	}
	return io.EOF
}

// advance opens the next chunk, or sets err.
func (r *body) advance() {
	n, _, err := fill(r.inner, (*r.buf)[:ChunkBytes])
	if err != nil {
		r.err = err
		return
	}
	if r.empty = n == 0 && r.cipher == nil; r.empty && r.number > 0 {
		return // whoever began here has to look further in front
	}
	if r.data, err = r.open((*r.buf)[:n]); err != nil {
		r.err = r.wrap(err)
		return
	}
	r.number++
}

// open opens a chunk in place.
func (r *body) open(stored []byte) ([]byte, error) {
	if len(stored) == 0 {
		return nil, fmt.Errorf("%w: its end is missing", objectstore.ErrCorrupt)
	}
	h, err := parse(stored, r.number)
	if err != nil {
		return nil, err
	}
	switch {
	case h.id != r.bucket.id:
		return nil, fmt.Errorf("%w: its id is %x, and that of the one given %x", secret.ErrOtherKey, h.id, r.bucket.id)
	case r.cipher == nil:
		r.cipher = r.bucket.cipher(r.key, h.salt)
	case r.cipher.salt != h.salt:
		return nil, fmt.Errorf("%w: it has parts of another object", objectstore.ErrCorrupt)
	}
	r.last = h.last
	return r.cipher.open(stored, h, r.number)
}

// wrap says where an error is.
func (r *body) wrap(err error) error {
	return fmt.Errorf("open object %q, chunk %d: %w", r.key, r.number, err)
}

// Close implements io.Closer.
func (r *body) Close() error {
	if r.buf != nil {
		r.bucket.readers.Put(r.buf)
	}
	if r.err == nil || r.err == io.EOF {
		r.err = errClosed
	}
	r.buf, r.data = nil, nil
	return r.inner.Close()
}

// errClosed is what a body answers after Close.
var errClosed = errors.New("objectstore: body is closed")
