//go:build race

package wire

// raced says that the race detector is on. It makes sync.Pool forget at random, so allocations
// cannot be counted.
const raced = true
