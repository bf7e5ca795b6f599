package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
)

// ring is what the files say together.
type ring struct {
	id          uint64
	all         []*segment // by number
	live, free  []*segment // live in order of positions, free in order of numbers
	first, next lane.Position
	noted       lane.Position
	// tail is the offset in the last live segment where its last group ends, and generation that
	// group's; torn says that part of a group lies behind it or in a free segment, tornFree in which.
	tail       int64
	generation uint64
	torn       bool
	tornFree   []*segment
}

// readRing reads the segments and changes nothing. What it returns holds the files that it opened,
// even with an error. A full reading looks for damage to the end of every file and goes on to the
// next after it found some; another one looks as far as the rule in scan says.
func readRing(ctx context.Context, fs vfs.FS, names []string, flag vfs.Flag, full bool) (*ring, error) {
	r := &ring{first: 1, next: 1}
	var scans []*scan
	evidence, err := r.open(fs, names, flag)
	if err != nil {
		return r, err
	}
	if full {
		evidence = evidenceAll
	}
	var damage error
	for _, s := range r.all {
		c, err := scanSegment(ctx, s, evidence)
		if full && errors.Is(err, ErrCorrupt) {
			damage = errors.Join(damage, err)
			continue
		}
		if err != nil {
			return r, err
		}
		scans = append(scans, c)
	}
	if damage != nil {
		return r, damage
	}
	return r, r.join(scans)
}

// open opens the files and returns how many bytes behind the last group are searched.
func (r *ring) open(fs vfs.FS, names []string, flag vfs.Flag) (int64, error) {
	largest := int64(0)
	for number, name := range names {
		f, err := fs.Open(name, vfs.Direct|flag)
		if err != nil {
			return 0, fmt.Errorf("open segment: %w", err)
		}
		s := &segment{number: number, name: name, file: f}
		r.all = append(r.all, s)
		if s.size, err = f.Size(); err != nil {
			return 0, fmt.Errorf("ask size of segment %s: %w", name, err)
		}
		largest = max(largest, s.size)
	}
	return min(largest, evidenceBytes), nil
}

// evidenceBytes is twice what the largest group takes that any lane can have written.
const evidenceBytes = 2 * (DefaultMaxGroup + 2*block)

// join puts the segments in order and looks for what is missing between them.
func (r *ring) join(scans []*scan) error {
	for _, c := range scans {
		if r.id == 0 {
			r.id = c.ring
		}
		if c.ring != r.id {
			return c.corrupt(0, "the file belongs to another ring than %s", scans[0].s.name)
		}
		r.first = max(r.first, c.first)
		r.noted = max(r.noted, c.noted)
	}
	for _, c := range scans {
		if int(c.segments) > len(scans) {
			return missing(segmentName(len(scans)))
		}
	}
	r.sort(scans)
	return r.chain(scans)
}

// sort tells live segments from free ones: a segment without groups is free, and one whose groups
// are all trimmed.
func (r *ring) sort(scans []*scan) {
	for _, c := range scans {
		if len(c.s.index) > 0 && c.s.next() > r.first {
			r.live = append(r.live, c.s)
		} else {
			r.free = append(r.free, c.s)
		}
	}
	slices.SortFunc(r.live, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })
}

// chain checks that the live segments hold every group from first to next.
func (r *ring) chain(scans []*scan) error {
	r.next = r.first
	for i, s := range r.live {
		if s.first > r.next || (i > 0 && s.first < r.next) {
			if i == 0 {
				return &CorruptError{File: s.name, Offset: block, Reason: fmt.Sprintf("group %d is the oldest, want %d", s.first, r.next)}
			}
			return &CorruptError{File: r.live[i-1].name, Offset: r.live[i-1].end,
				Reason: fmt.Sprintf("group %d should follow, %s goes on with %d", r.next, s.name, s.first)}
		}
		r.next = s.next()
	}
	for _, c := range scans {
		last := len(r.live) > 0 && c.s == r.live[len(r.live)-1]
		if last {
			r.tail, r.generation = c.tail, c.generation
		}
		if c.torn && slices.Contains(r.free, c.s) {
			r.tornFree = append(r.tornFree, c.s)
		}
		r.torn = r.torn || c.torn && last
	}
	r.torn = r.torn || len(r.tornFree) > 0
	if r.noted > r.next {
		return r.cutShort()
	}
	return nil
}

// cutShort is the error for a lane that ends before an end that was noted.
func (r *ring) cutShort() error {
	e := &CorruptError{File: segmentName(0), Offset: block, Reason: fmt.Sprintf("no groups %d to %d", r.next, r.noted-1)}
	if n := len(r.live); n > 0 {
		e.File, e.Offset = r.live[n-1].name, r.tail
	}
	return e
}

// settleTail makes what was found durable and begins new generations everywhere.
//
// The last group may never have been acknowledged: it can lie in the system's cache alone, even
// one that a failed sync left there as clean. Once a reader has seen it it must not go, so the same
// bytes are written again, and synced, before any mark tells that the group exists. Marks go right
// behind the last group, over a torn one and over the marks of an Open that nothing was appended
// after, for those may lie in the cache alone as well; and into every free segment, where a group
// may have been torn too: in one whose groups were all trimmed already it is written over first, or
// its header would look, behind the new mark, like what followed a damaged group. No generation is
// ever used again after a crash.
func (l *Lane) settleTail(found *ring) error {
	if n := len(found.live); n > 0 {
		s := found.live[n-1]
		if err := l.rewrite(s, s.index[len(s.index)-1]); err != nil {
			return err
		}
		s.end, s.generation = found.tail, found.generation
		if s.end < s.size {
			if err := l.writeMark(s, s.end); err != nil {
				return err
			}
			s.end += block
		}
	}
	for _, s := range found.tornFree {
		if err := l.writeMark(s, s.end); err != nil {
			return err
		}
	}
	for _, s := range found.free {
		if err := l.renew(s); err != nil {
			return err
		}
	}
	return nil
}

// rewrite writes a group as it lies there.
func (l *Lane) rewrite(s *segment, e entry) error {
	n := int(e.end() - e.offset())
	b := l.buf
	if n > len(b) {
		b = vfs.AlignedBuffer(n) // a lane with a larger MaxGroup wrote it
	}
	b = b[:n]
	if err := readAt(s.file, b, e.offset()); err != nil {
		return fmt.Errorf("read last group from %s at %d: %w", s.name, e.offset(), err)
	}
	if _, err := l.check(s, e, s.next()-1, b); err != nil {
		return err
	}
	if err := writeAt(s.file, b, e.offset()); err != nil {
		return l.fail(fmt.Errorf("write last group to %s at %d: %w", s.name, e.offset(), err))
	}
	if err := s.file.Sync(); err != nil {
		return l.fail(fmt.Errorf("sync last group in %s: %w", s.name, err))
	}
	return nil
}

// recovery says what was found.
func (r *ring) recovery() Recovery {
	out := Recovery{Bounds: lane.Bounds{First: r.first, Next: r.next}, Segments: len(r.all), Free: len(r.free), Torn: r.torn}
	if n := len(r.live); n > 0 {
		out.TailFile, out.TailOffset = r.live[n-1].name, r.tail
	}
	for _, s := range r.all {
		out.Direct = s.file.Direct()
	}
	return out
}
