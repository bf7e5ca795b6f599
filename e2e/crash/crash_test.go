package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/binarytest"
)

// program is the path of the shipped program, built once for all tests.
var program string

// kill is SIGKILL.
var kill = os.Kill

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if program = os.Getenv("CRASH_BINARY"); program != "" {
		return m.Run(), nil // a program that was broken on purpose, to see that it is caught
	}
	dir, err := os.MkdirTemp("", "headrace-crash")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if program, err = binarytest.Build(dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// seed is the one that CRASH_SEED names, or another every time.
func seed(tb testing.TB) uint64 {
	text := os.Getenv("CRASH_SEED")
	if text == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// span is how long a test goes on: CRASH_FOR, or what it takes in make test.
func span(tb testing.TB, usual time.Duration) time.Duration {
	if text := os.Getenv("CRASH_FOR"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			tb.Fatal(err)
		}
		return d
	}
	if testing.Short() {
		return usual / 4
	}
	return usual
}

// sigkill ends the server as kill -9 does.
func sigkill(tb testing.TB) func(*binarytest.Server) {
	return func(s *binarytest.Server) {
		if err := s.Signal(kill); err != nil {
			tb.Error(err)
		}
		_ = s.Wait(patience) // it was killed
	}
}

// TestKill kills the server at random moments. Every acknowledged record is there after every
// restart, and all else that was acknowledged.
func TestKill(t *testing.T) {
	w := newWorld(t, seed(t), filepath.Join(t.TempDir(), "data"), sigkill(t))
	w.run(span(t, 10*time.Second), 1500*time.Millisecond)
}
