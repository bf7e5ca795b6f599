package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineSlept returns how long the machine has been suspended since it was started, 0 if it cannot
// be told: the boot clock runs on meanwhile and the monotonic clock does not.
func machineSlept() time.Duration { return between(unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME) }
