package server

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/config"
	"github.com/headrace/headrace/internal/metrics"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/shardlog/space"
	"github.com/headrace/headrace/internal/stream"
)

// DiskLimits bound what the data directory takes of its disk. A zero value limits nothing.
type DiskLimits struct {
	// StreamBytes is the most that the records of one stream may take. In memory only a size counts.
	StreamBytes config.Share
	// LowWater is the free space below which the biggest writers are throttled, and at half of it
	// everybody.
	LowWater config.Share
}

// What an automatic low-water mark is: a flush, a merge and the manifests of many shards fit into half
// of it, however large the disk.
const (
	autoLowWater     = 5 // percent
	autoLowWaterMost = 2 << 30
)

func (l DiskLimits) limits() space.Limits {
	share := func(s config.Share) space.Share {
		if s.IsAuto() {
			return space.Share{Percent: autoLowWater, Most: autoLowWaterMost}
		}
		return space.Share{Percent: s.Percent, Bytes: int64(s.Bytes)}
	}
	return space.Limits{Stream: share(l.StreamBytes), LowWater: share(l.LowWater)}
}

// disk tells the operator who is throttled, and why: in the log, on the readiness page and in the
// metrics.
type disk struct {
	logger *slog.Logger
	// store and streams are set once there are some; before that streams have no names.
	store   atomic.Pointer[shardlog.Store]
	streams atomic.Pointer[stream.Streams]
	clock   clock.Clock

	// What was logged last, and when the last of the failures that repeat while a disk is full was. Only
	// the store's committer touches them.
	last  space.View
	stall time.Time
}

// name returns what a stream is called, as attributes of a log line.
func (d *disk) name(id uint64) []any {
	if s := d.streams.Load(); s != nil {
		if sc, name, ok := s.Named(id); ok {
			return []any{"account", sc.Account, "region", sc.Region, "stream", name}
		}
	}
	return []any{"stream_id", fmt.Sprintf("%016x", id)}
}

// changed logs a new situation: one line for the state and one for each stream that is stopped.
func (d *disk) changed(v space.View) {
	was := d.last
	d.last = v
	if v.State != was.State || v.Exhausted && !was.Exhausted {
		room := []any{"free", mib(v.Disk.Free), "size", mib(v.Disk.Total), "low_water", mib(v.Mark), "unwritten", mib(v.Disk.Free - v.Left)}
		switch {
		case v.State == space.Ample:
			d.logger.Info("the disk has room again: no put is throttled for it", room...)
		case v.State == space.Low:
			d.logger.Warn("the disk is nearly full: the biggest writers are throttled", room...)
		case v.Exhausted:
			d.logger.Error("the disk refuses to store more: all puts are throttled", room...)
		default:
			d.logger.Error("the disk is nearly full: all puts are throttled", room...)
		}
	}
	for _, id := range v.Stopped {
		if !was.Stops(id) {
			d.logger.Warn("puts to a stream are throttled: the disk is nearly full and it is one of the biggest writers", d.name(id)...)
		}
	}
}

// stalled logs that a flush or a merge has failed: all of them once a minute if it is for want of room.
func (d *disk) stalled(err error) {
	if errors.Is(err, objectstore.ErrFull) {
		now := d.clock.Now()
		if now.Sub(d.stall) < time.Minute {
			return
		}
		d.stall = now
	}
	d.logger.Error("records could not be moved out of the write-ahead log; trying again", "error", err)
}

// quota logs a stream that has reached its quota, or is below again.
func (d *disk) quota(id uint64, reached bool, used space.Usage, quota int64) {
	attrs := append(d.name(id), "stored", mib(used.Stored), "unflushed", mib(used.Unflushed), "quota", mib(quota))
	if reached {
		d.logger.Warn("puts to a stream are throttled: it has reached its quota", attrs...)
		return
	}
	d.logger.Info("a stream is below its quota again", attrs...)
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// note says in a line why puts are throttled, for those who ask whether the server is ready; empty if
// they are not.
func (d *disk) note() string {
	s := d.store.Load()
	if s == nil {
		return ""
	}
	v := s.Space()
	left := fmt.Sprintf("%s of %s left, low-water mark %s", mib(v.Left), mib(v.Disk.Total), mib(v.Mark))
	text := ""
	switch {
	case v.State == space.Low:
		text = fmt.Sprintf("disk low: %s: the biggest writers are throttled, streams: %d\n", left, len(v.Stopped))
	case v.State == space.Full && v.Exhausted:
		text = "disk full: it refuses to store more: all puts are throttled\n"
	case v.State == space.Full:
		text = fmt.Sprintf("disk full: %s: all puts are throttled\n", left)
	}
	if v.AtQuota > 0 {
		text += fmt.Sprintf("quota reached: puts are throttled, streams: %d\n", v.AtQuota)
	}
	return text
}

// storage is what the metrics show.
func (d *disk) storage() metrics.Storage {
	s := d.store.Load()
	v := s.Space()
	return metrics.Storage{
		Free: v.Disk.Free, Total: v.Disk.Total, LowWater: v.Mark, Quota: v.Quota, State: v.State.String(),
		Stopped: len(v.Stopped), AtQuota: v.AtQuota, RefusedDisk: v.NoRoom, RefusedQuota: v.OverQuota,
		Streams: func(f func(id metrics.StreamID, stored, unflushed int64)) {
			if streams := d.streams.Load(); streams != nil {
				streams.Each(func(sc stream.Scope, name string, id uint64) {
					used := s.Used(id)
					f(metrics.StreamID{Account: sc.Account, Region: sc.Region, Name: name}, used.Stored, used.Unflushed)
				})
			}
		},
	}
}
