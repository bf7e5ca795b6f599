// Package check reads a data directory that no server uses and says what is wrong where. It knows
// which files a server keeps and in which order they stand on each other; what their bytes mean is
// the business of the packages that write them, whose own readers it calls. It never writes, and
// repairs nothing.
//
//	report, err := check.Directory(ctx, dir, key, func(f check.Finding) { fmt.Println(f) })
//
// Where one thing is damaged, what would only say so again is left out: nobody looks for records in
// a write-ahead log that cannot be read.
package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/lane"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

// Names below the data directory, and the coordinator's log: those of package server.
const (
	lockFile = "LOCK"
	walDir   = "wal"
	blocks   = "blocks"
	state    = "state"
)

var coordinatorShard = shardlog.ShardID{Stream: 0, Shard: 0}

var (
	// ErrInUse says that a process has the directory open.
	ErrInUse = errors.New("another process uses the data directory")
	// ErrNoData says that the directory holds nothing that a server keeps.
	ErrNoData = errors.New("not a data directory")
	// ErrEncrypted says that the directory is encrypted and that the node's key was not found.
	ErrEncrypted = errors.New("the data directory is encrypted (" + encryption.File + ") and needs its node key: name where it is with --node-key")
)

// Finding is one thing that is wrong.
type Finding struct {
	// File is a path below the data directory, with slashes; of a directory where a file is missing
	// of which nobody knows the name.
	File string
	// Offset is where in the file, in bytes.
	Offset int64
	// What is wrong there, in words.
	What string
}

// String returns the finding as a line.
func (f Finding) String() string { return fmt.Sprintf("%s: offset %d: %s", f.File, f.Offset, f.What) }

// Report says what was read.
type Report struct {
	// Segments are the files of the write-ahead log, First and Next the groups that it holds: First
	// to Next-1.
	Segments    int
	First, Next uint64
	// Torn says that the log ends in part of a group that was never acknowledged.
	Torn bool
	// Objects are the files of block files, manifests and snapshots; BlockFiles those with records.
	Objects, BlockFiles int
	// Shards are the shards' logs, the coordinator's included.
	Shards int
}

// Key returns the node's key, for a directory that is encrypted.
type Key func() (secret.Key, error)

// Directory reads the data directory at path and calls found for everything that is wrong. Where it is
// encrypted, key is asked. The error is ErrInUse, ErrNoData, ErrEncrypted, encryption.ErrOtherKey, that of ctx, or that of a system that would not let it read. It holds the
// directory's lock meanwhile.
func Directory(ctx context.Context, path string, key Key, found func(Finding)) (report Report, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return Report{}, fmt.Errorf("open data directory: %w", err)
	}
	info, err := os.Stat(path)
	if errors.Is(err, vfs.ErrNotExist) || err == nil && !info.IsDir() {
		return Report{}, fmt.Errorf("check %s: %w: no such directory", path, ErrNoData)
	}
	fs, err := osfs.Open(path)
	if err != nil {
		return Report{}, fmt.Errorf("open data directory: %w", err)
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	lock, err := lockData(fs)
	if err != nil {
		return Report{}, fmt.Errorf("check %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	c := &checker{fs: readOnly{fs}, key: key, found: found, sound: true}
	err = c.run(ctx)
	return c.report, err
}

// lockData takes the lock that a server would. Where there is none no server runs, and none is made;
// where nothing can be written nobody else does either.
func lockData(fs vfs.FS) (io.Closer, error) {
	entries, err := fs.List(".")
	if err != nil {
		return nil, err
	}
	locked, data := false, false
	for _, e := range entries {
		locked = locked || e.Name == lockFile
		data = data || e.Name == walDir || e.Name == blocks || e.Name == state || e.Name == backup.Mark
	}
	switch {
	case !data:
		return nil, ErrNoData
	case !locked:
		return io.NopCloser(nil), nil
	}
	lock, err := fs.Lock(lockFile)
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return nil, fmt.Errorf("%w: %s is locked", ErrInUse, lockFile)
	case errors.Is(err, syscall.EROFS):
		return io.NopCloser(nil), nil
	}
	return lock, err
}

// checker checks one directory.
type checker struct {
	fs  vfs.FS
	key Key
	// seal is how the directory is encrypted; damaged are the object files of which that was told.
	seal    encryption.Seal
	damaged map[string]bool
	found   func(Finding)
	report  Report
	// sound says that nothing was found so far.
	sound bool
	// lane is nil if the write-ahead log is damaged.
	lane   *lanedisk.Reader
	blocks *dir.Checked
}

func (c *checker) add(file string, offset int64, what string) {
	c.sound = false
	c.found(Finding{File: file, Offset: offset, What: what})
}

// object takes an error about an object's file, which names the file once more.
func (c *checker) object(file string, offset int64, err error) {
	if c.damaged == nil {
		c.damaged = make(map[string]bool)
	}
	c.damaged[file] = true
	c.add(file, offset, strings.TrimPrefix(err.Error(), fmt.Sprintf("read object file %q: ", file)))
}

func (c *checker) run(ctx context.Context) (err error) {
	if err := backup.Finished(c.fs); errors.Is(err, backup.ErrUnfinished) {
		c.add(backup.Mark, 0, err.Error())
		return nil
	} else if err != nil {
		return err
	}
	if err := c.wrappedKey(); err != nil {
		return err
	}
	if ok, err := c.openSeal(); !ok || err != nil {
		return err
	}
	if err := c.openLane(ctx); err != nil {
		return err
	}
	if c.lane != nil {
		defer func() { err = errors.Join(err, c.lane.Close()) }()
	}
	if c.blocks, err = dir.Check(ctx, c.fs, blocks, c.object); err != nil {
		return err
	}
	snapshots, err := dir.Check(ctx, c.fs, state, c.object)
	if err != nil {
		return err
	}
	c.report.Objects = c.blocks.Objects() + snapshots.Objects()
	if err := errors.Join(c.sealed(ctx, c.blocks, blocks), c.sealed(ctx, snapshots, state)); err != nil {
		return err
	}
	opened := c.seal.Bucket(c.blocks, blocks)
	cfg := shardlog.CheckConfig{Bucket: opened, Journal: coordinatorShard, Found: c.place}
	if c.lane != nil {
		cfg.Lane, cfg.Held = c.groups(), c.lane.Found().Bounds
		if c.report.Segments == 0 { // a restored directory has none before it is first used
			first, err := shardlog.Origin(ctx, opened)
			if err != nil {
				return err
			}
			cfg.Held = lane.Bounds{First: first, Next: first}
			c.report.First, c.report.Next = uint64(first), uint64(first)
		}
	}
	logs, err := shardlog.Check(ctx, cfg)
	if errors.Is(err, errTold) {
		return nil
	}
	if err != nil {
		return err
	}
	c.report.BlockFiles, c.report.Shards = logs.Files, logs.Shards
	if c.sound {
		return c.coordinator(ctx, snapshots, logs)
	}
	return nil
}

// openLane reads the write-ahead log. That it cannot be read is a finding like any other.
func (c *checker) openLane(ctx context.Context) error {
	r, err := lanedisk.OpenReader(ctx, c.fs)
	switch {
	case err == nil:
		found := r.Found()
		c.lane = r
		c.report.Segments, c.report.Torn = found.Segments, found.Torn
		c.report.First, c.report.Next = uint64(found.Bounds.First), uint64(found.Bounds.Next)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	c.addLane(err)
	return nil
}

// addLane takes every place out of an error about segments.
func (c *checker) addLane(err error) {
	var one *lanedisk.CorruptError
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			c.addLane(err)
		}
	default:
		if errors.As(err, &one) {
			c.add(one.File, one.Offset, one.Reason)
		} else {
			c.add(walDir, 0, err.Error())
		}
	}
}

// place gives a finding about an object or a group its file.
func (c *checker) place(f shardlog.Finding) {
	switch {
	case f.Object != "":
		file, offset := c.blocks.Place(f.Object, c.seal.ObjectOffset(f.Offset))
		c.add(file, offset, f.What)
	case f.Group != 0:
		file, offset, ok := c.lane.Place(lane.Position(f.Group), c.seal.GroupOffset(f.Offset))
		if !ok {
			file = walDir
		}
		c.add(file, offset, fmt.Sprintf("group %d: %s", f.Group, f.What))
	default:
		c.add(blocks, 0, f.What)
	}
}

// readOnly is a file system on which nothing can be changed, whoever tries.
type readOnly struct{ vfs.FS }

var errReadOnly = errors.New("check: the data directory is not to be changed")

func (r readOnly) Open(name string, flag vfs.Flag) (vfs.File, error) {
	if flag&vfs.Create != 0 {
		return nil, errReadOnly
	}
	return r.FS.Open(name, flag|vfs.ReadOnly)
}

func (readOnly) Rename(string, string) error    { return errReadOnly }
func (readOnly) Remove(string) error            { return errReadOnly }
func (readOnly) Mkdir(string) error             { return errReadOnly }
func (readOnly) SyncDir(string) error           { return errReadOnly }
func (readOnly) Lock(string) (io.Closer, error) { return nil, errReadOnly }
