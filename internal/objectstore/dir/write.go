package dir

import (
	"fmt"
	"io"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/vfs"
)

// writeBytes is how much of a file is written in one call, unless its body asks for less.
const writeBytes = 1 << 20

// writer writes an object's file from front to back with direct I/O. Through the system's cache it
// was several times slower: the cache has to grow by every byte of a file that nobody reads soon.
//
// Direct I/O is done in whole pages, so the file is written a little longer than it is and then cut,
// and the header, which is known last, is written with the page it stands on.
type writer struct {
	f     vfs.File
	buf   []byte // aligned; the first n bytes are the file's from offset at
	n     int
	at    int64
	head  []byte // aligned: the file's first page, once it has left buf
	block []byte // a block and its checksum
}

func newWriter() *writer {
	return &writer{buf: vfs.AlignedBuffer(writeBytes), head: vfs.AlignedBuffer(vfs.Alignment), block: make([]byte, 0, strideBytes)}
}

// write writes everything body yields as an object's file, cuts it to its length and makes it
// durable. stored is called for the time of storing when all has been read.
func (w *writer) write(f vfs.File, key string, body io.Reader, stored func() int64) (header, error) {
	w.f, w.n, w.at = f, 0, 0
	defer func() { w.f = nil }()
	h := header{key: key}
	if err := w.add(make([]byte, headerBytes(key))); err != nil {
		return header{}, err
	}
	for number, more := int64(0), true; more; number++ {
		// Read to where it will be written from, unless that is not in one piece.
		inPlace := len(w.buf)-w.n > strideBytes
		into := w.block[:blockBytes]
		if inPlace {
			into = w.buf[w.n:][:blockBytes]
		}
		n, err := io.ReadFull(body, into)
		more = err == nil
		if !more && err != io.EOF && err != io.ErrUnexpectedEOF {
			return header{}, fmt.Errorf("read object body: %w", err)
		}
		if n == 0 {
			break
		}
		if block := appendChecksum(into[:n], number); inPlace {
			w.n += len(block)
		} else if err := w.add(block); err != nil {
			return header{}, err
		}
		h.size += int64(n)
		if piece := objectstore.PieceOf(body); piece > 0 && w.n >= piece {
			if err := w.put(w.n &^ (vfs.Alignment - 1)); err != nil {
				return header{}, err
			}
		}
	}
	h.modified = stored()
	if err := w.finish(h.append(nil)); err != nil {
		return header{}, err
	}
	if err := f.Truncate(h.fileBytes()); err != nil {
		return header{}, err
	}
	return h, f.Sync()
}

// add appends p to the file.
func (w *writer) add(p []byte) error {
	for len(p) > 0 {
		n := copy(w.buf[w.n:], p)
		p, w.n = p[n:], w.n+n
		if w.n < len(w.buf) {
			continue
		}
		if err := w.put(w.n); err != nil {
			return err
		}
	}
	return nil
}

// put writes the first n bytes of buf, which are whole pages.
func (w *writer) put(n int) error {
	if n == 0 {
		return nil
	}
	if w.at == 0 {
		copy(w.head, w.buf)
	}
	if _, err := w.f.WriteAt(w.buf[:n], w.at); err != nil {
		return err
	}
	w.at, w.n = w.at+int64(n), copy(w.buf, w.buf[n:w.n])
	return nil
}

// finish writes what is left in buf, and the header over the file's first bytes.
func (w *writer) finish(header []byte) error {
	if w.at == 0 {
		copy(w.buf, header)
	}
	if w.n > 0 {
		end := (w.n + vfs.Alignment - 1) &^ (vfs.Alignment - 1)
		clear(w.buf[w.n:end])
		if _, err := w.f.WriteAt(w.buf[:end], w.at); err != nil {
			return err
		}
	}
	if w.at == 0 {
		return nil
	}
	copy(w.head, header)
	_, err := w.f.WriteAt(w.head, 0)
	return err
}
