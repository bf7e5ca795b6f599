package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
)

const (
	dir      = "wal"
	suffix   = ".wal"
	unborn   = ".new" // behind the name of a file that does not belong to the ring yet
	fillUnit = 1 << 20
)

// filler is what a new segment is written full with. It is not zeros: file systems and virtual
// disks are clever about those, and would leave for the first Append what is to be done once.
const filler = "headrace: not written until now\n"

// segment is one file of the ring.
type segment struct {
	number     int
	name       string
	file       vfs.File
	size       int64
	generation uint64

	// Of a live one: where its groups lie, beginning with the one at position first, and where the
	// next goes. Guarded by Lane.mu.
	first lane.Position
	index []entry
	end   int64

	// readers are added under Lane.mu and only while the segment is live.
	readers sync.WaitGroup
}

// entry says where a group lies: 8 bytes a group, for at most a group a block of the ring.
type entry struct{ block, length uint32 }

func (e entry) offset() int64 { return int64(e.block) * block }
func (e entry) end() int64    { return e.offset() + extent(int(e.length)) }

// next is the position behind the segment's last group.
func (s *segment) next() lane.Position { return s.first + lane.Position(len(s.index)) }

func segmentName(number int) string { return fmt.Sprintf("%s/%03d%s", dir, number, suffix) }

// list returns the names of the ring's files in order and removes what never came to belong to it.
// Other files are left alone.
func (l *Lane) list() ([]string, error) {
	entries, err := l.fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list lane: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name, suffix+unborn) && !e.Dir {
			if err := l.fs.Remove(dir + "/" + e.Name); err != nil {
				return nil, fmt.Errorf("remove leftover: %w", err)
			}
		}
	}
	return segmentNames(entries)
}

// segmentNames returns the names of the files 000.wal, 001.wal and so on, without a gap.
func segmentNames(entries []vfs.Entry) ([]string, error) {
	there := make(map[string]bool)
	for _, e := range entries {
		if name := dir + "/" + e.Name; !e.Dir && isSegment(name) {
			there[name] = true
		}
	}
	var names []string
	for n := range len(there) {
		name := segmentName(n)
		if !there[name] {
			return nil, missing(name)
		}
		names = append(names, name)
	}
	return names, nil
}

func isSegment(name string) bool {
	var n int
	_, err := fmt.Sscanf(name, dir+"/%03d"+suffix, &n)
	return err == nil && name == segmentName(n)
}

func missing(name string) error {
	return &CorruptError{File: name, Reason: "the file is missing"}
}

// makeSegment adds a segment to the ring: written full under another name, synced, renamed, and
// its name synced, before anything can be appended to it. REQUIRES: nobody else makes one.
func (l *Lane) makeSegment(ctx context.Context) error {
	l.mu.Lock()
	number := len(l.mu.all)
	l.mu.Unlock()
	s := &segment{number: number, name: segmentName(number), size: l.cfg.SegmentBytes, end: block}
	unborn := s.name + unborn
	if err := l.fill(ctx, s, unborn); err != nil {
		// The file may not exist, or not go: the next Open removes it.
		_ = l.fs.Remove(unborn)
		return fmt.Errorf("make segment %s: %w", s.name, err)
	}
	if err := errors.Join(l.fs.Rename(unborn, s.name), l.fs.SyncDir(dir)); err != nil {
		return fmt.Errorf("name segment %s: %w", s.name, err)
	}
	var err error
	if s.file, err = l.fs.Open(s.name, vfs.Direct); err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.free = append(l.mu.free, s)
	l.mu.all = append(l.mu.all, s)
	return nil
}

// fill writes the segment's file under the given name.
func (l *Lane) fill(ctx context.Context, s *segment, name string) error {
	f, err := l.fs.Open(name, vfs.Create|vfs.Exclusive|vfs.Direct)
	if err != nil {
		return err
	}
	return errors.Join(l.fillFile(ctx, s, f), f.Close())
}

func (l *Lane) fillFile(ctx context.Context, s *segment, f vfs.File) error {
	if err := f.Allocate(s.size); err != nil {
		return err
	}
	b := vfs.AlignedBuffer(int(min(s.size, fillUnit)))
	fillWith(b, filler)
	for off := int64(0); off < s.size; off += int64(len(b)) {
		select {
		case <-l.stop:
			return lane.ErrClosed
		default:
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := writeAt(f, b[:min(int64(len(b)), s.size-off)], off); err != nil {
			return err
		}
	}
	if err := l.encodeMark(s, b[:block], 0); err != nil {
		return err
	}
	if err := writeAt(f, b[:block], 0); err != nil {
		return err
	}
	return f.Sync()
}

func fillWith(b []byte, text string) {
	for n := copy(b, text); n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// writeAt is WriteAt that does not trust a file to tell of a short write.
func writeAt(f vfs.File, b []byte, off int64) error {
	n, err := f.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// encodeMark begins a new generation of the segment: b becomes the block that lies at off.
func (l *Lane) encodeMark(s *segment, b []byte, off int64) error {
	generation, err := l.random()
	if err != nil {
		return err
	}
	l.mu.Lock()
	h := header{kind: kindMark, ring: l.id, generation: generation, previous: s.generation,
		position: l.mu.next, first: l.mu.first, offset: off, segment: uint32(s.number),
		segments: uint32(max(len(l.mu.all), s.number+1)), bytes: s.size}
	l.mu.Unlock()
	s.generation = generation
	clear(b)
	h.encode(b)
	return nil
}

// writeMark writes a mark and makes it durable: from then on nothing behind it counts that is of
// an older generation. A failure ends the lane. REQUIRES: the turn of the ring, or nobody else.
func (l *Lane) writeMark(s *segment, off int64) error {
	if err := l.encodeMark(s, l.mark, off); err != nil {
		return l.fail(err)
	}
	if err := writeAt(s.file, l.mark, off); err != nil {
		return l.fail(fmt.Errorf("write mark in %s at %d: %w", s.name, off, err))
	}
	if err := s.file.Sync(); err != nil {
		return l.fail(fmt.Errorf("sync mark in %s: %w", s.name, err))
	}
	return nil
}

// renew makes the segment empty. It must hold no group that is not trimmed, and must not be
// written by Append meanwhile.
func (l *Lane) renew(s *segment) error {
	l.mu.Lock()
	next := l.mu.next
	l.mu.Unlock()
	if err := l.writeMark(s, 0); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.first, s.index, s.end = 0, s.index[:0], block
	l.mu.noted = max(l.mu.noted, next)
	return nil
}

// grow makes the segments that Open did not wait for. It takes no turn: TrimTo need not wait for it.
func (l *Lane) grow() {
	for {
		l.mu.Lock()
		done := len(l.mu.all) >= l.cfg.Segments || l.stateLocked() != nil
		name := segmentName(len(l.mu.all))
		l.mu.Unlock()
		if done {
			return
		}
		err := l.makeSegment(context.Background())
		if errors.Is(err, lane.ErrClosed) {
			return
		}
		if l.cfg.Events.Grown != nil {
			l.cfg.Events.Grown(name, err)
		}
		if err != nil {
			return
		}
	}
}
