package crash

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/binarytest"
	"github.com/headrace/headrace/internal/testpoll"
)

// newTmpfs mounts a file system in memory of the size, or skips the test.
func newTmpfs(tb testing.TB, size string) string {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("skipped: mounting a file system takes root")
	}
	at := tb.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "headrace", at).CombinedOutput(); err != nil {
		tb.Skipf("skipped: mounting is refused here: %v: %s", err, out)
	}
	tb.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			tb.Errorf("unmount: %v: %s", err, out)
		}
	})
	return at
}

// TestFull fills the disk. Puts are throttled and reads go on, over a kill as well, and once there is
// room again puts go on. Nothing that was acknowledged is lost.
func TestFull(t *testing.T) {
	f := func(name string, place func(testing.TB) string, ballast int64) {
		t.Run(name, func(t *testing.T) {
			at := place(t)
			w := newWorld(t, seed(t), filepath.Join(at, "data"), sigkill(t))
			w.start()
			w.create()
			l := w.streams[0]
			heavy := filepath.Join(at, "ballast")
			if err := exec.Command("fallocate", "-l", strconv.FormatInt(ballast, 10), heavy).Run(); err != nil {
				t.Fatal(err)
			}
			w.fill(l)
			t.Log("full")
			w.readEverything(l)
			w.ending.Store(true)
			w.crash(w.server)
			w.start()
			t.Log("full after a kill")
			if err := os.Remove(heavy); err != nil {
				t.Fatal(err)
			}
			w.resume(l)
			w.ending.Store(true)
			w.crash(w.server)
			w.start()
			if err := w.server.Stop(); err != nil {
				t.Errorf("stop: %v\n%s", err, w.server.Output())
			}
			records, bytes := l.counts()
			t.Logf("%d records, %d MiB", records, bytes>>20)
		})
	}
	f("tmpfs", func(tb testing.TB) string { return newTmpfs(tb, "96m") }, 32<<20)
	if !testing.Short() {
		f("ext4", func(tb testing.TB) string { return newImage(tb, 128<<20, "").at }, 40<<20)
	}
}

// fill puts records until the server has throttled all puts for a time. It must not end, nor answer
// anything else.
func (w *world) fill(l *ledger) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), 2*patience)
	defer cancel()
	var writers sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		wr := &writer{w: w, rng: w.dice(), name: "full." + name, top: map[string]string{}}
		writers.Go(func() {
			for refused := 0; refused < 100; {
				before := wr.stored
				err := wr.batch(ctx, l)
				if w.failed(l, err) {
					return
				}
				if wr.stored > before {
					refused = 0
					continue
				}
				refused++
				pause(ctx, 20*time.Millisecond)
			}
		})
	}
	writers.Wait()
	w.judge()
}

// readEverything reads the stream as it is, without a restart.
func (w *world) readEverything(l *ledger) {
	w.tb.Helper()
	shards, err := w.client.shards(w.tb.Context(), l.stream)
	if err != nil {
		w.tb.Fatal(err)
	}
	a := l.audit()
	w.readAll(a, shards)
	a.finish()
	w.judge()
}

// resume waits until puts are taken again, many in a row.
func (w *world) resume(l *ledger) {
	w.tb.Helper()
	wr := &writer{w: w, rng: w.dice(), name: "room", top: map[string]string{}}
	row := 0
	testpoll.Until(w.tb, patience, func() bool {
		before := wr.stored
		err := wr.single(w.tb.Context(), l)
		w.failed(l, err)
		w.judge()
		if row++; wr.stored == before {
			row = 0
		}
		return row >= 50
	}, "puts to be taken again")
	w.judge()
}

// TestReadOnly starts on a directory that was mounted read-only.
func TestReadOnly(t *testing.T) {
	m := newImage(t, 128<<20, "")
	dir := filepath.Join(m.at, "data")
	s := binarytest.Start(t, program, slices.Concat([]string{"--data", dir}, small)...)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "remount,ro", m.at).CombinedOutput(); err != nil {
		t.Fatalf("mount read-only: %v: %s", err, out)
	}
	refuses(t, dir, dir, "read-only file system")
}
