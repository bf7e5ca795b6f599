//go:build !race

package alloctest

// Raced says that the race detector is on.
const Raced = false
