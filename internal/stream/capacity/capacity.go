// Package capacity plans how many shards an on-demand stream has: it takes what the shards get, what the
// stream got in the last 30 days and the time, and says which shards to split and which to merge.
//
// It does neither, and keeps nothing: package stream counts, carries plans out and stores the history.
//
//	changed := h.Note(now, load)                  // once a minute, of all shards together
//	plan := capacity.Make(now, shards, &h, rules) // then h.Did(now, len(shards), plan), and store h
//
// # What is planned
//
// A shard takes 1 MiB and 1,000 records a second: that is a load of 1. A stream should have shards for twice
// the highest load of the last 30 days, and at least the four it began with. It grows to that number as soon
// as it is less, by splitting the shards that get most. A shard that is near its capacity by itself is split
// too, although the stream as a whole has enough, unless one key has most of its load: no split helps that.
//
// In no 15 minutes it grows to more than twice what it was: who sends more than twice as much as ever before
// meets the limits of the shards meanwhile, as on AWS. A peak is the load of a whole minute, so that a burst of
// seconds, which a shard takes anyway, moves nothing.
//
// It shrinks when old peaks leave the 30 days: neighbours that get little are merged, to no less than half
// in a day, and not within a day of any other change. A stream that merged as soon as it was idle would have
// to split again each morning, and its consumers would follow shards instead of reading records.
package capacity

import (
	"cmp"
	"math"
	"slices"

	"github.com/headrace/headrace/internal/record"
)

const (
	// NominalBytes and NominalRecords are what a shard takes in a second.
	NominalBytes, NominalRecords = 1 << 20, 1000
	// Least is how many shards a stream has at least.
	Least = 4
	// headroom is how many times the highest load there should be shards for.
	headroom = 2
	// near is the load of a shard that is near its capacity, and cold the most that two neighbours have
	// who are merged: far enough from near that they are not split again for a while.
	near, cold = 0.8, 0.4
	// oneKey is the part of a shard's load that one key has when a split does not help.
	oneKey = 0.5
	// narrow is the part of all hash keys that a shard has which is split no more.
	narrow = 1.0 / (1 << 40)
	// step is what peaks are rounded up to: a load that creeps up is not written down each minute.
	step = 20
)

const (
	minute record.Millis = 60_000
	day    record.Millis = 24 * 60 * minute
	// remembered is how many days a peak counts.
	remembered = 30
	// double is in which time the number of shards at most doubles.
	double = 15 * minute
	// rest is how long after any change shards are merged at the earliest.
	rest = day
)

// Shard is what an open shard got since it was looked at last. Shards are in the order of their hash keys.
type Shard struct {
	// Bytes and Records are a second's.
	Bytes, Records float64
	// Width is its part of all hash keys, 0 to 1.
	Width float64
	// TopKey is the part of its load that the heaviest partition key has, 0 to 1; 0 if it is not known.
	TopKey float64
}

// Load returns what a rate is of what a shard takes.
func Load(bytes, records float64) float64 {
	return max(bytes/NominalBytes, records/NominalRecords)
}

func (s Shard) load() float64 { return Load(s.Bytes, s.Records) }

// Peak is the highest load of a day, in shards.
type Peak struct {
	// Day counts days since 1970.
	Day  int64   `json:"d"`
	Load float64 `json:"l"`
}

// Growth is how many shards a stream had before it grew.
type Growth struct {
	At   record.Millis `json:"at"`
	From int           `json:"from"`
}

// History is what a stream's plans depend on. It is kept across restarts.
type History struct {
	// Peaks are those of the last 30 days, the oldest first. Days without any load may be missing.
	Peaks []Peak `json:"peaks,omitempty"`
	// Grown is when the stream grew in the last 15 minutes.
	Grown []Growth `json:"grown,omitempty"`
	// Changed is when the stream last grew or shrank, or began to be looked at.
	Changed record.Millis `json:"changed"`
}

// Note takes in the load of all shards together, and reports whether the history is another one now.
func (h *History) Note(now record.Millis, load float64) (changed bool) {
	today := int64(now / day)
	kept := slices.DeleteFunc(h.Peaks, func(p Peak) bool { return p.Day <= today-remembered })
	changed, h.Peaks = len(kept) < len(h.Peaks), kept
	load = math.Ceil(min(load, math.MaxInt32)*step) / step
	for i := range h.Peaks {
		if h.Peaks[i].Day == today {
			if load <= h.Peaks[i].Load {
				return changed
			}
			h.Peaks[i].Load = load
			return true
		}
	}
	if load == 0 {
		return changed
	}
	h.Peaks = append(h.Peaks, Peak{today, load})
	slices.SortFunc(h.Peaks, func(a, b Peak) int { return cmp.Compare(a.Day, b.Day) }) // the clock may go back
	return true
}

// Merge takes in what somebody else noted of the same stream.
func (h *History) Merge(o History) {
	for _, p := range o.Peaks {
		h.Note(record.Millis(p.Day)*day, p.Load)
	}
	h.Grown = append(h.Grown, o.Grown...)
	h.Changed = max(h.Changed, o.Changed)
}

// Peak returns the highest load that is remembered.
func (h *History) Peak() float64 {
	highest := 0.0
	for _, p := range h.Peaks {
		highest = max(highest, p.Load)
	}
	return highest
}

// Rules are what the stream's owner says.
type Rules struct {
	// Most is the most shards the stream may have.
	Most int
	// Warm is for how many shards it must always be ready.
	Warm int
	// AtOnce is the most shards that one plan splits or merges, 0 for any number.
	AtOnce int
}

// Target returns how many shards the stream should have.
func (h *History) Target(r Rules) int {
	want := math.Ceil(min(headroom*h.Peak(), math.MaxInt32))
	return max(min(max(int(want), Least), r.Most), r.Warm)
}

// Plan is which shards, by their positions, are split, and which are merged with the one after them. Only one
// of them is not empty, and no shard is in it twice.
type Plan struct{ Split, Merge []int }

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Split)+len(p.Merge) == 0 }

// Make plans what to do now.
func Make(now record.Millis, shards []Shard, h *History, r Rules) Plan {
	target := h.Target(r)
	if split := r.some(grow(now, shards, h, r, target)); len(split) > 0 {
		return Plan{Split: split}
	}
	if now-h.Changed < rest && now >= h.Changed {
		return Plan{}
	}
	return Plan{Merge: r.some(shrink(shards, target))}
}

// some returns as many of what is to be done as may be at once.
func (r Rules) some(all []int) []int {
	if r.AtOnce > 0 {
		return all[:min(len(all), r.AtOnce)]
	}
	return all
}

// Did takes in that a plan was made for a stream of so many shards.
func (h *History) Did(now record.Millis, shards int, p Plan) {
	h.Grown = slices.DeleteFunc(h.Grown, func(g Growth) bool { return now-g.At >= double || g.At > now })
	if len(p.Split) > 0 {
		h.Grown = append(h.Grown, Growth{now, shards})
	}
	h.Changed = now
}

// allowed returns to how many shards a stream may grow now: twice the fewest of the last 15 minutes.
func (h *History) allowed(now record.Millis, shards int) int {
	fewest := shards
	for _, g := range h.Grown {
		if now-g.At < double && g.At <= now {
			fewest = min(fewest, g.From)
		}
	}
	return 2 * fewest
}

// grow returns which shards to split.
func grow(now record.Millis, shards []Shard, h *History, r Rules, target int) []int {
	order := make([]int, 0, len(shards))
	for i, s := range shards {
		if s.Width > narrow {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(shards[b].load(), shards[a].load()), cmp.Compare(shards[b].Width, shards[a].Width))
	})
	most := min(h.allowed(now, len(shards)), max(r.Most, r.Warm))
	needed := min(target, most) - len(shards)
	// What single shards need comes on top, but no more than once again: a split that does not help is
	// followed by another that does not.
	spare := min(2*target, most) - len(shards)
	var split []int
	for _, i := range order {
		hot := shards[i].load() >= near && shards[i].TopKey < oneKey
		if len(split) < needed || hot && len(split) < spare {
			split = append(split, i)
		}
	}
	return split
}

// shrink returns which shards to merge with their neighbours.
func shrink(shards []Shard, target int) []int {
	spare := len(shards) - max(target, (len(shards)+1)/2)
	if spare <= 0 {
		return nil
	}
	pair := func(i int) Shard {
		a, b := shards[i], shards[i+1]
		return Shard{Bytes: a.Bytes + b.Bytes, Records: a.Records + b.Records, Width: a.Width + b.Width}
	}
	var order []int
	for i := range len(shards) - 1 {
		if pair(i).load() <= cold {
			order = append(order, i)
		}
	}
	// The narrowest first: they are what splits left behind, and idle shards all get the same.
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(pair(a).Width, pair(b).Width), cmp.Compare(pair(a).load(), pair(b).load()))
	})
	taken := make([]bool, len(shards))
	var merge []int
	for _, i := range order {
		if len(merge) < spare && !taken[i] && !taken[i+1] {
			taken[i], taken[i+1] = true, true
			merge = append(merge, i)
		}
	}
	return merge
}
