package limit

import (
	"strings"
	"sync"

	"github.com/headrace/headrace/internal/record"
)

// Key names what a rate of calls is bounded for.
type Key struct {
	Account, Region string
	// Operation is AWS's name of the operation.
	Operation string
	// Resource is the ARN of the stream, consumer or shard, "" for limits of an account.
	Resource string
}

// maxKeys is how many keys are remembered at a time: callers may make up any number of them.
const maxKeys = 16 << 10

// looks is how many keys a new one looks at for some that are like new and can go.
const looks = 32

// Calls bounds how often calls are made: each key has a bucket that holds one second of its rate. While so
// many keys are in use that no more can be remembered, further ones share one bucket of each rate's size. The
// zero value is ready. It is safe for concurrent use.
type Calls struct {
	mu     sync.Mutex
	known  map[Key]*Bucket
	shared Bucket
}

// Take reports whether a call may be made now of which there are rate a second, and if so counts it.
func (c *Calls) Take(now record.Millis, key Key, rate int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.known[key]
	if b == nil {
		b = c.addLocked(now, key)
	}
	return b.Take(now, 1, int64(rate), int64(rate))
}

// addLocked makes a bucket for a key. REQUIRES: mu held.
func (c *Calls) addLocked(now record.Millis, key Key) *Bucket {
	if c.known == nil {
		c.known = map[Key]*Bucket{}
	}
	if len(c.known) >= maxKeys {
		left := looks
		for old, b := range c.known { // from a random one on
			if now-b.at > second { // every bucket fills in a second
				delete(c.known, old)
			}
			if left--; left == 0 {
				break
			}
		}
		if len(c.known) >= maxKeys {
			return &c.shared
		}
	}
	// The key may be parts of a request, whose memory must not stay with the map.
	key = Key{strings.Clone(key.Account), strings.Clone(key.Region), strings.Clone(key.Operation), strings.Clone(key.Resource)}
	b := new(Bucket)
	c.known[key] = b
	return b
}

// Day is a rolling day in milliseconds, which some calls are counted in.
const Day record.Millis = 24 * 3600_000

// Within returns the moments of times, in their order, that lie less than a day before now, in a slice of its
// own: what to keep of the times of calls of which there may be some a day.
func Within(now record.Millis, times []record.Millis) []record.Millis {
	var kept []record.Millis
	for _, t := range times {
		if now-t < Day {
			kept = append(kept, t)
		}
	}
	return kept
}
