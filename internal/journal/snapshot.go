package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/record"
)

// prefix is what the keys of all snapshots begin with.
func (j *Journal[A]) prefix() string { return "journal/" + j.cfg.Name + "/" }

// key is the key of the snapshot of the state before command next. Keys are in order of commands.
func (j *Journal[A]) key(next record.Index) string { return fmt.Sprintf("%s%020d", j.prefix(), next) }

// newest returns the newest snapshot; its key is empty if there is none.
func (j *Journal[A]) newest(ctx context.Context) (newest objectstore.Info, err error) {
	for {
		const page = 100
		infos, err := j.cfg.Bucket.List(ctx, j.prefix(), newest.Key, page)
		if err != nil {
			return objectstore.Info{}, fmt.Errorf("list snapshots: %w", damage(err))
		}
		if len(infos) > 0 {
			newest = infos[len(infos)-1]
		}
		if len(infos) < page {
			return newest, nil
		}
	}
}

// load restores the machine from a snapshot and returns the index of the first command after it.
func (j *Journal[A]) load(ctx context.Context, key string) (record.Index, error) {
	next, err := strconv.ParseUint(strings.TrimPrefix(key, j.prefix()), 10, 64)
	if err != nil || key != j.key(record.Index(next)) {
		return 0, fmt.Errorf("%w: the key is not a snapshot's", ErrCorrupt)
	}
	body, err := j.cfg.Bucket.Get(ctx, key, 0, -1)
	if err != nil {
		return 0, damage(err)
	}
	h := snapshotHeader{name: j.cfg.Name, shard: j.cfg.Shard, next: record.Index(next)}
	err = readSnapshot(body, h, j.machine.Restore)
	return record.Index(next), damage(errors.Join(err, body.Close()))
}

// damage gives damage that the bucket has found the journal's name too.
func damage(err error) error {
	if errors.Is(err, objectstore.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// snapshotIfDue starts a snapshot when the log has gathered enough and none is under way.
func (j *Journal[A]) snapshotIfDue(ctx context.Context) {
	j.mu.Lock()
	due := !j.mu.snapshotting && j.mu.logged >= max(j.cfg.SnapshotBytes, j.mu.frozen)
	if due {
		j.mu.snapshotting = true
	}
	j.mu.Unlock()
	if due {
		j.background.Go(func() { j.keepTrying(ctx) })
	}
}

// keepTrying takes snapshots until one succeeds or the journal is closed.
func (j *Journal[A]) keepTrying(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		}
		err := j.snapshot(ctx)
		if err == nil {
			return
		}
		if f := j.cfg.Events.SnapshotFailed; f != nil && ctx.Err() == nil {
			f(fmt.Errorf("snapshot journal %q: %w", j.cfg.Name, err))
		}
		retry.Reset(j.cfg.Retry)
	}
}

// snapshot stores the state, then lets the log forget the commands in it, then removes older
// snapshots. The order is what makes it safe to stop anywhere: there is always a snapshot whose
// following commands the log still holds.
func (j *Journal[A]) snapshot(ctx context.Context) error {
	select {
	case j.snapshots <- struct{}{}:
		defer func() { <-j.snapshots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	j.mu.RLock()
	rows := j.machine.Freeze()
	next, logged := j.mu.next, j.mu.logged
	j.mu.RUnlock()

	h := snapshotHeader{name: j.cfg.Name, shard: j.cfg.Shard, next: next}
	body := newSnapshotReader(h, rows, ctx.Err)
	defer body.close()
	info, err := j.cfg.Bucket.Put(ctx, j.key(next), body)
	if err != nil {
		return err
	}
	if err := j.cfg.Log.TrimTo(ctx, j.cfg.Shard, next); err != nil {
		return fmt.Errorf("trim log: %w", err)
	}
	if err := j.removeBefore(ctx, j.key(next)); err != nil {
		return fmt.Errorf("remove older snapshots: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.logged -= logged
	j.mu.frozen = info.Size
	j.mu.snapshotting = false
	return nil
}

// Hold returns the newest snapshot, its Key empty if there is none, and keeps it: until release is
// called no other is taken, so the log keeps every command behind it. It waits for one under way.
// Whoever backs a journal up holds it while the log is cut, and then copies the snapshot from the
// bucket: a body opened before the release stays readable.
func (j *Journal[A]) Hold(ctx context.Context) (newest objectstore.Info, release func(), err error) {
	select {
	case j.snapshots <- struct{}{}:
	case <-ctx.Done():
		return newest, nil, ctx.Err()
	}
	release = sync.OnceFunc(func() { <-j.snapshots })
	if err = j.View(func() {}); err == nil {
		newest, err = j.newest(ctx)
	}
	if err != nil {
		release()
		return objectstore.Info{}, nil, fmt.Errorf("hold journal %q: %w", j.cfg.Name, err)
	}
	return newest, release, nil
}

// removeBefore removes the snapshots older than that with the given key.
func (j *Journal[A]) removeBefore(ctx context.Context, key string) error {
	for {
		infos, err := j.cfg.Bucket.List(ctx, j.prefix(), "", 100)
		if err != nil || len(infos) == 0 || infos[0].Key >= key {
			return err
		}
		for _, info := range infos {
			if info.Key < key {
				err = errors.Join(err, j.cfg.Bucket.Delete(ctx, info.Key))
			}
		}
		if err != nil {
			return err
		}
	}
}
