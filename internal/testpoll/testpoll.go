// Package testpoll waits, in tests, for something another process or goroutine will do. It is the
// one place that polls against a deadline: a test that can run under testing/synctest should do
// that instead, and no other test helper may sleep.
package testpoll

import (
	"testing"
	"time"
)

// interval is how long Until leaves between two looks at the condition: short enough not to slow
// a test down, long enough not to take a core away from what the test waits for.
const interval = 2 * time.Millisecond

// Until returns as soon as cond reports true. It looks at once and then every few milliseconds,
// always on the caller's goroutine, so cond may call t.Helper and t.Log but needs locks for what
// others write. When deadline passes first it fails the test at the caller's line, naming what
// was waited for.
func Until(t testing.TB, deadline time.Duration, cond func() bool, what string) {
	t.Helper()
	late := time.NewTimer(deadline)
	defer late.Stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-late.C:
			if cond() {
				return
			}
			t.Fatalf("waited %v for %s", deadline, what)
		}
	}
}
