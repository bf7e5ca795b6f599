// Package keyspace is how the open shards of a stream divide the hash keys, [0, 2^128-1], among themselves, and
// the splits and merges that turn one division into another.
//
// It knows the numbers of shards, which their ids spell, and their ranges, and nothing else of them: what a shard is, and what it takes to close
// one and open another, is in package stream.
package keyspace

import (
	"encoding/json"
	"math"
	"math/bits"
	"slices"

	"github.com/headrace/headrace/internal/record"
)

// Range is a run of hash keys, both ends included. The open shards of a stream always divide
// [0, 2^128-1] among themselves without gap or overlap.
type Range struct{ Start, End record.HashKey }

// Shard is an open shard. A list of them is in the order of their ranges.
type Shard struct {
	Number int32
	Hash   Range
}

// ParseRange reads a range whose ends are in decimal.
func ParseRange(start, end string) (r Range, err error) {
	if r.Start, err = record.ParseHashKey(start); err != nil {
		return r, err
	}
	r.End, err = record.ParseHashKey(end)
	return r, err
}

// span returns the number of keys in the range but one.
func (r Range) span() (hi, lo uint64) {
	lo, borrow := bits.Sub64(r.End.Lo, r.Start.Lo, 0)
	hi, _ = bits.Sub64(r.End.Hi, r.Start.Hi, borrow)
	return hi, lo
}

// Middle returns where the second of two equal halves of the range starts. It has two keys at least.
func (r Range) Middle() record.HashKey {
	hi, lo := r.span()
	lo, hi = lo>>1|hi<<63, hi>>1
	lo, carry := bits.Add64(r.Start.Lo, lo, 1)
	hi, _ = bits.Add64(r.Start.Hi, hi, carry)
	return record.HashKey{Hi: hi, Lo: lo}
}

// Width returns which part of all hash keys the range has.
func (r Range) Width() float64 {
	hi, lo := r.span()
	return math.Ldexp(float64(hi), -64) + math.Ldexp(float64(lo), -128)
}

// Contains reports whether h lies in the range.
func (r Range) Contains(h record.HashKey) bool {
	return r.Start.Compare(h) <= 0 && h.Compare(r.End) <= 0
}

// UniformStart returns where shard i of n equal shards starts: i·⌊2^128/n⌋, as AWS divides.
func UniformStart(i, n int) record.HashKey {
	if i == 0 {
		return record.HashKey{}
	}
	// ⌊2^128/n⌋ for n > 1; the dividend is 1 followed by two zero limbs.
	hi, rem := bits.Div64(1, 0, uint64(n))
	lo, _ := bits.Div64(rem, 0, uint64(n))
	carry, low := bits.Mul64(lo, uint64(i))
	return record.HashKey{Hi: hi*uint64(i) + carry, Lo: low}
}

// Uniform returns the range of shard i of n; the last one takes what the division leaves.
func Uniform(i, n int) Range {
	r := Range{UniformStart(i, n), record.MaxHashKey}
	if i < n-1 {
		r.End = UniformStart(i+1, n).Prev()
	}
	return r
}

// IsPartition reports whether ranges, ordered by start, cover the hash-key space exactly once.
func IsPartition(shards []Shard) bool {
	next := record.HashKey{}
	for i, s := range shards {
		if s.Hash.Start != next || s.Hash.End.Compare(s.Hash.Start) < 0 {
			return false
		}
		next = s.Hash.End.Next()
		if next == (record.HashKey{}) {
			return i == len(shards)-1
		}
	}
	return false
}

// Route returns the position of the shard that takes h among starts, which is sorted and begins
// with the lowest key.
func Route(starts []record.HashKey, h record.HashKey) int {
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

// Op is one split or merge: parents become children. It carries everything that repeating it
// needs, so that a reshard cut off anywhere goes on where it stopped.
type Op struct {
	Parents  []int32
	Children []Child
}

// Child is a shard that an Op opens.
type Child struct {
	Number int32
	Hash   Range
}

// NextOps returns up to limit independent splits, or else merges, that bring the open shards
// (ordered by start) closer to target uniform ranges; none when they are there. Children get
// numbers from next on.
//
// Uniform scaling is first all splits, at every boundary that the target wants and the stream lacks,
// and then all merges. A shard that needs several cuts is halved at the middle one, so that lineage
// stays shallow. The result depends on the open shards alone: whoever resumes comes to the same
// plan, since a split adds only wanted boundaries and a merge removes only unwanted ones.
func NextOps(open []Shard, target, limit int, next int32) []Op {
	wanted := boundaries(open, target)
	if ops := splits(open, wanted, limit, next); len(ops) > 0 {
		return ops
	}
	return merges(open, wanted, limit, next)
}

// boundaries returns where the target's second and later shards start: at an existing boundary
// where one is near enough, else exactly where uniform division puts it.
func boundaries(open []Shard, target int) []record.HashKey {
	wanted := make([]record.HashKey, 0, target)
	for i := 1; i < target; i++ {
		at := UniformStart(i, target)
		j, exact := slices.BinarySearchFunc(open, at, func(s Shard, k record.HashKey) int { return s.Hash.Start.Compare(k) })
		switch {
		case exact:
		case j-1 > 0 && near(open[j-1].Hash.Start, at):
			at = open[j-1].Hash.Start
		case j < len(open) && near(open[j].Hash.Start, at):
			at = open[j].Hash.Start
		}
		wanted = append(wanted, at)
	}
	return wanted
}

func splits(open []Shard, wanted []record.HashKey, limit int, next int32) []Op {
	var ops []Op
	for _, s := range open {
		for len(wanted) > 0 && wanted[0].Compare(s.Hash.Start) <= 0 {
			wanted = wanted[1:]
		}
		inside := 0
		for inside < len(wanted) && wanted[inside].Compare(s.Hash.End) <= 0 {
			inside++
		}
		if inside == 0 {
			continue
		}
		ops = append(ops, Split(s, wanted[inside/2], next))
		next += 2
		if len(ops) == limit {
			break
		}
	}
	return ops
}

func merges(open []Shard, wanted []record.HashKey, limit int, next int32) []Op {
	var ops []Op
	for i := 0; i+1 < len(open) && len(ops) < limit; i++ {
		a, b := open[i], open[i+1]
		for len(wanted) > 0 && wanted[0].Compare(b.Hash.Start) < 0 {
			wanted = wanted[1:]
		}
		if len(wanted) > 0 && wanted[0] == b.Hash.Start {
			continue // a boundary to keep
		}
		ops = append(ops, Merge(a, b, next))
		next++
		i++ // b is taken
	}
	return ops
}

// Split returns the op that splits a shard at a key; its children get the numbers next and next+1.
func Split(s Shard, at record.HashKey, next int32) Op {
	return Op{
		Parents: []int32{s.Number},
		Children: []Child{
			{next, Range{s.Hash.Start, at.Prev()}},
			{next + 1, Range{at, s.Hash.End}},
		},
	}
}

// Merge returns the op that merges two shards, the second right above the first; its child gets the number next.
func Merge(a, b Shard, next int32) Op {
	return Op{
		Parents:  []int32{a.Number, b.Number},
		Children: []Child{{next, Range{a.Hash.Start, b.Hash.End}}},
	}
}

// opRow is an Op in a stream's row.
type opRow struct {
	Parents  []int32    `json:"parents"`
	Children []childRow `json:"children"`
}

type childRow struct {
	Number int32  `json:"n"`
	Start  string `json:"start"`
	End    string `json:"end"`
}

// MarshalJSON writes hash keys in decimal, for numbers of that size are no JSON numbers.
func (o Op) MarshalJSON() ([]byte, error) {
	row := opRow{Parents: o.Parents}
	for _, c := range o.Children {
		row.Children = append(row.Children, childRow{c.Number, c.Hash.Start.String(), c.Hash.End.String()})
	}
	return json.Marshal(row)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (o *Op) UnmarshalJSON(b []byte) error {
	var row opRow
	if err := json.Unmarshal(b, &row); err != nil {
		return err
	}
	o.Parents = row.Parents
	for _, c := range row.Children {
		r, err := ParseRange(c.Start, c.End)
		if err != nil {
			return err
		}
		o.Children = append(o.Children, Child{c.Number, r})
	}
	return nil
}
