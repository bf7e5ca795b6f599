package keyspace

import (
	"strconv"
	"strings"
)

// ShardID returns the id of the shard with a number: "shardId-" and at least twelve digits.
func ShardID(number int32) string { return string(AppendShardID(nil, number)) }

// AppendShardID appends the id of the shard with a number to dst. A negative number, which only a
// made-up sequence number can carry, prints the way AWS prints it: shardId--02147483648.
func AppendShardID(dst []byte, number int32) []byte {
	dst = append(dst, "shardId-"...)
	width, n := 12, int64(number)
	if n < 0 {
		dst = append(dst, '-')
		width, n = 11, -n
	}
	digits := 1
	for m := n; m >= 10; m /= 10 {
		digits++
	}
	for ; digits < width; digits++ {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, n, 10)
}

// ParseShardID reads a shard id as leniently as AWS does: the number alone, or after whatever
// stands before the first hyphen. It reports whether id names a number from 0 to 2147483647.
func ParseShardID(id string) (number int32, ok bool) {
	digits := id
	if _, rest, found := strings.Cut(id, "-"); found {
		digits, _, _ = strings.Cut(rest, "-")
		if digits == "" {
			digits = id
		}
	}
	if digits == "" {
		return 0, false
	}
	var n int64
	for i := range len(digits) {
		c := digits[i] - '0'
		if c > 9 {
			return 0, false
		}
		if n = n*10 + int64(c); n > 1<<31-1 {
			return 0, false
		}
	}
	return int32(n), true
}
