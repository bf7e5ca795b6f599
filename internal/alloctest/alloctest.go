// Package alloctest counts what code under test allocates, in a process in which other goroutines run
// too. It measures and skips; what a test wants to see is the test's to say.
package alloctest

import (
	"runtime/debug"
	"testing"
)

// rounds is how many measurements the least is taken of.
const rounds = 5

// Count returns how many allocations f makes once everything is warm: the least of several
// measurements of so many runs each, for a measurement counts what all goroutines of the process do
// meanwhile, those that earlier tests left to end among them. The collector is off, because it
// empties pools. The test is skipped under the race detector, which allocates, and makes pools forget
// at random.
func Count(t testing.TB, runs int, f func()) float64 {
	t.Helper()
	if Raced {
		t.Skip("the race detector allocates, and empties pools at random")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range 3 {
		f()
	}
	least := testing.AllocsPerRun(runs, f)
	for range rounds - 1 {
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}
