package testpoll_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headrace/headrace/internal/testpoll"
)

// failure stands in for a test that Until may fail. Fatalf panics, as the real one never returns.
type failure struct {
	testing.TB
	text string
}

func (f *failure) Helper() {}

func (f *failure) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(f)
}

func TestUntil(t *testing.T) {
	// wait runs Until with a condition that becomes true after `after` and returns how long it
	// took and what it failed with.
	wait := func(t *testing.T, after, deadline time.Duration) (took time.Duration, failed string) {
		t.Helper()
		f := &failure{}
		start := time.Now()
		defer func() {
			took, failed = time.Since(start), f.text
			if r := recover(); r != nil && r != f {
				panic(r)
			}
		}()
		testpoll.Until(f, deadline, func() bool { return time.Since(start) >= after }, "the moon")
		return
	}
	synctest.Test(t, func(t *testing.T) {
		if took, failed := wait(t, 0, time.Second); took != 0 || failed != "" {
			t.Errorf("condition true at once: took %v, failed %q, want neither", took, failed)
		}
		if took, failed := wait(t, 100*time.Millisecond, time.Second); took < 100*time.Millisecond || took > 110*time.Millisecond || failed != "" {
			t.Errorf("condition true after 100ms: took %v, failed %q", took, failed)
		}
		took, failed := wait(t, time.Hour, time.Second)
		if took != time.Second || !strings.Contains(failed, "waited 1s for the moon") {
			t.Errorf("condition never true: took %v, failed %q", took, failed)
		}
	})
}
