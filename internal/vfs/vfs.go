// Package vfs is the seam between the disk engines and the file system: recycled log segments,
// block files, the MANIFEST and the directories they live in. It exists so that tests can cut the
// power (memfs) and break the disk (errfs) under the code that runs in production on osfs.
//
// It is not a general file system: there are no links, modes, times or streams, and what no engine
// needs is not here.
//
// # What is durable when
//
// Two promises carry every engine, and nothing else does:
//
//   - File.Sync makes the file's content and size as written before the call survive a power cut.
//     Until then any part may be lost, 512 bytes at a time, in any order; the parts of a write are
//     not kept together and an older write may survive a newer one.
//   - FS.SyncDir makes what happened to the names in a directory survive: files created, renamed
//     and removed. Until then each may have happened or not. A file that is synced but whose name
//     is not may be gone.
//
// A rename replaces its target at once, and never leaves neither or half, whether it survives or
// not. So a file is replaced safely by: write a temporary file, Sync it, Rename it, SyncDir.
//
// An error from WriteAt or Sync leaves the file in no known state, and another Sync that succeeds
// proves nothing about what was written before: systems forget failed writes. Engines stop, and
// recover from what reads give after the file was opened anew.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"unsafe"
)

// Alignment is what offsets, lengths and buffer addresses must be multiples of for files opened
// with Direct.
const Alignment = 4096

var (
	// ErrNotExist says that a file or directory is missing; it is fs.ErrNotExist.
	ErrNotExist = fs.ErrNotExist
	// ErrExist says that a file exists already; it is fs.ErrExist.
	ErrExist = fs.ErrExist
	// ErrClosed says that the file was closed; it is fs.ErrClosed.
	ErrClosed = fs.ErrClosed
	// ErrName says that a name is not one that fs.ValidPath takes.
	ErrName = errors.New("vfs: invalid name")
	// ErrNoSpace says that the device or quota is full.
	ErrNoSpace = errors.New("vfs: no space left")
	// ErrLocked says that another process, or this one, holds the lock.
	ErrLocked = errors.New("vfs: locked")
	// ErrUnaligned says that direct I/O was asked for at an offset, length or address that is not
	// a multiple of Alignment.
	ErrUnaligned = errors.New("vfs: unaligned direct I/O")
)

// Flag says how Open opens a file. 0 opens an existing file for reading and writing.
type Flag uint8

const (
	// Create makes the file, empty, if it does not exist.
	Create Flag = 1 << iota
	// Exclusive, with Create, fails with ErrExist if the file exists.
	Exclusive
	// ReadOnly opens for reading; WriteAt, Truncate and Allocate fail.
	ReadOnly
	// Direct asks for I/O past the system's cache. Where the file system or platform has none the
	// file is opened buffered: File.Direct tells. Alignment is asked for either way, so that code
	// that works on one machine works on all.
	Direct
)

// FS is a tree of files below one directory. Names are slash-separated and relative to it, as
// fs.ValidPath takes them; "." is the directory itself. Symbolic links that lead out of it are
// refused. It is safe for concurrent use.
type FS interface {
	// Open opens the file. ErrNotExist if it is missing and Create is not given, or if its
	// directory is missing. A file that was created has a durable name only after SyncDir.
	Open(name string, flag Flag) (File, error)
	// Rename gives a file a new name, replacing a file of that name at once: whoever opens it sees
	// the old or the new. The file must be closed, for systems that insist. Durable after SyncDir
	// of both directories. Directories are not renamed.
	Rename(from, to string) error
	// Remove removes a file that is closed or an empty directory. Durable after SyncDir.
	Remove(name string) error
	// List returns what is in the directory, sorted by name.
	List(dir string) ([]Entry, error)
	// Mkdir makes the directory and those above it; one that exists is no error. A directory is
	// durable when the one above it has been synced.
	Mkdir(dir string) error
	// SyncDir makes the names in dir durable: see the package comment.
	SyncDir(dir string) error
	// Lock takes the lock file at name, creating it, until the Closer is closed or the process
	// ends. ErrLocked if it is taken.
	Lock(name string) (io.Closer, error)
	// Space says how many bytes are free for us and how many there are on the device that holds
	// the tree.
	Space() (Space, error)
}

// Entry is a name in a directory.
type Entry struct {
	// Name is the last element only.
	Name string
	Dir  bool
	// Irregular says that it is neither a file nor a directory: a symbolic link, a device.
	Irregular bool
	// Size is the file's length in bytes; 0 for a directory.
	Size int64
}

// Space is the room on a device in bytes.
type Space struct{ Free, Total int64 }

// File is an open file. ReadAt and WriteAt may run at the same time from several goroutines, on
// ranges that do not overlap if one of them writes; Close comes after all others.
type File interface {
	// ReadAt fills p from offset off, or returns how much there was and io.EOF at the file's end.
	io.ReaderAt
	// WriteAt writes all of p at off, extending the file; a gap that it leaves reads as zeros. If
	// it returns an error, any part of p may have been written. Durable after Sync. ErrNoSpace if
	// there is no room.
	io.WriterAt
	// Sync makes content and size durable: see the package comment. After an error it is not
	// called again.
	Sync() error
	// Truncate sets the size; what it adds reads as zeros. Durable after Sync.
	Truncate(size int64) error
	// Allocate extends the file to size, if it is shorter, with zeros, and reserves the room for
	// them where the system can: elsewhere a later write may still find the device full.
	Allocate(size int64) error
	// Size returns the length in bytes.
	Size() (int64, error)
	// Direct says whether I/O goes past the system's cache.
	Direct() bool
	// Close closes the file. It does not make anything durable.
	Close() error
}

// AlignedBuffer returns n zero bytes whose address is a multiple of Alignment.
func AlignedBuffer(n int) []byte {
	b := make([]byte, n+Alignment)
	skip := int(-address(b) & (Alignment - 1))
	return b[skip : skip+n : skip+n]
}

// CheckAligned returns ErrUnaligned unless p may be read or written at off with direct I/O. The
// implementations call it for files opened with Direct.
func CheckAligned(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	if (address(p)|uintptr(len(p))|uintptr(off))&(Alignment-1) != 0 {
		return ErrUnaligned
	}
	return nil
}

// CheckName returns an error unless name is a path that fs.ValidPath takes. The implementations
// call it first.
func CheckName(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: ErrName}
	}
	return nil
}

// address needs unsafe because direct I/O is refused by the kernel, not by Go, when it is wrong.
func address(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }
