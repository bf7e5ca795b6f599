package record

import (
	"math/big"
)

// Position is what a caller's sequence number says. AWS has issued three layouts; the older two
// carry a shard and a creation time as well, so that their numbers get the errors AWS gives.
type Position struct {
	Version int
	Created int64 // seconds
	Time    int64 // seconds; 0 in version 0
	Shard   int32 // negative when the number was made up
	Index   Index
	// Exact says that the number is one that could have been issued in the current layout.
	Exact bool
}

// latestCreation is the first second, in the year 2477, that AWS refuses as a creation time.
const latestCreation = 16025175000

// ParsePosition reads a sequence number in decimal in any of the layouts.
func ParsePosition(text string) (Position, bool) {
	if s, err := ParseSequenceNumber(text); err == nil && s.Created < latestCreation {
		return Position{Version: 2, Created: s.Created, Time: s.Time, Shard: s.Shard, Index: s.Index, Exact: true}, true
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || n.Sign() < 0 || len(text) > 129 {
		return Position{}, false
	}
	if n.BitLen() <= 124 {
		n.SetBit(n, 124, 1) // the oldest numbers count from 2^124
	}
	if n.BitLen() <= 129 {
		return parseOldest(n)
	}
	if n.BitLen() != 186 || n.Bit(184) != 0 || n.TrailingZeroBits() >= 185 {
		return Position{}, false
	}
	p := Position{
		Version: int(field(n, 0, 4)),
		Created: int64(field(n, 148, 36)),
		Shard:   int32(uint32(field(n, 4, 32))),
	}
	switch p.Version {
	case 1:
		p.Time = int64(field(n, 100, 36))
		return p, true
	case 2:
		p.Time = int64(field(n, 36, 36))
		p.Index = Index(field(n, 80, 64))
		return p, p.Created < latestCreation && p.Index <= MaxIndex+1
	}
	return Position{}, false
}

// parseOldest takes apart a number of 32 or 33 hexadecimal digits, whose fields count from the top.
func parseOldest(n *big.Int) (Position, bool) {
	digits := uint((n.BitLen() + 3) / 4)
	p := Position{
		Created: int64(field(n, 4*(digits-10), 36)),
		Shard:   int32(field(n, 4*(digits-32), 16)),
	}
	return p, p.Created < latestCreation
}

// field returns width bits of n from the bit at.
func field(n *big.Int, at, width uint) uint64 {
	v := new(big.Int).Rsh(n, at)
	mask := new(big.Int).SetUint64(1<<(width-1)<<1 - 1)
	return v.And(v, mask).Uint64()
}
