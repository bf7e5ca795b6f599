package memfs

import (
	"errors"
	"io"
	"io/fs"

	"github.com/headrace/headrace/internal/vfs"
)

var (
	errIsDir    = errors.New("is a directory")
	errNotDir   = errors.New("is not a directory")
	errNotEmpty = errors.New("directory is not empty")
	errReadOnly = errors.New("file is open for reading only")
	errNegative = errors.New("negative offset or size")
)

func fail(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// file implements vfs.File. Everything it touches is guarded by fs.mu.
type file struct {
	fs     *FS
	node   *node
	name   string
	flag   vfs.Flag
	closed bool
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("read", p, off); err != nil {
		return 0, err
	}
	live := f.node.content.live
	if off >= int64(len(live)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, live[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("write", p, off); err != nil {
		return 0, err
	}
	if f.flag&vfs.ReadOnly != 0 {
		return 0, fail("write", f.name, errReadOnly)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := f.growLocked("write", off+int64(len(p))); err != nil {
		return 0, err
	}
	f.node.content.write(p, off)
	return len(p), nil
}

func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fail("sync", f.name, fs.ErrClosed)
	}
	f.node.content.sync()
	return nil
}

func (f *file) Truncate(size int64) error {
	return f.resize("truncate", size, func(int64) bool { return true })
}

func (f *file) Allocate(size int64) error {
	return f.resize("allocate", size, func(now int64) bool { return now < size })
}

// resize sets the size if needed says so of the present one.
func (f *file) resize(op string, size int64, needed func(now int64) bool) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked(op, nil, size); err != nil {
		return err
	}
	if f.flag&vfs.ReadOnly != 0 {
		return fail(op, f.name, errReadOnly)
	}
	now := f.node.content.size()
	if !needed(now) {
		return nil
	}
	if err := f.growLocked(op, size); err != nil {
		return err
	}
	if size < now {
		f.fs.mu.used -= now - size
	}
	f.node.content.resize(size)
	return nil
}

func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, fail("size", f.name, fs.ErrClosed)
	}
	return f.node.content.size(), nil
}

func (f *file) Direct() bool { return f.flag&vfs.Direct != 0 }

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fail("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

// checkLocked returns why I/O of p at off is refused. REQUIRES: fs.mu held.
func (f *file) checkLocked(op string, p []byte, off int64) error {
	if f.closed {
		return fail(op, f.name, fs.ErrClosed)
	}
	if off < 0 {
		return fail(op, f.name, errNegative)
	}
	if f.flag&vfs.Direct != 0 {
		return vfs.CheckAligned(p, off)
	}
	return nil
}

// growLocked takes the room that a file of size bytes needs. REQUIRES: fs.mu held.
func (f *file) growLocked(op string, size int64) error {
	more := size - f.node.content.size()
	if more <= 0 {
		return nil
	}
	if f.fs.room > 0 && f.fs.mu.used+more > f.fs.room {
		return fail(op, f.name, vfs.ErrNoSpace)
	}
	f.fs.mu.used += more
	return nil
}
