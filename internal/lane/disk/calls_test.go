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
