package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
)

// readAhead is how much of a segment one Read may take from the disk however little the caller
// asks for: small groups lie 4 KiB apart.
const readAhead = 256 << 10

// Read implements lane.Lane: one read of the disk for each segment that it comes through. What does
// not check is ErrCorrupt. The payloads that come out of one segment share a buffer.
func (l *Lane) Read(ctx context.Context, from lane.Position, maxBytes int) ([]lane.Group, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	left := budget{payload: int64(maxBytes), disk: max(int64(maxBytes), readAhead)}
	var groups []lane.Group
	for {
		s, entries, err := l.find(from+lane.Position(len(groups)), &left, len(groups) == 0)
		if errors.Is(err, lane.ErrTrimmed) && len(groups) > 0 {
			return groups, nil // what was read before is still what it was
		}
		if err != nil {
			return nil, err
		}
		if s == nil {
			return groups, nil
		}
		groups, err = l.load(groups, s, entries, from+lane.Position(len(groups)))
		s.readers.Done()
		if err != nil {
			return nil, err
		}
	}
}

// budget is what a Read may still take.
type budget struct{ payload, disk int64 }

// find returns where groups are that fit, all in one segment, and keeps that from being freed until
// its reader is done; without a segment there is nothing more to read. The first group always fits.
func (l *Lane) find(from lane.Position, left *budget, first bool) (*segment, []entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.stateLocked(); err != nil {
		return nil, nil, err
	}
	if from < l.mu.first {
		return nil, nil, fmt.Errorf("read group %d: %w", from, lane.ErrTrimmed)
	}
	for _, s := range l.mu.live {
		if from < s.first || from >= s.next() {
			continue
		}
		entries := left.take(s.index[from-s.first:], first)
		if len(entries) == 0 {
			return nil, nil, nil
		}
		s.readers.Add(1)
		return s, entries, nil
	}
	return nil, nil, nil
}

// take returns the entries that fit, and at least one if it must.
func (b *budget) take(entries []entry, must bool) []entry {
	n := 0
	begin, end := entries[0].offset(), entries[0].offset()
	for ; n < len(entries); n++ {
		e := entries[n]
		if (n > 0 || !must) && (int64(e.length) > b.payload || e.end()-begin > b.disk) {
			break
		}
		b.payload -= int64(e.length)
		end = e.end()
	}
	b.disk -= end - begin
	return entries[:n]
}

// load reads the entries, which lie in s, and appends their groups.
func (l *Lane) load(groups []lane.Group, s *segment, entries []entry, from lane.Position) ([]lane.Group, error) {
	off := entries[0].offset()
	b := vfs.AlignedBuffer(int(entries[len(entries)-1].end() - off))
	if err := readAt(s.file, b, off); err != nil {
		return nil, fmt.Errorf("read group %d from %s at %d: %w", from, s.name, off, err)
	}
	groups = slices.Grow(groups, len(entries))
	for i, e := range entries {
		p := from + lane.Position(i)
		payload, err := l.check(s, e, p, b[e.offset()-off:])
		if err != nil {
			return nil, err
		}
		groups = append(groups, lane.Group{Position: p, Payload: payload})
	}
	return groups, nil
}

// check returns the payload of the group in b if it is the one written there.
func (l *Lane) check(s *segment, e entry, p lane.Position, b []byte) ([]byte, error) {
	h, what := parse(b)
	payload := b[headerSize : headerSize+int(e.length) : headerSize+int(e.length)]
	if what != parsedHeader || !h.lies(l.id, s.number, e.offset()) || h.kind != kindGroup || h.position != p ||
		h.length != e.length || h.sum != addSum(0, payload) {
		return nil, &CorruptError{File: s.name, Offset: e.offset(), Reason: fmt.Sprintf("group %d is not what was written", p)}
	}
	return payload, nil
}

// readAt fills b: a segment never ends early.
func readAt(f vfs.File, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// TrimTo implements lane.Lane. A trim is certain to outlast the process when a segment was freed
// by it or a group was appended after it: until then Open may give back groups that were trimmed.
// Freeing a segment takes a write and a sync in it; if one fails, the lane ends.
func (l *Lane) TrimTo(ctx context.Context, first lane.Position) error {
	if err := l.ring.take(ctx); err != nil {
		return err
	}
	defer l.ring.give()
	trimmed, err := l.trim(first)
	if err != nil {
		return err
	}
	for _, s := range trimmed {
		s.readers.Wait()
		if err := l.renew(s); err != nil {
			return err
		}
		l.mu.Lock()
		l.mu.free = append(l.mu.free, s)
		l.mu.Unlock()
	}
	return nil
}

// trim moves the first position and returns the segments that hold nothing any more, oldest first
// and never the one that is written: they are neither live nor free, and nobody else knows them.
// REQUIRES: the turn of the ring.
func (l *Lane) trim(first lane.Position) ([]*segment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.stateLocked(); err != nil {
		return nil, err
	}
	l.mu.first = max(l.mu.first, min(first, l.mu.next))
	n := 0
	for n+1 < len(l.mu.live) && l.mu.live[n].next() <= l.mu.first {
		n++
	}
	trimmed := l.mu.live[:n:n]
	l.mu.live = l.mu.live[n:]
	return trimmed, nil
}
