package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineSlept returns how long the machine has been asleep since it was started, 0 if it cannot be
// told: here the monotonic clock runs on meanwhile and the uptime clock does not.
func machineSlept() time.Duration { return between(uptimeRaw, unix.CLOCK_MONOTONIC) }

// uptimeRaw is CLOCK_UPTIME_RAW of <time.h>.
const uptimeRaw = 8
