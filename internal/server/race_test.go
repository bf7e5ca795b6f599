//go:build race

package server

// raced says that the race detector is on, which allocates and takes its time.
const raced = true
