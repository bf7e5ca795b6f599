package disk

import (
	"context"
	"fmt"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs"
)

// scan reads one segment from its mark to its last group.
//
// Where the groups end it must tell three things apart: bytes of an older use, a group that was
// under way when the power failed, and a group that was acknowledged and is damaged. A group
// under way is the last; so it looks on for a header that can only be there if more followed: one
// of this ring, at its own place, with a position that no older use of the segment can have had.
// It looks as far as a damaged group and the mark behind it can reach, or to the end if it is told to.
//
// A group that another follows had been synced before that one was begun, so only the last one's
// payload is read: a start that read all of them would read the log twice. Damage in the others is
// found when they are read, or by a scan that is told to be full.
//
// That a whole group is missing at the end, with nothing behind it, no segment can tell by itself;
// readRing compares them.
type scan struct {
	s     *segment
	full  bool   // reads every payload
	buf   []byte // a window of the file
	start int64  // where the window lies
	have  int64  // how much of it is read

	reach int64 // how much of the file is to be read at once

	ring uint64
	// positions: what the next group must be; any from floor on while the segment has none.
	floor lane.Position
	told
	// torn says that a group of the segment's generation lies in part where the groups end.
	torn bool
	// last is the header of the last group, if its payload was not read, and before what was known
	// without it.
	last   *header
	before known
}

// told is what headers tell beyond their own place.
type told struct {
	// first and noted are the largest told by any header.
	first, noted lane.Position
	segments     uint32
	// tail and generation are where the last group ends and what held there: marks may follow.
	tail       int64
	generation uint64
}

// known is what groups and marks change.
type known struct {
	told
	// of the segment
	first      lane.Position
	groups     int
	end        int64
	generation uint64
}

const (
	// window is how much is read at once, glance how much where a group of large bytes or more begins
	// of which only the header is looked at.
	window, glance, large = 1 << 20, 16 << 10, 256 << 10
	// evidenceAll makes a scan full, and lets it look behind the last group to the end of the file.
	evidenceAll = 1 << 62
)

// scanSegment reads the segment, whose file is open. It fills in what the segment holds.
func scanSegment(ctx context.Context, s *segment, evidence int64) (*scan, error) {
	if s.size < minSegmentBytes || s.size%block != 0 {
		return nil, &CorruptError{File: s.name, Offset: s.size, Reason: "the file ends where no segment does"}
	}
	c := &scan{s: s, full: evidence == evidenceAll, reach: window, buf: vfs.AlignedBuffer(int(min(s.size, window)))}
	if err := c.mark(); err != nil {
		return nil, err
	}
	for s.end = block; s.end < s.size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := c.step()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	if err := c.lastWhole(); err != nil {
		return nil, err
	}
	if s.end >= s.size {
		return c, nil
	}
	return c, c.end(ctx, evidence)
}

// mark reads the mark that begins the segment.
func (c *scan) mark() error {
	b, err := c.at(0)
	if err != nil {
		return err
	}
	h, what := parse(b)
	if what == parsedNewer {
		return c.newer(0)
	}
	if what != parsedHeader || h.kind != kindMark || h.offset != 0 || h.segment != uint32(c.s.number) {
		return c.corrupt(0, "no mark of this segment")
	}
	if h.bytes != c.s.size {
		return c.corrupt(0, "the file has %d bytes, its mark says %d", c.s.size, h.bytes)
	}
	c.ring = h.ring
	c.s.generation = h.generation
	c.tail, c.generation = block, h.generation
	c.floor = h.position
	c.s.first = h.position
	c.note(h)
	return nil
}

// note keeps what a header that counts tells of the whole ring.
func (c *scan) note(h header) {
	c.first = max(c.first, h.first)
	c.segments = max(c.segments, h.segments)
	if h.kind == kindMark {
		c.noted = max(c.noted, h.position)
	}
}

// expected is the least position that a header behind the last group can have.
func (c *scan) expected() lane.Position { return c.s.next() }

// step takes the mark or group at the segment's end, and says whether there was one.
func (c *scan) step() (bool, error) {
	off := c.s.end
	h, own, err := c.header(off)
	if err != nil || !own {
		return false, err
	}
	switch {
	case h.kind == kindMark && h.previous == c.s.generation && c.follows(h):
		c.s.generation = h.generation
		c.s.end += block
	case h.kind == kindGroup && h.generation == c.s.generation:
		if !c.follows(h) || h.previous != uint64(h.position-1) || off+extent(int(h.length)) > c.s.size {
			return false, c.corrupt(off, "group %d, want %d", h.position, c.expected())
		}
		if c.full {
			whole, err := c.whole(off, h)
			if err != nil || !whole {
				c.torn = !whole
				return false, err
			}
		} else {
			c.last, c.before = &h, known{c.told, c.s.first, len(c.s.index), c.s.end, c.s.generation}
		}
		c.take(off, h)
	default:
		return false, nil
	}
	c.note(h)
	return true, nil
}

// follows says whether the header has the position that comes next; the first group of a segment
// may have skipped what other segments took meanwhile.
func (c *scan) follows(h header) bool {
	if len(c.s.index) == 0 {
		return h.position >= c.floor
	}
	return h.position == c.s.next()
}

func (c *scan) take(off int64, h header) {
	if len(c.s.index) == 0 {
		c.s.first = h.position
	}
	c.s.index = append(c.s.index, entry{block: uint32(off / block), length: h.length})
	c.s.end = off + extent(int(h.length))
	c.tail, c.generation = c.s.end, c.s.generation
	if c.reach = window; !c.full && c.s.end-off >= large {
		c.reach = glance
	}
}

// lastWhole takes the last group back, and the marks behind it, if it is not whole.
func (c *scan) lastWhole() error {
	if c.last == nil {
		return nil
	}
	c.reach = window
	whole, err := c.whole(c.last.offset, *c.last)
	if err != nil || whole {
		return err
	}
	b := &c.before
	c.told, c.torn = b.told, true
	c.s.first, c.s.index, c.s.end, c.s.generation = b.first, c.s.index[:b.groups], b.end, b.generation
	return nil
}

// end looks behind the last group for what must not be there.
func (c *scan) end(ctx context.Context, evidence int64) error {
	damaged := c.s.end
	from := damaged + block
	if h, own, err := c.header(damaged); err != nil {
		return err
	} else if own && h.generation == c.s.generation && h.kind == kindGroup {
		from = damaged + extent(int(h.length)) // what looks like a header in there is payload
	} else if own && h.kind == kindMark && h.position > c.expected() {
		return c.corrupt(damaged, "a mark tells of group %d, want %d", h.position-1, c.expected())
	}
	for off := from; off < min(c.s.size, from+evidence); off += block {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, own, err := c.header(off)
		if err != nil {
			return err
		}
		if own && (h.kind == kindGroup && h.position >= c.expected() || h.kind == kindMark && h.position > c.expected()) {
			return c.corrupt(damaged, "no whole group %d here, but what followed it at %d", c.expected(), off)
		}
	}
	return nil
}

// header returns what the block at off begins with, if it was written there for this ring.
func (c *scan) header(off int64) (header, bool, error) {
	b, err := c.at(off)
	if err != nil {
		return header{}, false, err
	}
	h, what := parse(b)
	if what == parsedNothing || !h.lies(c.ring, c.s.number, off) {
		return header{}, false, nil
	}
	if what == parsedNewer {
		return header{}, false, c.newer(off)
	}
	return h, true, nil
}

// lies says whether the header was written for that place of that ring.
func (h *header) lies(ring uint64, segment int, off int64) bool {
	return h.ring == ring && h.segment == uint32(segment) && h.offset == off
}

// whole says whether the payload is what the header says.
func (c *scan) whole(off int64, h header) (bool, error) {
	var sum uint32
	at, left := off+headerSize, int64(h.length)
	for left > 0 {
		b, err := c.at(at &^ (block - 1))
		if err != nil {
			return false, err
		}
		b = b[at&(block-1):]
		n := min(left, int64(len(b)))
		sum = addSum(sum, b[:n])
		at, left = at+n, left-n
	}
	return sum == h.sum, nil
}

// at returns the bytes from off, a multiple of block, to the end of the window: at least a block.
func (c *scan) at(off int64) ([]byte, error) {
	if off < c.start || off >= c.start+c.have {
		n := min(int64(len(c.buf)), c.reach, c.s.size-off)
		if n < block {
			return nil, c.corrupt(0, "the file has %d bytes: too few for a segment", c.s.size)
		}
		c.start, c.have = off, 0
		if err := readAt(c.s.file, c.buf[:n], off); err != nil {
			return nil, fmt.Errorf("read %s at %d: %w", c.s.name, off, err)
		}
		c.have = n
	}
	return c.buf[off-c.start : c.have], nil
}

func (c *scan) corrupt(off int64, format string, args ...any) error {
	return &CorruptError{File: c.s.name, Offset: off, Reason: fmt.Sprintf(format, args...)}
}

func (c *scan) newer(off int64) error {
	return fmt.Errorf("read %s at offset %d: %w", c.s.name, off, ErrVersion)
}
