// Package space decides which streams may write while a disk fills up. A Guard keeps an account for
// each stream (what it takes of the disk, how fast it writes) and holds it against two limits: a
// quota a stream, and a low-water mark of free space that is kept for what must go on whatever
// happens: reads, flushes, manifests, snapshots, deletions.
//
// It is not the store: it writes, deletes and locks nothing on a disk, and all it asks of one is how
// much is free. The decisions are values in and values out: Situation.Next, Meter, Backlog.
//
//	g := space.NewGuard(space.Config{Limits: limits, Disk: ask})
//	g.Tend(now, unflushed, true)           // between two groups
//	if !g.Admits(account, size, records)   // for each batch
package space

import "github.com/headrace/headrace/internal/record"

// Share is an amount of a disk: Bytes, or where that is 0 a part of the whole.
type Share struct {
	Bytes int64
	// Percent is that of the disk's size, 0 to 100.
	Percent float64
	// Most is the most bytes that Percent may come to; 0 leaves it open.
	Most int64
}

// Of returns the amount on a disk of total bytes; 0 if that is not known and it is a part.
func (s Share) Of(total int64) int64 {
	if s.Bytes > 0 {
		return s.Bytes
	}
	n := int64(s.Percent / 100 * float64(total))
	if s.Most > 0 {
		n = min(n, s.Most)
	}
	return n
}

// Limits are what an operator sets. The zero value limits nothing.
type Limits struct {
	// Stream is the most that one stream may take: its quota.
	Stream Share
	// LowWater is the free space below which the biggest writers are stopped. From half of it on all
	// are, and the rest is left to the process itself.
	LowWater Share
}

// Disk is the room on the device that everything is kept on, in bytes.
type Disk struct{ Free, Total int64 }

// Usage is what a stream takes of the disk, in bytes.
type Usage struct {
	// Stored is its part of the block files that hold its records, compressed: of each file as much as
	// its records were of what was compressed. Records count until the store lets go of the run they
	// are in, which is when all of the run are past their retention.
	Stored int64
	// Unflushed is what of it is in the write-ahead log alone, as it lies there.
	Unflushed int64
}

// Total is what counts against a quota.
func (u Usage) Total() int64 { return u.Stored + u.Unflushed }

// Backlog counts the bytes of one shard that are in no file yet, through flushes that take those
// below an index and may fail.
type Backlog struct {
	// frozen are those below next, the index at which the last flush ends, fresh the others.
	fresh, frozen int64
	next          record.Index
}

// Add counts n more bytes.
func (b *Backlog) Add(n int64) { b.fresh += n }

// Remove counts n bytes less, of records from an index on that were let go of.
func (b *Backlog) Remove(first record.Index, n int64) {
	if first < b.next {
		b.frozen -= n
		return
	}
	b.fresh -= n
}

// Freeze notes that a flush takes everything, which is below next. If the one before has failed, what
// was in it is in this one.
func (b *Backlog) Freeze(next record.Index) {
	b.frozen, b.fresh, b.next = b.frozen+b.fresh, 0, next
}

// Stored notes that the flush is done and returns how many bytes have moved to a file by it.
func (b *Backlog) Stored() int64 {
	n := b.frozen
	b.frozen = 0
	return n
}

// Bytes is how many there are.
func (b *Backlog) Bytes() int64 { return b.fresh + b.frozen }
