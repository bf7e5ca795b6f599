//go:build linux || darwin

package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// between returns by how much the second clock is ahead of the first.
func between(first, second int32) time.Duration {
	var a, b unix.Timespec
	if unix.ClockGettime(first, &a) != nil || unix.ClockGettime(second, &b) != nil {
		return 0
	}
	return time.Duration(b.Nano() - a.Nano())
}
