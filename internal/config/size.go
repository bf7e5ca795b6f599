package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text has a unit: 512MiB, 1GiB, 64KiB, 10B.
type Size int64

// AutoMemory as Config.Memory stands for a quarter of the machine; its text is "auto".
const AutoMemory Size = 0

// AutoWAL as Config.WALSize leaves the size to the profile; its text is "auto" as well. MinWAL is the
// least the log may have.
const (
	AutoWAL Size = 0
	MinWAL  Size = 32 << 20
	maxWAL  Size = 64 << 30
)

var errSize = errors.New("not a size such as 512MiB")

// units are the units of a Size, largest first. Decimal and binary units are both taken, with or
// without the final B; only binary ones are printed.
var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
	{"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10},
}

// ParseSize reads a size: a whole or decimal number and a unit. A number without a unit is refused,
// because nobody agrees on what it would mean.
func ParseSize(s string) (Size, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		number = strings.TrimSuffix(number, " ")
		if strings.Trim(number, "0123456789.") != "" {
			return 0, fmt.Errorf("%q is %w", s, errSize)
		}
		f, err := strconv.ParseFloat(number, 64)
		if err != nil || f*float64(u.bytes) >= math.MaxInt64 {
			return 0, fmt.Errorf("%q is %w", s, errSize)
		}
		return Size(f * float64(u.bytes)), nil
	}
	return 0, fmt.Errorf("%q is %w", s, errSize)
}

// String prints s in the largest binary unit that holds it exactly. ParseSize reads it back.
func (s Size) String() string {
	for _, u := range units[:4] {
		if n := int64(s); n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}
