package stream

import (
	"math/bits"
	"slices"

	"github.com/headrace/headrace/internal/record"
)

// HashRange is a run of hash keys, both ends included. The open shards of a stream always divide
// [0, 2^128-1] among themselves without gap or overlap.
type HashRange struct{ Start, End record.HashKey }

// Contains reports whether h lies in the range.
func (r HashRange) Contains(h record.HashKey) bool {
	return r.Start.Compare(h) <= 0 && h.Compare(r.End) <= 0
}

// uniformStart returns where shard i of n equal shards starts: i·⌊2^128/n⌋, as AWS divides.
func uniformStart(i, n int) record.HashKey {
	if i == 0 {
		return record.HashKey{}
	}
	// ⌊2^128/n⌋ for n > 1; the dividend is 1 followed by two zero limbs.
	hi, rem := bits.Div64(1, 0, uint64(n))
	lo, _ := bits.Div64(rem, 0, uint64(n))
	carry, low := bits.Mul64(lo, uint64(i))
	return record.HashKey{Hi: hi*uint64(i) + carry, Lo: low}
}

// uniformRange returns the range of shard i of n; the last one takes what the division leaves.
func uniformRange(i, n int) HashRange {
	r := HashRange{uniformStart(i, n), record.MaxHashKey}
	if i < n-1 {
		r.End = uniformStart(i+1, n).Prev()
	}
	return r
}

// isPartition reports whether ranges, ordered by start, cover the hash-key space exactly once.
func isPartition(shards []*shard) bool {
	next := record.HashKey{}
	for i, s := range shards {
		if s.hash.Start != next || s.hash.End.Compare(s.hash.Start) < 0 {
			return false
		}
		next = s.hash.End.Next()
		if next == (record.HashKey{}) {
			return i == len(shards)-1
		}
	}
	return false
}

// route returns the position of the shard that takes h among starts, which is sorted and begins
// with the lowest key.
func route(starts []record.HashKey, h record.HashKey) int {
	lo, hi := 0, len(starts)
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if h.Compare(starts[mid]) < 0 {
			hi = mid
		} else {
			lo = mid
		}
	}
	return lo
}

// rounding is how far a boundary may lie from where uniform scaling wants it and still count as
// being there. Doubling three shards gives boundaries one key away from those of six new shards;
// without this allowance every such call would make shards one key wide.
const rounding = 1 << 16

// near reports whether a and b differ by at most rounding.
func near(a, b record.HashKey) bool {
	if a.Compare(b) < 0 {
		a, b = b, a
	}
	lo, borrow := bits.Sub64(a.Lo, b.Lo, 0)
	hi, _ := bits.Sub64(a.Hi, b.Hi, borrow)
	return hi == 0 && lo <= rounding
}

// op is one split or merge: parents become children. It carries everything that repeating it
// needs, so that a reshard cut off anywhere goes on where it stopped.
type op struct {
	Parents  []int32
	Children []child
}

// child is a shard that an op opens.
type child struct {
	Number int32
	Hash   HashRange
}

// nextOps returns up to limit independent splits, or else merges, that bring the open shards
// (ordered by start) closer to target uniform ranges; none when they are there. Children get
// numbers from next on.
//
// Uniform scaling is first all splits, at every boundary that the target wants and the stream lacks,
// and then all merges. A shard that needs several cuts is halved at the middle one, so that lineage
// stays shallow. The result depends on the open shards alone: whoever resumes comes to the same
// plan, since a split adds only wanted boundaries and a merge removes only unwanted ones.
func nextOps(open []*shard, target, limit int, next int32) []op {
	wanted := boundaries(open, target)
	if ops := splits(open, wanted, limit, next); len(ops) > 0 {
		return ops
	}
	return merges(open, wanted, limit, next)
}

// boundaries returns where the target's second and later shards start: at an existing boundary
// where one is near enough, else exactly where uniform division puts it.
func boundaries(open []*shard, target int) []record.HashKey {
	wanted := make([]record.HashKey, 0, target)
	for i := 1; i < target; i++ {
		at := uniformStart(i, target)
		j, exact := slices.BinarySearchFunc(open, at, func(s *shard, k record.HashKey) int { return s.hash.Start.Compare(k) })
		switch {
		case exact:
		case j-1 > 0 && near(open[j-1].hash.Start, at):
			at = open[j-1].hash.Start
		case j < len(open) && near(open[j].hash.Start, at):
			at = open[j].hash.Start
		}
		wanted = append(wanted, at)
	}
	return wanted
}

func splits(open []*shard, wanted []record.HashKey, limit int, next int32) []op {
	var ops []op
	for _, s := range open {
		for len(wanted) > 0 && wanted[0].Compare(s.hash.Start) <= 0 {
			wanted = wanted[1:]
		}
		inside := 0
		for inside < len(wanted) && wanted[inside].Compare(s.hash.End) <= 0 {
			inside++
		}
		if inside == 0 {
			continue
		}
		ops = append(ops, splitOp(s, wanted[inside/2], next))
		next += 2
		if len(ops) == limit {
			break
		}
	}
	return ops
}

func merges(open []*shard, wanted []record.HashKey, limit int, next int32) []op {
	var ops []op
	for i := 0; i+1 < len(open) && len(ops) < limit; i++ {
		a, b := open[i], open[i+1]
		for len(wanted) > 0 && wanted[0].Compare(b.hash.Start) < 0 {
			wanted = wanted[1:]
		}
		if len(wanted) > 0 && wanted[0] == b.hash.Start {
			continue // a boundary to keep
		}
		ops = append(ops, mergeOp(a, b, next))
		next++
		i++ // b is taken
	}
	return ops
}

func splitOp(s *shard, at record.HashKey, next int32) op {
	return op{
		Parents: []int32{s.number},
		Children: []child{
			{next, HashRange{s.hash.Start, at.Prev()}},
			{next + 1, HashRange{at, s.hash.End}},
		},
	}
}

func mergeOp(a, b *shard, next int32) op {
	return op{
		Parents:  []int32{a.number, b.number},
		Children: []child{{next, HashRange{a.hash.Start, b.hash.End}}},
	}
}
