// Package jump is what a shard's log knows of the indexes that restores have left out of it, and the
// rule by which they do. It is values and bytes only: logs and their states are package shardlog's.
//
// A restore makes a log go on at a higher index than any that was ever given in it. The records that
// got the ones between after the backup are lost, and nobody who remembers one of them is to take a
// new record for it. Everything that asks whether records follow each other asks Pass first, so a
// record that is missing anywhere else is still seen.
package jump

import (
	"encoding/binary"

	"github.com/headrace/headrace/internal/record"
)

// Jump is indexes From to To-1, which no record has or will have.
type Jump struct{ From, To record.Index }

// Jumps are those of one log, in order and with a record between any two. They are a value: nothing
// changes in place.
type Jumps []Jump

// size is the length of an encoded jump.
const size = 16

// Pass returns at, or where the jump ends in which it lies.
func (js Jumps) Pass(at record.Index) record.Index {
	for i := range js {
		if j := &js[i]; at >= j.From && at < j.To {
			return j.To
		}
	}
	return at
}

// After returns the jumps that end after first: of what lies before it, nothing is kept.
func (js Jumps) After(first record.Index) Jumps {
	for len(js) > 0 && js[0].To <= first {
		js = js[1:]
	}
	return js
}

// Leap returns the jumps of a log that ended before from and goes on at to.
func (js Jumps) Leap(from, to record.Index) Jumps {
	n := len(js)
	if n > 0 && js[n-1].To == from { // with no record between them, two are one
		n--
		from = js[n].From
	}
	return append(js[:n:n], Jump{from, to})
}

// Size is how many bytes Append appends.
func (js Jumps) Size() int {
	if len(js) == 0 {
		return 0
	}
	return 4 + size*len(js)
}

// Append appends the jumps, nothing if there are none.
func (js Jumps) Append(dst []byte) []byte {
	if len(js) == 0 {
		return dst
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(js)))
	for _, j := range js {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(j.From))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(j.To))
	}
	return dst
}

// Decode reads jumps from the front of b, of which there is at least one, and returns the rest. It
// reports false for bytes that Append does not make of the jumps of a log that stands at next.
func Decode(b []byte, next record.Index) (js Jumps, rest []byte, ok bool) {
	le := binary.LittleEndian
	if len(b) < 4 {
		return nil, nil, false
	}
	n := uint64(le.Uint32(b))
	if b = b[4:]; n == 0 || n > uint64(len(b)/size) {
		return nil, nil, false
	}
	last := record.Index(0)
	for range n {
		j := Jump{record.Index(le.Uint64(b)), record.Index(le.Uint64(b[8:]))}
		if j.From <= last || j.To <= j.From || j.To > next {
			return nil, nil, false
		}
		js, last, b = append(js, j), j.To, b[size:]
	}
	return js, b, true
}

// epoch and rate are the rule: at so many indexes for every millisecond since then do logs go on. No
// log counts that fast, which is some 10^9 records a second, so no index that was ever given before
// is as high: whatever was lost, from whichever backup, and however often it was restored before. A
// distance from the backup's own end would do for one restore, but two of the same backup would give
// the same indexes twice. The indexes last to the year 2298.
const (
	epoch = record.Millis(1_577_836_800_000) // the beginning of 2020
	rate  = 1 << 20
)

// To returns the index at which logs go on that are restored at a time. It reports false for a time
// at which none can be.
func To(now record.Millis) (record.Index, bool) {
	if now <= epoch || uint64(now-epoch) > uint64(record.MaxIndex/rate-1) {
		return 0, false
	}
	return record.Index(now-epoch) * rate, true
}

// At returns the time of the restore that has logs go on at an index that To returned.
func At(to record.Index) record.Millis { return epoch + record.Millis(to/rate) }
