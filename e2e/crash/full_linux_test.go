package crash

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

// TestFull fills the disk. Puts are throttled, reads and changes of streams go on, over a kill as well,
// and once there is room again puts go on. Nothing that was acknowledged is lost.
func TestFull(t *testing.T) {
	f := func(name string, place func(testing.TB) string, ballast int64) {
		t.Run(name, func(t *testing.T) {
			at := place(t)
			w := newWorld(t, seed(t), filepath.Join(at, "data"), sigkill(t))
			w.start()
			w.create()
			w.create()
			l := w.streams[1]
			heavy := filepath.Join(at, "ballast")
			if err := exec.Command("fallocate", "-l", strconv.FormatInt(ballast, 10), heavy).Run(); err != nil {
				t.Fatal(err)
			}
			w.fill(l)
			t.Log("full")
			w.readEverything(l)
			w.rotate()
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

// TestLowWater fills the disk with one writer while another trickles. The big one is throttled, the
// small one goes on, over a kill as well, and the server says why; when the big stream is deleted, puts
// go on. The server itself never finds the disk full.
func TestLowWater(t *testing.T) {
	f := func(name string, place func(testing.TB) string) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, seed(t), filepath.Join(place(t), "data"), sigkill(t))
			w.args = append(w.args, "--limits-low-water", "32MiB")
			w.start()
			w.create()
			w.create()
			big, small := w.streams[0], w.streams[1]
			w.bigAndSmall(big, small, true)
			w.page("/-/ready", "ready\ndisk low: ", "low-water mark 32 MiB: the biggest writers are throttled, streams: 1\n")
			w.page("/metrics", "headrace_disk_state{state=\"low\"} 1\n", "headrace_streams_stopped 1\n", "headrace_disk_low_water_bytes 3.3554432e+07\n",
				"headrace_stream_stored_bytes{account=\"000000000000\",region=\"us-east-1\",stream=\""+big.stream+"\"} ")
			w.readEverything(big)
			w.readEverything(small)
			w.quiet()
			w.ending.Store(true)
			w.crash(w.server)
			w.start()
			w.bigAndSmall(big, small, false)
			before := w.used()
			w.rotate() // deletes the big stream and makes another
			testpoll.Until(t, patience, func() bool { return w.used() < before/2 }, "the deleted stream's space")
			w.resume(w.streams[1])
			w.resume(small)
			w.page("/-/ready", "ready\n")
			w.quiet()
			if err := w.server.Stop(); err != nil {
				t.Errorf("stop: %v\n%s", err, w.server.Output())
			}
			records, bytes := big.counts()
			trickle, _ := small.counts()
			t.Logf("%d records of %d MiB, and %d of the small writer", records, bytes>>20, trickle)
		})
	}
	f("tmpfs", func(tb testing.TB) string { return newTmpfs(tb, "112m") })
	if !testing.Short() {
		f("ext4", func(tb testing.TB) string { return newImage(tb, 144<<20, "").at })
	}
}

// bigAndSmall writes as fast as it can to one stream and little to the other until the first has been
// throttled for some time. The other must never be, if strict; after a restart nobody knows who was the
// biggest writer, so that there it need only go on once the big one is throttled.
func (w *world) bigAndSmall(big, small *ledger, strict bool) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), 2*patience)
	defer cancel()
	var stop sync.WaitGroup
	var refused atomic.Int64 // puts to the big stream in a row
	stop.Go(func() {
		defer cancel()
		wr := &writer{w: w, rng: w.dice(), name: fmt.Sprint("big.", w.lives), top: map[string]string{}}
		for refused.Load() < 100 && ctx.Err() == nil {
			before := wr.stored
			if err := wr.batch(ctx, big); ctx.Err() != nil || w.failed(big, err) {
				return
			}
			if refused.Add(1); wr.stored > before {
				refused.Store(0)
				continue
			}
			pause(ctx, 30*time.Millisecond)
		}
	})
	wr := &writer{w: w, rng: w.dice(), name: fmt.Sprint("small.", w.lives), top: map[string]string{}}
	late := 0 // taken while the big stream was throttled
	for ctx.Err() == nil {
		throttled, began := refused.Load() > 20, time.Now()
		key, data := wr.next(small, 200)
		var out put
		err := w.client.call(context.WithoutCancel(ctx), "PutRecord", fields{"StreamName": small.stream, "PartitionKey": key, "Data": data}, &out)
		if refusedAs(err, "ProvisionedThroughputExceededException") {
			if out.ErrorCode = "refused"; strict || throttled {
				small.wrong("the small writer was throttled: %v", err)
			}
		} else if w.failed(small, err) {
			small.unheard([]string{key}, began)
			break
		} else if throttled {
			late++
		}
		wr.answered(small, []string{key}, []put{out}, began)
		pause(ctx, 50*time.Millisecond)
	}
	stop.Wait()
	if refused.Load() < 100 || late < 10 {
		big.wrong("the big writer was throttled %d times in a row, and %d records of the small one were taken meanwhile", refused.Load(), late)
	}
	w.judge()
}

// page gets one of the server's own pages, which must be there and hold the texts.
func (w *world) page(path string, want ...string) {
	w.tb.Helper()
	resp, err := http.Get(w.server.Endpoint + path)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, text := range want {
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), text) {
			w.tb.Errorf("%s: %d without %q:\n%s", path, resp.StatusCode, text, body)
		}
	}
}

// quiet checks that nothing the server had to store found the disk full.
func (w *world) quiet() {
	w.tb.Helper()
	if out := w.server.Output(); strings.Contains(out, "no space") {
		w.tb.Errorf("the disk was full for the server itself:\n%s", out)
	}
}

// used is how many bytes the block files take.
func (w *world) used() (sum int64) {
	for _, name := range w.files("blocks") {
		if info, err := os.Stat(name); err == nil { // else it has just gone
			sum += info.Size()
		}
	}
	return sum
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
