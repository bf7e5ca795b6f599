// Package errfs wraps a vfs.FS so that a test decides what each call does: fail, write only a
// part, or run something (a crash clone, a count) first. It is for tests; without a script every
// call passes through.
//
//	disk := memfs.New()
//	broken := errfs.New(disk, errfs.Nth(3, errfs.On(errfs.OpSync), syscall.EIO))
package errfs

import (
	"cmp"
	"errors"
	"io"
	"sync/atomic"

	"github.com/headrace/headrace/internal/vfs"
)

// Op is a kind of call.
type Op uint8

// The calls of vfs.FS and vfs.File.
const (
	OpOpen Op = iota
	OpRename
	OpRemove
	OpList
	OpMkdir
	OpSyncDir
	OpLock
	OpSpace
	OpRead
	OpWrite
	OpSync
	OpTruncate
	OpAllocate
	OpSize
	OpClose
	ops
)

// Call is what a script decides on.
type Call struct {
	Op Op
	// Name is the file or directory; a rename's old name.
	Name string
	// To is a rename's new name.
	To string
	// Offset is where a read or write begins, or the size for Truncate and Allocate.
	Offset int64
	// Length is how many bytes a read or write asks for.
	Length int
}

// Script is asked before each call and from whichever goroutine makes it. If it returns nil the
// call is made; otherwise the call fails with that error and nothing happened, or, if it is a
// *Short, a part of it.
type Script func(Call) error

// Short makes a read or write do only its first N bytes and return Err, which is not nil, with
// them; with direct I/O, N is rounded down to vfs.Alignment. Other calls fail with it as with any
// error.
type Short struct {
	N   int
	Err error
}

// Error implements error.
func (s *Short) Error() string { return "short: " + s.Err.Error() }

// Unwrap returns Err.
func (s *Short) Unwrap() error { return s.Err }

// On matches calls of the given kinds.
func On(kinds ...Op) func(Call) bool {
	return func(c Call) bool {
		for _, k := range kinds {
			if c.Op == k {
				return true
			}
		}
		return false
	}
}

// Any matches every call.
func Any(Call) bool { return true }

// Nth lets the n-th call that match takes, from 1, fail with err, and no other.
func Nth(n int64, match func(Call) bool, err error) Script {
	var seen atomic.Int64
	return func(c Call) error {
		if match(c) && seen.Add(1) == n {
			return err
		}
		return nil
	}
}

// From lets the n-th call that match takes, from 1, and all that follow fail with err: a disk that
// is full or gone stays so.
func From(n int64, match func(Call) bool, err error) Script {
	var seen atomic.Int64
	return func(c Call) error {
		if match(c) && seen.Add(1) >= n {
			return err
		}
		return nil
	}
}

// FS implements vfs.FS.
type FS struct {
	inner  vfs.FS
	script Script
	counts [ops]atomic.Int64
}

// New wraps inner. script may be nil.
func New(inner vfs.FS, script Script) *FS {
	if script == nil {
		script = func(Call) error { return nil }
	}
	return &FS{inner: inner, script: script}
}

// Count returns how many calls of a kind were made, those that failed included: what a test of
// system calls a group asserts.
func (f *FS) Count(op Op) int64 { return f.counts[op].Load() }

// Total returns how many calls were made: what a test counts in a first run to break each in turn.
func (f *FS) Total() int64 {
	var n int64
	for i := range f.counts {
		n += f.counts[i].Load()
	}
	return n
}

func (f *FS) ask(c Call) error {
	f.counts[c.Op].Add(1)
	return f.script(c)
}

// Open implements vfs.FS.
func (f *FS) Open(name string, flag vfs.Flag) (vfs.File, error) {
	if err := f.ask(Call{Op: OpOpen, Name: name}); err != nil {
		return nil, err
	}
	opened, err := f.inner.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &file{fs: f, name: name, direct: flag&vfs.Direct != 0, inner: opened}, nil
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	if err := f.ask(Call{Op: OpRename, Name: from, To: to}); err != nil {
		return err
	}
	return f.inner.Rename(from, to)
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	if err := f.ask(Call{Op: OpRemove, Name: name}); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

// List implements vfs.FS.
func (f *FS) List(dir string) ([]vfs.Entry, error) {
	if err := f.ask(Call{Op: OpList, Name: dir}); err != nil {
		return nil, err
	}
	return f.inner.List(dir)
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(dir string) error {
	if err := f.ask(Call{Op: OpMkdir, Name: dir}); err != nil {
		return err
	}
	return f.inner.Mkdir(dir)
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(dir string) error {
	if err := f.ask(Call{Op: OpSyncDir, Name: dir}); err != nil {
		return err
	}
	return f.inner.SyncDir(dir)
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	if err := f.ask(Call{Op: OpLock, Name: name}); err != nil {
		return nil, err
	}
	return f.inner.Lock(name)
}

// Space implements vfs.FS.
func (f *FS) Space() (vfs.Space, error) {
	if err := f.ask(Call{Op: OpSpace, Name: "."}); err != nil {
		return vfs.Space{}, err
	}
	return f.inner.Space()
}

// file implements vfs.File.
type file struct {
	fs     *FS
	name   string
	direct bool
	inner  vfs.File
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	return f.transfer(OpRead, f.inner.ReadAt, p, off)
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	return f.transfer(OpWrite, f.inner.WriteAt, p, off)
}

// transfer reads or writes p, or as much of it as the script lets through.
func (f *file) transfer(op Op, do func([]byte, int64) (int, error), p []byte, off int64) (int, error) {
	err := f.fs.ask(Call{Op: op, Name: f.name, Offset: off, Length: len(p)})
	if err == nil {
		return do(p, off)
	}
	var short *Short
	if !errors.As(err, &short) {
		return 0, err
	}
	part := min(short.N, len(p))
	if f.direct {
		part -= part % vfs.Alignment
	}
	n, derr := do(p[:part], off)
	return n, cmp.Or(derr, short.Err)
}

func (f *file) Sync() error {
	if err := f.fs.ask(Call{Op: OpSync, Name: f.name}); err != nil {
		return err
	}
	return f.inner.Sync()
}

func (f *file) Truncate(size int64) error {
	if err := f.fs.ask(Call{Op: OpTruncate, Name: f.name, Offset: size}); err != nil {
		return err
	}
	return f.inner.Truncate(size)
}

func (f *file) Allocate(size int64) error {
	if err := f.fs.ask(Call{Op: OpAllocate, Name: f.name, Offset: size}); err != nil {
		return err
	}
	return f.inner.Allocate(size)
}

func (f *file) Size() (int64, error) {
	if err := f.fs.ask(Call{Op: OpSize, Name: f.name}); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

func (f *file) Direct() bool { return f.inner.Direct() }

// Close always closes the file, so that a test that lets it fail leaks nothing.
func (f *file) Close() error {
	err := f.fs.ask(Call{Op: OpClose, Name: f.name})
	return errors.Join(err, f.inner.Close())
}
