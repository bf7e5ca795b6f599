package disk

import (
	"sync/atomic"
	"testing"

	"github.com/headrace/headrace/internal/lane"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// calls counts what a lane asks of its file system.
type calls struct{ write, sync, other atomic.Int64 }

func (c *calls) count(call errfs.Call) error {
	switch call.Op {
	case errfs.OpWrite:
		c.write.Add(1)
	case errfs.OpSync:
		c.sync.Add(1)
	default:
		c.other.Add(1)
	}
	return nil
}

// since returns the calls since the last time.
func (c *calls) since() [3]int64 {
	return [3]int64{c.write.Swap(0), c.sync.Swap(0), c.other.Swap(0)}
}

// TestCallsAGroup holds a group to one write and one sync, wherever in the ring it lies, and a segment
// that becomes free to one more of each.
func TestCallsAGroup(t *testing.T) {
	const segments, segmentBytes = 4, 256 << 10
	var c calls
	l := mustOpen(t, errfs.New(memfs.New(), c.count), small(segments, segmentBytes))
	defer mustClose(t, l)
	c.since()
	rolls := 0
	for p := lane.Position(1); p <= 400; p++ {
		before := l.lastLocked()
		if err := l.Append(ctx, p, content(p, 0, int(p)*977%(60<<10))); err != nil {
			t.Fatalf("Append(%d) = %v", p, err)
		}
		if got, want := c.since(), [3]int64{1, 1, 0}; got != want {
			t.Fatalf("group %d took %d writes, %d syncs and %d other calls; want one, one and none", p, got[0], got[1], got[2])
		}
		if l.lastLocked() != before {
			rolls++
		}
		if p%3 != 0 {
			continue
		}
		live := len(l.mu.live)
		mustTrim(t, l, p)
		freed := int64(live - len(l.mu.live))
		if got, want := c.since(), [3]int64{freed, freed, 0}; got != want {
			t.Fatalf("a trim that freed %d segments took %d writes, %d syncs and %d other calls; want one write and one sync each", freed, got[0], got[1], got[2])
		}
	}
	if rolls < 2*segments {
		t.Errorf("%d segments were begun; want each of %d twice", rolls, segments)
	}
}

// TestOpenReadsHeaders fills a ring with large groups and holds what a start reads of it to the last
// group of each segment, what lies behind that, and a glance at the others.
func TestOpenReadsHeaders(t *testing.T) {
	const segments, groups, size = 4, 36, 1<<20 - headerSize // ten groups a segment, and its mark
	fs := memfs.New()
	l := mustOpen(t, fs, small(segments, 10<<20+block))
	mustAppend(t, l, 1, groups, size)
	abandon(t, l)
	var read atomic.Int64
	l = mustOpen(t, errfs.New(fs, func(call errfs.Call) error {
		if call.Op == errfs.OpRead {
			read.Add(int64(call.Length))
		}
		return nil
	}), small(segments, 10<<20+block))
	defer mustClose(t, l)
	// Of the last segment, four groups long, all that lies behind is looked at, and the last group is
	// read again before it is written again.
	if most := int64(segments*2<<20 + groups*glance + 5<<20); read.Load() > most {
		t.Errorf("a start read %d KiB of %d MiB; want at most %d KiB", read.Load()>>10, groups, most>>10)
	}
	wantHeld(t, l, 1, groups+1, size)
}
