// Package audit writes down who called what, one line of JSON a call, in the form of AWS CloudTrail's
// events, so that what reads CloudTrail's logs reads these. The layout of its files is
// docs/format/audit.md.
//
// It does not decide which calls are worth a line, nor what in them is secret: package server does,
// with Redact for the second. It knows no service and no HTTP, and nothing reads the files back but
// people and their tools.
//
//	log, err := audit.Open(audit.Config{FS: fs, Dir: "audit", Clock: c, FileBytes: 64 << 20, ...})
//	go log.Run(ctx)
//	log.Record(audit.Event{...}) // never waits
//
// # What is promised
//
// Record never waits for a disk: a line waits in a bounded queue, and one that finds the queue full is
// dropped and counted. Nothing that was called depends on its line. A line reaches the system's cache
// at once and the disk within a second; a crash of the machine may take the lines of that second, and
// may leave a part of one, which the next Open cuts off. All lines before it are whole.
//
// # Two sequences of files
//
// Calls of known callers and refusals of unknown ones have files and bounds of their own. Whoever has
// no key can fill the second, by calling with wrong signatures, and pushes out nothing but the like.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"time"

	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/vfs"
)

// Config says where to write and how much.
type Config struct {
	// FS and Dir are where the files are. Nobody else writes there.
	FS  vfs.FS
	Dir string
	// Clock dates the files.
	Clock clock.Clock
	// FileBytes and FileAge are when a file is followed by another, TotalBytes how much all files may
	// take: the oldest go. TotalBytes is at least four times FileBytes.
	FileBytes, TotalBytes int64
	FileAge               time.Duration
	// QueueBytes is how much may wait to be written; 0 means 4 MiB.
	QueueBytes int64
	// Events tell of what happens.
	Events Events
}

// Events are functions that may be nil. They must not wait.
type Events struct {
	// Written and Dropped hear how many events were, in groups.
	Written, Dropped func(events int)
	// Failed hears of the first of several errors in a row that keep events from the disk, and of nil
	// when that has ended.
	Failed func(error)
}

const (
	defaultQueue = 4 << 20
	// maxBatch is the most that is written at once, and syncBytes how much may be written before it is
	// synced: a crash damages no more than that, and recovery looks at no more.
	maxBatch  = 1 << 20
	syncBytes = 1 << 20
	syncAfter = time.Second
	// The share of the refusals of unknown callers in all that is kept.
	refusalShare = 4
)

// The two sequences of files.
const (
	callsPrefix    = "calls-"
	refusalsPrefix = "refused-"
)

// Log writes events. Use Open. Record is safe for concurrent use.
type Log struct {
	events Events
	limit  int64
	queue  struct {
		sync.Mutex
		lines [2][]byte // whole lines of both sequences
		count [2]int
	}
	woken chan struct{}
	files [2]*sequence // of Run's goroutine alone
	// failing says that the last batch could not be written or synced.
	failing bool
	lock    io.Closer
}

// Open finds the files there are, cuts off what a crash left of a line, and takes the directory's
// lock: ErrLocked of vfs if another process writes there.
func Open(cfg Config) (*Log, error) {
	l := &Log{events: cfg.Events.filled(), limit: cfg.QueueBytes, woken: make(chan struct{}, 1)}
	if l.limit == 0 {
		l.limit = defaultQueue
	}
	if err := errors.Join(cfg.FS.Mkdir(cfg.Dir), cfg.FS.SyncDir(path.Dir(cfg.Dir))); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	lock, err := cfg.FS.Lock(path.Join(cfg.Dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	l.lock = lock
	refusals := cfg.TotalBytes / refusalShare
	for i, s := range []*sequence{
		{prefix: callsPrefix, fileBytes: cfg.FileBytes, totalBytes: cfg.TotalBytes - refusals},
		{prefix: refusalsPrefix, fileBytes: min(cfg.FileBytes, max(refusals/4, maxLine)), totalBytes: refusals},
	} {
		s.fs, s.dir, s.clock, s.age = cfg.FS, cfg.Dir, cfg.Clock, cfg.FileAge
		l.files[i] = s
		if err := s.recover(); err != nil {
			return nil, errors.Join(fmt.Errorf("open audit log: %w", err), l.close())
		}
	}
	return l, nil
}

func (e Events) filled() Events {
	if e.Written == nil {
		e.Written = func(int) {}
	}
	if e.Dropped == nil {
		e.Dropped = func(int) {}
	}
	if e.Failed == nil {
		e.Failed = func(error) {}
	}
	return e
}

// Record hands the event to the goroutine that writes. It never waits.
func (l *Log) Record(e Event) {
	text, err := e.line()
	if err != nil {
		l.events.Dropped(1) // an event that is no JSON, or larger than any can be
		return
	}
	to := 0
	if e.Identity.Type == unknown {
		to = 1
	}
	l.queue.Lock()
	full := int64(len(l.queue.lines[0])+len(l.queue.lines[1])+len(text)) > l.limit
	if !full {
		l.queue.lines[to] = append(l.queue.lines[to], text...)
		l.queue.count[to]++
	}
	l.queue.Unlock()
	if full {
		l.events.Dropped(1)
		return
	}
	select {
	case l.woken <- struct{}{}:
	default: // it is awake
	}
}

// Run writes what is recorded until ctx is done, and then what is left. It closes the log and returns
// the error of that.
func (l *Log) Run(ctx context.Context) error {
	timer := time.NewTimer(syncAfter)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-l.woken:
			l.flush()
			if l.unsynced() {
				timer.Reset(syncAfter)
			}
		case <-timer.C:
			l.sync()
		case <-ctx.Done():
			l.flush()
			l.sync()
			return l.close()
		}
	}
}

// flush writes all that waits.
func (l *Log) flush() {
	l.queue.Lock()
	lines, count := l.queue.lines, l.queue.count
	l.queue.lines, l.queue.count = [2][]byte{}, [2]int{}
	l.queue.Unlock()
	for i, s := range l.files {
		if count[i] == 0 {
			continue
		}
		written, err := s.append(lines[i])
		if err != nil {
			l.told(err)
		}
		l.events.Written(written)
		if lost := count[i] - written; lost > 0 {
			l.events.Dropped(lost)
		}
	}
}

func (l *Log) unsynced() bool {
	return l.files[0].unsynced > 0 || l.files[1].unsynced > 0
}

func (l *Log) sync() {
	for _, s := range l.files {
		if s.unsynced > 0 {
			l.told(s.sync())
		}
	}
}

// told reports a failure once, and its end, which is when something was synced again.
func (l *Log) told(err error) {
	if (err != nil) != l.failing {
		l.failing = err != nil
		l.events.Failed(err)
	}
}

func (l *Log) close() error {
	var err error
	for _, s := range l.files {
		if s != nil {
			err = errors.Join(err, s.close())
		}
	}
	if err = errors.Join(err, l.lock.Close()); err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}
