package stream

import (
	"math/big"

	"github.com/headrace/headrace/internal/record"
)

// position is what a caller's sequence number says. AWS has issued three layouts; the older two
// carry a shard and a creation time as well, so that their numbers get the errors AWS gives.
type position struct {
	version int
	created int64 // seconds
	time    int64 // seconds; 0 in version 0
	shard   int32 // negative when the number was made up
	index   record.Index
	// exact says that the number is one that could have been issued in the current layout.
	exact bool
}

// latestCreation is the first second, in the year 2477, that AWS refuses as a creation time.
const latestCreation = 16025175000

// parsePosition reads a sequence number in decimal in any of the layouts.
func parsePosition(text string) (position, bool) {
	if s, err := record.ParseSequenceNumber(text); err == nil && s.Created < latestCreation {
		return position{version: 2, created: s.Created, time: s.Time, shard: s.Shard, index: s.Index, exact: true}, true
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || n.Sign() < 0 || len(text) > 129 {
		return position{}, false
	}
	if n.BitLen() <= 124 {
		n.SetBit(n, 124, 1) // the oldest numbers count from 2^124
	}
	if n.BitLen() <= 129 {
		return parseOldest(n)
	}
	if n.BitLen() != 186 || n.Bit(184) != 0 || n.TrailingZeroBits() >= 185 {
		return position{}, false
	}
	p := position{
		version: int(field(n, 0, 4)),
		created: int64(field(n, 148, 36)),
		shard:   int32(uint32(field(n, 4, 32))),
	}
	switch p.version {
	case 1:
		p.time = int64(field(n, 100, 36))
		return p, true
	case 2:
		p.time = int64(field(n, 36, 36))
		p.index = record.Index(field(n, 80, 64))
		return p, p.created < latestCreation && p.index <= record.MaxIndex+1
	}
	return position{}, false
}

// parseOldest takes apart a number of 32 or 33 hexadecimal digits, whose fields count from the top.
func parseOldest(n *big.Int) (position, bool) {
	digits := uint((n.BitLen() + 3) / 4)
	p := position{
		created: int64(field(n, 4*(digits-10), 36)),
		shard:   int32(field(n, 4*(digits-32), 16)),
	}
	return p, p.created < latestCreation
}

// field returns width bits of n from the bit at.
func field(n *big.Int, at, width uint) uint64 {
	v := new(big.Int).Rsh(n, at)
	mask := new(big.Int).SetUint64(1<<(width-1)<<1 - 1)
	return v.And(v, mask).Uint64()
}
