package stress

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/headrace/headrace/e2e/node"
	"github.com/headrace/headrace/internal/server"
)

// hasty is a clock that runs faster than the machine's.
type hasty struct {
	began, origin time.Time
	factor        float64
}

// Now implements clock.Clock. What it returns has no monotonic reading, so nothing compares it with the
// time that really went by.
func (h hasty) Now() time.Time {
	return h.origin.Add(time.Duration(float64(time.Since(h.began)) * h.factor))
}

// scale is how large a run is.
type scale struct {
	total     time.Duration // how long it takes
	retention time.Duration // how long, of real time, a day lasts
	streams   int
	shards    int             // of each stream
	restarts  []time.Duration // when the server is stopped and started
	sample    time.Duration
	pace      time.Duration // of a writer: what is stored must depend on nothing else
}

// scaleOf is what STRESS_FOR asks for, or what go test ./... has time for.
func scaleOf(t *testing.T) scale {
	text := os.Getenv("STRESS_FOR")
	if text == "" {
		return scale{total: 4 * time.Second, retention: 20 * time.Second, streams: 3, shards: 20, restarts: []time.Duration{2 * time.Second}, sample: time.Second, pace: 100 * time.Millisecond}
	}
	total, err := time.ParseDuration(text)
	if err != nil || total < 2*time.Minute {
		t.Fatalf("STRESS_FOR=%s: %v; want 2m at least, or records come of age before anyone reads them", text, err)
	}
	s := scale{total: total, retention: min(3*time.Minute, total/4), streams: 10, shards: 100, sample: 5 * time.Second, pace: 150 * time.Millisecond}
	// A start clears away what its predecessor forgot. So nothing is restarted in the sixths that are
	// compared, nor in the one before the last: what leaks has twice as long to show there.
	for _, twelfth := range []time.Duration{1, 2, 3, 4, 6, 7, 8} {
		s.restarts = append(s.restarts, total*twelfth/12)
	}
	return s
}

// world is the server and everyone who uses it.
type world struct {
	t     *testing.T
	scale scale
	dir   string
	clock hasty
	// end makes everyone give up.
	end context.CancelFunc

	mu sync.Mutex
	// node is the running server; nil while it is being started again, and if it cannot be.
	node   *node.Node
	wrongs []string
	counts map[string]int
}

func TestStress(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("STRESS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	s := scaleOf(t)
	t.Logf("STRESS_SEED=%d: %v with a day in %v", seed, s.total, s.retention)
	w := &world{t: t, scale: s, dir: filepath.Join(t.TempDir(), "data"), counts: map[string]int{},
		clock: hasty{began: time.Now(), origin: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), factor: float64(24*time.Hour) / float64(s.retention)}}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if w.node == nil {
			return
		}
		if err := w.node.Stop(); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), s.total)
	defer cancel()
	w.end = cancel
	var readers []*reader
	for i := range s.streams {
		r := newReader(w, fmt.Sprint("mill-", i))
		if err := w.call(ctx, "CreateStream", node.Fields{"StreamName": r.stream, "ShardCount": s.shards}, nil); err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	var users sync.WaitGroup
	var writers []*writer
	for n := range 4 {
		wr := newWriter(w, n, s.streams)
		writers = append(writers, wr)
		users.Go(func() { wr.run(ctx) })
	}
	for _, r := range readers {
		users.Go(func() { r.run(ctx) })
	}
	users.Go(func() { w.reshard(ctx, rand.New(rand.NewPCG(seed, 1))) })
	users.Go(func() { w.churn(ctx) })
	samples := w.watch(ctx)
	users.Wait()
	w.finish(readers, writers)
	w.judge(samples)
}

func (w *world) start() error {
	n, err := node.Start(server.Config{Data: w.dir, Clock: w.clock, Access: server.Access{AnyCredentials: true}, MemoryBytes: 32 << 20, Ring: server.Ring{Segments: 8, SegmentBytes: 8 << 20}})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.node = n
	return nil
}

// restart stops the server and starts it again on its directory. It says whether it is there again.
func (w *world) restart() bool {
	w.mu.Lock()
	n := w.node
	w.node = nil
	w.counts["restarts"]++
	w.mu.Unlock()
	if err := n.Stop(); err != nil {
		w.wrong("Stop() = %v", err)
	}
	if said := n.Log(); said != "" {
		w.wrong("the server said: %s", said)
	}
	if err := w.start(); err != nil {
		w.wrong("start again: %v", err)
		return false
	}
	return true
}

// call makes a call, again and again while the server is stopping or starting.
func (w *world) call(ctx context.Context, operation string, in node.Fields, out any) error {
	for {
		w.mu.Lock()
		n := w.node
		w.mu.Unlock()
		if n != nil {
			err := n.Call(ctx, operation, in, out)
			if err == nil || node.Answered(err) || ctx.Err() != nil {
				return err
			}
			if w.running(n) {
				return err
			}
		}
		if w.broken() {
			return errBroken
		}
		pause(ctx, 10*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// errBroken ends calls to a server that will not be there again.
var errBroken = errors.New("something went wrong before")

// running says whether n is still the server.
func (w *world) running(n *node.Node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.node == n
}

func (w *world) wrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrongs = append(w.wrongs, fmt.Sprintf(format, args...)); w.end != nil {
		w.end()
	}
}

// broken says whether something went wrong.
func (w *world) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wrongs) > 0
}

func (w *world) count(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what] += n
}

// failed says whether the error is one that a user gives up for, and notes it then. Throttled is not.
func (w *world) failed(ctx context.Context, err error) bool {
	switch {
	case errors.Is(err, errBroken):
		return true
	case err == nil || ctx.Err() != nil:
		return false
	case node.Refused(err, "ProvisionedThroughputExceededException", "LimitExceededException"):
		w.count("throttled", 1)
		return false
	}
	w.wrong("%v", err)
	return true
}

// judge ends the test with what went wrong, or what was measured.
func (w *world) judge(samples []sample) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, wrong := range w.wrongs {
		if i == 10 {
			w.t.Errorf("and %d more", len(w.wrongs)-i)
			break
		}
		w.t.Error(wrong)
	}
	w.t.Logf("%v", w.counts)
	if w.node == nil {
		w.t.FailNow()
	}
	if said := w.node.Log(); said != "" {
		w.t.Errorf("the server said: %s", said)
	}
	flat(w.t, w.scale, samples)
}

// pause waits for a time, or the context's end.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
