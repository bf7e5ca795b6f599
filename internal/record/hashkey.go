package record

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"math/bits"
)

// HashKey is a point of the hash-key space [0, 2^128-1] that shards divide among themselves.
// The zero value is the lowest key.
type HashKey struct{ Hi, Lo uint64 }

// MaxHashKey is 2^128-1, the highest hash key.
var MaxHashKey = HashKey{^uint64(0), ^uint64(0)}

// ErrHashKey says that a text is not a decimal number in [0, 2^128-1] without leading zeros.
var ErrHashKey = errors.New("record: not a hash key")

// HashKeyOf maps a partition key into the hash-key space the way Kinesis does: the MD5 of its UTF-8
// bytes read as a big-endian number.
func HashKeyOf(partitionKey string) HashKey {
	var buf [256]byte
	sum := md5.Sum(append(buf[:0], partitionKey...))
	return HashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// Compare returns -1, 0 or +1 as h is below, equal to or above o.
func (h HashKey) Compare(o HashKey) int {
	switch {
	case h == o:
		return 0
	case h.Hi < o.Hi || h.Hi == o.Hi && h.Lo < o.Lo:
		return -1
	}
	return 1
}

// Next returns h+1, wrapping to zero above MaxHashKey.
func (h HashKey) Next() HashKey {
	lo, carry := bits.Add64(h.Lo, 1, 0)
	return HashKey{h.Hi + carry, lo}
}

// Prev returns h-1, wrapping to MaxHashKey below zero.
func (h HashKey) Prev() HashKey {
	lo, borrow := bits.Sub64(h.Lo, 1, 0)
	return HashKey{h.Hi - borrow, lo}
}

// ParseHashKey reads the decimal form.
func ParseHashKey(s string) (HashKey, error) {
	var h HashKey
	if s == "" || len(s) > 39 || s[0] == '0' && len(s) > 1 {
		return h, ErrHashKey
	}
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return HashKey{}, ErrHashKey
		}
		over, hi := bits.Mul64(h.Hi, 10)
		carryHi, lo := bits.Mul64(h.Lo, 10)
		lo, c1 := bits.Add64(lo, uint64(c), 0)
		hi, c2 := bits.Add64(hi, carryHi, c1)
		if over != 0 || c2 != 0 {
			return HashKey{}, ErrHashKey
		}
		h = HashKey{hi, lo}
	}
	return h, nil
}

// Append appends the decimal form to dst.
func (h HashKey) Append(dst []byte) []byte {
	return appendDecimal(dst, [3]uint64{0, h.Hi, h.Lo})
}

// String returns the decimal form.
func (h HashKey) String() string { return string(h.Append(nil)) }

// appendDecimal appends the decimal form of the 192-bit number n (most significant limb first).
func appendDecimal(dst []byte, n [3]uint64) []byte {
	var buf [60]byte
	at := len(buf)
	for {
		var rem uint64
		for i := range n {
			if rem == 0 && n[i] < chunk { // spares most of the divisions, which cost the most here
				n[i], rem = 0, n[i]
			} else {
				n[i], rem = bits.Div64(rem, n[i], chunk)
			}
		}
		last := n == [3]uint64{}
		end := at - 19 // where the chunk begins that this one is the lower part of
		for rem >= 10 {
			q := rem / 100
			pair := (rem - q*100) * 2
			at -= 2
			buf[at], buf[at+1] = twoDigits[pair], twoDigits[pair+1]
			rem = q
		}
		if rem > 0 {
			at--
			buf[at] = byte('0' + rem)
		}
		if last {
			break
		}
		for at > end {
			at--
			buf[at] = '0'
		}
	}
	if at == len(buf) {
		at--
		buf[at] = '0'
	}
	return append(dst, buf[at:]...)
}

// twoDigits are the numbers below 100.
const twoDigits = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"
