package osfs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/vfs"
)

// writeCalls returns how many write calls this process has made of the system.
func writeCalls(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("the system does not count calls:", err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "syscw: %d", &n); err == nil {
			return n
		}
	}
	t.Skip("the system does not count write calls")
	return 0
}

// TestWriteIsOneCall holds WriteAt to one call of the system for a whole group, however large. Others in
// the process may write meanwhile, so the least of several counts is the one.
func TestWriteIsOneCall(t *testing.T) {
	f, err := open(t, t.TempDir()).Open("f", vfs.Create|vfs.Direct)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, n := range []int{vfs.Alignment, 8 << 20} {
		b, least := vfs.AlignedBuffer(n), int64(1<<62)
		for range 5 {
			before := writeCalls(t)
			if _, err := f.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
			least = min(least, writeCalls(t)-before)
		}
		if least != 1 {
			t.Errorf("WriteAt of %d bytes made %d write calls; want 1", n, least)
		}
	}
}
