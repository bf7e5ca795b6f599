package crash

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/headrace/headrace/internal/binarytest"
)

// image is a file system of its own in a file, mounted by a loop device, so that its power can be cut.
type image struct {
	tb       testing.TB
	file, at string
	options  string
	mounted  bool
}

// newImage makes and mounts an ext4 of the size, or skips the test.
func newImage(tb testing.TB, size int64, options string) *image {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("skipped: mounting a file system takes root")
	}
	dir := tb.TempDir()
	m := &image{tb: tb, file: filepath.Join(dir, "image"), at: filepath.Join(dir, "mount"), options: "loop" + options}
	f, err := os.Create(m.file)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Mkdir(m.at, 0o700)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", m.file).CombinedOutput(); err != nil {
		tb.Skipf("skipped: no ext4 can be made here: %v: %s", err, out)
	}
	if out, err := m.mount(); err != nil {
		tb.Skipf("skipped: mounting is refused here: %v: %s", err, out)
	}
	tb.Cleanup(m.unmount)
	return m
}

func (m *image) mount() ([]byte, error) {
	out, err := exec.Command("mount", "-t", "ext4", "-o", m.options, m.file, m.at).CombinedOutput()
	m.mounted = err == nil
	return out, err
}

func (m *image) unmount() {
	if !m.mounted {
		return
	}
	if out, err := exec.Command("umount", m.at).CombinedOutput(); err != nil {
		m.tb.Errorf("unmount: %v: %s", err, out)
	}
	m.mounted = false
}

// shutdown is ext4's EXT4_IOC_SHUTDOWN, and noLogFlush makes it drop what the journal has not
// written, as a power cut does.
const (
	shutdown   = 0x8004587d
	noLogFlush = 2
)

// cut takes the power away: the file system forgets what was not synced and takes no more writes.
func (m *image) cut() {
	m.tb.Helper()
	d, err := os.Open(m.at)
	if err != nil {
		m.tb.Fatal(err)
	}
	defer d.Close()
	if err := unix.IoctlSetPointerInt(int(d.Fd()), shutdown, noLogFlush); err != nil {
		m.tb.Fatalf("cut the power: %v", err)
	}
}

// blackout ends the server by a power cut, and gives the machine its power back.
func (m *image) blackout(s *binarytest.Server) {
	m.cut()
	sigkill(m.tb)(s)
	m.unmount()
	if out, err := m.mount(); err != nil {
		m.tb.Fatalf("mount after a power cut: %v: %s", err, out)
	}
}

// TestPower cuts the power of the server's disk at random moments. The second file system keeps data
// in its journal, for which it takes writes past the page cache into it: what is not synced is lost
// there even where the program asks for direct I/O.
func TestPower(t *testing.T) {
	f := func(name, options string) {
		t.Run(name, func(t *testing.T) {
			m := newImage(t, 1<<30, options)
			w := newWorld(t, seed(t), filepath.Join(m.at, "data"), m.blackout)
			w.stumbles = false // these are kills, and TestKill has them
			w.run(span(t, 4*time.Second), time.Second)
		})
	}
	f("ordered", "")
	f("journalled", ",data=journal")
}
