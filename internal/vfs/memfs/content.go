package memfs

import (
	"bytes"
	"math/rand/v2"
)

// sector is the unit that a disk writes whole or not at all.
const sector = 512

// content is what a file holds: live as programs read it, synced as the disk has it for certain,
// and the changes that lead from one to the other.
//
// Only changes are kept, not copies, so that a Sync of a large file costs what was written.
type content struct {
	live    []byte
	synced  []byte
	changes []change
}

// change is a write of data at off, or, without data, a new size. What a file gains reads as
// zeros.
type change struct {
	data []byte
	off  int64
	size int64
}

func (c *content) size() int64 { return int64(len(c.live)) }

func (c *content) write(p []byte, off int64) {
	c.note(change{data: bytes.Clone(p), off: off})
}

func (c *content) resize(size int64) {
	c.note(change{size: size})
}

func (c *content) note(ch change) {
	c.live = ch.apply(c.live)
	c.changes = append(c.changes, ch)
}

// sync makes every change durable.
func (c *content) sync() {
	for _, ch := range c.changes {
		c.synced = ch.apply(c.synced)
	}
	c.changes = nil
}

// forget keeps the changes visible but makes sure that no Sync will save them.
func (c *content) forget() { c.changes = nil }

// apply returns b after the change.
func (ch change) apply(b []byte) []byte {
	size := ch.sizeAfter(int64(len(b)))
	b = resized(b, size)
	copy(b[min(ch.off, size):], ch.data)
	return b
}

// sizeAfter returns the size of a file that had size before the change.
func (ch change) sizeAfter(size int64) int64 {
	if ch.data == nil {
		return ch.size
	}
	return max(size, ch.off+int64(len(ch.data)))
}

// resized cuts b or extends it by zeros.
func resized(b []byte, size int64) []byte {
	if grow := size - int64(len(b)); grow > 0 {
		return append(b, make([]byte, grow)...)
	}
	return b[:size]
}

// crashed returns what a power cut leaves. Every sector ends as it was after some number of the
// changes, chosen apart from the others: a disk that had the whole history of a sector in its
// queue may have written any of it. The size is chosen alike; what it gained without the sectors
// being written is zeros.
//
// Most engines break at the extremes (nothing kept, everything but the last write's half), which
// independent choices would hardly ever meet; so the choice is made in one of four moods.
func (c *content) crashed(rng *rand.Rand) []byte {
	n := len(c.changes)
	if n == 0 {
		return bytes.Clone(c.synced)
	}
	kept := keep(rng, n)
	size := int64(len(c.synced))
	for _, ch := range c.changes[:kept()] {
		size = ch.sizeAfter(size)
	}
	survived := c.histories(kept)
	return resized(survived, size)
}

// histories returns the content in which each sector saw as many changes as kept says.
func (c *content) histories(kept func() int) []byte {
	b := bytes.Clone(c.synced)
	length := int64(len(b))
	for _, ch := range c.changes {
		length = max(length, ch.sizeAfter(0))
	}
	b = resized(b, length)
	seen := make(map[int64]int) // by sector: how many changes it sees
	size := int64(len(c.synced))
	for i, ch := range c.changes {
		first, last := ch.off, ch.off+int64(len(ch.data))
		if ch.data == nil {
			// A size cut off zeroes what lay beyond it.
			first, last = min(ch.size, size), size
		}
		size = ch.sizeAfter(size)
		for at := first; at < last; {
			s := at / sector
			end := min(last, (s+1)*sector)
			if _, ok := seen[s]; !ok {
				seen[s] = kept()
			}
			if i < seen[s] && ch.data != nil {
				copy(b[at:end], ch.data[at-first:end-first])
			} else if i < seen[s] {
				clear(b[at:end])
			}
			at = end
		}
	}
	return b
}

// keep returns a function that says for one thing after the other how many of n changes it saw.
func keep(rng *rand.Rand, n int) func() int {
	switch rng.IntN(4) {
	case 0: // nothing since the last sync
		return func() int { return 0 }
	case 1: // everything
		return func() int { return n }
	case 2: // up to one change, which is torn
		k := rng.IntN(n)
		return func() int { return k + rng.IntN(2) }
	default: // no order at all
		return func() int { return rng.IntN(n + 1) }
	}
}
