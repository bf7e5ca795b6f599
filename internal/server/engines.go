package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/coordinator"
	coordinatordisk "github.com/headrace/headrace/internal/coordinator/disk"
	coordinatormem "github.com/headrace/headrace/internal/coordinator/mem"
	"github.com/headrace/headrace/internal/encryption"
	"github.com/headrace/headrace/internal/journal"
	lanedisk "github.com/headrace/headrace/internal/lane/disk"
	lanemem "github.com/headrace/headrace/internal/lane/mem"
	"github.com/headrace/headrace/internal/objectstore/dir"
	"github.com/headrace/headrace/internal/objectstore/held"
	"github.com/headrace/headrace/internal/secret"
	"github.com/headrace/headrace/internal/secret/kms"
	"github.com/headrace/headrace/internal/secret/wrapped"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/shardlog/space"
	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/osfs"
)

// engines are where a process keeps its bytes: every shard's log, and the coordinator's rows.
type engines struct {
	log  *shardlog.Store
	rows coordinator.Coordinator
	// node is the node's key if what is kept is encrypted under it.
	node secret.Key
	// backup is what a backup is taken of, nil where there is none.
	backup *backup.Source
}

// coordinatorShard is the log that the coordinator's commands ride in. No stream has the id 0.
var coordinatorShard = shardlog.ShardID{Stream: 0, Shard: 0}

// Names below the data directory.
const (
	lockFile    = "LOCK"
	blocksDir   = "blocks" // the shards' records, out of the write-ahead log
	snapshotDir = "state"  // the coordinator's snapshots
)

// openEngines opens the engines that the configuration names, and leaves their closing to sys. An
// engine's failure after that is given to fail.
func openEngines(ctx context.Context, cfg Config, sys *system, now clock.Clock, memory int64, fail context.CancelCauseFunc) (engines, error) {
	log := logConfig(cfg, sys, now, memory, fail)
	if cfg.Data == "" && cfg.Encrypt {
		return engines{}, errors.New("there is nothing to encrypt in memory: give a data directory")
	}
	if cfg.Data == "" {
		return openMemory(ctx, sys, log)
	}
	fs, err := openData(cfg.Data, sys)
	if err != nil {
		return engines{}, err
	}
	node, err := openSeal(ctx, cfg, fs)
	if err != nil {
		return engines{}, fmt.Errorf("open data directory %s: %w", cfg.Data, err)
	}
	e, err := openDisk(ctx, cfg, sys, fs, encryption.With(node), log, fail)
	e.node = node
	return e, err
}

// logConfig is how the shards' logs are kept, but for where.
func logConfig(cfg Config, sys *system, now clock.Clock, memory int64, fail context.CancelCauseFunc) shardlog.Config {
	sys.disk.logger, sys.disk.clock = cfg.Logger, now
	return shardlog.Config{Clock: now, Memory: memory, Limits: cfg.Disk.limits(), Events: shardlog.Events{
		Fatal:   func(err error) { fail(fmt.Errorf("shard logs failed: %w", err)) },
		Stalled: sys.disk.stalled,
		Space:   sys.disk.changed,
		Quota:   sys.disk.quota,
	}}
}

func openMemory(ctx context.Context, sys *system, cfg shardlog.Config) (engines, error) {
	cfg.Lane = lanemem.New(lanemem.Config{})
	log, err := shardlog.Open(ctx, cfg)
	if err != nil {
		return engines{}, err
	}
	sys.onClose(log.Close)
	sys.disk.store.Store(log)
	rows := coordinatormem.New()
	sys.onClose(rows.Close)
	return engines{log: log, rows: rows}, nil
}

// openDisk opens the engines that keep their files in fs.
func openDisk(ctx context.Context, cfg Config, sys *system, fs vfs.FS, seal encryption.Seal, log shardlog.Config, fail context.CancelCauseFunc) (engines, error) {
	sys.data = fs
	blocks, err := dir.Open(fs, blocksDir, log.Clock)
	if err != nil {
		return engines{}, fmt.Errorf("open data directory %s: %w", cfg.Data, err)
	}
	kept := held.New(blocks)
	changed := log.Events.Space
	log.Events.Space = func(v space.View) {
		kept.Short(v.State != space.Ample) // a backup is not what puts are throttled for
		changed(v)
	}
	// What is held for a backup is what lies in the directory: it stays encrypted in the archive.
	opened := seal.Bucket(kept, blocksDir)
	first, err := shardlog.Origin(ctx, opened)
	if err != nil {
		return engines{}, fmt.Errorf("open data directory %s: %w", cfg.Data, err)
	}
	ring, err := lanedisk.Open(ctx, fs, lanedisk.Config{
		Segments: cfg.Ring.Segments, SegmentBytes: cfg.Ring.SegmentBytes, Ready: 2, First: first,
		Events: lanedisk.Events{Grown: func(file string, err error) {
			if err != nil {
				cfg.Logger.Error("the write-ahead log stays smaller than configured", "error", err)
			}
		}},
	})
	if err != nil {
		return engines{}, fmt.Errorf("open data directory %s: %w", cfg.Data, err)
	}
	sys.onClose(ring.Close)
	log.Bucket = opened
	var stored func(int) int
	if log.Lane, stored, err = seal.Lane(ctx, ring); err != nil {
		return engines{}, fmt.Errorf("open data directory %s: %w", cfg.Data, err)
	}
	log.LaneBytes, log.LaneRoom = ring.Capacity(), func(n int) int64 { return ring.Room(stored(n)) }
	log.Disk = func() (space.Disk, error) {
		s, err := fs.Space()
		return space.Disk{Free: s.Free, Total: s.Total}, err
	}
	store, err := shardlog.Open(ctx, log)
	if err != nil {
		return engines{}, fmt.Errorf("open data directory %s: %w", cfg.Data, err)
	}
	sys.onClose(store.Close)
	sys.disk.store.Store(store)
	snapshots, err := dir.Open(fs, snapshotDir, log.Clock)
	if err != nil {
		return engines{}, fmt.Errorf("open data directory %s: %w", cfg.Data, err)
	}
	rows, err := coordinatordisk.Open(ctx, coordinatordisk.Config{
		Log: store, Registry: store, Bucket: seal.Bucket(snapshots, snapshotDir), Shard: coordinatorShard,
		Events: journal.Events{
			Failed: func(err error) { fail(fmt.Errorf("coordinator failed: %w", err)) },
			SnapshotFailed: func(err error) {
				cfg.Logger.Error("the coordinator's rows could not be stored; trying again", "error", err)
			},
		},
	})
	if err != nil {
		return engines{}, fmt.Errorf("open data directory %s: %w", cfg.Data, err)
	}
	sys.onClose(rows.Close)
	return engines{log: store, rows: rows, backup: &backup.Source{
		Log: store, Blocks: kept, Rows: rows, State: snapshots, KeyID: seal.KeyID(), NodeKey: wrappedKey(cfg, fs), Clock: log.Clock,
	}}, nil
}

// wrappedKey returns what a backup takes of the node's key: it as it lies there, if that is wrapped.
func wrappedKey(cfg Config, fs vfs.FS) func() (wrapped.Key, error) {
	if !kms.IsURI(cfg.Access.NodeKey) {
		return nil
	}
	return func() (wrapped.Key, error) { return wrapped.Read(fs) }
}

// openData opens the directory, making it if its parent exists, and takes its lock, which it holds until
// everything in it is closed, so that a second process hears of it before it touches anything.
func openData(name string, sys *system) (*osfs.FS, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	fs, err := osfs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	sys.onClose(fs.Close)
	lock, err := fs.Lock(lockFile)
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("open data directory %s: another process uses it (%s is locked): %w", path, lockFile, err)
	}
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", path, err)
	}
	sys.onClose(lock.Close)
	if err := backup.Finished(fs); err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", path, err)
	}
	return fs, nil
}
