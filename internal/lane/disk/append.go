package disk

import (
	"context"
	"fmt"

	"github.com/headrace/headrace/internal/lane"
)

// Append implements lane.Lane: one write of the group, padded to 4 KiB, and one sync. Any of the
// two failing ends the lane, and every call from then on returns that error. The payload is copied
// once and not kept. ErrFull says that every segment holds a group that is not trimmed; a trimmed
// one is free when TrimTo has returned.
func (l *Lane) Append(ctx context.Context, next lane.Position, payload []byte) error {
	if err := l.append.take(ctx); err != nil {
		return err
	}
	defer l.append.give()
	s, h, err := l.place(next, len(payload))
	if err != nil {
		return err
	}
	b := l.encodeGroup(h, payload)
	if err := writeAt(s.file, b, h.offset); err != nil {
		return l.fail(fmt.Errorf("write group %d to %s at %d: %w", next, s.name, h.offset, err))
	}
	if err := s.file.Sync(); err != nil {
		return l.fail(fmt.Errorf("sync group %d in %s: %w", next, s.name, err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.index = append(s.index, entry{block: uint32(h.offset / block), length: h.length})
	s.end = h.offset + int64(len(b))
	l.mu.next++
	return nil
}

// place says where the group goes, which may be the first place of a free segment. REQUIRES: the
// turn of Append.
func (l *Lane) place(next lane.Position, length int) (*segment, header, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.stateLocked(); err != nil {
		return nil, header{}, err
	}
	if next != l.mu.next {
		return nil, header{}, fmt.Errorf("append group %d: %w", next, lane.ErrFenced)
	}
	if length > l.cfg.MaxGroup {
		return nil, header{}, lane.ErrTooLarge
	}
	s := l.lastLocked()
	if s == nil || s.end+extent(length) > s.size {
		if s = l.rollLocked(); s == nil {
			return nil, header{}, lane.ErrFull
		}
	}
	return s, header{kind: kindGroup, ring: l.id, generation: s.generation, previous: uint64(next - 1),
		position: next, first: l.mu.first, offset: s.end, segment: uint32(s.number),
		segments: uint32(len(l.mu.all)), bytes: s.size, length: uint32(length)}, nil
}

// lastLocked returns the segment that is written, nil in a lane that never was. REQUIRES: l.mu held.
func (l *Lane) lastLocked() *segment {
	if len(l.mu.live) == 0 {
		return nil
	}
	return l.mu.live[len(l.mu.live)-1]
}

// rollLocked makes a free segment the one that is written; nil if there is none. Nothing has to be
// written for that: its mark lies on the disk since it became free. REQUIRES: l.mu held.
func (l *Lane) rollLocked() *segment {
	if len(l.mu.free) == 0 {
		return nil
	}
	s := l.mu.free[0]
	l.mu.free = l.mu.free[1:]
	s.first = l.mu.next
	l.mu.live = append(l.mu.live, s)
	return s
}

// Room returns how many bytes of the ring are left after a payload of n bytes, or one of many times
// MaxGroup in groups of that size: less than 0 if Append would answer ErrFull to one of them. What is
// left in a segment that a group does not fit into any more is lost.
func (l *Lane) Room(n int) int64 {
	each, left := int64(n), int64(1)
	if most := int64(l.cfg.MaxGroup); each > most {
		each, left = most, (each+most-1)/most
	}
	size := extent(int(each))
	l.mu.Lock()
	defer l.mu.Unlock()
	room := int64(-1)
	if s := l.lastLocked(); s != nil {
		fit := min(left, (s.size-s.end)/size)
		if left -= fit; left == 0 {
			room = s.size - s.end - fit*size
		}
	}
	for _, s := range l.mu.free {
		empty := s.size - block
		if left == 0 {
			room += empty
			continue
		}
		fit := min(left, empty/size)
		if left -= fit; left == 0 {
			room = empty - fit*size
		}
	}
	return room
}

// encodeGroup builds the group in the lane's buffer. REQUIRES: the turn of Append.
func (l *Lane) encodeGroup(h header, payload []byte) []byte {
	b := l.buf[:extent(len(payload))]
	h.sum = copySum(b[headerSize:], payload)
	clear(b[headerSize+len(payload):])
	h.encode(b)
	return b
}

// copySum copies src to dst and returns its checksum, a piece at a time so that the bytes are
// still in the processor's cache for the second look.
func copySum(dst, src []byte) uint32 {
	const piece = 16 << 10
	var sum uint32
	for len(src) > 0 {
		n := copy(dst[:min(piece, len(src))], src)
		sum = addSum(sum, dst[:n])
		dst, src = dst[n:], src[n:]
	}
	return sum
}
