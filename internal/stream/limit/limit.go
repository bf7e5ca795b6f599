// Package limit is AWS's limits of Kinesis Data Streams as values: what a shard takes and gives in a second,
// and how often a call may be made.
//
// It is not where a call is refused, and has none of AWS's texts: package stream asks it, and answers. It is
// not about strangers either, who are bounded whatever AWS would allow: see package ratelimit.
//
//	sh := new(limit.Shard)                       // one a shard, full
//	refused := sh.Write(now, entries, verdicts)  // before the records are stored
//	if sh.Read(now) { …; sh.Sent(now, bytes) }   // around a GetRecords
//
// # Writes
//
// A shard takes 1,000 records and 1 MiB a second. Both are buckets that fill at that rate and hold one second
// of it, so that after a pause a second's worth is taken at once, and no more. A record larger than 1 MiB
// would never be taken that way: it takes from a larger bucket of 10 MiB, which all records take from and
// which fills at 1 MiB/s too. So large records pass after a pause, and whoever puts them pays with what the
// shard takes next. After the buckets are drained a shard takes its rate, to the byte.
//
// # Reads
//
// Five calls in any second, however it is cut: the moments of the last five are kept. Bytes are counted by the
// second; what one call had beyond 2 MiB is taken from the seconds that follow, in which nobody reads. So a
// result of 10 MiB keeps the shard from being read for five seconds. A result that was cut at 10 MiB is a
// little smaller than that, and counts as if it were not.
package limit

import (
	"sync"

	"github.com/headrace/headrace/internal/record"
)

const (
	// MiB is a mebibyte.
	MiB = 1 << 20
	// WriteRecords and WriteBytes are what a shard takes in a second.
	WriteRecords, WriteBytes = 1000, MiB
	// LargeBytes is what a shard takes at once, after a pause, if records are large.
	LargeBytes = 10 * MiB
	// ReadCalls and ReadBytes are what a shard gives in a second.
	ReadCalls, ReadBytes = 5, 2 * MiB
	// second is one in milliseconds.
	second record.Millis = 1000
	// fullResult is what a result of GetRecords counts for that was cut at its largest size, and
	// nearlyFull what it has at least: no ordinary record fitted any more.
	fullResult, nearlyFull = 10 * MiB, 9 * MiB
)

// Bucket is something that there is so much of, and that comes back at a steady rate. The zero value is full.
// It is not safe for concurrent use. What it is and how fast it fills is said with each call, so that a bucket
// is two numbers.
type Bucket struct {
	// missing is what it takes for the bucket to be full, in thousandths: a rate per second is then one per
	// millisecond, and nothing is rounded.
	missing int64
	at      record.Millis
}

// settle fills the bucket up to now. While the clock goes back nothing comes in.
func (b *Bucket) settle(now record.Millis, rate int64) {
	passed := int64(now - b.at)
	b.at = now
	if passed <= 0 || b.missing == 0 {
		return
	}
	if passed >= b.missing/rate+1 { // without the product, which may be too large after a long pause
		b.missing = 0
		return
	}
	b.missing = max(0, b.missing-passed*rate)
}

// has reports whether a bucket that holds size has n.
func (b *Bucket) has(n, size int64) bool { return b.missing+n*1000 <= size*1000 }

// Take takes n from a bucket that holds size and fills at rate a second, if it has so much.
func (b *Bucket) Take(now record.Millis, n, rate, size int64) bool {
	b.settle(now, rate)
	if !b.has(n, size) {
		return false
	}
	b.missing += n * 1000
	return true
}

// Spend takes n from a bucket that holds size, whether or not it has so much, and returns for how long from now
// nothing more should be taken: until what it owes has come back, in milliseconds.
func (b *Bucket) Spend(now record.Millis, n, rate, size int64) record.Millis {
	b.settle(now, rate)
	b.missing += n * 1000
	return record.Millis(max(0, (b.missing-size*1000+rate-1)/rate))
}

// calls are the moments of the last calls, by turns.
type calls struct {
	last [ReadCalls]record.Millis
	next int
}

// take reports whether there were fewer than five calls in the second before now, and if so adds one.
func (c *calls) take(now record.Millis) bool {
	newest := c.last[(c.next+ReadCalls-1)%ReadCalls]
	if newest > now { // the clock went back: what it said before says nothing
		c.last = [ReadCalls]record.Millis{}
	}
	if oldest := c.last[c.next]; oldest != 0 && now-oldest < second {
		return false
	}
	c.last[c.next] = now
	c.next = (c.next + 1) % ReadCalls
	return true
}

// window counts the bytes of seconds, which follow each other from the first read after a pause on.
type window struct {
	began record.Millis
	// used is what was read in this second, with what earlier ones had too much.
	used int64
}

// settle goes on to the second that now is in.
func (w *window) settle(now record.Millis) {
	if now < w.began {
		w.began = now // the clock went back
	}
	passed := int64((now - w.began) / second)
	if passed == 0 {
		return
	}
	w.began += record.Millis(passed) * second
	if passed > w.used/ReadBytes { // without the product, which may be too large after a long pause
		w.used = 0
	} else {
		w.used -= passed * ReadBytes
	}
	if w.used == 0 {
		w.began = now
	}
}

// open reports whether there is something left of this second.
func (w *window) open() bool { return w.used < ReadBytes }

// Shard is what is left of one shard's limits. The zero value is as after a pause. It is safe for concurrent
// use, and does not allocate.
type Shard struct {
	mu                    sync.Mutex
	records, bytes, large Bucket
	reads, iterators      calls
	read                  window
}

// Write takes what entries need, each by itself and in their order, notes in refused, which has their length,
// for which of them there was not enough, and returns how many those are.
func (s *Shard) Write(now record.Millis, entries []record.Entry, refused []bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records.settle(now, WriteRecords)
	s.bytes.settle(now, WriteBytes)
	s.large.settle(now, WriteBytes)
	for i := range entries {
		size := int64(entries[i].Size())
		small := size <= WriteBytes
		refused[i] = !s.records.has(1, WriteRecords) || !s.large.has(size, LargeBytes) || small && !s.bytes.has(size, WriteBytes)
		if refused[i] {
			n++
			continue
		}
		s.records.missing += 1000
		s.large.missing += size * 1000
		if small {
			s.bytes.missing += size * 1000
		}
	}
	return n
}

// Read reports whether the shard may be read now, and if so counts the call.
func (s *Shard) Read(now record.Millis) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read.settle(now)
	return s.read.open() && s.reads.take(now)
}

// Sent counts the bytes of records that a read had as its result.
func (s *Shard) Sent(now record.Millis, bytes int) {
	if bytes > nearlyFull {
		bytes = max(bytes, fullResult)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read.settle(now)
	s.read.used += int64(bytes)
}

// Iterator reports whether an iterator of the shard may be asked for now, and if so counts the call: five in
// any second.
func (s *Shard) Iterator(now record.Millis) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.iterators.take(now)
}
