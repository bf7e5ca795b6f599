package record

import (
	"errors"
	"math/bits"
)

// SequenceNumber is a Kinesis sequence number taken apart. Its decimal form has 56 digits and is
// the number whose 47 hexadecimal digits are
//
//	2 | created:9 | shard:1 | index:16 | 00 | time:9 | shard:8 | version:1
//
// where created is when the shard was opened and time when the record arrived, both in seconds
// since the Unix epoch; the first shard field is the low nibble of the shard number, the second
// the whole of it. Because index stands above time, numbers rise with the index whatever the clock
// does. The layout is AWS's own, read off published sequence numbers.
type SequenceNumber struct {
	// Created is the shard's opening time in seconds since the Unix epoch.
	Created int64
	// Index is the record's place in the shard; MaxIndex+1 in an ending sequence number.
	Index Index
	// Time is the arrival time in seconds since the Unix epoch.
	Time int64
	// Shard is the number at the end of the shard id.
	Shard int32
}

// version2 is the low nibble of every sequence number issued since 2014. Older layouts
// (versions 0 and 1) are not issued, and carry no shard that could exist here.
const version2 = 2

// SequenceDigits is the length of every sequence number in decimal.
const SequenceDigits = 56

// ErrSequenceNumber says that a text is not a sequence number of the current layout.
var ErrSequenceNumber = errors.New("record: not a sequence number")

const (
	mask36 = 1<<36 - 1
	mask32 = 1<<32 - 1
)

// limbs packs s into 188 bits, most significant limb first.
//
// Bit positions, from the low end: version 0..3, shard 4..35, time 36..71, zero 72..79,
// index 80..143, low shard nibble 144..147, created 148..183, the leading 2 184..187.
func (s SequenceNumber) limbs() [3]uint64 {
	created, at := uint64(s.Created)&mask36, uint64(s.Time)&mask36
	shard, index := uint64(uint32(s.Shard)), uint64(s.Index)
	lo := version2 | shard<<4 | at<<36
	mid := at>>28 | index<<16
	hi := index>>48 | (shard&15)<<16 | created<<20 | 2<<56
	return [3]uint64{hi, mid, lo}
}

// Append appends the decimal form to dst without allocating beyond it.
func (s SequenceNumber) Append(dst []byte) []byte {
	var n Numbering
	return n.Append(dst, s)
}

// String returns the decimal form.
func (s SequenceNumber) String() string { return string(s.Append(nil)) }

// Numbering writes sequence numbers in decimal, one after the other. Those that follow each other in
// a shard take it half the time of others: one more is 2^80 more, which leaves most digits alone. The
// zero value is ready for use.
type Numbering struct {
	last SequenceNumber // 0 before the first
	// The number is (high·10^19 + mid)·10^19 + low, and text its digits.
	mid, low uint64
	text     [SequenceDigits]byte
}

const (
	// chunk is the largest power of ten below 2^64.
	chunk = 10_000_000_000_000_000_000
	// One more in Index is indexMid·chunk + indexLow = 2^80 more.
	indexMid, indexLow = 1 << 80 / chunk, 1 << 80 % chunk
)

// Append appends the decimal form of s to dst.
func (n *Numbering) Append(dst []byte, s SequenceNumber) []byte {
	next := n.last
	next.Index++
	if s != next || n.last == (SequenceNumber{}) || !n.step() {
		n.set(s)
	}
	n.last = s
	return append(dst, n.text[:]...)
}

// step adds one to the index, and reports false if that reaches the highest digits.
func (n *Numbering) step() bool {
	low, mid := n.low+indexLow, n.mid+indexMid // neither overflows: both sums are below 2^64
	if low >= chunk {
		low, mid = low-chunk, mid+1
	}
	if mid >= chunk {
		return false
	}
	n.low, n.mid = low, mid
	putDigits(n.text[37:], n.low)
	putDigits(n.text[18:37], n.mid)
	return true
}

func (n *Numbering) set(s SequenceNumber) {
	l := s.limbs() // the first is below chunk, and so is the quotient's
	l[1], n.low = bits.Div64(l[0], l[1], chunk)
	l[2], n.low = bits.Div64(n.low, l[2], chunk)
	var high uint64
	high, n.mid = bits.Div64(l[1], l[2], chunk)
	putDigits(n.text[37:], n.low)
	putDigits(n.text[18:37], n.mid)
	putDigits(n.text[:18], high)
}

// putDigits writes the last digits of v, as many as dst has room for.
func putDigits(dst []byte, v uint64) {
	at := len(dst)
	for at >= 2 {
		q := v / 100
		pair := (v - q*100) * 2
		at -= 2
		dst[at], dst[at+1] = twoDigits[pair], twoDigits[pair+1]
		v = q
	}
	if at == 1 {
		dst[0] = byte('0' + v)
	}
}

// Compare orders sequence numbers as the numbers they stand for.
func (s SequenceNumber) Compare(o SequenceNumber) int {
	a, b := s.limbs(), o.limbs()
	for i := range a {
		if a[i] != b[i] {
			if a[i] < b[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// ParseSequenceNumber reads the decimal form of a sequence number of the current layout. Every
// field is checked: the leading digit, the zero byte, the version, the repeated shard nibble and
// the 63-bit index.
func ParseSequenceNumber(text string) (SequenceNumber, error) {
	if len(text) != SequenceDigits {
		return SequenceNumber{}, ErrSequenceNumber
	}
	var n [3]uint64
	for i := 0; i < len(text); i++ {
		carry := uint64(text[i] - '0')
		if carry > 9 {
			return SequenceNumber{}, ErrSequenceNumber
		}
		for j := len(n) - 1; j >= 0; j-- {
			hi, lo := bits.Mul64(n[j], 10)
			var c uint64
			n[j], c = bits.Add64(lo, carry, 0)
			carry = hi + c
		}
	}
	s := SequenceNumber{
		Created: int64(n[0] >> 20 & mask36),
		Index:   Index(n[0]<<48 | n[1]>>16),
		Time:    int64((n[1]<<28 | n[2]>>36) & mask36),
		Shard:   int32(uint32(n[2] >> 4 & mask32)),
	}
	if s.Index > MaxIndex+1 || s.Shard < 0 || s.limbs() != n {
		return SequenceNumber{}, ErrSequenceNumber
	}
	return s, nil
}
