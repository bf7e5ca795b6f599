// Package osfs is the file system of the machine as a vfs.FS. Direct I/O and fdatasync are Linux's;
// elsewhere files are buffered and Sync is the system's strongest (os.File.Sync, which on macOS asks
// the drive to empty its cache).
package osfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/headrace/headrace/internal/vfs"
)

const (
	filePerm = 0o600
	dirPerm  = 0o700
)

// FS implements vfs.FS below a directory that exists. It holds the directory open, so that names
// cannot lead out of it, not even by symbolic links changed meanwhile.
type FS struct {
	root *os.Root
}

// Open returns the tree below dir. The caller closes it when all its files are closed.
func Open(dir string) (*FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return &FS{root: root}, nil
}

// Close releases the directory.
func (f *FS) Close() error { return f.root.Close() }

// Open implements vfs.FS.
func (f *FS) Open(name string, flag vfs.Flag) (vfs.File, error) {
	if err := vfs.CheckName("open", name); err != nil {
		return nil, err
	}
	mode := os.O_RDWR
	if flag&vfs.ReadOnly != 0 {
		mode = os.O_RDONLY
	}
	if flag&vfs.Create != 0 {
		mode |= os.O_CREATE
		if flag&vfs.Exclusive != 0 {
			mode |= os.O_EXCL
		}
	}
	if flag&vfs.Direct != 0 {
		return f.openDirect(name, mode)
	}
	opened, err := f.root.OpenFile(name, mode, filePerm)
	if err != nil {
		return nil, translate(err)
	}
	return &file{f: opened}, nil
}

// openDirect opens the file past the cache, or buffered where that is refused. Some file systems
// refuse at the first read instead of at open, so one is tried. The file is opened buffered first:
// the flags that create it must run once only.
func (f *FS) openDirect(name string, mode int) (vfs.File, error) {
	buffered, err := f.root.OpenFile(name, mode, filePerm)
	if err != nil {
		return nil, translate(err)
	}
	fallback := &file{f: buffered, aligned: true}
	if directFlag == 0 {
		return fallback, nil
	}
	direct, err := f.root.OpenFile(name, mode&^(os.O_CREATE|os.O_EXCL)|directFlag, filePerm)
	if err != nil {
		return fallback, nil
	}
	_, err = direct.ReadAt(vfs.AlignedBuffer(vfs.Alignment), 0)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EINVAL) {
		return nil, translate(errors.Join(err, direct.Close(), buffered.Close()))
	}
	if errors.Is(err, syscall.EINVAL) {
		return fallback, direct.Close()
	}
	if err := buffered.Close(); err != nil {
		return nil, translate(errors.Join(err, direct.Close()))
	}
	return &file{f: direct, aligned: true, direct: true}, nil
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	if err := errors.Join(vfs.CheckName("rename", from), vfs.CheckName("rename", to)); err != nil {
		return err
	}
	return translate(f.root.Rename(from, to))
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	if err := vfs.CheckName("remove", name); err != nil {
		return err
	}
	return translate(f.root.Remove(name))
}

// List implements vfs.FS.
func (f *FS) List(dir string) ([]vfs.Entry, error) {
	if err := vfs.CheckName("list", dir); err != nil {
		return nil, err
	}
	found, err := fs.ReadDir(f.root.FS(), dir)
	if err != nil {
		return nil, translate(err)
	}
	entries := make([]vfs.Entry, 0, len(found))
	for _, d := range found {
		e := vfs.Entry{Name: d.Name(), Dir: d.IsDir(), Irregular: d.Type()&^fs.ModeDir != 0}
		if !e.Dir {
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				return nil, translate(err)
			}
			e.Size = info.Size()
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(dir string) error {
	if err := vfs.CheckName("mkdir", dir); err != nil {
		return err
	}
	return translate(f.root.MkdirAll(dir, dirPerm))
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(dir string) error {
	if err := vfs.CheckName("syncdir", dir); err != nil {
		return err
	}
	d, err := f.root.Open(dir)
	if err != nil {
		return translate(err)
	}
	return translate(errors.Join(syncDir(d), d.Close()))
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	if err := vfs.CheckName("lock", name); err != nil {
		return nil, err
	}
	l, err := f.root.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, translate(err)
	}
	if err := lockFile(l); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: name, Err: err}, l.Close())
	}
	return l, nil
}

// Space implements vfs.FS.
func (f *FS) Space() (vfs.Space, error) {
	space, err := deviceSpace(f.root.Name())
	if err != nil {
		return vfs.Space{}, fmt.Errorf("ask for free space: %w", err)
	}
	return space, nil
}

// file implements vfs.File.
type file struct {
	f *os.File
	// aligned says that the file was asked for with Direct, direct that it was got.
	aligned, direct bool
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if f.aligned {
		if err := vfs.CheckAligned(p, off); err != nil {
			return 0, err
		}
	}
	n, err := f.f.ReadAt(p, off)
	if f.direct && n > 0 && errors.Is(err, syscall.EINVAL) {
		// A file whose size is not aligned ended the first read short; asking for the rest then
		// begins at an odd offset. It is the end only if the size says so.
		if size, serr := f.Size(); serr == nil && off+int64(n) >= size {
			err = io.EOF
		}
	}
	return n, translate(err)
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if f.aligned {
		if err := vfs.CheckAligned(p, off); err != nil {
			return 0, err
		}
	}
	n, err := f.f.WriteAt(p, off)
	return n, translate(err)
}

func (f *file) Sync() error { return translate(syncData(f.f)) }

func (f *file) Truncate(size int64) error { return translate(f.f.Truncate(size)) }

func (f *file) Allocate(size int64) error {
	now, err := f.Size()
	if err != nil || now >= size {
		return err
	}
	return translate(allocate(f.f, now, size))
}

func (f *file) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, translate(err)
	}
	return info.Size(), nil
}

func (f *file) Direct() bool { return f.direct }

func (f *file) Close() error { return translate(f.f.Close()) }

// translate gives errors that callers branch on their one name.
func translate(err error) error {
	if err != nil && isNoSpace(err) {
		return fmt.Errorf("%w: %w", vfs.ErrNoSpace, err)
	}
	return err
}
