// Package disk is the lane engine that keeps its groups on one disk: a ring of segment files that
// are written whole when they are made and overwritten for ever after, so that making a group
// durable is one write and one fdatasync of blocks the file system has long known.
//
//	fs, err := osfs.Open(dir)
//	l, err := disk.Open(ctx, fs, disk.Config{})   // creates wal/, or recovers what is there
//	err = l.Append(ctx, next, payload)            // nil: the group survives a power cut
//
// It is not a committer (whoever calls Append gathers the groups) and no cache: Read reads the
// disk. What a group means is its writer's business. The bytes are described in docs/format/wal.md.
//
// # What a lane relies on
//
// The two promises of package vfs, and that a 512-byte sector is written whole or not at all. At
// most one group is ever under way, and the lane is dead after the first write or sync that fails:
// so only the last group on the disk can be incomplete, and anything else that does not check is
// damage, which Open refuses (ErrCorrupt) and never skips.
package disk

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
)

// What Config stands for where it leaves something open.
const (
	DefaultSegments     = 8
	DefaultSegmentBytes = 256 << 20
	DefaultMaxGroup     = 8 << 20 // which is also the most
)

const (
	// block is the unit of everything in a segment: groups begin on one and are padded to one.
	block = vfs.Alignment
	// minSegments leaves a segment to free while another is written.
	minSegments = 2
	// minSegmentBytes holds a header and the smallest MaxGroup that the lane contract is tested with.
	minSegmentBytes = 4 * block
	// maxSegments is what three digits in a file name can tell apart.
	maxSegments = 1000
)

// ErrVersion says that a file was written by a newer version of this program. The error names the
// file and the offset.
var ErrVersion = errors.New("lane: file is of a newer version")

// ErrCorrupt is the contract's: a file holds something other than what was written. The error, a
// *CorruptError, names the file and the offset.
var ErrCorrupt = lane.ErrCorrupt

// CorruptError is ErrCorrupt with the place. Nothing was changed on the disk.
type CorruptError struct {
	// File is the name below the data directory, Offset where in it, in bytes.
	File   string
	Offset int64
	Reason string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("lane: corrupt: %s at offset %d: %s", e.File, e.Offset, e.Reason)
}

// Unwrap returns ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// Config says how large the ring is. The zero value is that of `headrace serve`.
type Config struct {
	// Segments is how many files the ring has, at least 2; 0 means DefaultSegments. A ring on the
	// disk that has more keeps them; one that has fewer grows.
	Segments int
	// SegmentBytes is the size of a file that is made, a multiple of 4096 and at least 16 KiB; 0
	// means DefaultSegmentBytes. Files that exist keep their size.
	SegmentBytes int64
	// Ready is how many of the files must exist before Open returns; the others are made in the
	// background, and until then Append has the smaller ring. 0 means all.
	Ready int
	// First is the position at which a ring begins that is made, 0 means 1. One that exists goes on.
	First lane.Position
	// MaxGroup is the largest payload in bytes, at most DefaultMaxGroup; 0 means that. It is less
	// where a segment has no room for it.
	MaxGroup int
	// Random is where generations come from, and must not be foreseeable by those who write
	// payloads; nil means crypto/rand.
	Random io.Reader
	// Events is told what happens.
	Events Events
}

// Events are what a lane reports; any may be nil. They are called from Open or from the lane's
// own goroutine, and must not call the lane.
type Events struct {
	// Recovered is called once by Open when it knows what the disk holds.
	Recovered func(Recovery)
	// Grown is called for every file that was made in the background, and once with the error that
	// ended it: the ring then stays as small as it is until the next Open.
	Grown func(file string, err error)
}

// Recovery says what Open found.
type Recovery struct {
	// Bounds are the groups held, Segments the files that were there and Free those of them that
	// held no group.
	Bounds         lane.Bounds
	Segments, Free int
	// TailFile and TailOffset are where the last group ends; empty in a ring without groups.
	TailFile   string
	TailOffset int64
	// Torn says that a group that was never acknowledged lay there in part.
	Torn bool
	// Direct says that files are written past the system's cache.
	Direct bool
}

// withDefaults fills what is left open and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	if c.Segments == 0 {
		c.Segments = DefaultSegments
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	if c.MaxGroup == 0 {
		c.MaxGroup = DefaultMaxGroup
	}
	if c.Ready == 0 {
		c.Ready = c.Segments
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	switch {
	case c.Segments < minSegments || c.Segments > maxSegments:
		return c, fmt.Errorf("lane: %d segments: want %d to %d", c.Segments, minSegments, maxSegments)
	case c.SegmentBytes < minSegmentBytes || c.SegmentBytes%block != 0:
		return c, fmt.Errorf("lane: segments of %d bytes: want a multiple of %d, at least %d", c.SegmentBytes, block, minSegmentBytes)
	case c.Ready < 0 || c.Ready > c.Segments:
		return c, fmt.Errorf("lane: %d segments ready of %d", c.Ready, c.Segments)
	case c.MaxGroup < 0 || c.MaxGroup > DefaultMaxGroup:
		return c, fmt.Errorf("lane: groups of %d bytes", c.MaxGroup)
	}
	return c, nil
}

// Lane is a lane.Lane on a disk.
//
// A segment is free, live or on its way from live to free, and moves only that way round:
//
//	free ──(Append has no room in the last one)──> live ──(TrimTo passes its last group)──> free
//
// TrimTo gives it a new generation, durably, before it is free: from then on nothing that lies in
// it can be taken for a group, and no Append ever has to write anything but its group. A segment
// that is read is not freed before the reader is done.
//
// A segment that becomes wholly trimmed while it is the last is freed by the TrimTo after the
// next one has begun.
//
// Two turns keep calls apart without holding mu while the disk works: one for Append, one for
// whatever changes the ring (TrimTo, the making of segments, Close). Whoever needs both takes
// Append's first.
type Lane struct {
	fs     vfs.FS
	cfg    Config
	id     uint64 // of the ring, in every header
	lock   io.Closer
	buf    []byte // of Append's turn: the group that is written, aligned
	mark   []byte // of the ring's turn: the mark that is written, aligned
	append turn
	ring   turn
	stop   chan struct{} // closed by Close
	grower sync.WaitGroup

	mu struct {
		sync.Mutex
		live        []*segment // in order of positions; the last is written
		free        []*segment // first in, first out
		all         []*segment // every file of the ring, by number
		first, next lane.Position
		noted       lane.Position // the next that some mark on the disk tells
		failed      error         // of the write or sync that ended the lane
		closed      bool
	}
}

// turn is taken by one at a time.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// Open recovers the lane below fs, or makes one where there is none. It takes the lock wal/LOCK
// until Close, so a second lane on the same directory hears vfs.ErrLocked. It makes the last group
// durable before it returns: what a reader sees is never lost later.
//
// It fails with ErrCorrupt or ErrVersion where files are not what was written; the disk is then as
// it was but for leftovers of files that never belonged to the ring. That a whole ring is gone it cannot
// tell from a new one: whoever remembers a position compares it with Bounds.
//
// It reads every group once and, behind the last one, as far as a damaged group could reach.
func Open(ctx context.Context, fs vfs.FS, cfg Config) (*Lane, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fs.Mkdir(dir), fs.SyncDir(".")); err != nil {
		return nil, fmt.Errorf("make directory of lane: %w", err)
	}
	lock, err := fs.Lock(dir + "/LOCK")
	if err != nil {
		return nil, fmt.Errorf("lock lane: %w", err)
	}
	l := &Lane{fs: fs, cfg: cfg, lock: lock, mark: vfs.AlignedBuffer(block),
		append: make(turn, 1), ring: make(turn, 1), stop: make(chan struct{})}
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(err, l.release())
	}
	if len(l.mu.all) < cfg.Segments {
		l.grower.Go(l.grow)
	}
	return l, nil
}

// open is Open after the lock. What it opens is closed by release if it fails.
func (l *Lane) open(ctx context.Context) error {
	names, err := l.list()
	if err != nil {
		return err
	}
	// A process that was killed may have left the name of a segment that a power cut would take away
	// again, with what is appended to it from now on.
	if err := l.fs.SyncDir(dir); err != nil {
		return fmt.Errorf("sync directory of lane: %w", err)
	}
	found, err := readRing(ctx, l.fs, names, 0, false)
	l.adopt(found)
	if err != nil {
		return err
	}
	was := found.recovery()
	if l.id == 0 {
		l.mu.first = max(1, l.cfg.First)
		l.mu.next = l.mu.first
		if l.id, err = l.random(); err != nil {
			return err
		}
	}
	l.cfg.MaxGroup = l.roomForGroup()
	l.buf = vfs.AlignedBuffer(int(extent(l.cfg.MaxGroup)))
	if err := l.settleTail(found); err != nil {
		return err
	}
	for len(l.mu.all) < l.cfg.Ready {
		if err := l.makeSegment(ctx); err != nil {
			return err
		}
	}
	if l.cfg.Events.Recovered != nil {
		l.cfg.Events.Recovered(was)
	}
	return nil
}

// adopt takes what was found, so that it is closed whatever happens next.
func (l *Lane) adopt(found *ring) {
	l.id = found.id
	l.mu.all, l.mu.live, l.mu.free = found.all, found.live, found.free
	l.mu.first, l.mu.next = found.first, found.next
	l.mu.noted = found.noted
}

// roomForGroup returns MaxGroup: what is asked for, or what the smallest segment takes.
func (l *Lane) roomForGroup() int {
	room := int64(l.cfg.MaxGroup)
	if len(l.mu.all) < l.cfg.Segments {
		room = min(room, l.cfg.SegmentBytes-block-headerSize)
	}
	for _, s := range l.mu.all {
		room = min(room, s.size-block-headerSize)
	}
	return int(room)
}

// random returns a number that is not 0.
func (l *Lane) random() (uint64, error) {
	var b [8]byte
	for {
		if _, err := io.ReadFull(l.cfg.Random, b[:]); err != nil {
			return 0, fmt.Errorf("choose generation: %w", err)
		}
		if n := binary.LittleEndian.Uint64(b[:]); n != 0 {
			return n, nil
		}
	}
}

// stateLocked returns why no call can be served. REQUIRES: l.mu held.
func (l *Lane) stateLocked() error {
	if l.mu.closed {
		return lane.ErrClosed
	}
	return l.mu.failed
}

// state is stateLocked for callers without the lock.
func (l *Lane) state() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stateLocked()
}

// fail ends the lane: nothing is known any more of what the disk holds behind the last group that
// was acknowledged. It returns the error that every call hears from now on.
func (l *Lane) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.failed == nil {
		l.mu.failed = err
	}
	return l.mu.failed
}

// MaxGroup implements lane.Lane.
func (l *Lane) MaxGroup() int { return l.cfg.MaxGroup }

// Keeps implements lane.Lane: a payload is on the disk when Append returns, and nowhere else.
func (l *Lane) Keeps() bool { return false }

// Capacity is the size in bytes of the ring's files, those included that are still being made. It may
// differ from what Config asks for, because files that exist keep their size.
func (l *Lane) Capacity() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(max(0, l.cfg.Segments-len(l.mu.all))) * l.cfg.SegmentBytes
	for _, s := range l.mu.all {
		n += s.size
	}
	return n
}

// Bounds implements lane.Lane.
func (l *Lane) Bounds(ctx context.Context) (lane.Bounds, error) {
	if err := ctx.Err(); err != nil {
		return lane.Bounds{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.stateLocked(); err != nil {
		return lane.Bounds{}, err
	}
	return lane.Bounds{First: l.mu.first, Next: l.mu.next}, nil
}

// Close implements lane.Lane. It waits for the calls that are under way and notes on the disk
// where the lane ends, so that the next Open can tell a damaged last group from one that never
// was complete. Of a lane that has failed it returns the failure.
func (l *Lane) Close() error {
	l.mu.Lock()
	already := l.mu.closed
	l.mu.closed = true
	l.mu.Unlock()
	if already {
		return nil
	}
	close(l.stop)
	l.grower.Wait()
	l.append <- struct{}{}
	defer l.append.give()
	l.ring <- struct{}{}
	defer l.ring.give()
	return errors.Join(l.noteEnd(), l.release())
}

// noteEnd gives a free segment a mark that tells the end; without a free one the end stays untold.
// REQUIRES: the turn of the ring.
func (l *Lane) noteEnd() error {
	l.mu.Lock()
	failed, told := l.mu.failed, l.mu.noted == l.mu.next
	free := l.mu.free
	l.mu.Unlock()
	if failed != nil || told || len(free) == 0 {
		return failed
	}
	return l.renew(free[0])
}

// release closes the files and gives the lock back.
func (l *Lane) release() error {
	var errs []error
	for _, s := range l.mu.all {
		s.readers.Wait()
		errs = append(errs, s.file.Close())
	}
	l.mu.all, l.mu.live, l.mu.free = nil, nil, nil
	return errors.Join(append(errs, l.lock.Close())...)
}
